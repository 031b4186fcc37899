"""Settings of the process that runs a hub: threads, garbage collection, memory, and signals."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CPU_LOCK = threading.Lock()
"""Held while work such as decoding holds Python's interpreter for milliseconds, and never while waiting.

The interpreter switches threads every half a millisecond. Two such threads that take turns both end later than one
after the other, and cost a sixth more CPU time, because each evicts the other's data from the processor's caches.
"""
SWITCH_SECONDS = 0.0005
"""Time that a thread may compute before another one runs: a page must not wait while spans are decoded."""
GC_THRESHOLDS = (100_000, 20, 50)
"""Python's defaults visit the many pending spans so often that a CPU second takes 16% fewer spans."""
MMAP_THRESHOLD_BYTES = 1 << 18
"""Allocations of this size or more are returned to the system when freed."""
ARENAS = 2
"""Heaps shared by all threads. Python runs one thread at a time, so few suffice."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # parameters of mallopt(3)


def tune_process() -> None:
    """Set thread switching, garbage collection, and malloc for a hub; the settings hold for the whole process.

    By default glibc raises the mmap threshold up to 32 MiB and keeps eight arenas per core (mallopt(3)).
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc; other C libraries return memory by themselves
        mallopt(_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(_ARENA_MAX, ARENAS)


def resident_bytes() -> int:
    """Resident memory of this process, as the kernel counts it against a limit (proc_pid_statm(5)); 0 without /proc."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def trim_malloc() -> None:
    """Return freed memory of all arenas to the system.

    Without it each arena keeps as much as one head table had, because any thread may append spans.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Stop(threading.Event):
    """An event that signals set. at_once: whether the first one also raises SystemExit in the main thread.

    Imports and a start take seconds, in which nothing asks whether the event is set.
    """

    at_once = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """An event that SIGINT and SIGTERM set while the block runs."""
    stop = Stop()

    def on_signal(*_: object) -> None:
        stop.set()
        if stop.at_once:
            stop.at_once = False  # a second signal must not interrupt the end
            raise SystemExit(0)

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
