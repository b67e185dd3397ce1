"""The host's memory between two steps."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # parameters of mallopt(3)
_HUGEPAGE = 14  # advice of madvise(2)
_PAGE = 2**21  # bytes of a large page, and a multiple of every small one
# Heaps a core. With a single one threads wait for each other at every small array, and with the
# C library's eight a core large ones are kept where the next step does not look.
_HEAPS = 2


def keep_memory() -> bool:
    """Keeps what a step's temporary arrays took for the next step's; returns whether it can.

    Large arrays come straight from the kernel, page by page and zeroed, and go back to it after
    each step; where a step takes a second on a CPU, that is a sixth of it. From this call on
    the process holds on to the most that it ever took, and takes it in pages of 2 MB where the
    kernel has them, so that a step which reads all of its memory seldom waits for the table of
    pages. Without effect on devices with memory of their own, and where the C library is not
    glibc.

    To be called before JAX looks for devices (`jax.devices()`, a first array): threads that are
    there already go on with heaps of their own, for which none of this holds.
    """
    try:
        library = ctypes.CDLL(None)
        set_to = library.mallopt
    except (OSError, AttributeError, TypeError):
        return False
    heaps = _HEAPS * (os.cpu_count() or 1)
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, heaps))
    kept = all(set_to(name, value) == 1 for name, value in settings)
    if kept:
        _large_pages(library)
    return kept


def _large_pages(library) -> None:
    """Asks for large pages in a heap of half the machine's memory, of which nothing is touched.

    Advice holds for addresses that a process has, and the heap would grow into fresh ones. So it
    grows now, as far as it may; without room for that everything stays as it is.
    """
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = (ctypes.c_size_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    heap = library.malloc(size)
    if heap:
        first = -(-heap // _PAGE) * _PAGE
        library.madvise(first, (heap + size - first) // _PAGE * _PAGE, _HUGEPAGE)
        library.free(heap)
