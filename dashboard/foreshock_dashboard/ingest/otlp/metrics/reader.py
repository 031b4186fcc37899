"""Reads OTLP metric requests into samples.

Source: OpenTelemetry's "Prometheus and OpenMetrics Compatibility". Exemplars are left out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    ExponentialHistogramDataPoint,
    Gauge,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from foreshock_dashboard.ingest.otlp.metrics.histogram import Histogram, ended, explicit, exponential
from foreshock_dashboard.ingest.otlp.metrics.labels import exceeds_limits, resource_labels, series_labels
from foreshock_dashboard.ingest.otlp.metrics.names import metric_name
from foreshock_dashboard.ingest.otlp.metrics.totals import Amount, Starts, Totals
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, labels_of

MAX_AGE_SECONDS, MAX_AHEAD_SECONDS = 3600.0, 60.0
"""A point may be that much older or newer than the hub's time."""
MAX_DELTA_SERIES = 50_000
MAX_CHECKED_SERIES = 50_000
"""Cumulative series of which the start is known."""
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint
Series = tuple[str, Labels]
_Value = tuple[str, Mapping[str, str], float]
"""Metric, labels besides those of the point, and value."""


class MetricsReader:
    """Stores the points of requests as samples at their times. Thread-safe.

    Args:
        sink: durable storage; what it raises is passed on, and the sender may send the request again.
        now: the hub's time, Unix seconds.
        max_delta_series: limit of series that are reported as deltas.
    """

    def __init__(
        self,
        sink: Callable[[Sequence[SampleBatch]], None],
        now: Callable[[], float],
        max_delta_series: int = MAX_DELTA_SERIES,
    ) -> None:
        self._sink, self._now = sink, now
        self._totals = Totals(max_delta_series)
        self._starts = Starts(MAX_CHECKED_SERIES)
        self._lock = threading.Lock()

    def accept(self, payload: bytes) -> tuple[int, Counter[str]]:
        """Store a protobuf ExportMetricsServiceRequest; returns the stored points, and rejected ones by reason.

        Raises:
            DecodeError: the payload is not such a request.
        """
        request = ExportMetricsServiceRequest.FromString(payload)
        now, rejected, stored = self._now(), Counter[str](), 0
        batches: list[SampleBatch] = []
        with self._lock:
            try:
                for group in request.resource_metrics:
                    labels = resource_labels(group.resource.attributes)
                    seen = self._starts.first_seen(labels.process, now) if labels.process else 0
                    by_time: dict[float, dict[Series, float]] = {}
                    for metric in (metric for scoped in group.scope_metrics for metric in scoped.metrics):
                        for point in _points(metric):
                            try:
                                self._read(metric, point, labels.series, by_time, now, seen)
                                stored += 1
                            except ValueError as error:
                                rejected[str(error)] += 1
                    if by_time and labels.info.keys() > {"job", "instance"} & labels.info.keys():
                        by_time[max(by_time)]["target_info", labels_of(labels.info)] = 1.0
                    name = f"otlp {labels.info.get('job', '')}".strip()
                    batches += [
                        SampleBatch(time, name, tuple(Sample(*series, value) for series, value in samples.items()))
                        for time, samples in by_time.items()
                    ]
                if batches:
                    self._sink(batches)
                self._totals.commit(now)
            finally:
                self._totals.discard()
        return stored, rejected

    def _read(
        self,
        metric: Metric,
        point: Point,
        common: Mapping[str, str],
        by_time: dict[float, dict[Series, float]],
        now: float,
        seen: int,
    ) -> None:
        """Add the samples of a point. Raises ValueError with the reason for which it is rejected.

        seen: order of its process among those without an instance id; 0 with one.
        """
        time = point.time_unix_nano / 1e9 or now
        if not now - MAX_AGE_SECONDS <= time <= now + MAX_AHEAD_SECONDS:
            raise ValueError("time too far from the hub's")
        labels = {**series_labels(attributes_of(point.attributes)), **common}
        if exceeds_limits(labels):
            raise ValueError("too many or too long labels")
        name = _name(metric)
        if not name:
            raise ValueError("no name")
        samples = by_time.setdefault(round(time, 3), {})
        for suffix, more, value in self._values(metric, point, (name, labels_of(labels)), now, seen):
            shown = STALE if point.flags & _NO_VALUE else value
            samples[name + suffix, labels_of({**labels, **more})] = shown

    def _values(self, metric: Metric, point: Point, series: Series, now: float, seen: int) -> Iterator[_Value]:
        """Suffix of the metric, further labels, and value of each series of a point."""
        if isinstance(point, SummaryDataPoint):
            yield from (("", {"quantile": f"{one.quantile:g}"}, one.value) for one in point.quantile_values)
            yield from (("_sum", {}, point.sum), ("_count", {}, float(point.count)))
            return
        amount: Amount | None = (
            ended(point)
            if point.flags & _NO_VALUE and isinstance(point, HistogramDataPoint | ExponentialHistogramDataPoint)
            else _amount(point)
        )
        data = getattr(metric, str(metric.WhichOneof("data")))
        if not point.flags & _NO_VALUE:
            start, time = point.start_time_unix_nano, point.time_unix_nano
            if getattr(data, "aggregation_temporality", None) == _DELTA:
                amount = self._totals.add(series, _amount(point), start, time, now)
            else:
                self._starts.check(series, seen if isinstance(data, Gauge) else start, now)
        if isinstance(amount, Histogram):
            yield from ((suffix, {"le": le} if le else {}, value) for suffix, le, value in amount.series())
        elif amount is not None:
            yield "", {}, amount


def _points(metric: Metric) -> Sequence[Point]:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def _amount(point: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint) -> Amount:
    if isinstance(point, HistogramDataPoint):
        return explicit(point)
    if isinstance(point, ExponentialHistogramDataPoint):
        return exponential(point)
    return float(point.as_int) if point.WhichOneof("value") == "as_int" else point.as_double


def _name(metric: Metric) -> str:
    kind = metric.WhichOneof("data")
    is_counter = kind == "sum" and metric.sum.is_monotonic
    return metric_name(metric.name, metric.unit, is_counter=is_counter, is_gauge=kind == "gauge")
