"""Giving memory back to the system, where its C library is glibc: others do so by themselves."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # mallopt(3)
LARGE = 1 << 18
"""Bytes from which on a piece of memory is the system's again as soon as it is freed."""
ARENAS = 2
"""Heaps that threads share: Python computes in one of them at a time anyway."""


def keep_little() -> None:
    """Let freed memory not pile up.

    By itself, glibc raises the size of what it gives back at once to that of the largest piece ever freed, up to 32
    MiB, and has eight heaps for each core, each of which keeps what its threads once had (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return what has been freed.

    glibc keeps it for the thread that had it (malloc(3), "arenas"), and any thread may be the one that takes in the
    next spans: after some minutes each keeps as much as one table had.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
