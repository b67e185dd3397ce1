"""The host's memory between two steps."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # parameters of mallopt(3)


def keep_memory() -> bool:
    """Keeps what a step's temporary arrays took for the next step's; returns whether it can.

    Large arrays come straight from the kernel, page by page and zeroed, and go back to it after
    each step; where a step takes a second on a CPU, that is a sixth of it. From this call on
    the process holds on to the most that it ever took. To be called before the first array is
    made; without effect on devices with memory of their own, and where the C library is not
    glibc.
    """
    try:
        set_to = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1))
    return all(set_to(name, value) == 1 for name, value in settings)
