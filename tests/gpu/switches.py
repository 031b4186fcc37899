"""Agreement of the estimate of contention with the time that the GPU itself spends in context switches.

A GPU switches contexts only while several processes have work. So seconds that the estimate calls contended should have
more time in switches than the others, although it knows nothing of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from statistics import mean
from typing import NamedTuple

from tests.exporter.whole.exposition import Values
from tests.gpu.card import value

from foreshock_exporter.model import metrics

MIN_CONTENDED = 0.5
"""Share of an interval that is contended by the estimate, from which on the whole interval counts as contended."""


class Interval(NamedTuple):
    """Shares of an interval: contended by the estimate, and in context switches."""

    contended: float
    switching: float


class Agreement(NamedTuple):
    """Intervals by the estimate, with the mean share in context switches of each group.

    score: probability that a contended interval has more time in switches than another one (the area under the ROC
    curve, by Mann and Whitney): 1 is perfect, 0.5 is chance.
    """

    contended: int
    others: int
    switching_contended: float
    switching_others: float
    score: float

    def __str__(self) -> str:
        return (
            f"context switches agree with the estimate: {self.score:.2f} (1 is perfect, 0.5 is chance); "
            f"{self.switching_contended:.2%} of the time in {self.contended} contended intervals, "
            f"{self.switching_others:.2%} in {self.others} others"
        )


def intervals(scrapes: Sequence[tuple[float, Values]], uuid: str) -> list[Interval]:
    """Intervals between scrapes with their times in seconds; without those that lack one of the counters."""
    return [
        Interval(*(gained / (end - start) for gained in gains if gained is not None))
        for (start, before), (end, after) in pairwise(scrapes)
        for gains in [[_gained(before, after, family.name, uuid) for family in _COUNTERS]]
        if None not in gains
    ]


def agreement(found: Sequence[Interval]) -> Agreement | None:
    """Agreement over intervals; None unless some are contended and some are not."""
    contended = [part.switching for part in found if part.contended >= MIN_CONTENDED]
    others = [part.switching for part in found if part.contended < MIN_CONTENDED]
    if not contended or not others:
        return None
    wins = [float(one > other) + 0.5 * (one == other) for one in contended for other in others]
    return Agreement(len(contended), len(others), mean(contended), mean(others), mean(wins))


@contextmanager
def watched(scrape: Callable[[], Values], period: float) -> Iterator[list[tuple[float, Values]]]:
    """Scrapes of every period in seconds while the block runs, with their times."""
    found: list[tuple[float, Values]] = []
    is_over = threading.Event()

    def watch() -> None:
        while True:
            found.append((time.monotonic(), scrape()))
            if is_over.wait(period):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


_COUNTERS = (metrics.CONTENDED, metrics.CONTEXT_SWITCH)


def _gained(before: Values, after: Values, name: str, uuid: str) -> float | None:
    first, last = value(before, name, uuid=uuid), value(after, name, uuid=uuid)
    return None if first is None or last is None else last - first
