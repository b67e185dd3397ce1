"""What is kept is not fetched from the kernel again, and the rest comes in large pages."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

from fl_jax.train import allocator

PROGRAM = """
import os, pathlib, resource, sys
if sys.argv[1] == "keep":
    from fl_jax.train import allocator
    allocator.keep_memory()
import threading
def work(found):
    for _ in range(3):
        b"x" * 80_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        b"x" * 80_000_000
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
found = []
work(found)
threads = [threading.Thread(target=work, args=(found,)) for _ in range(8)]
for thread in threads:
    thread.start()
    thread.join()
print(*sys.argv[1:], max(found), os.environ.get("MALLOC_ARENA_MAX"))
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the program starts again on Linux only")


def large_pages() -> bool:
    """Whether the kernel gives large pages to glibc, which asks for them from 2.35 on."""
    pages = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    library, version = platform.libc_ver()
    known = library == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)
    return known and pages.exists() and "[never]" not in pages.read_text()


def run(how: str, **variables: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k not in allocator.settings({})}
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment | variables
    )
    return done.stdout.split()


@pytest.mark.skipif(not large_pages(), reason="takes glibc 2.35 and a kernel with large pages")
def test_memory_is_kept_or_comes_in_large_pages_in_every_thread():
    how, faults, _ = run("keep")
    assert how == "keep"
    assert int(faults) < 5000 < int(run("not")[1])


@LINUX
def test_what_the_user_has_set_stays():
    assert run("keep", MALLOC_ARENA_MAX="3")[2] == "3"
    assert run("keep")[2] == allocator.settings({})["MALLOC_ARENA_MAX"]
    given = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0", "MALLOC_MMAP_MAX_": "7"}
    assert allocator.settings(given).items() >= given.items()
    other = allocator.settings({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=9"})
    assert other["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=9:glibc.malloc.hugetlb=1"
