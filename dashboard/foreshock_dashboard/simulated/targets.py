"""Scrape targets of a simulated platform. Samples pass as numbers, without exposition text in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from foreshock_dashboard.ingest.span_metrics.registry import Series
from foreshock_dashboard.model.samples import STALE, labels_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.simulated.occupancy_spans import OccupancySpans
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.gpu.collector import GpuOptions
from foreshock_exporter.model.family import Families, Family, HistogramSample
from foreshock_simulator.simulation import SimHost

Scraped = tuple[list[int], list[float]]
"""Series numbers and values of one scrape."""
Read = Callable[[float], Scraped]
"""Reads a target at a time (Unix seconds)."""
TargetLabels = Mapping[str, str]


class ScrapeTarget:
    """A target as Prometheus scrapes it: writes its samples, `up`, and staleness markers of vanished series."""

    def __init__(self, writer: RecordingWriter, labels: TargetLabels, read: Read) -> None:
        self._writer, self._read = writer, read
        self._up = writer.series("up", labels_of(labels))
        self._last: list[int] = []

    def scrape(self, time: float, *, lost: bool) -> None:
        """Write the target's samples. A lost scrape marks all its series stale."""
        numbers, values = ([], []) if lost else self._read(time)
        self._write(time, numbers, values, 0.0 if lost else 1.0)

    def end(self, time: float) -> None:
        """Mark all series stale, `up` included: the target is gone."""
        self._write(time, [], [], STALE)

    def _write(self, time: float, numbers: list[int], values: list[float], up: float) -> None:
        gone: list[int] = []
        if numbers != self._last:
            gone = sorted(set(self._last).difference(numbers))
            self._last = numbers
        series = np.array([*numbers, *gone, self._up], np.int32)
        written = np.array([*values, *[STALE] * len(gone), up], np.float64)
        self._writer.add(series, np.full(len(series), round(time * 1000), np.int64), written)


class SeriesNumbers:
    """Maps the series of one target to their numbers. Each is looked up once."""

    def __init__(self, writer: RecordingWriter, labels: TargetLabels) -> None:
        self._writer, self._labels = writer, dict(labels)
        self._families: dict[Family, dict[tuple[str, ...], list[int]]] = {}
        self._series: dict[Series, list[int]] = {}

    def of_families(self, families: Families) -> Scraped:
        """Return numbers and values of metric families."""
        numbers: list[int] = []
        values: list[float] = []
        for family, samples in families:
            numbers_of_labels = self._families.setdefault(family, {})
            for sample in samples:
                of_sample = numbers_of_labels.get(sample.labels)
                if of_sample is None:
                    of_sample = numbers_of_labels[sample.labels] = self._of_family(family, sample.labels)
                numbers += of_sample
                if isinstance(sample, HistogramSample):
                    counts = [*accumulate(sample.counts)]
                    values += (*counts, sample.sum, counts[-1])
                else:
                    values.append(sample.value)
        if not any(math.isnan(value) for value in values):
            return numbers, values
        present = [i for i, value in enumerate(values) if not math.isnan(value)]  # an exporter drops NaN
        return [numbers[i] for i in present], [values[i] for i in present]

    def of_series(self, series_values: Iterable[tuple[Series, list[float]]]) -> Scraped:
        """Return numbers and values of the hub's series."""
        numbers: list[int] = []
        values: list[float] = []
        for series, of_series in series_values:
            if series not in self._series:
                self._series[series] = [self._number(metric, dict(labels)) for metric, labels in series.names]
            numbers += self._series[series]
            values += of_series
        return numbers, values

    def _of_family(self, family: Family, labels: tuple[str, ...]) -> list[int]:
        pairs = dict(zip(family.labels, labels, strict=True))
        if family.kind != "histogram":
            return [self._number(family.name, pairs)]
        bounds = [*map(repr, family.bounds), "+Inf"]
        return [
            *(self._number(f"{family.name}_bucket", {**pairs, "le": le}) for le in bounds),
            self._number(f"{family.name}_sum", pairs),
            self._number(f"{family.name}_count", pairs),
        ]

    def _number(self, metric: str, labels: dict[str, str]) -> int:
        """Number of a series with the target's labels, which take precedence (`honor_labels: false`)."""
        own = self._labels
        exported = {f"exported_{name}" if name in own else name: v for name, v in labels.items() if own.get(name) != v}
        return self._writer.series(metric, labels_of({**exported, **own}))


class HostTarget:
    """A host's exporter, the real one, on the platform's time."""

    def __init__(self, host: SimHost, writer: RecordingWriter, labels: TargetLabels) -> None:
        self.name = host.host_name
        self._host = host
        self._series_numbers = SeriesNumbers(writer, labels)
        self._occupancy = OccupancySpans(host.host_id, host.host_name, 0.0)
        self._time = 0.0
        self.restart()

    def restart(self) -> None:
        """Replace the exporter by a new one, with counters at 0."""
        host = self._host
        self._exporter = Exporter(
            host.driver,
            host.resolver,
            GpuOptions(observe=self._occupancy.observe),
            host_id=host.host_id,
            host_name=host.host_name,
            now=lambda: self._time,
            mock=True,
            host=dict(host.collectors),
            timer=lambda: self._time,
        )

    def sample(self, time: float) -> None:
        """Take a GPU sample."""
        self._time = time
        self._exporter.sample_gpus(time)

    def read(self, time: float) -> Scraped:
        """Sample everything and return the scrape."""
        self._time = time
        self._exporter.sample(time)
        return self._series_numbers.of_families(self.families())

    def families(self) -> Families:
        """Return the exporter's current metrics."""
        return snapshot_families(self._exporter.snapshot())

    def occupancy(self, *, last: bool = False) -> Sequence[Span]:
        """Return the occupancy spans since the last call; with `last`, of open intervals too."""
        return self._occupancy.take(last=last)
