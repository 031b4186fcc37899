"""The machine of a benchmark, and how much slower it is than the one that the goals are for."""

from __future__ import annotations

import os
import platform
import random
import re
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

REFERENCE_SECONDS = 0.083
"""CPU seconds of `reference_work` on a machine on which the hub stores 68,000 spans per CPU second."""
REPEATS = 5


def reference_work() -> float:
    """A fixed amount of work of the hub's kind: objects of the interpreter, text, and arrays of numpy."""
    chance = random.Random(1)  # noqa: S311 made up, no secret
    counts: dict[str, list[float]] = {}
    for number in range(300_000):
        counts.setdefault(f"series-{number % 25_000}", []).append(chance.random())
    values = np.array([*counts.values()])
    for _ in range(20):
        values = np.sort(np.sin(values + 1.0), axis=1)
    return float(values.sum())


class Factors(NamedTuple):
    """Time of the reference work, relative to the reference machine: on a core, and with the wait for one."""

    cpu: float
    elapsed: float


def factors() -> Factors:
    """The factors at this moment; load makes both larger."""
    measured = []
    for _ in range(REPEATS):
        cpu, started = time.thread_time(), time.perf_counter()
        reference_work()
        measured.append((time.thread_time() - cpu, time.perf_counter() - started))
    return Factors(*(statistics.median(column) / REFERENCE_SECONDS for column in zip(*measured, strict=True)))


def description() -> str:
    """Processor, cores, memory, Python, and the load of the last five minutes."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"Python {platform.python_version()}; load average {os.getloadavg()[1]:.1f}"
    )
