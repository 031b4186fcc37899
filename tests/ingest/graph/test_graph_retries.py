"""Calls under one span: which are retries of failed calls."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ingest.graph.calls import NOW, Call, chat, counts, found, tried, twice
from tests.ingest.graph.counts import PATIENCE, TTL, Make

from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.service_graph.retries import MAX_CALLS_PER_SPAN
from foreshock_dashboard.model.span import Status


def test_a_repeated_model_call_is_a_retry(span: Make) -> None:
    """The application repeats the call, so the HTTP calls have different parents."""
    result = found([*chat(span, 0, "gpt-5", "error"), *chat(span, 1, "gpt-5")])
    assert (counts(result), result.fallbacks) == ({"agent>openai": (2, 1, 1)}, [])


def test_a_failed_call_of_zero_seconds_is_not_its_own_retry(call: Call) -> None:
    """The clock was set back, or is coarse."""
    assert counts(found(call(0, "llm", "error", seconds=0.0)))["web>llm"] == (1, 1, 0)
    assert counts(found([*call(0, "llm", "error", seconds=0.0), *call(1, "llm", seconds=0.0)]))["web>llm"] == (2, 1, 1)


def test_attempts_of_a_library_within_a_model_call_are_retries(span: Make) -> None:
    """Three HTTP calls under one successful model call, and gRPC's spans of each attempt."""
    outer = span("client", "agent", 1, 9, name="chat", seconds=9, end=NOW + 3, attributes={"gen_ai.system": "openai"})
    tries = [
        span("client", "agent", 2 + n, 1, name="POST", end=NOW + n, status="unset" if n == 2 else "error")
        for n in range(3)
    ]
    assert counts(found([outer, *tries])) == {"agent>openai": (3, 2, 2)}
    sent = span("client", "web", 1, 9, name="Sent.Generate", end=NOW + 3, seconds=4)
    attempts = [
        half
        for n in range(2)
        for half in (
            span(
                "client", "web", 2 + n, 1, name="Attempt.Generate", end=NOW + n, attributes={"previous-rpc-attempts": n}
            ),
            span("server", "llm", 12 + n, 2 + n, name="Generate", end=NOW + n),
        )
    ]
    assert counts(found([sent, *attempts])) == {"web>llm": (2, 0, 1)}


def test_a_retry_at_another_replica_is_a_retry(span: Make) -> None:
    """Client-side load balancing: one service, another address each time."""
    spans = []
    for n in range(3):
        url = f"http://vllm-{n}:8000/v1/chat/completions"
        client = span("client", "proxy", 10 + n, 9, name="POST", end=NOW + n, seconds=0.5,
                      status="unset" if n == 2 else "error", attributes={"url.full": url})  # fmt: skip
        spans += [client, span("server", "vllm", 20 + n, 10 + n, end=NOW + n)]
    result = found(spans)
    assert (counts(result), result.fallbacks) == ({"proxy>vllm": (3, 2, 2)}, [])


def test_old_conventions_distinguish_requests_by_target(span: Make) -> None:
    """Three requests for different items, the first of which failed: no retry."""
    spans = []
    for n in range(3):
        client = span("client", "web", 10 + n, 9, name="HTTP GET", end=NOW + n, seconds=0.5,
                      status="unset" if n else "error", attributes={"http.target": f"/item/{n}?v=1"})  # fmt: skip
        spans += [client, span("server", "shop", 20 + n, 10 + n, end=NOW + n)]
    assert counts(found(spans)) == {"web>shop": (3, 1, 0)}


@pytest.mark.parametrize("attributes", [{"http.response.status_code": 503}, {"error.type": "timeout"}])
def test_a_call_after_a_failed_attempt_is_a_retry_even_without_a_failed_span(
    span: Make, attributes: dict[str, object]
) -> None:
    """Some libraries leave the status unset."""
    one = span("client", "web", 10, 9, name="POST", seconds=0.5, attributes={**attributes, "peer.service": "llm"})
    two = span("client", "web", 11, 9, name="POST", end=NOW + 1, seconds=0.5, attributes={"peer.service": "llm"})
    assert counts(found([one, two])) == {"web>llm": (2, 0, 1)}


