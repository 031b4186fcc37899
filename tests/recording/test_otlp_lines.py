"""OTLP JSON lines of the Collector's file exporter, from and to recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.span import Event, Link, Span
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.sources.otlp.codec import decode_json, encode_json

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock, Write

Open = Callable[[Path], Recording]

# As a Collector 0.1xx writes it: camel case, ids in hex, numbers of 64 bits as text, enums as numbers.
COLLECTOR = (
    '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"gateway"}}]},'
    '"scopeSpans":[{"scope":{"name":"lib","version":"1"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",'
    '"spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173","flags":256,"name":"I\'m a server span",'
    '"startTimeUnixNano":"1790000000000000000","endTimeUnixNano":"1790000000500000001","kind":2,'
    '"attributes":[{"key":"n","value":{"intValue":"5"}}],"status":{"code":2,"message":"no"},'
    '"events":[{"timeUnixNano":"1790000000000000001","name":"e"}],'
    '"links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175"}]}]}]}]}'
)
METRICS = '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{}}]}]}]}'


def imported(foreshock: Foreshock, tmp_path: Path, *lines: str) -> int:
    """Import a file of lines."""
    (tmp_path / "traces.json").write_text("".join(line + "\n" for line in lines))
    return foreshock(
        "recording", "import", "--otlp-json", tmp_path / "traces.json", "--output-dir", tmp_path / "recording"
    )


def test_collector_output_is_imported_completely(foreshock: Foreshock, tmp_path: Path, opened: Open) -> None:
    """With status, events and links; a line of metrics holds no spans."""
    assert imported(foreshock, tmp_path, COLLECTOR, METRICS, "") == 0, foreshock.said
    ((span,),) = opened(tmp_path / "recording").spans()
    assert (span.trace_id, span.span_id, span.parent_id) == (
        "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173",
    )  # fmt: skip
    assert (span.kind, span.status, span.status_message, span.duration_ns) == ("server", "error", "no", 500_000_001)
    assert dict(span.attributes) == {"n": 5}
    assert (span.events[0].name, span.links[0].span_id) == ("e", "eee19b7ec3c1b175")
    assert "0 samples, 1 spans" in foreshock.said


def test_an_export_equals_the_collectors_output(foreshock: Foreshock, tmp_path: Path) -> None:
    """Field by field, including fields that the hub does not read."""
    imported(foreshock, tmp_path, COLLECTOR)
    assert foreshock("recording", "export", tmp_path / "recording", "--otlp-json", tmp_path / "out.json") == 0, (
        foreshock.said
    )
    (line,) = (tmp_path / "out.json").read_text().splitlines()
    assert json.loads(line) == json.loads(COLLECTOR)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False)
    | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
ATTRIBUTES = st.dictionaries(st.text(max_size=9), VALUES, max_size=4)
IDS = {n: st.binary(min_size=n, max_size=n).filter(any).map(bytes.hex) for n in (8, 16)}
TIMES = st.integers(1, (1 << 63) - 1)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start, end = sorted((draw(TIMES), draw(TIMES)))
    return Span(
        trace_id=draw(IDS[16]),
        span_id=draw(IDS[8]),
        parent_id=draw(st.just("") | IDS[8]),
        name=draw(st.text(max_size=9)),
        kind=draw(st.sampled_from(["internal", "server", "client", "producer", "consumer"])),
        start_ns=start,
        end_ns=end,
        status=draw(st.sampled_from(["unset", "ok", "error"])),
        status_message=draw(st.text(max_size=9)),
        resource=draw(ATTRIBUTES),
        attributes=draw(ATTRIBUTES),
        events=tuple(draw(st.lists(st.builds(Event, TIMES, st.text(max_size=5), ATTRIBUTES), max_size=2))),
        links=tuple(draw(st.lists(st.builds(Link, IDS[16], IDS[8], ATTRIBUTES), max_size=2))),
        scope=draw(st.text(max_size=5)),
        trace_state=draw(st.text(max_size=5)),
    )


@given(st.lists(spans(), max_size=4))
def test_any_spans_survive_json(given_: list[Span]) -> None:
    assert list(decode_json(encode_json(given_)).spans) == given_


BAD: dict[str, tuple[str, str]] = {
    "no JSON": ("{", ":2: not a JSON ExportTraceServiceRequest"),
    "no object": ("[]", ":2: not a JSON ExportTraceServiceRequest: the outermost value is not an object"),
    "another shape": ('{"resourceSpans": 7}', ":2: not a JSON ExportTraceServiceRequest"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_malformed_line_is_named(foreshock: Foreshock, tmp_path: Path, what: str) -> None:
    """File and line; nothing is written."""
    line, message = BAD[what]
    assert imported(foreshock, tmp_path, COLLECTOR, line) == 1
    assert f"{tmp_path / 'traces.json'}{message}" in foreshock.said
    assert not (tmp_path / "recording").exists()


def test_invalid_spans_are_counted(foreshock: Foreshock, tmp_path: Path) -> None:
    """By reason."""
    broken: Any = COLLECTOR.replace("5b8efff798038103d269b633813fc60c", "")
    assert imported(foreshock, tmp_path, COLLECTOR, broken, broken) == 0
    assert "2 spans dropped: invalid trace_id" in foreshock.said


def test_a_recording_survives_json(foreshock: Foreshock, tmp_path: Path, write: Write, opened: Open) -> None:
    """All spans are exported and imported."""
    made = [
        Span(
            f"{n // 5 + 1:032x}", f"{n + 1:016x}", "", "op", "server", 10**18 + n, 10**18 + 2 * n, "ok", "",
            {"service.name": f"s{n % 3}"}, {"n": n},
        )
        for n in range(5_000)
    ]  # fmt: skip
    path = write(spans=made)
    foreshock("recording", "export", path, "--otlp-json", tmp_path / "out.json")
    foreshock("recording", "import", "--otlp-json", tmp_path / "out.json", "--output-dir", tmp_path / "again")
    one, other = ([span for some in opened(each).spans() for span in some] for each in (path, tmp_path / "again"))
    assert one == other
    assert len(one) == 5_000
