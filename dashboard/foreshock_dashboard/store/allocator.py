"""Giving memory back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return what has been freed.

    glibc keeps it for the thread that had it (malloc(3), "arenas"), and any thread may be the one that takes in the
    next spans: after some minutes each keeps as much as one table had. Other C libraries have no such call, nor need
    one.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
