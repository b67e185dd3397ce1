"""What is kept is not fetched from the kernel again, and lies in large pages."""

import pathlib
import subprocess
import sys

PROGRAM = """
import pathlib, resource, sys
from fl_jax.train import allocator
kept = allocator.keep_memory() if sys.argv[1] == "keep" else False
import numpy as np
def faults():
    for _ in range(3):
        np.ones(8_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(8_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
maps = pathlib.Path("/proc/self/smaps")
flags = [line for line in maps.read_text().splitlines() if line.startswith("VmFlags")]
print(kept, faults(), any("hg" in line.split() for line in flags))
"""
LARGE = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_memory_is_kept_between_steps():
    say = lambda how: subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True
    ).stdout.split()
    kept, faults, large = say("keep")
    _, usual, small = say("not")
    if kept == "True":  # glibc
        assert int(faults) < 500 < int(usual)
        assert small == "False"
        assert large == str(LARGE.exists())