@pytest.mark.parametrize(
    ("servers", "first", "retries"),
    [
        ([("generate", "error")], {}, 1),
        ([("POST /v1", "unset"), ("generate", "error")], {}, 1),
        ([("generate", "error"), ("generate", "error")], {}, 2),
        ([("generate", "error"), ("generate", "unset")], {}, 1),
        ([("generate", "error")], {"status": "ok"}, 0),
        ([("generate", "error")], {"attributes": {"http.response.status_code": 200}}, 0),
        ([("generate", "error")], {"attributes": {"http.response.status_code": 503}}, 1),
        ([("generate", "error")], {"attributes": {"rpc.grpc.status_code": 0}}, 0),
        ([("generate", "error")], {"attributes": {"rpc.response.status_code": "OK"}}, 0),
        ([("generate", "error")], {"attributes": {"rpc.grpc.status_code": 14}}, 1),
        ([("generate", "unset")], {"attributes": {"rpc.response.status_code": "UNAVAILABLE"}}, 1),
        ([("generate", "unset")], {"attributes": {"http.response.status_code": 200, "rpc.grpc.status_code": 8}}, 1),
        ([("generate", "error")], {"attributes": {"rpc.grpc.status_code": [], "rpc.response.status_code": ""}}, 1),
        ([("generate", "error")], {"end": NOW + 5}, 0),
        ([("generate", "unset")], {}, 0),
    ],
    ids=[
        "failed server", "one of two instrumentations", "two failed transport attempts",
        "failed and successful transport attempt", "client status ok", "HTTP 200", "HTTP 503",
        "gRPC code OK", "RPC code OK", "gRPC code UNAVAILABLE", "RPC code UNAVAILABLE",
        "gRPC failure within HTTP 200", "malformed codes", "call not ended", "no failure",
    ],
)  # fmt: skip
def test_a_call_after_a_failed_server_side_is_a_retry_if_the_outcome_at_the_client_is_unknown(
    span: Make, servers: list[tuple[str, Status]], first: dict[str, Any], retries: int
) -> None:
    """The outcome is unknown with status unset and without a code."""
    spans = twice(span, *servers, **first)
    for order in (spans, spans[::-1], spans[::2] + spans[1::2]):
        assert counts(found(order))["web>llm"][2] == retries


def test_a_late_retry_of_a_call_with_a_failed_server_side_is_counted(span: Make) -> None:
    """Both are under INTERNAL spans; the spans above stay pending, as after any failure."""
    spans = twice(span, ("generate", "error"))
    first, later = spans[:2], spans[2:]
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    arrivals = [(0.0, tried(span, 0, first[0])), (2.0, first[1:]), (40.0, [*tried(span, 50, later[0]), *later[1:]])]
    for now, some in arrivals:
        graph.expire(now)
        for one in some:
            graph.add(one, now)
    for now in (60.0, 200.0, 400.0):
        graph.expire(now)
    assert counts(graph.take())["web>llm"] == (2, 1, 1)
    assert len(graph) == 0


def test_deferred_decisions_beyond_the_limit_are_made_early(span: Make) -> None:
    """A call with more attempts than may be deferred: memory is bounded, and no retry is lost."""
    graph = ServiceGraph(TTL, 10, PATIENCE)
    failed: tuple[str, Status] = ("generate", "error")
    for one in twice(span, *[failed] * 50):
        graph.add(one, 0.0)
    graph.expire(PATIENCE)
    assert counts(graph.take())["web>llm"] == (51, 50, 50)


