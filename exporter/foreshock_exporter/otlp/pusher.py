"""Push of readings and occupancy spans over OTLP/HTTP. Imported only with an endpoint: the SDK is large."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping

from opentelemetry.sdk.resources import Resource

from foreshock_exporter.common.log import log
from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.gpu.occupancy import JoinKeys, Observation, OccupancyTracker
from foreshock_exporter.gpu.snapshot import Snapshot
from foreshock_exporter.model.family import Families
from foreshock_exporter.otlp.metric_pusher import MetricPusher
from foreshock_exporter.otlp.readings import Points, ReadingConverter
from foreshock_exporter.otlp.report import PushReport
from foreshock_exporter.otlp.span_pusher import SpanPusher

SERVICE_NAME = "foreshock-exporter"
FLUSH_INTERVAL_SECONDS = 1.0
"""Interval between pushes of spans."""
IDLE_AFTER_SECONDS = 5.0
"""Time without an observation after which open intervals of a GPU are closed."""
CLOSE_TIMEOUT_SECONDS = 0.45
"""Longest time to close."""
_MIN_CLOCK_DRIFT_SECONDS = 0.05
"""Drift between the wall clock and the exporter's clock at which spans are adjusted."""
_SDK_LOG = logging.getLogger("opentelemetry")


class OtlpPusher:
    """Pushes to one endpoint.

    OpenTelemetry's environment variables for headers, certificates, compression, and timeouts apply.
    `OTEL_METRICS_EXPORTER=none` and `OTEL_TRACES_EXPORTER=none` disable a signal;
    `OTEL_EXPORTER_OTLP_{METRICS,TRACES}_ENDPOINT` redirect it.

    Args:
        endpoint: base URL, such as http://127.0.0.1:4318.
        resource: attributes of the host, such as host.id and host.name; service.name is added.
        interval: seconds between pushes of readings.
        now: Unix seconds, the clock of observations and snapshots.
        wall: system clock if `now` does not follow its changes; span times use it, as those of services do.
    """

    def __init__(
        self,
        endpoint: str,
        snapshot: Callable[[], Snapshot],
        resource: Mapping[str, str],
        interval: float,
        now: Callable[[], float],
        *,
        wall: Callable[[], float] | None = None,
        environ: Mapping[str, str] = os.environ,
        join_keys: JoinKeys = lambda _: (),
    ) -> None:
        self._snapshot, self._now, self._wall = snapshot, now, wall
        self._report = PushReport(endpoint)
        self._readings = ReadingConverter(now)
        self._occupancies = OccupancyTracker(join_keys)
        self._offset = 0.0
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send_loop, daemon=True, name="otlp")
        identity = Resource.create({**resource, "service.name": SERVICE_NAME})
        version = resource.get("service.version", "")
        self._metrics, self._spans = None, None
        if url := _url("METRICS", endpoint, environ):
            self._metrics = MetricPusher(url, self._read, identity, interval, version, self._report)
        if url := _url("TRACES", endpoint, environ):
            self._spans = SpanPusher(url, identity, version, self._report)

    def start(self) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            _SDK_LOG.setLevel(
                logging.CRITICAL
            )  # it says every attempt, some after `close`; the report says each trouble once
        if self._metrics is not None:
            self._metrics.start()
        self._sender.start()

    def observe(self, observation: Observation) -> None:
        """Record a fast sample. Cheap, never blocks, thread-safe."""
        if self._spans is None or self._stop.is_set():
            return
        if offset := self._clock_offset():
            observation = observation._replace(start=observation.start + offset, end=observation.end + offset)
        if ended := self._occupancies.observe(observation):
            self._spans.add(ended)

    def families(self) -> Families:
        """Counters of the pushes, for the scrape."""
        return self._report.families(self._occupancies.dropped(), self._spans.dropped() if self._spans else 0)

    def flush(self, timeout: float = 10.0) -> None:
        """Push the readings now."""
        if self._metrics is not None:
            self._metrics.flush(timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Push what is left within `timeout` seconds, if the last push succeeded."""
        if self._stop.is_set():
            return
        deadline = time.monotonic() + timeout
        self._stop.set()
        if self._metrics is not None:
            self._metrics.close(timeout * 0.8)
        if self._spans is not None and self._report.failing("traces"):
            self._spans.close()
        if self._sender.is_alive():
            self._sender.join(max(0.0, deadline - time.monotonic()))
        if self._spans is not None:
            self._spans.close()

    def _read(self) -> Points:
        """Current readings; empty after an error, which the SDK would not log."""
        try:
            return self._readings.convert(snapshot_families(self._snapshot()))
        except Exception:  # noqa: BLE001 - the SDK would not log it
            log.exception("the readings of now are not pushed over OTLP")
            return {}

    def _clock_offset(self) -> float:
        """Seconds from the exporter's clock to the wall clock, updated in steps."""
        if self._wall is not None:
            offset = self._wall() - self._now()
            if abs(offset - self._offset) > _MIN_CLOCK_DRIFT_SECONDS:
                self._offset = offset
        return self._offset

    def _send_loop(self) -> None:
        while not self._stop.wait(FLUSH_INTERVAL_SECONDS):
            self._flush_spans(self._now() + self._offset - IDLE_AFTER_SECONDS)
        if not self._report.failing("traces"):
            self._flush_spans(float("inf"))

    def _flush_spans(self, idle_since: float) -> None:
        try:
            if self._spans is not None:
                self._spans.add(self._occupancies.settle(idle_since))
                self._spans.flush()
            if self._metrics is not None and not self._stop.is_set():
                self._metrics.restart_if_full()
        except Exception:  # noqa: BLE001 - an error in one push must not stop the next
            log.exception("OTLP push failed; next attempt in %g s", FLUSH_INTERVAL_SECONDS)


def _url(signal: str, endpoint: str, environ: Mapping[str, str]) -> str | None:
    """URL of a signal by OpenTelemetry's environment variables; None if disabled."""
    if environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return None
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or f"{endpoint}/v1/{signal.lower()}"
