"""GPU load on demand: `python -m tests.gpu.spin`, with the service name in the environment.

Reads lines from standard input and writes JSON lines. First `{"pid": …}`, once it has a context. For `calibrate
SECONDS`, `{"iterations": …}` of a kernel of that duration. For `run SECONDS ITERATIONS`, `{"kernels": …, "seconds":
…}`. Ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from tests.gpu.cuda import NAME, Cuda, Spinner

AHEAD = 8
"""Kernels that are queued at once, so that the GPU never waits for the program."""
FIRST = 1000
MOST = 1 << 31
"""Iterations to begin a calibration with, and at most: they are counted in 32 bits."""

Now = Callable[[], float]


class Spins(Protocol):
    """What runs kernels."""

    def launch(self, iterations: int) -> None:
        """Queue one."""

    def wait(self) -> None:
        """Until all have run."""


def timed(spinner: Spins, iterations: int, kernels: int, now: Now) -> float:
    """Seconds that so many kernels took."""
    began = now()
    for _ in range(kernels):
        spinner.launch(iterations)
    spinner.wait()
    return now() - began


def calibrated(spinner: Spins, seconds: float, now: Now) -> int:
    """Iterations for which a kernel takes about so many seconds: doubled until one does, then in proportion."""
    iterations = FIRST
    timed(spinner, iterations, 1, now)  # the first one pays for loading
    while (took := timed(spinner, iterations, 1, now)) < seconds and iterations < MOST // 2:
        iterations *= 2
    return max(1, min(MOST, round(iterations * seconds / took)))


def ran(spinner: Spins, seconds: float, iterations: int, now: Now) -> tuple[int, float]:
    """How many kernels ran in about so many seconds, and in how many exactly."""
    began, kernels = now(), 0
    while now() - began < seconds:
        timed(spinner, iterations, AHEAD, now)
        kernels += AHEAD
    return kernels, now() - began


def served(spinner: Spins, orders: Iterable[str], now: Now) -> Iterator[Mapping[str, float]]:
    """An answer for each order.

    Raises:
        ValueError: there is no such order.
    """
    for order in orders:
        match order.split():
            case ["calibrate", seconds]:
                yield {"iterations": calibrated(spinner, float(seconds), now)}
            case ["run", seconds, iterations]:
                kernels, took = ran(spinner, float(seconds), int(iterations), now)
                yield {"kernels": kernels, "seconds": took}
            case _:
                raise ValueError(f"no such order: {order!r}")


def main() -> None:
    """Serve the orders on standard input."""
    spinner = Spinner(Cuda(sys.argv[1] if len(sys.argv) > 1 else NAME))
    print(json.dumps({"pid": os.getpid()}), flush=True)
    for answer in served(spinner, sys.stdin, time.monotonic):
        print(json.dumps(answer), flush=True)
    spinner.close()


if __name__ == "__main__":
    main()