@pytest.mark.parametrize(
    ("first", "retries"),
    [
        ({"attributes": {"http.response.status_code": 301}}, 0),
        ({"attributes": {"http.response.status_code": 503}}, 1),
        ({"attributes": {"http.status_code": 429}}, 1),
        ({"attributes": {"error.type": "timeout"}}, 1),
        ({"status": "error"}, 1),
        ({"parent": 8}, 1),
        ({"end": NOW + 1}, 1),
    ],
    ids=[
        "a redirect", "an overloaded server", "a rate limit", "an error", "a failed span",
        "another parent", "a later end",
    ],
)  # fmt: skip
@pytest.mark.parametrize("host", ["old", "new"])
def test_a_resend_is_a_retry_unless_the_previous_request_was_answered(
    span: Make, host: str, first: dict[str, object], retries: int
) -> None:
    """HTTP's resend count also grows with each redirect, to any host."""
    one = span("client", "web", 10, **({"parent": 9, "name": "POST", "seconds": 0.5} | first))
    attributes = {"http.request.resend_count": 1, "server.address": host, "url.full": f"http://{host}/x"}
    other = span("client", "web", 11, 9, end=NOW + 1, seconds=0.5, attributes=attributes)
    servers = [span("server", "old", 20, 10), span("server", host, 21, 11)]
    for spans in ([one, other, *servers], [*servers, other, one]):
        assert counts(found([*spans, span("server", "web", 9, end=NOW + 2)]))[f"web>{host}"][2] == retries


def test_the_first_request_of_a_call_is_no_retry(span: Make) -> None:
    """Spans of two services under one, in either order."""
    outer = span("client", "a", 1, 9, attributes={"peer.service": "x"})
    resend = {"http.request.resend_count": 1, "peer.service": "x"}
    inner = [span("client", "a", 2, 1, attributes=resend), span("client", "b", 3, 1, attributes={"peer.service": "x"})]
    for spans in ([outer, *inner], [*reversed(inner), outer]):
        assert counts(found(spans)) == {"a>x": (1, 0, 0), "b>x": (1, 0, 0)}


def test_a_late_resend_is_decided_on_arrival(span: Make) -> None:
    """After a failure, the spans above stay pending."""
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    for number, code in enumerate((503, 301, 200)):
        now = 15.0 * number
        graph.expire(now)
        attributes = {"http.request.resend_count": number, "http.response.status_code": code, "peer.service": "llm"}
        status: Status = "error" if code == 503 else "unset"
        resend = span(
            "client", "web", 10 + number, 9, end=NOW + now, status=status, attributes=attributes, name=str(code)
        )
        graph.add(resend, now)
    for now in (55.0, 100.0, 200.0):
        graph.expire(now)
    retries = [step.retries for step in graph.take().increments if step.retries]
    assert retries == [1], "the one after 503, not the one after 301"


@pytest.mark.parametrize("kind", ["server", "internal", "client"])
def test_a_retry_is_emitted_once_the_parent_span_is_known(span: Make, call: Call, kind: str) -> None:
    """It does not wait for the TTL."""
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    for one in [*call(0, "llm", "error"), *call(1, "llm")]:
        graph.add(one, 0.0)
    assert counts(graph.take())["web>llm"] == (2, 1, 0)
    above = span(kind, "edge" if kind == "client" else "web", 9, 0 if kind == "internal" else 8)
    graph.add(above, 1.0)
    assert counts(graph.take())["web>llm"] == (0, 0, 1)


def test_calls_beyond_the_limit_of_comparisons_are_still_counted(span: Make) -> None:
    """A long-lived span with many calls."""
    calls = [
        span("client", "a", 10 + n, 9, attributes={"peer.service": "b"}, status="error", end=NOW + n)
        for n in range(MAX_CALLS_PER_SPAN + 50)
    ]
    result = found(calls)
    assert counts(result) == {"a>b": (MAX_CALLS_PER_SPAN + 50, MAX_CALLS_PER_SPAN + 50, MAX_CALLS_PER_SPAN - 1)}
    assert result.dropped == 50
