"""What is scraped of a platform: each target gives numbered samples, without text in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from foreshock_dashboard.ingest.span_metrics.registry import Series
from foreshock_dashboard.model.samples import STALE, labels_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.occupancy import OccupancySpans
from foreshock_dashboard.recording.platform import Host
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.model.family import Families, Family, HistogramSample

Scraped = tuple[list[int], list[float]]
"""The numbers of a scrape's series, and their values."""
Read = Callable[[float], Scraped]
"""Reads a target at a time (Unix seconds)."""
Tell = Mapping[str, str]
"""Labels of a target."""


class ScrapeTarget:
    """A page of metrics as Prometheus follows it: its `up`, and the end of what it no longer has."""

    def __init__(self, writer: RecordingWriter, labels: Tell, read: Read) -> None:
        self._writer, self._read = writer, read
        self._up = writer.series("up", labels_of(labels))
        self._last: list[int] = []

    def scrape(self, time: float, *, lost: bool) -> None:
        """Read it and write what it says; where the scrape is lost, all that it had has ended."""
        numbers, values = ([], []) if lost else self._read(time)
        gone: list[int] = []
        if numbers != self._last:
            gone = sorted(set(self._last).difference(numbers))
            self._last = numbers
        series = np.array([*numbers, *gone, self._up], np.int32)
        told = np.array([*values, *[STALE] * len(gone), 0.0 if lost else 1.0], np.float64)
        self._writer.add(series, np.full(len(series), round(time * 1000), np.int64), told)

    def end(self, time: float) -> None:
        """It is no target any more: all that it had has ended, its `up` as well."""
        series = np.array([*self._last, self._up], np.int32)
        stale = np.full(len(series), STALE, np.float64)
        self._writer.add(series, np.full(len(series), round(time * 1000), np.int64), stale)


class SeriesNumbers:
    """Gives the series of one target their numbers, each looked up once."""

    def __init__(self, writer: RecordingWriter, labels: Tell) -> None:
        self._writer, self._labels = writer, dict(labels)
        self._families: dict[Family, dict[tuple[str, ...], list[int]]] = {}
        self._series: dict[Series, list[int]] = {}

    def emitted(self, families: Families) -> Scraped:
        """What an exporter emits."""
        numbers: list[int] = []
        values: list[float] = []
        for family, samples in families:
            known = self._families.setdefault(family, {})
            for sample in samples:
                found = known.get(sample.labels)
                if found is None:
                    found = known[sample.labels] = self._of_family(family, sample.labels)
                numbers += found
                if isinstance(sample, HistogramSample):
                    counts = [*accumulate(sample.counts)]
                    values += (*counts, sample.sum, counts[-1])
                else:
                    values.append(sample.value)
        return _present(numbers, values)

    def counted(self, read: Iterable[tuple[Series, list[float]]]) -> Scraped:
        """What the hub counts of spans."""
        known = self._series
        numbers: list[int] = []
        values: list[float] = []
        for series, told in read:
            found = known.get(series)
            if found is None:
                found = known[series] = [self._number(metric, dict(labels)) for metric, labels in series.names]
            numbers += found
            values += told
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
        """As a scrape labels it (`honor_labels: false`): the target's own labels win over what it says."""
        own = self._labels
        told = {f"exported_{name}" if name in own else name: v for name, v in labels.items() if own.get(name) != v}
        return self._writer.series(metric, labels_of({**told, **own}))


def _present(numbers: list[int], values: list[float]) -> Scraped:
    """Without values that are NaN, which an exporter leaves out."""
    if not any(value != value for value in values):
        return numbers, values
    kept = [(number, value) for number, value in zip(numbers, values, strict=True) if value == value]
    return [number for number, _ in kept], [value for _, value in kept]


class HostTarget:
    """A host's exporter: its own reduce and emit, on the platform's time. `restart` begins anew, counters at 0."""

    def __init__(self, host: Host, writer: RecordingWriter, labels: Tell) -> None:
        self.name = host.host_name
        self._host = host
        self._numbered = SeriesNumbers(writer, labels)
        self._told = OccupancySpans(host.host_id, host.host_name, 0.0)
        self._time = 0.0
        self.restart()

    def restart(self) -> None:
        """A new exporter."""
        host = self._host
        self._exporter = Exporter(
            host.driver,
            host.resolver,
            host_id=host.host_id,
            host_name=host.host_name,
            now=lambda: self._time,
            mock=True,
            host=dict(host.collectors),
            observe=self._told.observe,
            timer=lambda: self._time,
        )

    def sample(self, time: float) -> None:
        """Take a fast sample of the GPUs."""
        self._time = time
        self._exporter.sample_gpus(time)

    def read(self, time: float) -> Scraped:
        """What a scrape says, after a sample of everything."""
        self._time = time
        self._exporter.sample(time)
        return self._numbered.emitted(self.emitted())

    def emitted(self) -> Families:
        """What the exporter knows now."""
        return snapshot_families(self._exporter.snapshot())

    def occupancy(self, *, last: bool = False) -> Sequence[Span]:
        """The spans of which service ran when, since the last call."""
        return self._told.take(last=last)
