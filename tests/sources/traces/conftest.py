"""Every trace source, loaded with the same spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.sources.traces.jaeger_double import JaegerDouble
from tests.sources.traces.tempo_double import Served, TempoDouble

from foreshock_dashboard.model.span import AttributeValue, Kind, Span, Status, TraceSource
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.replay.recording_hub import load_spans
from foreshock_dashboard.sources.traces.jaeger import JaegerTraces
from foreshock_dashboard.sources.traces.tempo import TempoTraces
from foreshock_dashboard.store import Store, StoreLimits

T0 = 1_790_000_000
"""Unix seconds around which the spans of these tests lie."""

Load = Callable[[Sequence[Span]], TraceSource]
MakeSpan = Callable[..., Span]

DOUBLES: dict[str, tuple[Callable[[], TempoDouble | JaegerDouble], type[TempoTraces | JaegerTraces]]] = {
    "tempo": (TempoDouble, TempoTraces),
    "tempo before 2.4, in JSON": (
        lambda: TempoDouble(second=False, protobuf=False, stats=False, roots=False),
        TempoTraces,
    ),
    "tempo in JSON": (lambda: TempoDouble(protobuf=False), TempoTraces),
    "jaeger": (JaegerDouble, JaegerTraces),
    "jaeger to 2.20": (lambda: JaegerDouble(new=False), JaegerTraces),
}


@pytest.fixture
def span() -> MakeSpan:
    """Makes a span; times in seconds after T0."""

    def make(
        trace: int = 1,
        number: int = 1,
        *,
        parent: int = 0,
        name: str = "GET /",
        service: str = "gateway",
        namespace: str = "",
        start: float = 0.0,
        duration: float = 0.1,
        status: Status = "unset",
        kind: Kind = "server",
        attributes: dict[str, AttributeValue] | None = None,
        resource: dict[str, AttributeValue] | None = None,
    ) -> Span:
        begin = T0 * 10**9 + round(start * 1e9)
        named: dict[str, AttributeValue] = {"service.name": service}
        if namespace:
            named["service.namespace"] = namespace
        return Span(
            trace_id=f"{trace:032x}",
            span_id=f"{number:016x}",
            parent_id=f"{parent:016x}" if parent else "",
            name=name,
            kind=kind,
            start_ns=begin,
            end_ns=begin + round(duration * 1e9),
            status=status,
            status_message="",
            resource={**named, **(resource or {})},
            attributes=attributes or {},
        )

    return make


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What is closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serving(opened: ExitStack) -> Callable[[object], str]:
    """Puts a double behind a socket and gives its URL."""
    return lambda double: opened.enter_context(closing(Served(double))).url


@pytest.fixture(params=["store", "recording", *DOUBLES])
def load(request: pytest.FixtureRequest, tmp_path: Path, opened: ExitStack, serving: Callable[[object], str]) -> Load:
    """Load spans into a source: the embedded store, a recording behind a hub, or an HTTP source."""

    def into(spans: Sequence[Span]) -> TraceSource:
        if request.param in ("store", "recording"):
            store = opened.enter_context(
                closing(Store.open(tmp_path / "store", now=lambda: float(T0), limits=StoreLimits(duckdb_threads=1)))
            )
            if request.param == "store":
                store.append_spans(spans)
                return store
            with RecordingWriter(tmp_path / "recording") as writer:
                writer.add_spans(spans)
            load_spans(opened.enter_context(Recording(tmp_path / "recording")), store)
            return store
        made, source = DOUBLES[request.param]
        double = made()
        double.spans += spans
        return opened.enter_context(closing(source(serving(double))))

    return into
