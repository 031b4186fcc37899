"""Registry of counters and histograms that start at 0, expire when unused, and are limited in number."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

from foreshock_dashboard.ingest.span_metrics.histogram import LE_VALUES, Exemplar, Histograms
from foreshock_dashboard.model.samples import Labels, Sample

SERIES_PER_HISTOGRAM = len(LE_VALUES) + 2

OTHER = "(other)"
"""Label value of overflow series, which count everything beyond the series limit."""

NO_ROW = -1
"""Histogram row of a counter."""

_LE_PAIRS = [("le", le) for le in LE_VALUES]  # shared by all series


class Family(NamedTuple):
    """Name (of a histogram without suffix), type and HELP text of a metric family."""

    name: str
    type: Literal["counter", "histogram"]
    help: str


SeriesNames = dict[tuple[str, Labels], tuple[tuple[str, Labels], ...]]
"""Metric name and labels of each sample, by name and labels of the counter or histogram: objects that exist anyway."""


class Series:
    """One counter, or one histogram with all its buckets. Valid until `Registry.expired` changes.

    touched: Unix seconds of the last increment of a counter.
    row: row of a histogram in `Histograms`.
    is_overflow: whether it counts everything that had no room.
    """

    __slots__ = ("_histograms", "_names", "birth", "family", "is_overflow", "labels", "row", "touched", "value")

    def __init__(
        self, family: Family, labels: Labels, birth: int, now: float, histograms: Histograms, *, is_overflow: bool
    ) -> None:
        self.family, self.labels, self.birth, self.is_overflow = family, labels, birth, is_overflow
        self.touched, self.value = now, 0.0
        self.row = histograms.add(now) if family.type == "histogram" else NO_ROW
        self._histograms = histograms
        self._names: tuple[tuple[str, Labels], ...] | None = None

    def add(self, amount: float, now: float) -> None:
        """Add to a counter. Adding 0 keeps it from expiring."""
        self.value += amount
        self.touched = now

    @property
    def updated_at(self) -> float:
        """Unix seconds of the last increment or duration."""
        return self.touched if self.row == NO_ROW else self._histograms.updated_at(self.row)

    @property
    def names(self) -> tuple[tuple[str, Labels], ...]:
        """Metric name and labels of each value."""
        if self._names is None:
            name, labels = self.family.name, self.labels
            if self.row == NO_ROW:
                self._names = ((name, labels),)
            else:
                buckets = [(f"{name}_bucket", tuple(sorted((*labels, pair)))) for pair in _LE_PAIRS]
                self._names = (*buckets, (f"{name}_sum", labels), (f"{name}_count", labels))
        return self._names

    def values(self) -> list[float]:
        """Return the values, in the order of `names`."""
        if self.row == NO_ROW:
            return [self.value]
        cumulative = [float(count) for count in self._histograms.cumulative(self.row)]
        return [*cumulative, self._histograms.sum(self.row), cumulative[-1]]

    def exemplars(self) -> list[Exemplar | None]:
        """Return the newest span of each histogram bucket; empty for a counter."""
        return [] if self.row == NO_ROW else self._histograms.exemplars(self.row)


class SeriesSamples(NamedTuple):
    """Samples of one counter or histogram for one reader, and the exemplars of its buckets in order."""

    family: Family
    samples: list[Sample]
    exemplars: list[Exemplar | None]


class SeriesUsage(NamedTuple):
    """Number of series, their limit, and whether it is reached."""

    series: int
    limit: int
    full: bool


class Registry:
    """Holds at most `max_series` series (a histogram is 33). A series without updates for `stale_after` s expires.

    Beyond the limit, each family counts in overflow series, so that sums stay right. All their labels have the value
    `OTHER`, except the `bounded_labels`, which have few values.

    A new series first reads as 0: `rate` sees only differences, and would miss the first increment otherwise. Each
    reader has a name. Readers that share a name may read at different times.

    Attributes:
        histograms: rows of the histogram series.
        expired: number of series that have expired.
    """

    def __init__(self, max_series: int, stale_after: float, bounded_labels: Collection[str] = ()) -> None:
        self.histograms = Histograms()
        self.expired = 0
        self._bounded_labels = frozenset(bounded_labels)
        self._max_series, self._stale_after = max_series, stale_after
        self._series: dict[tuple[Family, Labels], Series] = {}
        self._overflow_series: dict[tuple[Family, Labels], Series] = {}
        self._size = self._births = self._overflow = 0
        self._readers: dict[str, _Reader] = {}

    def __len__(self) -> int:
        return self._size

    def get(self, family: Family, labels: Labels, now: float) -> Series:
        """Return the series to add to, created if needed. An overflow series must not be cached."""
        series = self._series.get((family, labels))
        if series is not None:
            return series
        size = SERIES_PER_HISTOGRAM if family.type == "histogram" else 1
        table, is_overflow = self._series, self._size + size > self._max_series
        if is_overflow:
            self._overflow += 1
            labels = tuple((name, value if name in self._bounded_labels else OTHER) for name, value in labels)
            table = self._overflow_series
            if (series := table.get((family, labels))) is not None:
                return series
        else:
            self._size += size
        self._births += 1
        series = table[family, labels] = Series(
            family, labels, self._births, now, self.histograms, is_overflow=is_overflow
        )
        return series

    def expire(self, now: float) -> None:
        """Remove series without recent updates."""
        self.histograms.flush(now)
        for table in (self._series, self._overflow_series):
            old = [key for key, series in table.items() if series.updated_at + self._stale_after <= now]
            for key in old:
                series = table.pop(key)
                self._size -= 0 if series.is_overflow else len(series.names)
                if series.row != NO_ROW:
                    self.histograms.remove(series.row)
            self.expired += len(old)

    @property
    def usage(self) -> SeriesUsage:
        """How much of the limit is used."""
        return SeriesUsage(self._size, self._max_series, bool(self._overflow_series))

    def take_overflow(self) -> int:
        """Return how often something was counted in an overflow series since the last call."""
        overflow, self._overflow = self._overflow, 0
        return overflow

    def read(self, reader: str, now: float, zero_for: float = 0.0) -> Iterator[SeriesSamples]:
        """Yield every series; as 0 if this reader first saw it now, or less than `zero_for` seconds ago."""
        self.histograms.flush(now)
        last_birth = self._readers.setdefault(reader, _Reader()).last_shown_birth(now, zero_for, self._births)
        for series in self.all():
            shown = series.birth <= last_birth
            values = series.values() if shown else [0.0] * len(series.names)
            yield SeriesSamples(
                series.family,
                [Sample(name, labels, value) for (name, labels), value in zip(series.names, values, strict=True)],
                series.exemplars() if shown else [],
            )

    def all(self) -> list[Series]:
        """Return every series."""
        return [*self._series.values(), *self._overflow_series.values()]


class _Reader:
    """The series that one reader has seen, by the numbers of their births, and when it saw them first."""

    def __init__(self) -> None:
        self._last_shown = 0
        self._first_reads: deque[tuple[float, int]] = deque()

    def last_shown_birth(self, now: float, zero_for: float, births: int) -> int:
        """Return the last birth that was first read at least `zero_for` seconds ago. This call reads all births."""
        first_reads = self._first_reads
        while first_reads and not 0 <= now - first_reads[0][0] < zero_for:  # also if the clock was set back
            self._last_shown = first_reads.popleft()[1]
        if births > (first_reads[-1][1] if first_reads else self._last_shown):
            first_reads.append((now, births))
        return self._last_shown
