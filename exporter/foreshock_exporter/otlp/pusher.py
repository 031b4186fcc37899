"""Pushes readings and occupancy spans over OTLP/HTTP. Imported only where an endpoint is given: the SDK is large."""

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
"""Seconds between pushes of spans."""
SILENT_AFTER_SECONDS = 5.0
"""Seconds without an observation after which a GPU's open intervals end."""
CLOSE_TIMEOUT_SECONDS = 0.45
"""Seconds that closing takes at most."""
_DRIFT = 0.05
"""Seconds by which the wall clock must have left the exporter's clock before spans follow it."""
_SDK = logging.getLogger("opentelemetry")


class OtlpPusher:
    """Pushes to one endpoint. What OpenTelemetry's variables say of headers, certificates, compression and time-outs
    holds; `OTEL_METRICS_EXPORTER=none` and `OTEL_TRACES_EXPORTER=none` leave a signal out, and
    `OTEL_EXPORTER_OTLP_{METRICS,TRACES}_ENDPOINT` send it elsewhere.

    Args:
        endpoint: the base address, such as http://127.0.0.1:4318.
        snapshot: what is known now.
        resource: attributes of the host, such as host.id and host.name; service.name is added.
        interval: seconds between pushes of the readings.
        now: Unix seconds, the clock of observations and snapshots.
        wall: the system's own clock, where `now` is one that does not follow it when it is set; spans are told in this
            one, because the spans of services are.
        environ: the variables.
        names: by which words the spans of a process can be told.
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
        self._sender = threading.Thread(target=self._send, daemon=True, name="otlp")
        identity = Resource.create({**resource, "service.name": SERVICE_NAME})
        version = resource.get("service.version", "")
        self._metrics, self._spans = None, None
        if url := _url("METRICS", endpoint, environ):
            self._metrics = MetricPusher(url, self._read, identity, interval, version, self._report)
        if url := _url("TRACES", endpoint, environ):
            self._spans = SpanPusher(url, identity, version, self._report)

    def start(self) -> None:
        """Begin to push, in threads of its own."""
        if not log.isEnabledFor(logging.DEBUG):
            _SDK.setLevel(
                logging.CRITICAL
            )  # it says every attempt, some after `close`; the report says each trouble once
        if self._metrics is not None:
            self._metrics.start()
        self._sender.start()

    def observe(self, observation: Observation) -> None:
        """Take note of a settled fast sample. Cheap, never waits, from any thread."""
        if self._spans is None or self._stop.is_set():
            return
        if offset := self._follow():
            observation = observation._replace(start=observation.start + offset, end=observation.end + offset)
        if ended := self._occupancies.observe(observation):
            self._spans.add(ended)

    def emitted(self) -> Families:
        """The counters of these pushes, for the scrape."""
        return self._report.emitted(self._occupancies.dropped(), self._spans.dropped() if self._spans else 0)

    def flush(self, timeout: float = 10.0) -> None:
        """Push the readings now."""
        if self._metrics is not None:
            self._metrics.flush(timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Push what is left, if that takes no longer than `timeout` seconds and the endpoint took the last push."""
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
        """The readings now; none where they cannot be put together, which the SDK would say nobody."""
        try:
            return self._readings.take(snapshot_families(self._snapshot()))
        except Exception:  # noqa: BLE001 - outermost call of ours: whatever one reading meets, the next one goes on
            log.exception("the readings of now are not pushed over OTLP")
            return {}

    def _follow(self) -> float:
        """Seconds from the exporter's clock to the wall clock; follows it in steps, not with every tremble."""
        if self._wall is not None:
            offset = self._wall() - self._now()
            if abs(offset - self._offset) > _DRIFT:
                self._offset = offset
        return self._offset

    def _send(self) -> None:
        while not self._stop.wait(FLUSH_INTERVAL_SECONDS):
            self._tick(self._now() + self._offset - SILENT_AFTER_SECONDS)
        if not self._report.failing("traces"):
            self._tick(float("inf"))

    def _tick(self, heard_before: float) -> None:
        try:
            if self._spans is not None:
                self._spans.add(self._occupancies.settle(heard_before))
                self._spans.flush()
            if self._metrics is not None and not self._stop.is_set():
                self._metrics.renew()
        except Exception:  # noqa: BLE001 - outermost loop: whatever one push meets, the next one goes on
            log.exception("a push over OTLP failed; the next is in %g s", FLUSH_INTERVAL_SECONDS)


def _url(signal: str, endpoint: str, environ: Mapping[str, str]) -> str | None:
    """Where a signal goes, as OpenTelemetry's variables have it; None: nowhere."""
    if environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return None
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or f"{endpoint}/v1/{signal.lower()}"
