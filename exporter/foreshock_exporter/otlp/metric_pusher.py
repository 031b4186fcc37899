"""Readings as OpenTelemetry metrics, pushed by the SDK."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from foreshock_exporter.otlp.readings import INSTRUMENTS, Instrument, Points
from foreshock_exporter.otlp.report import PushReport, RecordingSession

MAX_SERIES = 1500
"""Series per instrument at which the SDK is restarted. It keeps ended series and stops distinguishing new ones beyond
2000.
"""
READING_TTL_SECONDS = 0.5
"""Lifetime of a cached reading: shorter than the push interval, longer than one collection."""
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"


class MetricPusher:
    """Pushes to `url` every `interval` seconds. `read` returns the points by instrument."""

    def __init__(
        self,
        url: str,
        read: Callable[[], Points],
        resource: Resource,
        interval: float,
        version: str,
        report: PushReport,
    ) -> None:
        self._url, self._read, self._resource = url, read, resource
        self._interval, self._version, self._report = interval, version, report
        self._points: Points | None = None
        self._read_at = 0.0
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._provider: MeterProvider | None = None
        self._exporter: _Exporter | None = None

    def start(self) -> None:
        self._series = {instrument.name: set() for instrument in INSTRUMENTS}
        self._exporter = _Exporter(self._url, self._report)
        reader = PeriodicExportingMetricReader(self._exporter, export_interval_millis=self._interval * 1000)
        self._provider = MeterProvider([reader], resource=self._resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("foreshock_exporter", self._version, SCHEMA_URL)
        for instrument in INSTRUMENTS:
            _create_instrument(meter, instrument, self._observations(instrument.name))

    def restart_if_full(self) -> None:
        """Restart the SDK if it holds too many ended series."""
        if any(len(series) > MAX_SERIES for series in self._series.values()):
            self.close(self._interval)
            self.start()

    def flush(self, timeout: float) -> None:
        """Read and push now."""
        if self._provider is not None:
            self._points = None
            self._provider.force_flush(int(timeout * 1000))

    def close(self, timeout: float) -> None:
        """Push once more unless the last push failed, and stop; a slow push is abandoned."""
        if self._provider is not None and self._exporter is not None:
            self._exporter.closing = True
            self._points = None
            if self._report.failing("metrics"):
                self._exporter.shutdown()  # wakes an attempt that waits to try again
            self._provider.shutdown(int(timeout * 1000))
            self._provider = None

    def _cached_points(self) -> Points:
        """One reading for all instruments of a push, which the SDK reads one by one."""
        at = time.monotonic()
        if self._points is None or at - self._read_at > READING_TTL_SECONDS:
            self._points, self._read_at = self._read(), at
        return self._points

    def _observations(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for value, attributes in self._cached_points().get(name, ()):
                self._series[name].add(tuple(attributes.values()))
                yield Observation(value, attributes)

        return observe


class _Exporter(OTLPMetricExporter):
    """SDK exporter that reports the result of each push."""

    def __init__(self, url: str, report: PushReport) -> None:
        self.closing = False
        self._report, self._session = report, RecordingSession()
        super().__init__(url, session=self._session)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **options: object
    ) -> MetricExportResult:
        if self.closing and self._report.failing("metrics"):
            return MetricExportResult.FAILURE
        self._session.failure = None
        result = super().export(metrics_data, timeout_millis, **options)
        if result is MetricExportResult.SUCCESS:
            self._report.pushed("metrics", _points(metrics_data))
        elif not self.closing:
            self._report.failed("metrics", _points(metrics_data), self._session.last_failure())
        return result


def _points(data: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def _create_instrument(
    meter: Meter, instrument: Instrument, callback: Callable[[CallbackOptions], Iterable[Observation]]
) -> None:
    create = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[instrument.kind]
    create(instrument.name, [callback], instrument.unit, instrument.help)
