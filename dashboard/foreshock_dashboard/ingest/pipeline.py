"""The ingest pipeline: stores spans, then counts them, and stores the series derived from them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.common.process import CPU_LOCK
from foreshock_dashboard.ingest.span_metrics.registry import SeriesNames
from foreshock_dashboard.ingest.span_metrics.span_metrics import MAX_PENDING_SPANS, MAX_SERIES, SpanMetrics
from foreshock_dashboard.model.samples import STALE, Sample, SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.types import Json

log = logging.getLogger(__name__)

TARGET = "foreshock"
"""Where the derived series come from, in logs and on the status page."""
MAX_QUEUED_SPANS, MAX_QUEUED_BATCHES = 2048, 8
"""Spans, and batches of them, that are counted together. A second batch takes six sevenths of the time of the first,
since the processor's caches are warm (bench/hub/spans.py)."""


class Sink(Protocol):
    """Durable storage. Both methods return once the data is durable."""

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Store samples."""
        ...

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Store spans."""
        ...


class IngestPipeline:
    """Stores spans, derives metrics from them, and stores these as a scrape of the hub itself.

    On a clock that runs `speed` times as fast, exporters still batch by the wall clock, so the TTLs are scaled.
    """

    def __init__(
        self,
        sink: Sink,
        clock: Clock,
        max_series: int = MAX_SERIES,
        max_pending: int = MAX_PENDING_SPANS,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._metrics = SpanMetrics(
            ttl=10.0 * clock.speed,
            slack=30.0 * clock.speed,
            patience=120.0 * clock.speed,
            zero_for=60.0 * clock.speed,
            max_series=max_series,
            max_items=max_pending,
        )
        self._limit_log = LogOnChange(log)
        self._lock = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[tuple[Sequence[Span], float]] = []
        self._written: SeriesNames = {}
        self._collected: SeriesNames = {}

    def accept(self, spans: Sequence[Span], now: float | None = None) -> None:
        """Store spans, and count them before the next read of metrics. `now` defaults to the clock's time.

        Stored spans are accepted even if counting fails: on an error, the sender would send them for ever.

        Raises:
            StoreError: the spans could not be stored and are not counted. The sender may send them again.
        """
        self._sink.append_spans(spans)
        with self._queue_lock:
            self._queue.append((spans, self._clock.now() if now is None else now))
            queued_spans = sum(len(batch) for batch, _ in self._queue)
            is_full = queued_spans >= MAX_QUEUED_SPANS or len(self._queue) >= MAX_QUEUED_BATCHES
        if is_full:
            with self._flushed_metrics():
                pass

    def count(self, spans: Sequence[Span], now: float) -> None:
        """Count spans without storing them."""
        with self._flushed_metrics() as metrics, CPU_LOCK:
            metrics.add(spans, now)
            self._log_limit()

    @contextmanager
    def _flushed_metrics(self) -> Iterator[SpanMetrics]:
        """Lock and yield the metrics, with all queued spans counted."""
        with self._lock:
            with CPU_LOCK:
                with self._queue_lock:
                    queue, self._queue = self._queue, []
                for spans, now in queue:
                    try:
                        self._metrics.add(spans, now)
                    except Exception:  # the spans are stored, so the failure goes to the log and to a metric
                        self._metrics.add_uncounted(len(spans))
                        log.exception("%d spans were kept, but not all of them could be counted", len(spans))
                self._log_limit()
            yield self._metrics

    def _log_limit(self) -> None:
        self._limit_log.update(self._warning())

    def _warning(self) -> str:
        """Return a warning if the series limit is reached, else ""."""
        usage = self._metrics.usage
        return usage.full * (
            f"spans make more than {usage.limit} series: what is new is counted as (other) until others end; "
            "raise --span-metrics-max-series, or see whether span names contain identifiers"
        )

    def collect(self, now: float, own: Sequence[Sample] = ()) -> SampleBatch:
        """Return all series, with staleness markers for those that have ended since the last written batch.

        own: further samples for the batch; none of them is a staleness marker.
        """
        with self._flushed_metrics() as metrics:
            samples = (*metrics.collect(now), *own)
            self._collected = metrics.names()
        for name in ((sample.metric, sample.labels) for sample in own):
            self._collected[name] = (name,)
        ended = sorted(name for key in self._written.keys() - self._collected.keys() for name in self._written[key])
        stale = tuple(Sample(metric, labels, STALE) for metric, labels in ended)
        return SampleBatch(now, TARGET, samples + stale)

    def mark_written(self) -> None:
        """Record that the last collected batch is stored. Until then, the next one repeats its staleness markers.

        One thread at a time may collect and mark.
        """
        self._written = self._collected

    def write(self, now: float, own: Sequence[Sample] = ()) -> None:
        """Store all series.

        Raises:
            StoreError: they could not be stored.
        """
        self._sink.append_samples([self.collect(now, own)])
        self.mark_written()

    def text(self, now: float, *, openmetrics: bool = False) -> str:
        """Return the series in the text format, or as the first part of an OpenMetrics page with exemplars."""
        with self._flushed_metrics() as metrics:
            return metrics.text(now, openmetrics=openmetrics)

    def usage(self) -> Json:
        """Return the number of series, their limit, a warning if it is reached, and the accounting counters."""
        with self._flushed_metrics() as metrics:
            usage = metrics.usage
            return {
                "series": usage.series,
                "series_limit": usage.limit,
                "warning": self._warning(),
                "counts": dict(metrics.counts),
            }
