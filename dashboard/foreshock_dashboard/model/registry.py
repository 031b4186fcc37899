"""Counters and histograms that are born at 0, end when nothing adds to them, and are at most so many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

from foreshock_dashboard.model.histogram import LE, Histogram
from foreshock_dashboard.model.samples import Labels, Sample, labels_of

HISTOGRAM_SERIES = len(LE) + 2


class Family(NamedTuple):
    """A metric's name (of a histogram without suffix), type and HELP sentence."""

    name: str
    type: Literal["counter", "histogram"]
    help: str


class _Series:
    """One counter, or one histogram with all its buckets. `names` are its series, in the order of `values`."""

    __slots__ = ("born", "family", "histogram", "names", "touched", "value")

    def __init__(self, family: Family, labels: Labels, born: int, now: float) -> None:
        self.family = family
        self.born = born
        self.touched = now
        self.value = 0.0
        self.histogram = Histogram() if family.type == "histogram" else None
        self.names = _names(family, labels)

    def values(self) -> list[float]:
        """What each of `names` is worth now."""
        if self.histogram is None:
            return [self.value]
        cumulative = [float(count) for count in self.histogram.cumulative()]
        return [*cumulative, self.histogram.sum, cumulative[-1]]


class Registry:
    """Holds at most `max_series` series (a histogram is 33); one that nothing was added to for `stale_after` s ends.

    A new series is shown as 0 first: a `rate` sees only differences, so the first increments would be lost without it.
    Readers are told apart by name; one name may stand for several that read at different times.
    """

    def __init__(self, max_series: int, stale_after: float) -> None:
        self._max_series = max_series
        self._stale_after = stale_after
        self._series: dict[tuple[Family, Labels], _Series] = {}
        self._size = 0
        self._births = 0
        self._shown: dict[str, _Shown] = {}
        self._overflow = 0

    def __len__(self) -> int:
        return self._size

    def add(self, family: Family, labels: Labels, amount: float, now: float) -> None:
        """Add to a counter; adding 0 makes it exist."""
        series = self._get(family, labels, now)
        if series is not None:
            series.value += amount

    def observe(self, family: Family, labels: Labels, seconds: float, now: float) -> None:
        """Count a duration in a histogram."""
        series = self._get(family, labels, now)
        if series is not None and series.histogram is not None:
            series.histogram.observe(seconds)

    def expire(self, now: float) -> None:
        """End the series that nothing was added to for long."""
        old = [key for key, series in self._series.items() if series.touched + self._stale_after <= now]
        for key in old:
            self._size -= len(self._series.pop(key).names)

    def take_overflow(self) -> int:
        """How often, since the last call, something was not counted because there were too many series."""
        overflow, self._overflow = self._overflow, 0
        return overflow

    def read(self, reader: str, now: float, zero_for: float = 0.0) -> Iterator[tuple[Family, list[Sample]]]:
        """Every counter and histogram as samples; those first read less than `zero_for` seconds ago, or now, as 0."""
        known = self._shown.setdefault(reader, _Shown()).until(now, zero_for, self._births)
        for series in list(self._series.values()):
            values = series.values() if series.born <= known else [0.0] * len(series.names)
            yield (
                series.family,
                [Sample(name, labels, value) for (name, labels), value in zip(series.names, values, strict=True)],
            )

    def _get(self, family: Family, labels: Labels, now: float) -> _Series | None:
        series = self._series.get((family, labels))
        if series is not None:
            series.touched = now
            return series
        size = HISTOGRAM_SERIES if family.type == "histogram" else 1
        if self._size + size > self._max_series:
            self._overflow += 1
            return None
        self._births += 1
        self._size += size
        series = self._series[family, labels] = _Series(family, labels, self._births, now)
        return series


class _Shown:
    """Which births one reader has been shown, and when first."""

    def __init__(self) -> None:
        self._known = 0
        self._firsts: deque[tuple[float, int]] = deque()

    def until(self, now: float, zero_for: float, births: int) -> int:
        """The last birth that was shown first at least `zero_for` seconds ago. All are shown now."""
        while self._firsts and not 0 <= now - self._firsts[0][0] < zero_for:  # a clock set back holds nothing up
            self._known = self._firsts.popleft()[1]
        if births > (self._firsts[-1][1] if self._firsts else self._known):
            self._firsts.append((now, births))
        return self._known


def _names(family: Family, labels: Labels) -> tuple[tuple[str, Labels], ...]:
    if family.type == "counter":
        return ((family.name, labels),)
    buckets = [(f"{family.name}_bucket", labels_of({**dict(labels), "le": le})) for le in LE]
    return (*buckets, (f"{family.name}_sum", labels), (f"{family.name}_count", labels))
