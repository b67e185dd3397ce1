"""A process for every core, each of which solves the disks that it is told to.

XLA serves all programs of a process from one pool of threads, and many programs of small steps
wait for each other there: two threads on two cores got little more done than one. A process that
has one core of its own does not wait.

`python -m algorithmic.disks.workers SETTINGS CORE` reads numbers of disks from standard input, a
line each, and answers with the number when that disk is on the disk.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable

from algorithmic.disks import population
from fl_jax.core import errors


def spread(
    config: population.Population,
    folder: pathlib.Path,
    data: pathlib.Path | None,
    numbers: Iterable[int],
    workers: int,
    finished: Callable[[], None],
) -> None:
    """Solves disks into `folder`, by so many processes.

    Args:
        config: the population.
        folder: where the disks go.
        data: the data folder, or None.
        numbers: of the disks.
        workers: processes, each on a core of its own as long as there are enough.
        finished: called after every disk, by one thread at a time.

    Raises:
        DataError: a process ended before its disk was done; what it said is on standard error.
    """
    told = {"config": dataclasses.asdict(config), "folder": str(folder.absolute())}
    told["data"] = None if data is None else str(data.absolute())
    waiting, lock = iter(numbers), threading.Lock()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1]
    roots = [str(pathlib.Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, roots))}

    def serve(worker: int) -> None:
        core = str(cores[worker % len(cores)])
        command = [sys.executable, "-m", "algorithmic.disks.workers", json.dumps(told), core]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        try:
            while True:
                with lock:
                    number = next(waiting, None)
                if number is None:
                    process.stdin.close()  # it ends with its input
                    process.wait()
                    return
                with contextlib.suppress(BrokenPipeError):
                    print(number, file=process.stdin, flush=True)
                if process.stdout.readline().strip() != str(number):
                    raise errors.DataError(
                        f"the process that was solving disk {number} of {folder} ended with code"
                        f" {process.wait()}; the disks before are kept: run again to go on."
                    )
                with lock:
                    finished()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):  # what it did not read
                process.stdin.close()

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        list(pool.map(serve, range(workers)))


def main(argv: list[str]) -> None:
    """Solves what standard input names."""
    told, core = json.loads(argv[0]), int(argv[1])
    if core >= 0:  # before JAX counts the cores for its threads
        os.sched_setaffinity(0, {core})
    config = population.Population(**told["config"])
    folder, data = pathlib.Path(told["folder"]), told["data"]
    ready = population.setting(config, None if data is None else pathlib.Path(data))
    drawn = population.draw(config)
    for line in sys.stdin:
        number = int(line)
        population.solve(config, ready, folder, number, drawn[number])
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
