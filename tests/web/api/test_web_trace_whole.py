"""A trace by its id is given in full: everything of a span as it was sent, page by page, with honest counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.ingest.full_span import full_request
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES, FakeHub, FakeTraces, span

from foreshock_dashboard.model.query import Partial
from foreshock_dashboard.model.span import Event, Span
from foreshock_dashboard.render.trace_text import trace_text
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.traces import trace_json

pytestmark = pytest.mark.slow

START = round((NOW - 60) * 1e9)
TRACE = f"{1:032x}"


@dataclass
class Held(FakeTraces):
    """A source that holds one trace."""

    spans: tuple[Span, ...] = ()

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """It, if it is requested."""
        return self.spans if trace_id == TRACE else ()


def ask(spans: tuple[Span, ...], more: str = "", status: int = 200) -> Any:  # noqa: ANN401  # JSON
    """The answer about a trace of these spans."""
    hub = FakeHub(SCENES["healthy"](), traces=Held(spans=spans))
    answer = Caller(create_app(hub, version="0")).get(f"/api/traces/{TRACE}{more}")
    assert answer.status_code == status, answer.text
    return answer.json()


def sent() -> tuple[Span, ...]:
    """A span with everything that trace.proto has, as it arrives; it ended before it started."""
    made = full_request(START, bytes.fromhex(TRACE))
    nested = made.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value
    for _ in range(40):
        nested = nested.array_value.values.add()
    nested.string_value = "bottom"
    return tuple(decode(made.SerializeToString()).spans)


def test_everything_of_a_span_is_given() -> None:
    """Beside what the page shows: what a second look, or another tool, may need."""
    (row,) = ask(sent())["spans"]
    deep = row.pop("attributes")["deep"]
    for _ in range(40):
        (deep,) = deep
    assert deep == "bottom"
    del row["color"], row["gpu"], row["critical"], row["gaps"]
    assert row == {
        "span_id": "02" * 8,
        "parent_id": "09" * 8,
        "name": "f",
        "service": "full",
        "kind": "internal",
        "offset_seconds": 0.0,
        "duration_seconds": 0.0,
        "start_time_unix_nano": str(START),
        "end_time_unix_nano": str(START - 7),
        "status": "unset",
        "status_message": "",
        "clamped": True,
        "trace_state": "vendor=1",
        "flags": 0x301,
        "dropped_attributes_count": 4,
        "resource": {"service.name": "full"},
        "resource_dropped_attributes_count": 3,
        "resource_schema_url": "https://opentelemetry.io/schemas/1.30.0",
        "scope": "lib",
        "scope_version": "9.9",
        "scope_attributes": {"sa": "x"},
        "scope_dropped_attributes_count": 2,
        "scope_schema_url": "urn:scope",
        "events": [
            {
                "offset_seconds": 0.001,
                "time_unix_nano": str(START + 1_000_000),
                "name": "e",
                "attributes": {},
                "dropped_attributes_count": 8,
            },
            {
                "offset_seconds": None,
                "time_unix_nano": "0",
                "name": "no time",
                "attributes": {},
                "dropped_attributes_count": 0,
            },
        ],
        "dropped_events_count": 5,
        "links": [
            {
                "trace_id": TRACE,
                "span_id": "03" * 8,
                "trace_state": "ls=1",
                "flags": 1,
                "attributes": {},
                "dropped_attributes_count": 7,
            }
        ],
        "dropped_links_count": 6,
    }


def many(count: int) -> tuple[Span, ...]:
    return tuple(
        span("step", "worker", n, int(n > 1), n / 1000, 60.0 if n == 1 else 0.001) for n in range(1, count + 1)
    )


def test_all_spans_are_given_page_by_page() -> None:
    """Each once; what is said of the trace is the same on every page."""
    spans = many(23)
    found: list[int] = []
    offset: int | None = 0
    while offset is not None:
        body = ask(spans, f"?limit=10&offset={offset}")
        assert (body["total"], body["offset"], body["duration_seconds"], body["start"]) == (
            23,
            offset,
            60.0,
            NOW - 59.999,
        )
        found += [int(row["span_id"], 16) for row in body["spans"]]
        assert body["left_out"] == 23 - len(found)
        offset = body["next_offset"]
    assert found == list(range(1, 24))
    beyond = ask(spans, "?offset=99")
    assert (beyond["spans"], beyond["total"], beyond["left_out"], beyond["next_offset"]) == ([], 23, 0, None)


def test_what_a_source_cannot_read_counts_as_left_out() -> None:
    """The note says how many those are; no page leads there."""
    spans = Partial(many(20), "only the first 20 of its 120 spans can be read", 120)
    body = ask(spans)
    assert (body["total"], body["left_out"], body["next_offset"]) == (120, 100, None)
    assert body["note"] == "only the first 20 of its 120 spans can be read"
    text = trace_text(body)
    assert "120 spans" in text
    assert "… and 100 more spans" in text
    assert body["note"] in text


def test_a_page_of_large_spans_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at least; the next page goes on behind it."""
    monkeypatch.setattr(trace_json, "MAX_SPAN_BYTES", 1)
    spans = tuple(replace(each, span_id=f"{n:016x}") for n, each in enumerate(sent() * 3, 1))
    large = tuple(one for each in spans for one in decode(encoded(each)).spans)
    body = ask(large)
    assert (len(body["spans"]), body["total"], body["left_out"], body["next_offset"]) == (1, 3, 2, 1)


