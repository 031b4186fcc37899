"""Advances a simulation with a clock and sends its spans by the OpenTelemetry SDK, with OTLP over HTTP."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from foreshock_simulator.simulation import Simulation
from foreshock_simulator.tracing.spans import AttributeValue, SimSpan

log = logging.getLogger(__name__)

TRACES_PATH = "/v1/traces"
MAX_QUEUED_SPANS = 32_768
"""Spans that wait for export."""
MAX_BATCH_SPANS = 4096
"""Spans per request, and spans handed over before waiting for the queue to drain."""
EXPORT_INTERVAL_SECONDS = 0.2
"""Wall time between two exports."""
TIMEOUT_SECONDS = 5.0
MAX_LAG_SECONDS = 0.5
"""Virtual time that a fast clock may advance between two steps, and between two exports."""
MIN_PERIOD_SECONDS = 0.01
_KINDS = {"client": SpanKind.CLIENT, "server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("foreshock_simulator")


class Clock(Protocol):
    """A clock of virtual time."""

    def now(self) -> float:
        """Unix seconds."""

    def wall_seconds(self, seconds: float) -> float:
        """Wall time of a duration of virtual time."""


class SpanSender:
    """Sends finished spans by the SDK, each with the resource of its service instance. For one thread.

    `endpoint` is the address of a receiver such as `http://127.0.0.1:4318`; the path `/v1/traces` is added if missing.
    `export_interval` is the wall time between two exports in seconds.
    """

    def __init__(self, endpoint: str, export_interval: float = EXPORT_INTERVAL_SECONDS) -> None:
        url = endpoint if endpoint.endswith(TRACES_PATH) else endpoint.rstrip("/") + TRACES_PATH
        session = requests.Session()
        session.trust_env = False  # no proxy for a receiver on this machine
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_SECONDS, session=session)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=MAX_QUEUED_SPANS,
            schedule_delay_millis=export_interval * 1000,
            max_export_batch_size=MAX_BATCH_SPANS,
            export_timeout_millis=TIMEOUT_SECONDS * 1000,
        )
        self._resources: dict[AttributeValue, Resource] = {}
        self._unflushed = 0
        self._deadline: threading.Timer | None = None

    def send(self, span: SimSpan) -> None:
        """Hand a span to the SDK; waits for the receiver when the queue would overflow."""
        instance = span.resource["service.instance.id"]
        if instance not in self._resources:
            self._resources[instance] = Resource(span.resource)
        trace_id, parent = int(span.trace_id, 16), None
        if span.parent_id:
            parent = SpanContext(trace_id, int(span.parent_id, 16), span.kind == "server", _SAMPLED)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=_SAMPLED),
                parent,
                self._resources[instance],
                span.attributes,
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR, span.status_message) if span.status == "error" else Status(),
                start_time=span.start_ns,
                end_time=span.end_ns,
                instrumentation_scope=_SCOPE,
            )
        )
        self._unflushed += 1
        if self._unflushed >= MAX_BATCH_SPANS:
            self.flush()

    def flush(self) -> None:
        """Wait until all spans are sent or refused; each batch takes up to `TIMEOUT_SECONDS`."""
        self._processor.force_flush()
        self._unflushed = 0

    def abort_after(self, seconds: float) -> None:
        """Drop what a slow receiver has not taken by then; a request under way ends first. From another thread."""
        self._deadline = threading.Timer(seconds, self._exporter.shutdown)
        self._deadline.daemon = True
        self._deadline.start()

    def close(self) -> None:
        """Send the remaining spans and stop the SDK's thread."""
        self._processor.shutdown()  # type: ignore[no-untyped-call] # the SDK gives it no types
        if self._deadline is not None:
            self._deadline.cancel()


class Emitter:
    """A thread that advances a simulation with a clock and sends the finished spans to an endpoint of `SpanSender`.

    Only this thread advances the simulation; others may read its devices. `period` is the wall time in seconds between
    two steps; it is shorter with a fast clock.
    """

    def __init__(self, simulation: Simulation, clock: Clock, endpoint: str, period: float = 0.2) -> None:
        self._simulation = simulation
        self._clock = clock
        max_period = max(MIN_PERIOD_SECONDS, clock.wall_seconds(MAX_LAG_SECONDS))
        self._sender = SpanSender(endpoint, min(EXPORT_INTERVAL_SECONDS, max_period))
        self._period = min(period, max_period)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="simulator")
        self.sent = 0
        """Spans handed to the SDK so far."""

    def start(self) -> None:
        """Start. From now on, devices are read at the time of the clock."""
        self._simulation.follow(self._clock.now)
        self._thread.start()

    def close(self) -> None:
        """Stop, send the remaining spans for up to `TIMEOUT_SECONDS`, and wait for the thread."""
        self._stop.set()
        self._sender.abort_after(TIMEOUT_SECONDS)
        if self._thread.ident is not None:
            self._thread.join()
        self._simulation.follow(None)
        self._sender.close()

    def step(self) -> None:
        """Advance to the time of the clock and send the finished spans."""
        for span in self._simulation.advance(self._clock.now()):
            self._sender.send(span)
            self.sent += 1

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            try:
                self.step()
            except Exception:  # outermost loop: later steps still run after a failed one
                log.exception("the simulator's step failed")
