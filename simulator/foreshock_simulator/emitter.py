"""Runs a simulation along a clock and sends its spans as the services would: OpenTelemetry SDK, OTLP over HTTP."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, Tracer, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from foreshock_simulator.simulation import Simulation
from foreshock_simulator.tracing.spans import SimSpan

log = logging.getLogger(__name__)

TRACES_PATH = "/v1/traces"
QUEUE = 32_768
"""Spans that wait for export."""
BATCH = 4096
"""Spans in one request at most; so many are handed over before waiting for the queue to drain."""
EXPORT_SECONDS = 0.2
"""Seconds on the wall for which spans are gathered."""
TIMEOUT_SECONDS = 5.0
LAG_SECONDS = 0.5
"""Virtual seconds that a fast clock may run ahead between two steps, and again while spans are gathered."""
SHORTEST_WAIT = 0.01
_KINDS = {"client": SpanKind.CLIENT, "server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Clock(Protocol):
    """Virtual time."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def wall_seconds(self, seconds: float) -> float:
        """How long a stretch of virtual time lasts on the wall."""
        ...


class _GivenIds(IdGenerator):
    """Hands the SDK the ids that the simulation chose."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class SpanSender:
    """Sends finished spans through the SDK, each under the resource of its service instance. For one thread.

    `endpoint` is a receiver's address such as `http://127.0.0.1:4318`; the path `/v1/traces` is added where it lacks.
    `gather` is how long spans are gathered for one request, in seconds on the wall.
    """

    def __init__(self, endpoint: str, gather: float = EXPORT_SECONDS) -> None:
        url = endpoint if endpoint.endswith(TRACES_PATH) else endpoint.rstrip("/") + TRACES_PATH
        session = requests.Session()
        session.trust_env = False  # a proxy of the environment is not for a receiver on this machine
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_SECONDS, session=session),
            max_queue_size=QUEUE,
            schedule_delay_millis=gather * 1000,
            max_export_batch_size=BATCH,
            export_timeout_millis=TIMEOUT_SECONDS * 1000,
        )
        self._ids = _GivenIds()
        self._tracers: dict[str, Tracer] = {}
        self._unflushed = 0

    def send(self, span: SimSpan) -> None:
        """Hand a span to the SDK; waits for the receiver where the queue would overflow."""
        self._ids.trace_id, self._ids.span_id = int(span.trace_id, 16), int(span.span_id, 16)
        started = self._tracer(span).start_span(
            span.name,
            _parent(span),
            _KINDS[span.kind],
            span.attributes,
            start_time=span.start_ns,
        )
        if span.status == "error":
            started.set_status(Status(StatusCode.ERROR, span.status_message))
        started.end(span.end_ns)
        self._unflushed += 1
        if self._unflushed >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Wait until everything is sent, `TIMEOUT_SECONDS` at most."""
        self._processor.force_flush(int(TIMEOUT_SECONDS * 1000))
        self._unflushed = 0

    def close(self) -> None:
        """Send what is left and stop the SDK's thread."""
        self._processor.shutdown()  # type: ignore[no-untyped-call] # the SDK gives it no types

    def _tracer(self, span: SimSpan) -> Tracer:
        instance = str(span.resource["service.instance.id"])
        tracer = self._tracers.get(instance)
        if tracer is None:
            provider = TracerProvider(
                sampler=ALWAYS_ON, resource=Resource(span.resource), id_generator=self._ids, shutdown_on_exit=False
            )
            provider.add_span_processor(self._processor)
            tracer = self._tracers[instance] = provider.get_tracer("foreshock_simulator")
        return tracer


def _parent(span: SimSpan) -> Context:
    if not span.parent_id:
        return Context()
    parent = SpanContext(int(span.trace_id, 16), int(span.parent_id, 16), span.kind == "server", _SAMPLED)
    return set_span_in_context(NonRecordingSpan(parent), Context())


class Emitter:
    """A thread that keeps a simulation up with a clock and sends the spans that finish.

    Args:
        simulation: advanced by this thread alone from `start` on; its devices may be read from others.
        clock: virtual time.
        endpoint: the receiver's address, as `SpanSender` takes it.
        period: seconds on the wall between two steps; less where the clock is so fast that too much would pass.
    """

    def __init__(self, simulation: Simulation, clock: Clock, endpoint: str, period: float = 0.2) -> None:
        self._simulation = simulation
        self._clock = clock
        longest = max(SHORTEST_WAIT, clock.wall_seconds(LAG_SECONDS))
        self._sender = SpanSender(endpoint, min(EXPORT_SECONDS, longest))
        self._period = min(period, longest)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="simulator")
        self.sent = 0
        """Spans handed to the SDK so far."""

    def start(self) -> None:
        """Begin. From here on, whoever reads a device finds it at the clock's time."""
        self._simulation.follow(self._clock.now)
        self._thread.start()

    def close(self) -> None:
        """Stop, send what is left, and wait for the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._simulation.follow(None)
        self._sender.close()

    def step(self) -> None:
        """Advance to the clock's time and send."""
        for span in self._simulation.advance(self._clock.now()):
            self._sender.send(span)
            self.sent += 1

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            try:
                self.step()
            except Exception:  # the outermost loop: a step that fails must not end the rest
                log.exception("the simulator's step failed")
