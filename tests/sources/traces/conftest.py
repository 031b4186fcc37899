"""Every trace source, loaded with the same spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.sources.traces.jaeger_double import JaegerDouble
from tests.sources.traces.tempo_double import Served, TempoDouble
from tests.spans import T0, MakeSpan, span

__all__ = ["T0", "MakeSpan", "span"]

from foreshock_dashboard.model.span import Span, TraceSource
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.replay.recording_hub import load_spans
from foreshock_dashboard.sources.traces.jaeger import JaegerTraces
from foreshock_dashboard.sources.traces.tempo import TempoTraces
from foreshock_dashboard.store import Store, StoreLimits

Load = Callable[[Sequence[Span]], TraceSource]

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
def opened() -> Iterator[ExitStack]:
    """What is closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serving(opened: ExitStack) -> Callable[[object], str]:
    """Puts a double behind a socket and gives its URL."""
    return lambda double: opened.enter_context(closing(Served(double))).url


SOURCES = ("store", "recording", *DOUBLES)


def _loaded(name: str, spans: Sequence[Span], folder: Path, opened: ExitStack) -> TraceSource:
    """A source that has the spans: the embedded store, a recording behind a hub, or an HTTP source."""
    if name in ("store", "recording"):
        limits = StoreLimits(duckdb_threads=1)
        store = opened.enter_context(closing(Store.open(folder / "store", now=lambda: float(T0), limits=limits)))
        if name == "store":
            store.append_spans(spans)
            return store
        with RecordingWriter(folder / "recording") as writer:
            writer.add_spans(spans)
        load_spans(opened.enter_context(Recording(folder / "recording")), store)
        return store
    made, source = DOUBLES[name]
    double = made()
    double.spans += spans
    url = opened.enter_context(closing(Served(double))).url
    return opened.enter_context(closing(source(url)))


@pytest.fixture(params=SOURCES)
def load(request: pytest.FixtureRequest, tmp_path: Path, opened: ExitStack) -> Load:
    """Load spans into each source."""
    return lambda spans: _loaded(request.param, spans, tmp_path, opened)


@pytest.fixture(scope="module", params=SOURCES)
def load_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """Load spans into each source, for all tests of a file."""
    with ExitStack() as opened:
        yield lambda spans: _loaded(request.param, spans, tmp_path_factory.mktemp("source"), opened)
