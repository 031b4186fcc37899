"""Counters and histograms that are born at 0, end when nothing adds to them, and are at most so many."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from foreshock_dashboard.ingest.span_metrics.histogram import LE, Exemplar, Histograms, Observation
from foreshock_dashboard.model.samples import Labels, Sample
from foreshock_dashboard.model.span import Id

HISTOGRAM_SERIES = len(LE) + 2

OTHER = "(other)"
"""What labels say in the series that count what has no room for a series of its own."""


NO_ROW = -1
"""The row of what is no histogram."""


class Family(NamedTuple):
    """A metric's name (of a histogram without suffix), type and HELP sentence."""

    name: str
    type: Literal["counter", "histogram"]
    help: str


class Series:
    """One counter, or one histogram with all its buckets. `names` are its series, in the order of `values`.

    `row`: of a histogram, where it is observed. `other` says that it stands for all that had no room. Valid until
    `Registry.ended` has changed.
    """

    __slots__ = ("_histograms", "_names", "born", "family", "labels", "other", "row", "touched", "value")

    def __init__(
        self, family: Family, labels: Labels, born: int, now: float, histograms: Histograms, *, other: bool
    ) -> None:
        self.family = family
        self.labels = labels
        self.born = born
        self.touched = now
        self.other = other
        self.value = 0.0
        self.row = histograms.add(now) if family.type == "histogram" else NO_ROW
        self._histograms = histograms
        self._names: tuple[tuple[str, Labels], ...] | None = None

    def add(self, amount: float, now: float) -> None:
        """Add to a counter; adding 0 keeps it."""
        self.value += amount
        self.touched = now

    def observe(self, seconds: float, span: Id | None) -> None:
        """Note a span's duration in a histogram; `Registry.settle` counts it."""
        if self.row != NO_ROW:
            self._histograms.observe(((self.row, seconds, span),))

    def end(self) -> None:
        """Make room."""
        if self.row != NO_ROW:
            self._histograms.remove(self.row)

    @property
    def last(self) -> float:
        """When it was last added to."""
        return self.touched if self.row == NO_ROW else self._histograms.last(self.row)

    @property
    def names(self) -> tuple[tuple[str, Labels], ...]:
        """Metric and labels of each."""
        if self._names is None:
            self._names = _names(self.family, self.labels)
        return self._names

    def values(self) -> list[float]:
        """What each of `names` is worth now."""
        if self.row == NO_ROW:
            return [self.value]
        cumulative = [float(count) for count in self._histograms.cumulative(self.row)]
        return [*cumulative, self._histograms.sum(self.row), cumulative[-1]]

    def exemplars(self) -> list[Exemplar | None]:
        """The newest span of each bucket of a histogram; none of a counter."""
        return [] if self.row == NO_ROW else self._histograms.exemplars(self.row)


class Reading(NamedTuple):
    """A counter or histogram as one reader is to see it: `exemplars` of its buckets, in the order of `LE`."""

    family: Family
    samples: list[Sample]
    exemplars: list[Exemplar | None]


class Use(NamedTuple):
    """How many series there are, how many there may be, and whether some have no room."""

    series: int
    limit: int
    full: bool


class Registry:
    """Holds at most `max_series` series (a histogram is 33); one that nothing was added to for `stale_after` s ends.

    What has no room any more is counted by a series more of its family whose labels say `OTHER`, but for those `kept`,
    which have few values: so sums stay right.

    A new series is shown as 0 first: a `rate` sees only differences, so the first increments would be lost without it.
    Readers are told apart by name; one name may stand for several that read at different times.
    """

    def __init__(self, max_series: int, stale_after: float, kept: Collection[str] = ()) -> None:
        self._kept = frozenset(kept)
        self._max_series = max_series
        self._stale_after = stale_after
        self._series: dict[tuple[Family, Labels], Series] = {}
        self._others: dict[tuple[Family, Labels], Series] = {}
        self._histograms = Histograms()
        self._size = 0
        self._births = 0
        self._shown: dict[str, _Shown] = {}
        self._overflow = 0
        self.ended = 0

    def __len__(self) -> int:
        return self._size

    def get(self, family: Family, labels: Labels, now: float) -> Series:
        """The series to add to; made where there is none. Ask anew each time for one that is `other`."""
        series = self._series.get((family, labels))
        if series is not None:
            return series
        size = HISTOGRAM_SERIES if family.type == "histogram" else 1
        if self._size + size > self._max_series:
            self._overflow += 1
            return self._other(family, labels, now)
        self._size += size
        series = self._series[family, labels] = self._born(family, labels, now, other=False)
        return series

    def observe(self, observations: Iterable[Observation]) -> None:
        """Note durations of spans in histograms, by the `row` of each; `settle` counts them."""
        self._histograms.observe(observations)

    def observe_columns(self, rows: Sequence[int], seconds: Sequence[float], spans: Sequence[Id | None]) -> None:
        """The same of columns, equally long."""
        self._histograms.observe_columns(rows, seconds, spans)

    def settle(self, now: float) -> None:
        """Count the durations that were observed, as seen `now`."""
        self._histograms.settle(now)

    def expire(self, now: float) -> None:
        """End the series that nothing was added to for long."""
        self.settle(now)
        for held in (self._series, self._others):
            old = [key for key, series in held.items() if series.last + self._stale_after <= now]
            for key in old:
                series = held.pop(key)
                self._size -= 0 if series.other else len(series.names)
                series.end()
            self.ended += len(old)

    @property
    def use(self) -> Use:
        """How much of its room is taken."""
        return Use(self._size, self._max_series, bool(self._others))

    def take_overflow(self) -> int:
        """How often, since the last call, something was counted as `OTHER` because there were too many series."""
        overflow, self._overflow = self._overflow, 0
        return overflow

    def read(self, reader: str, now: float, zero_for: float = 0.0) -> Iterator[Reading]:
        """Every counter and histogram; those first read less than `zero_for` seconds ago, or now, as 0."""
        self.settle(now)
        known = self._shown.setdefault(reader, _Shown()).until(now, zero_for, self._births)
        for series in self.all():
            shown = series.born <= known
            values = series.values() if shown else [0.0] * len(series.names)
            yield Reading(
                series.family,
                [Sample(name, labels, value) for (name, labels), value in zip(series.names, values, strict=True)],
                series.exemplars() if shown else [],
            )

    def all(self) -> list[Series]:
        """Every series there is."""
        return [*self._series.values(), *self._others.values()]

    def _other(self, family: Family, labels: Labels, now: float) -> Series:
        key = family, tuple((name, value if name in self._kept else OTHER) for name, value in labels)
        series = self._others.get(key)
        if series is None:
            series = self._others[key] = self._born(*key, now, other=True)
        return series

    def _born(self, family: Family, labels: Labels, now: float, *, other: bool) -> Series:
        self._births += 1
        return Series(family, labels, self._births, now, self._histograms, other=other)


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


_LE_PAIRS = [("le", le) for le in LE]


def _names(family: Family, labels: Labels) -> tuple[tuple[str, Labels], ...]:
    if family.type == "counter":
        return ((family.name, labels),)
    bucket = f"{family.name}_bucket"
    buckets = [(bucket, tuple(sorted((*labels, pair)))) for pair in _LE_PAIRS]  # which share their pairs
    return (*buckets, (f"{family.name}_sum", labels), (f"{family.name}_count", labels))
