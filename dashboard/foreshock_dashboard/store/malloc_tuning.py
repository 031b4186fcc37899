"""Settings of glibc's allocator that return freed memory to the system. Other C libraries do so by themselves."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # parameters of mallopt(3)
MMAP_THRESHOLD_BYTES = 1 << 18
"""Allocations of this size or more are returned to the system when freed."""
ARENAS = 2
"""Heaps shared by all threads. Python runs one thread at a time, so few suffice."""


def tune_malloc() -> None:
    """Limit the memory that glibc retains after it is freed.

    By default glibc raises the mmap threshold up to 32 MiB and keeps eight arenas per core (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(_ARENA_MAX, ARENAS)


def trim_malloc() -> None:
    """Return freed memory of all arenas to the system.

    Without it each arena keeps as much as one head table had, because any thread may append spans.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
