"""Tempo's documented responses, credentials, and error messages when it cannot answer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.traces.tempo_double import Reply, TempoDouble, request_of

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Link, Span, TraceQuery, TraceSummary
from foreshock_dashboard.sources import http_client
from foreshock_dashboard.sources.traces import tempo
from foreshock_dashboard.sources.traces.tempo import TempoTraces
from foreshock_dashboard.sources.traces.tempo_json import read_search, read_trace, read_values

if TYPE_CHECKING:
    from tests.sources.traces.conftest import MakeSpan

T0 = 1_790_000_000
TRACE = "b0000000000000000000000000000001"
ASKED = TraceQuery(T0 - 5, T0 + 5)
Answer = Callable[[httpx.Request], httpx.Response]


def recorded(name: str) -> bytes:
    return (Path(__file__).parent / "answers" / name).read_bytes()


def source(answer: Answer, url: str = "http://tempo:3200/base/", **given: Any) -> TempoTraces:  # noqa: ANN401
    """Return a source over a transport function."""
    return TempoTraces(url, transport=httpx.MockTransport(answer), **given)


def over(double: TempoDouble, **given: Any) -> TempoTraces:  # noqa: ANN401
    """Return a source over a test double."""

    def answer(request: httpx.Request) -> httpx.Response:
        accepted = {"Accept": request.headers.get("accept", "")}
        reply = double.answer(request.url.raw_path.decode().removeprefix("/base"), accepted)
        return httpx.Response(reply.status, content=reply.body, headers={"Content-Type": reply.type, **reply.headers})

    return source(answer, **given)


def answering(status: int, **given: Any) -> Answer:  # noqa: ANN401
    return lambda _: httpx.Response(status, **given)


def raising(error: Exception) -> Answer:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return answer


def test_a_recorded_list_is_read() -> None:
    """With spans and errors of whole traces, ids without leading zeros, and a trace whose root has not arrived.

    How long a trace took is what its root did, not from the first start to the last end of any host (`durationMs`).
    """
    values = json.dumps({"tagValues": [{"type": "string", "value": "edge"}]}).encode()

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, content=recorded("tempo-search.json") if "/api/search" in request.url.path else values
        )

    assert tuple(source(answer).search(ASKED)) == (
        TraceSummary(f"{0x2A:032x}", Service("", "embedder"), "embed", 1790000001.0, 0.0004, 1, 0,
                     (Service("", "embedder"),), False),
        TraceSummary(TRACE, Service("", "gateway"), "POST /chat", 1790000000250000000 / 1e9, 1.25, 5, 1,
                     (Service("", "gateway"), Service("models", "llm")), True),
    )  # fmt: skip


def test_the_first_form_of_a_list_is_read() -> None:
    """One `spanSet`, and nothing said of services."""
    (hit,) = read_search(recorded("tempo-search-first-form.json"))
    assert (hit.root, hit.stats, hit.matched, len(hit.spans)) == (("gateway", "GET /"), {}, 2, 1)


EXPECTED = Span(
    trace_id=TRACE,
    span_id="00000000000000a1",
    parent_id="",
    name="POST /chat",
    kind="server",
    start_ns=1790000000250000000,
    end_ns=1790000001500000000,
    status="error",
    status_message="upstream",
    resource={"service.name": "gateway", "kind": "SPAN_KIND_SERVER"},
    attributes={"code": "STATUS_CODE_ERROR"},
    links=(Link("c0000000000000000000000000000003", "00000000000000c1", {}),),
    scope="http",
)


@pytest.mark.parametrize("name", ["tempo-trace.json", "tempo-trace-first-form.json"])
def test_a_recorded_trace_is_read(name: str) -> None:
    """Ids in hex or base64, enums by number or name, `resourceSpans` or `batches`; attributes as they are."""
    found = source(answering(200, content=recorded(name))).get(TRACE)
    assert (tuple(found), found.note) == ((EXPECTED,), "")


def test_a_partial_trace_has_a_note() -> None:
    """With Tempo's own words, and what cannot be read of it."""
    found = source(answering(200, content=recorded("tempo-trace-partial.json"))).get(TRACE)
    assert [span.name for span in found] == ["POST /chat"]
    assert found.note == (
        "Tempo returned only part of this trace: trace exceeds max size (max bytes: 5000000); "
        "1 of its spans cannot be read (invalid span_id)"
    )


