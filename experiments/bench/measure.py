"""What a benchmark needs besides its own work: peak, medians, compilations, load."""

import contextlib
import importlib.metadata
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator

import jax


def seconds(call: Callable[[], object], repeats: int) -> list[float]:
    """Wall time of each of `repeats` calls, with their arrays ready."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times


def median(times: list[float]) -> float:
    return statistics.median(times)


def matmul_peak(sizes: tuple[int, ...] = (1024, 2048, 4096), repeats: int = 5) -> float:
    """Best float32 matmul rate of this process over sizes and repeats, in FLOP/s."""
    product = jax.jit(lambda a: a @ a)
    rates = []
    for n in sizes:
        a = jax.random.normal(jax.random.key(n), (n, n))
        jax.block_until_ready(product(a))
        rates.append(2 * n**3 / min(seconds(lambda a=a: product(a), repeats)))
    return max(rates)


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """The list of XLA compilations made inside the `with`, one name per program."""
    names: list[str] = []

    def listen(event: str, duration: float, **details) -> None:
        del duration
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(details.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """All threads of this process, and processes that it starts, on one core.

    Threads that wait for work by spinning count as CPU time, and who has more of them pays more:
    on one core only work counts. Where the system cannot do that, nothing happens.
    """
    threads = pathlib.Path("/proc/self/task")
    if not threads.is_dir():
        yield
        return
    cores = os.sched_getaffinity(0)

    def pin(to):
        for thread in threads.iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), to)

    pin({min(cores)})
    try:
        yield
    finally:
        pin(cores)


def surroundings() -> dict[str, object]:
    """Versions, device, threads and load: what a figure must be read with."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")},
        "device": jax.devices()[0].device_kind,
        "threads": len(os.sched_getaffinity(0)),
        "load": [round(load, 2) for load in os.getloadavg()],
    }
