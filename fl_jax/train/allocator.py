"""The host's memory between two steps."""

import os
import sys
from collections.abc import Mapping

# Heaps a core. With a single one threads wait for each other at every small array; with the C
# library's eight a core large arrays are kept where the next step does not look.
_HEAPS = 2
_TUNABLES, _LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
HEAP = 2**26  # bytes that a heap can hold, all but the first


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which the C library is to keep memory, those of the environment first.

    Large arrays come straight from the kernel, page by page and zeroed, and go back to it after
    each step; where a step takes a second on a CPU, that is a sixth of it. With these variables
    a process holds on to the most that it ever took, and takes it in pages of 2 MB where the
    kernel and the C library have them (glibc 2.35). Without effect on devices with memory of their
    own, and where the C library is not glibc. Of arrays above 64 MB it holds on to those in the
    first heap only: see `train.pieces`.
    """
    wanted = {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**62),
        "MALLOC_TOP_PAD_": str(HEAP),  # else a heap that empties goes back to the kernel
        "MALLOC_ARENA_MAX": str(_HEAPS * (os.cpu_count() or 1)),
    }
    found = {name: environment.get(name, value) for name, value in wanted.items()}
    tunables = environment.get(_TUNABLES, "")
    if _LARGE_PAGES.partition("=")[0] not in tunables:
        tunables = ":".join(filter(None, (tunables, _LARGE_PAGES)))
    return found | {_TUNABLES: tunables}


def keep_memory() -> None:
    """Starts this program again with `settings`, unless it has them.

    glibc reads them when a process starts: told later, it would have no large pages. To be called
    first of all, by a program and not by a module: what was done before is done once more. A
    program of one's own can be given the same variables by its shell.
    """
    wanted = settings(os.environ)
    if sys.platform == "linux" and not wanted.items() <= os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})
