"""The C library's heap, where it is glibc's: kept small for a process that does little most of the time."""

import ctypes

_ARENA_MAX = -8
"""M_ARENA_MAX of malloc.h."""


def keep_in_one_arena() -> None:
    """Have all threads allocate from one heap; call it before there are threads.

    A thread's own arena takes some 2 MiB that no other uses again (measured on an agent with syscheck on).
    """
    call = getattr(ctypes.CDLL(None), "mallopt", None)
    if call is not None:
        call(_ARENA_MAX, 1)


def give_back() -> None:
    """Give the system what is free; a scan or a backlog leaves a few MiB. Takes about a millisecond."""
    call = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if call is not None:
        call(0)
