"""One thread computes, many requests wait: batches as they come, a bounded queue.

Another thread writes the answers, so that one that is computed waits for no other to be.
"""

import asyncio
import collections
import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fl_jax.geocoding import area
from fl_jax.geocoding.geocoder import BATCHES, LIMIT, Answer, Geocoder
from fl_jax.geocoding.service.parameters import Refused

WAITING = 2048  # texts that may wait; the next request is turned away
CHARACTERS = 300_000  # of texts that may wait
STEP = LIMIT  # characters computed together; others that wait come between two steps
RETRY_SECONDS = 2


class _Job(NamedTuple):
    texts: list[str]
    size: int  # characters
    settings: tuple[float, area.Area]  # texts that are computed together share them
    future: asyncio.Future


class Worker:
    """Geocodes the texts of concurrent requests together.

    Args:
        geocoder: computes.
        waiting: texts that may wait at once.
        characters: of texts that may wait at once.
        observe: called with the number of texts of each batch.
    """

    def __init__(
        self,
        geocoder: Geocoder,
        *,
        waiting: int = WAITING,
        characters: int = CHARACTERS,
        observe: Callable[[int], None] = lambda count: None,
    ):
        self.geocoder, self.waiting, self.observe = geocoder, waiting, observe
        self.characters = characters
        self.queued = self.queued_characters = 0
        self._jobs: collections.deque[_Job] = collections.deque()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "geocoder")
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "answers")
        self._running: asyncio.Task | None = None

    @property
    def full(self) -> bool:
        """Whether no further text may wait."""
        return self.queued >= self.waiting or self.queued_characters >= self.characters

    async def geocode(
        self,
        texts: Sequence[str],
        residual: float,
        within: area.Area = area.Area(),
        *,
        wait: bool = False,
    ) -> list[Answer]:
        """The answers; texts of other requests may be computed with these.

        Args:
            texts: at most as many as one of the `steps` has.
            residual, within: as for `Geocoder.geocode`.
            wait: for room in the queue, where the request is half answered already.

        Raises:
            Refused: 503, too much waits already.
        """
        size = sum(map(len, texts))
        while wait and not self._room(len(texts), size):
            await asyncio.sleep(0.05)
        self._enter(len(texts), size)
        future = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(list(texts), size, (residual, within), future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def read(self, function: Callable, text: str):
        """Runs something else, function(geocoder, text), on the geocoder's thread.

        Raises:
            Refused: 503, too much waits already.
        """
        self._enter(1, len(text))
        try:
            return await _on(self._thread, function, self.geocoder, text)
        finally:
            self._leave(1, len(text))

    async def call(self, function: Callable, *arguments):
        """Runs what takes little time on the thread that writes answers."""
        return await _on(self._writer, function, *arguments)

    def close(self) -> None:
        """Lets the threads end."""
        for thread in (self._thread, self._writer):
            thread.shutdown(wait=False, cancel_futures=True)

    def _room(self, texts, size) -> bool:
        fits = self.queued + texts <= self.waiting
        return fits and self.queued_characters + size <= self.characters

    def _enter(self, texts, size):
        if not self._room(texts, size):
            raise Refused(
                503,
                f"{self.queued} texts of {self.queued_characters} characters wait already; try"
                f" again in {RETRY_SECONDS} seconds.",
                {"retry-after": str(RETRY_SECONDS)},
            )
        self.queued += texts
        self.queued_characters += size

    def _leave(self, texts, size):
        self.queued -= texts
        self.queued_characters -= size

    async def _run(self):
        while self._jobs:
            jobs = [self._jobs.popleft()]
            count, size = len(jobs[0].texts), jobs[0].size
            # those that ask for the same and fit into one step go together
            while self._jobs and self._jobs[0].settings == jobs[0].settings:
                more = self._jobs[0]
                if count + len(more.texts) > BATCHES[-1] or size + more.size > STEP:
                    break
                jobs.append(self._jobs.popleft())
                count, size = count + len(more.texts), size + more.size
            texts = [text for job in jobs for text in job.texts]
            try:
                answers = await _on(self._thread, self._compute, texts, *jobs[0].settings)
                self.observe(count)
            except Exception as error:
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(error)
                continue
            finally:
                self._leave(count, size)
            for job in jobs:
                own, answers = answers[: len(job.texts)], answers[len(job.texts) :]
                if not job.future.done():  # the client may have gone
                    job.future.set_result(own)

    def _compute(self, texts, residual, within) -> list[Answer]:
        return self.geocoder.geocode(texts, residual=residual, within=within)


async def _on(thread, function, *arguments):
    return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)


def steps(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(first, after the last) of the texts that are computed together, in order."""
    start = size = 0
    for n, text in enumerate(texts):
        if n > start and (n - start == BATCHES[-1] or size + len(text) > STEP):
            yield start, n
            start, size = n, 0
        size += len(text)
    if start < len(texts):
        yield start, len(texts)
