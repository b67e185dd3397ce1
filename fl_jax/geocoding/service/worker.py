"""One thread computes, many requests wait: batches as they come, a bounded queue."""

import asyncio
import collections
import concurrent.futures
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fl_jax.geocoding.geocoder import BATCHES, Answer, Geocoder
from fl_jax.geocoding.service.parameters import Refused

WAITING = 2048  # texts that may wait; the next request is turned away
RETRY_SECONDS = 2


class _Job(NamedTuple):
    texts: list[str]
    residual: float
    future: asyncio.Future


class Worker:
    """Geocodes the texts of concurrent requests together.

    Args:
        geocoder: computes.
        waiting: texts that may wait at once.
        observe: called with the number of texts of each batch.
    """

    def __init__(
        self,
        geocoder: Geocoder,
        *,
        waiting: int = WAITING,
        observe: Callable[[int], None] = lambda count: None,
    ):
        self.geocoder, self.waiting, self.observe = geocoder, waiting, observe
        self.queued = 0
        self._jobs: collections.deque[_Job] = collections.deque()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "geocoder")
        self._running: asyncio.Task | None = None

    async def geocode(
        self, texts: Sequence[str], residual: float, *, wait: bool = False
    ) -> list[Answer]:
        """The answers; texts of other requests may be computed with these.

        Args:
            texts: at most as many as one batch has.
            residual: as for `Geocoder.geocode`.
            wait: for room in the queue, where the request is half answered already.

        Raises:
            Refused: 503, too many texts wait already.
        """
        while wait and self.queued + len(texts) > self.waiting:
            await asyncio.sleep(0.05)
        if self.queued + len(texts) > self.waiting:
            raise Refused(
                503,
                f"{self.queued} texts wait already; try again in {RETRY_SECONDS} seconds.",
                {"retry-after": str(RETRY_SECONDS)},
            )
        future = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(list(texts), residual, future))
        self.queued += len(texts)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def call(self, function: Callable, *arguments):
        """Runs something else on the geocoder's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def close(self) -> None:
        """Lets the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self):
        while self._jobs:
            jobs = [self._jobs.popleft()]
            size = len(jobs[0].texts)
            # those that ask for the same residual and fit into the largest batch go together
            while self._jobs and self._jobs[0].residual == jobs[0].residual:
                if size + len(self._jobs[0].texts) > BATCHES[-1]:
                    break
                jobs.append(self._jobs.popleft())
                size += len(jobs[-1].texts)
            texts = [text for job in jobs for text in job.texts]
            compute = lambda t=texts, r=jobs[0].residual: self.geocoder.geocode(t, residual=r)
            try:
                answers = await self.call(compute)
                self.observe(size)
            except Exception as error:
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(error)
                continue
            finally:
                self.queued -= size
            for job in jobs:
                own, answers = answers[: len(job.texts)], answers[len(job.texts) :]
                if not job.future.done():  # the client may have gone
                    job.future.set_result(own)
