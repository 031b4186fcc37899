"""Histograms with fixed bounds, as Prometheus' classic ones, with an example of each bucket.

All of them lie in a few arrays, a row each, and what is observed is put there many at once: one by one, it would cost
more than everything else that is done with a span's duration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.span import Id

BOUNDS = (
    *(0.005, 0.007, 0.01, 0.015, 0.025, 0.035, 0.05, 0.07),
    *(0.1, 0.14, 0.2, 0.28, 0.4, 0.57, 0.8, 1.13, 1.6, 2.26, 3.2, 4.5, 6.4, 9.0, 12.8),
    *(18.0, 25.0, 36.0, 60.0, 85.0, 120.0, 300.0),
)
"""Seconds: Tempo's (0.1 × 2^k), one between each two of them, finer below, and up to five minutes, for a model's answer
may take that. A quantile is known to one bucket, about √2: coarser, and a service could slow down by half unseen."""

LE = (*(repr(bound) for bound in BOUNDS), "+Inf")
"""The values of the label `le`, written as Prometheus 3 normalises them."""


EXAMPLE_SECONDS = 1.0
"""How long a bucket keeps an example: a new one for each span would cost more than counting it."""


class Exemplar(NamedTuple):
    """A span that fell into a bucket: its ids, its seconds, and when it was counted (Unix seconds)."""

    trace_id: str
    span_id: str
    seconds: float
    time: float


Observation = tuple[int, float, Id | None]
"""A row, a span's seconds, and which span it was."""

_FIRST = 64
"""Rows that there is room for at first."""


class Histograms:
    """How many durations fell into each bucket of each row, their sum in seconds, and when the last one was seen.

    What is observed shows once it is settled. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((_FIRST, len(LE)), np.int64)
        self._sums, self._touched = np.zeros(_FIRST), np.zeros(_FIRST)
        self._times = np.full((_FIRST, len(LE)), -np.inf)
        self._examples: dict[int, tuple[Id, float]] = {}
        """By the place of a bucket, counted over all rows."""
        self._free: list[int] = []
        self._rows = 0
        self._begin()

    def _begin(self) -> None:
        """With nothing that waits to be counted."""
        self._listed: list[int] = []
        self._seconds: list[float] = []
        self._spans: list[Id | None] = []

    def add(self, now: float = 0.0) -> int:
        """A new row, in which nothing fell into any bucket."""
        row = self._free.pop() if self._free else self._rows
        self._rows = max(self._rows, row + 1)
        if row == len(self._sums):
            self._counts, self._times = _doubled(self._counts), _doubled(self._times)
            self._sums, self._touched = _doubled(self._sums), _doubled(self._touched)
        self._counts[row], self._sums[row], self._touched[row], self._times[row] = 0, 0.0, now, -np.inf
        return row

    def remove(self, row: int) -> None:
        """Let a row go; nothing may be observed in it that is not settled."""
        self._free.append(row)
        for place in _places(row):
            self._examples.pop(place, None)

    def observe(self, observations: Iterable[Observation]) -> None:
        """Note durations of spans; a bucket's upper bound belongs to it."""
        if columns := [*zip(*observations, strict=True)]:
            self.observe_columns(*columns)

    def observe_columns(self, rows: Sequence[int], seconds: Sequence[float], spans: Sequence[Id | None]) -> None:
        """The same of columns, equally long."""
        self._listed += rows
        self._seconds += seconds
        self._spans += spans

    def settle(self, now: float) -> None:
        """Count what was observed, as seen `now`."""
        listed, durations, spans = self._listed, self._seconds, self._spans
        if not listed:
            return
        self._begin()
        rows, seconds = np.array(listed, np.int64), np.array(durations, np.float64)  # told, they need not be found out
        flat = rows * len(LE) + np.searchsorted(_BOUNDS, seconds)
        np.add.at(self._counts.reshape(-1), flat, 1)  # in one dimension, it takes a tenth of the time
        np.add.at(self._sums, rows, seconds)
        self._touched[rows] = now
        times = self._times.reshape(-1)
        age = now - times[flat]
        due = np.flatnonzero(~((age >= 0) & (age < EXAMPLE_SECONDS)))
        examples = {
            place: (span, durations[at])
            for at, place in zip(due.tolist(), flat[due].tolist(), strict=True)
            if (span := spans[at]) is not None
        }
        self._examples |= examples
        times[[*examples]] = now

    def cumulative(self, row: int) -> list[int]:
        """Counts at most each bound of `LE`, as `_bucket` series have them; the last is the count of all."""
        found: list[int] = self._counts[row].cumsum().tolist()
        return found

    def sum(self, row: int) -> float:
        """Seconds."""
        return float(self._sums[row])

    def last(self, row: int) -> float:
        """When a duration was counted last."""
        return float(self._touched[row])

    def exemplars(self, row: int) -> list[Exemplar | None]:
        """The newest span of each bucket of `LE`, to a second."""
        found = [*map(self._examples.get, _places(row))]
        times = self._times[row].tolist()
        return [_exemplar(*each, time) if each else None for each, time in zip(found, times, strict=True)]


_BOUNDS = np.array(BOUNDS)


def _places(row: int) -> range:
    return range(row * len(LE), (row + 1) * len(LE))


def _doubled(rows: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([rows, np.zeros_like(rows)])


def _exemplar(span: Id, seconds: float, time: float) -> Exemplar:
    return Exemplar(span[:16].hex(), span[16:].hex(), seconds, time)