def test_a_part_of_a_trace_is_known_in_protobuf_too() -> None:
    """TraceByIDResponse: the trace in two pieces, metrics, PARTIAL, a message, and fields of the future."""
    pieces = [request_of([replace(EXPECTED, span_id=f"{n:016x}", links=())]).SerializeToString() for n in (1, 2)]
    body = b"".join(b"\x0a" + bytes([len(piece) & 0x7F | 0x80, len(piece) >> 7]) + piece for piece in pieces)
    body += b"\x12\x00\x18\x01\x22\x03big" + b"\x28\x96\x01" + b"\x31" + bytes(8) + b"\x3d" + bytes(4)
    found = source(answering(200, content=body, headers={"Content-Type": "application/protobuf; x=y"})).get(TRACE)
    assert [span.span_id for span in found] == [f"{1:016x}", f"{2:016x}"]
    assert found.note == "Tempo returned only part of this trace: big"


@pytest.mark.parametrize("body", [b'{"trace":{}}', b'{"trace":null,"metrics":{}}', b'{"status":"COMPLETE"}'])
def test_an_empty_answer_is_an_unknown_trace(body: bytes) -> None:
    """As 404 is."""
    assert source(answering(200, content=body)).get(TRACE) == ()


def test_the_old_path_is_requested_if_the_new_one_is_unknown() -> None:
    """And not again for each unknown trace, once the newer one has answered."""
    old, new = TempoDouble(second=False, spans=[EXPECTED]), TempoDouble(spans=[EXPECTED])
    assert tuple(over(old).get(TRACE)) == (EXPECTED,)
    asking = over(new)
    assert tuple(asking.get(TRACE)) == (EXPECTED,)
    assert asking.get("f" * 32) == ()
    assert [path for path, _ in new.asked] == [f"/api/v2/traces/{TRACE}", f"/api/v2/traces/{'f' * 32}"]


def test_a_too_large_trace_is_cut_with_a_note() -> None:
    """The earliest spans are given."""
    spans = [replace(EXPECTED, span_id=f"{n:016x}", start_ns=EXPECTED.start_ns + n) for n in (3, 1, 2)]
    found = over(TempoDouble(spans=spans), max_trace_spans=2).get(TRACE)
    assert found.total == 3
    assert ([span.span_id[-1] for span in found], found.note) == (
        ["1", "2"], "only the first 2 of its 3 spans can be read",
    )  # fmt: skip


def test_times_are_always_given_and_whole_seconds_around_the_range() -> None:
    """Without them Tempo looks at what is recent only; a moment is a second, for Tempo refuses an empty range."""
    double = TempoDouble()
    for start, end in ((T0 + 0.25, T0 + 1.5), (T0, T0), (-5, -1), (1e12, 1e13)):
        over(double).search(TraceQuery(start, end))
    asked = [(given["start"], given["end"]) for _, given in double.asked]
    assert asked[::2] == asked[1::2]  # traces with a root, and those without
    assert asked[::2] == [
        (str(T0), str(T0 + 2)), (str(T0), str(T0 + 1)), ("0", "1"), (str(2**32 - 2), str(2**32 - 1)),
    ]  # fmt: skip


def crowd(span: MakeSpan, count: int) -> list[Span]:
    chance = random.Random(1)
    return [span(n, start=n / 1000, duration=chance.random()) for n in range(1, count + 1)]


def test_the_slowest_of_many_are_found_in_few_requests(span: MakeSpan) -> None:
    """Each leaves about a quarter: 20,000 traces, of which Tempo gives 200 at a time."""
    spans, double = crowd(span, 20_000), TempoDouble()
    double.spans = spans
    found = over(double).search(TraceQuery(T0, T0 + 60, order="slowest", limit=50))
    best = sorted(spans, key=lambda one: -one.duration_ns)[:50]
    assert {one.trace_id for one in found} == {one.trace_id for one in best}
    assert [one.duration for one in found] == [one.duration_ns / 1e9 for one in best]
    assert found.note == ""
    assert 4 <= len([path for path, _ in double.asked if path == "/api/search"]) <= 9