def encoded(one: Span) -> bytes:
    """A request with a span."""
    made = ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.add(
        trace_id=bytes.fromhex(one.trace_id), span_id=bytes.fromhex(one.span_id), start_time_unix_nano=one.start_ns,
        end_time_unix_nano=one.start_ns,
    )  # fmt: skip
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("?limit=0", "limit='0': not an integer from 1 to 5000"),
        ("?limit=5001", "limit='5001': not an integer from 1 to 5000"),
        ("?offset=-1", "offset='-1': not an integer from 0"),
        ("?page=2", "unknown parameter 'page' (allowed: limit, offset"),
    ],
)
def test_a_page_that_is_none_is_refused(more: str, words: str) -> None:
    """With what would be one."""
    assert words in ask(many(1), more, 400)["error"]


def test_a_trace_takes_as_long_as_its_root_whatever_its_hosts_clocks_say() -> None:
    """The axis reaches over all spans by their own clocks, and it is said that these differ."""
    call = replace(span("call", "gateway", 2, 0, 0.0, 0.5), resource={"service.name": "gateway", "host.id": "h1"})
    serve = span("serve", "model", 3, 2, 10.0, 0.4)
    serve = replace(serve, resource={"service.name": "model", "host.id": "id-2", "host.name": "h2"})
    body = ask((call, serve))
    assert (body["duration_seconds"], body["extent_seconds"], body["skewed"]) == (0.5, 10.4, True)
    (clock,) = body["clocks"]
    assert (clock["host"], clock["ahead_seconds"], clock["within_seconds"]) == (
        "h2",
        pytest.approx(9.95),
        pytest.approx(0.05),
    )
    said = "Clock skew relative to h1: h2 9.95 s ahead. Offsets between hosts are not comparable."
    assert body["clock_note"] == said
    text = trace_text(body)
    assert "UTC, 500 ms, 2 spans" in text
    assert said in text.replace("\n", " ")
    healthy = ask(many(3))
    assert (healthy["skewed"], healthy["clocks"], healthy["clock_note"]) == (False, [], "")


def test_a_service_without_metrics_is_looked_for() -> None:
    """An empty list where there is nothing: today's services are not all that have traces."""
    hub = FakeHub(SCENES["healthy"](), traces=Held())
    answer = Caller(create_app(hub, version="0")).get("/api/traces?service=stopped&start=now-2h")
    assert (answer.status_code, answer.json()["traces"]) == (200, [])
    assert (str(hub.traces.asked[-1].service), hub.traces.asked[-1].any_namespace) == ("stopped", True)


def test_an_events_time_is_only_shown_where_it_has_one() -> None:
    """Zero is no time (trace.proto)."""
    one = replace(many(1)[0], events=(Event(0, "e", {}),))
    assert ask((one,))["spans"][0]["events"][0]["offset_seconds"] is None
