"""What the hub does with spans and with its own series: keep them first, then count them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.cpu_lock import CPU_LOCK
from foreshock_dashboard.ingest.span_metrics.histogram import Exemplar
from foreshock_dashboard.ingest.span_metrics.span_metrics import MAX_SERIES, SpanMetrics
from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, is_stale
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.types import Json

log = logging.getLogger(__name__)

TOGETHER, BATCHES = 2048, 8
"""Spans, and batches of them, that are counted one right after the other: the second takes six sevenths of the time of
the first, for the processor's caches hold what counting needs by then."""


class Keeper(Protocol):
    """Where accepted data is kept; both calls return once it is durable."""

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Keep samples."""
        ...

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Keep spans."""
        ...


class Intake:
    """Keeps spans, pairs them, and writes the series that come of it into the store as a scrape of itself.

    On a clock that runs `speed` times as fast, exporters still batch by the wall clock: waiting times grow with it.
    """

    def __init__(self, keeper: Keeper, clock: Clock, target: str = "foreshock", max_series: int = MAX_SERIES) -> None:
        self._keeper = keeper
        self._clock = clock
        self._target = target
        self._metrics = SpanMetrics(
            ttl=10.0 * clock.speed,
            slack=30.0 * clock.speed,
            patience=120.0 * clock.speed,
            zero_for=60.0 * clock.speed,
            max_series=max_series,
        )
        self._full = False
        self._lock = threading.Lock()
        self._arriving = threading.Lock()
        self._coming: list[tuple[Sequence[Span], float]] = []
        self._written: frozenset[tuple[str, Labels]] = frozenset()
        self._collected: tuple[SampleBatch | None, frozenset[tuple[str, Labels]]] = (None, frozenset())

    def accept(self, spans: Sequence[Span], now: float | None = None) -> None:
        """Keep the spans, then count them, at the latest when somebody wants to know. `now` is the clock's time unless
        given.

        What is kept is accepted, also if counting it fails: a sender that was told otherwise would send it for ever.

        Raises:
            StoreError: they could not be kept; then they are not counted either, and the sender may send them again.
        """
        self._keeper.append_spans(spans)
        with self._arriving:
            self._coming.append((spans, self._clock.now() if now is None else now))
            many = len(self._coming) >= BATCHES or sum(len(some) for some, _ in self._coming) >= TOGETHER
        if many:
            with self._counted():
                pass

    def count(self, spans: Sequence[Span], now: float) -> None:
        """Pair and count spans that need not be kept."""
        with self._counted() as metrics, CPU_LOCK:
            metrics.add(spans, now)
            self._tell()

    @contextmanager
    def _counted(self) -> Iterator[SpanMetrics]:
        """The metrics for one thread at a time, once all that came is counted."""
        with self._lock:
            with CPU_LOCK:
                with self._arriving:
                    coming, self._coming = self._coming, []
                for spans, now in coming:
                    try:
                        self._metrics.add(spans, now)
                    except Exception:  # whatever it is, they are kept; it is told in the log and by a metric
                        self._metrics.missed(len(spans))
                        log.exception("%d spans were kept, but not all of them could be counted", len(spans))
                self._tell()
            yield self._metrics

    def _tell(self) -> None:
        """Say in the log, once, that there is no room for more series."""
        if self._metrics.use.full != self._full:
            self._full = not self._full
            if self._full:
                log.warning("%s", self._warning())

    def collect(self, now: float, own: Sequence[Sample] = ()) -> SampleBatch:
        """All series as they stand, and the staleness marker for those that have ended since the last one kept. None of
        `own` is such a marker."""
        with self._counted() as metrics:
            samples = (*metrics.collect(now), *own)
        live = _series(samples)
        ended = sorted(self._written - live)
        batch = SampleBatch(
            now, self._target, samples + tuple(Sample(metric, labels, STALE) for metric, labels in ended)
        )
        self._collected = batch, live
        return batch

    def written(self, batch: SampleBatch) -> None:
        """Take note that the batch is kept; until then, what it marks as ended is marked again by the next one."""
        (known, live), self._collected = self._collected, (None, frozenset())
        self._written = live if known is batch else _series(s for s in batch.samples if not is_stale(s.value))

    def write(self, now: float, own: Sequence[Sample] = ()) -> None:
        """Write all series into the store.

        Raises:
            StoreError: they could not be kept.
        """
        batch = self.collect(now, own)
        self._keeper.append_samples([batch])
        self.written(batch)

    def text(self, now: float, *, openmetrics: bool = False) -> str:
        """The series in the Prometheus text format, or as the beginning of a page of OpenMetrics, with exemplars."""
        with self._counted() as metrics:
            return metrics.text(now, openmetrics=openmetrics)

    def series(self) -> Json:
        """How many series spans make, how many they may, what to do where that is too few, and what was not counted."""
        with self._counted() as metrics:
            use = metrics.use
            return {
                "series": use.series,
                "series_limit": use.limit,
                "warning": self._warning() if use.full else "",
                "counts": dict(metrics.counts),
            }

    def _warning(self) -> str:
        return (
            f"spans make more than {self._metrics.use.limit} series: what is new is counted as (other) until others "
            "end; raise --span-series, or see whether span names contain identifiers"
        )

    def examples(self, metric: str, labels: Mapping[str, str]) -> dict[str, Exemplar]:
        """The newest span in each bucket, by its `le`, of those series of a histogram that have these labels."""
        with self._counted() as metrics:
            return metrics.examples(metric, labels)


def _series(samples: Iterable[Sample]) -> frozenset[tuple[str, Labels]]:
    return frozenset((sample.metric, sample.labels) for sample in samples)