def test_a_search_that_runs_out_of_requests_has_a_note(span: MakeSpan) -> None:
    """The slowest of those seen are given."""
    double = TempoDouble(spans=crowd(span, 5_000))
    found = over(double, max_rounds=2).search(TraceQuery(T0, T0 + 60, order="slowest", limit=50))
    assert len(found) == 50
    assert len([path for path, _ in double.asked if path == "/api/search"]) == 4  # with a root, and without
    assert "returns the first matches, not the slowest: results are incomplete after 2 requests" in found.note
    assert "use a longer minimum duration or a shorter range" in found.note


@pytest.mark.parametrize("recent", [True, False])
def test_the_newest_are_found_whatever_the_order_of_answers(span: MakeSpan, recent: bool) -> None:
    """A Tempo that does not know the hint needs more requests."""
    double = TempoDouble(recent=recent, spans=[span(n, start=n / 50) for n in range(1, 2001)])
    found = over(double).search(TraceQuery(T0, T0 + 60, limit=50))
    assert [int(one.trace_id, 16) for one in found] == list(range(2000, 1950, -1))


def test_traces_are_fetched_from_a_tempo_without_root_spans(span: MakeSpan) -> None:
    """Tempo before 2.5 refuses the first query, and gets no second one of that kind."""
    double = TempoDouble(roots=False, spans=skewed(span))
    asking = over(double)
    for _ in range(2):
        found = asking.search(TraceQuery(T0 - 1, T0 + 60, order="slowest"))
        assert [(int(one.trace_id, 16), one.duration) for one in found] == [(2, 0.75), (1, 0.5)]
    assert len([given for _, given in double.asked if "nestedSetParent" in given.get("q", "")]) == 1


def skewed(span: MakeSpan) -> list[Span]:
    """A call to a host whose clock is nine seconds ahead, and one that took longer."""
    return [
        span(1, 1, kind="client", duration=0.5, resource={"host.id": "h1"}),
        span(1, 2, parent=1, service="model", start=9.05, duration=0.4, resource={"host.id": "h2"}),
        span(2, 1, start=1, duration=0.75),
    ]


def test_services_of_other_namespaces_do_not_hide_matches(span: MakeSpan) -> None:
    """TraceQL cannot express a service without a namespace, so more traces are requested."""
    others = [span(n, service="pay", namespace="shop", start=n / 1000) for n in range(1, 900)]
    double = TempoDouble(spans=[*others, span(1000, service="pay", start=0.0)])
    orders: tuple[Literal["newest", "slowest"], ...] = ("newest", "slowest")
    for order in orders:
        query = TraceQuery(T0, T0 + 60, service=Service("", "pay"), order=order, limit=5)
        assert [int(one.trace_id, 16) for one in over(double).search(query)] == [1000]


def test_namespaces_are_cached(span: MakeSpan) -> None:
    """And what cannot be learned is left out, not waited for."""
    spans = [
        span(1, 1, namespace="edge"),
        span(1, 2, parent=1, service="mid", namespace="shop"),
        span(1, 3, parent=2, service="end", name="x"),
    ]
    double, now = TempoDouble(spans=spans), 0.0
    asking = over(double, monotonic=lambda: now)
    for _ in range(3):
        (found,) = asking.search(TraceQuery(T0, T0 + 1, operation="x"))
        assert found.services == (Service("", "end"), Service("edge", "gateway"), Service("shop", "mid"))
    assert len([path for path, _ in double.asked if path.endswith("/values")]) == 1
    now = tempo.NAMESPACE_CACHE_SECONDS + 1
    asking.search(TraceQuery(T0, T0 + 1, operation="x"))
    assert len([path for path, _ in double.asked if path.endswith("/values")]) == 2


@pytest.mark.parametrize("url", ["tempo:3200", "ftp://tempo", "http://", "http://:80", ""])
def test_an_invalid_address_is_refused(url: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match="use http://HOST:PORT"):
        TempoTraces(url)


GZIP = {"content-encoding": "gzip"}
STRANGE = "unexpected response "
REFUSALS: dict[str, tuple[Answer, str]] = {
    "down": (raising(httpx.ConnectError("refused")), "cannot be reached (refused). Check that it runs"),
    "slow": (raising(httpx.ReadTimeout("")), "no response within 30 s; use a shorter range"),
    "unauthenticated": (answering(401), "returned 401; set the required credentials or tenant with --traces-config"),
    "no tenant": (answering(401, text="no org id"), "returned 401; set the required credentials or tenant"),
    "forbidden": (answering(403), "returned 403; set the required credentials"),
    "moved": (answering(302, headers={"location": "https://x/"}), "redirects to https://x/; use that address"),
    "too long a range": (answering(400, text="too long"), "returned 400: too long; use a shorter range"),
    "limited": (answering(429, text="many", headers={"retry-after": "7"}), "returned 429: many; retry in 7 s"),
    "limited, no word when": (answering(429), "returned 429: no reason; retry later"),
    "failed": (answering(500, text="a\n b" + "c" * 500), "returned 500: a b" + "c" * 197 + "; see its log"),
    "gone": (answering(503), "returned 503: no reason; see its log"),
    "HTML": (answering(200, html="<html>"), STRANGE),
    "broken gzip": (answering(200, content=b"none", headers=GZIP), "cannot be reached"),
    "another's JSON": (answering(200, json={"status": "success"}), STRANGE),
    "a list": (answering(200, json=[1]), STRANGE),
    "a page not found": (answering(404, text="404 page not found"), f"{STRANGE}(404 at /api/search)"),
    "no id": (answering(200, json={"traces": [{}]}), f"{STRANGE}(KeyError 'traceID', to a search)"),
    "an id that is none": (answering(200, json={"traces": [{"traceID": "x"}]}), f"{STRANGE}(trace id 'x'"),
    "a time that is none": (answering(200, json={"traces": [{"traceID": "1", "startTimeUnixNano": "x"}]}), STRANGE),
    "endless": (
        answering(200, content=bytes(http_client.MAX_BODY_BYTES + 1)), "larger than 64 MiB; request fewer traces"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_a_source_that_cannot_answer_says_why(what: str) -> None:
    """The message names the address, without the password, and the remedy."""
    answer, message = REFUSALS[what]
    with pytest.raises(SourceError) as caught:
        source(answer).search(ASKED)
    assert str(caught.value).startswith("Tempo http://tempo:3200/base")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b"[]", b"null", b'{"trace": 5}', b'{"trace": {"resourceSpans": 1}}']
)
def test_a_malformed_trace_is_an_error(body: bytes) -> None:
    """By its id."""
    with pytest.raises(SourceError, match=f"{STRANGE}.*for trace {TRACE}"):
        source(answering(200, content=body)).get(TRACE)


def test_an_answer_that_trickles_is_given_up() -> None:
    """Though each piece comes in time."""
    times = iter(range(0, 1000, 20))
    with pytest.raises(SourceError, match="no response within 30 s"):
        source(answering(200, content=(b"{" for _ in range(9))), monotonic=lambda: next(times)).search(ASKED)


def test_a_probe_reports_whether_the_api_answers() -> None:
    """By the echo of its query frontend, which gateways pass on."""
    assert over(TempoDouble()).probe() == ""
    assert "cannot be reached (refused)" in source(raising(httpx.ConnectError("refused"))).probe()
    assert "404 at /api/echo" in source(answering(404)).probe()
    assert "returned 503" in over(TempoDouble(instead=Reply(503))).probe()


WORDS = ["traces", "traceID", "spanSets", "spans", "attributes", "key", "value", "stringValue", "trace", "tagValues",
         "resourceSpans", "scopeSpans", "spanId", "kind", "status", "code", "serviceStats"]  # fmt: skip
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(WORDS), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_json_of_any_shape_is_read_or_refused(value: Any) -> None:  # noqa: ANN401
    """Never with another error."""
    body = json.dumps(value).encode()
    for read in (read_search, read_values, lambda body: read_trace(body, "application/json", wrapped=True)):
        try:
            read(body)
        except ValueError:
            continue


@given(st.binary(max_size=200), st.integers(0, 300), st.booleans())
def test_bytes_of_any_kind_are_read_or_refused(noise: bytes, cut: int, wrapped: bool) -> None:
    """Also a real trace that is cut or altered."""
    real = request_of([EXPECTED]).SerializeToString()
    for body in (noise, real[:cut], real[:cut] + noise + real[cut:]):
        try:
            read_trace(body, "application/protobuf", wrapped=wrapped)
        except ValueError:
            continue
