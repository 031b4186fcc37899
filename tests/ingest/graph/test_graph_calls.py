"""Calls under one span: retries of failed calls, and fallbacks that replace them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.service_graph.increments import GraphUpdate
from foreshock_dashboard.ingest.service_graph.pending import MAX_INTERNAL_DEPTH
from foreshock_dashboard.ingest.service_graph.retries import MAX_CALLS_PER_SPAN, Fallback
from foreshock_dashboard.model.span import Span, Status

Make = Callable[..., Span]
TTL, PATIENCE = 10.0, 60.0
NOW = 1_800_000_000.0


def found(
    spans: Sequence[Span], *, times: Sequence[float] = (TTL, 2 * TTL, 3 * TTL, PATIENCE, 2 * PATIENCE)
) -> GraphUpdate:
    """The update of a graph of these spans once none of them is pending."""
    graph = ServiceGraph(TTL, 10_000, PATIENCE)
    for one in spans:
        graph.add(one, 0.0)
    for now in times:
        graph.expire(now)
    assert len(graph) == 0
    return graph.take()


def texts(fallbacks: Sequence[Fallback]) -> list[str]:
    """Fallbacks as `client: server > fallback`, with the model after a colon."""
    return sorted(
        f"{one.client}: {_with(str(one.server), one.model)} > {_with(str(one.fallback), one.fallback_model)}"
        for one in fallbacks
    )


def _with(name: str, model: str) -> str:
    return f"{name}:{model}" if model else name


def counts(result: GraphUpdate) -> dict[str, tuple[int, int, int]]:
    """Requests, failures, and retries of each edge."""
    sums: dict[str, tuple[int, int, int]] = {}
    for step in result.increments:
        before = sums.get(f"{step.edge.client}>{step.edge.server}", (0, 0, 0))
        sums[f"{step.edge.client}>{step.edge.server}"] = (
            before[0] + step.requests,
            before[1] + step.failed,
            before[2] + step.retries,
        )
    return sums


@pytest.fixture
def call(span: Make) -> Callable[..., list[Span]]:
    """Return a function that makes both sides of a call under span 9 in second `number`."""

    def make(
        number: int, callee: str, status: Status = "unset", url: str = "/v1/chat", seconds: float = 0.5
    ) -> list[Span]:
        client = span(
            "client", "web", 10 + number, 9, end=NOW + number, status=status, seconds=seconds,
            attributes={"url.full": f"http://{callee}:80{url}?n={number}"},
        )  # fmt: skip
        return [client, span("server", callee, 50 + number, 10 + number, end=NOW + number, status=status)]

    return make


Call = Callable[..., list[Span]]


def test_a_failed_call_replaced_by_another_service_is_a_fallback(call: Call) -> None:
    """A later success does not hide it."""
    result = found([*call(0, "big", "error"), *call(1, "small")])
    assert texts(result.fallbacks) == ["web: big > small"]
    assert counts(result) == {"web>big": (1, 1, 0), "web>small": (1, 0, 0)}


def test_all_failed_calls_of_a_chain_have_the_same_fallback(call: Call) -> None:
    """Two failed, and the third succeeded."""
    result = found([*call(0, "big", "error"), *call(1, "middle", "error"), *call(2, "small"), *call(3, "tiny")])
    assert texts(result.fallbacks) == ["web: big > small", "web: middle > small"]


@pytest.mark.parametrize(
    "second",
    [
        {"callee": "big"},
        {"callee": "small", "status": "error"},
        {"callee": "small", "url": "/v1/score"},
        {"callee": "small", "seconds": 5.0},
    ],
    ids=["a retry", "failed as well", "another task", "begun before the first one failed"],
)
def test_a_call_that_replaces_no_failed_call_is_no_fallback(call: Call, second: dict[str, object]) -> None:
    """Retries, fan-out, and independent work."""
    assert found([*call(0, "big", "error"), *call(1, **second)]).fallbacks == []


def test_a_successful_retry_has_no_fallback(call: Call) -> None:
    """The first success decides, here at the same callee."""
    result = found([*call(0, "big", "error"), *call(1, "big"), *call(2, "small")])
    assert (result.fallbacks, counts(result)["web>big"]) == ([], (2, 1, 1))


def test_calls_under_different_spans_are_independent(span: Make) -> None:
    """A call of another request is no fallback."""
    one = span("client", "web", 1, 8, status="error", attributes={"peer.service": "big"})
    other = span("client", "web", 2, 9, end=NOW + 1, attributes={"peer.service": "small"})
    assert found([one, other]).fallbacks == []


def chat(span: Make, number: int, model: str, status: Status = "unset", provider: str = "openai") -> list[Span]:
    """A generative-AI call under span 9 around an HTTP call, without a server side."""
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model}
    outer = span(
        "client", "agent", 10 + number, 9, name=f"chat {model}", end=NOW + number, status=status, attributes=attributes
    )
    http = {"server.address": f"api.{provider}.com", "url.full": f"https://api.{provider}.com/v1/{provider}"}
    inner = span(
        "client", "agent", 50 + number, 10 + number, name="POST", end=NOW + number, status=status, attributes=http
    )
    return [outer, inner]


def test_a_model_that_another_provider_or_model_replaces_is_a_fallback(span: Make) -> None:
    """Names and addresses of the calls differ; their operation is the same."""
    other = found([*chat(span, 0, "gpt-5", "error"), *chat(span, 1, "opus", provider="anthropic")])
    assert texts(other.fallbacks) == ["agent: openai:gpt-5 > anthropic:opus"]
    smaller = found([*chat(span, 0, "gpt-5", "error"), *chat(span, 1, "gpt-5-mini")])
    assert texts(smaller.fallbacks) == ["agent: openai:gpt-5 > openai:gpt-5-mini"]
    assert counts(smaller) == {"agent>openai": (2, 1, 0)}


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


@pytest.mark.parametrize("above", ["client", "server", "nothing"])
def test_attempts_under_internal_spans_belong_to_the_call_around_them(span: Make, above: str) -> None:
    """gRPC's spans in Go: the call is a CLIENT span, and each attempt within it an INTERNAL span.

    Without a CLIENT span, the service of the attempts is the caller.
    """
    call = {
        "client": [span("client", "web", 1, 9, name="Sent.Generate", end=NOW + 3, seconds=4)],
        "server": [span("server", "web", 1, name="GET /", end=NOW + 3, seconds=4)],
        "nothing": [],
    }[above]
    under = 1 if call else 0
    attempts = [
        half
        for n in range(2)
        for half in (
            span("internal", "web", 2 + n, under, name="Attempt.Generate", end=NOW + n),
            span("server", "llm", 12 + n, 2 + n, name="Generate", end=NOW + n, status="unset" if n else "error"),
        )
    ]
    retries = 1 if above == "client" else 0
    for spans in ([*call, *attempts], [*reversed(attempts), *call], [*attempts[1::2], *call, *attempts[::2]]):
        result = found(spans)
        assert counts(result)["web>llm"] == (2, 1, retries)
        assert result.unpaired == []


def test_a_server_under_an_internal_span_prevents_a_virtual_node(span: Make) -> None:
    """An INTERNAL span of another service does not."""
    call = span("client", "web", 1, 9, attributes={"server.address": "llm.internal"})
    step, server = span("internal", "web", 2, 1), span("server", "llm", 3, 2)
    assert counts(found([call, step, server])) == {"web>llm": (1, 0, 0)}
    foreign = [span("internal", "web", 2, 1), span("internal", "proxy", 4, 2), span("server", "llm", 3, 4)]
    assert counts(found([call, *foreign])) == {"web>llm.internal": (1, 0, 0), "proxy>llm": (1, 0, 0)}


@pytest.mark.parametrize(
    ("around", "more"),
    [
        ({"gen_ai.operation.name": "invoke_agent"}, {}),
        ({"gen_ai.provider.name": "openai", "gen_ai.operation.name": "chat"}, {"agent>openai": (1, 0, 0)}),
        ({"db.system.name": "postgresql"}, {"agent>postgresql": (1, 0, 0)}),
    ],
    ids=["an agent", "a model", "a database"],
)
@pytest.mark.parametrize("names", [("run", "run"), ("run", "rerank")])
def test_calls_under_internal_spans_within_a_client_span_are_separate_calls(
    span: Make, around: dict[str, str], more: dict[str, tuple[int, int, int]], names: tuple[str, str]
) -> None:
    """They are neither attempts nor one request; the span around them is a call if it names another callee."""
    outer = span("client", "agent", 1, 9, end=NOW + 3, seconds=4, attributes=around)
    steps = [span("internal", "agent", 2 + n, 1, name="step") for n in range(2)]
    tools = [span("server", "tool", 12 + n, 2 + n, name=f"POST /{name}") for n, name in enumerate(names)]
    for spans in ([outer, *steps, *tools], [*tools, *steps, outer], [*steps, outer, *tools]):
        result = found(spans)
        assert counts(result) == {"agent>tool": (2, 0, 0)} | more
        assert result.unpaired == []


@pytest.mark.parametrize("depth", [MAX_INTERNAL_DEPTH, MAX_INTERNAL_DEPTH + 1])
def test_internal_spans_are_skipped_up_to_the_limit_in_any_order(span: Make, depth: int) -> None:
    """Beyond it, the service is the caller, and the CLIENT span has no server side."""
    call = span("client", "web", 1, 99, attributes={"server.address": "llm.internal"})
    steps = [span("internal", "web", 2 + n, 1 + n, name="Attempt.x") for n in range(depth)]
    server = span("server", "llm", 90, 1 + depth)
    results = [counts(found(spans)) for spans in ([call, *steps, server], [server, *reversed(steps), call])]
    paired = depth == MAX_INTERNAL_DEPTH
    assert results[0] == results[1] == ({"web>llm": (1, 0, 0)} | ({} if paired else {"web>llm.internal": (1, 0, 0)}))


def test_internal_spans_in_a_circle_end_the_search(span: Make) -> None:
    """Their service is the caller; nothing stays pending."""
    ring = [span("internal", "web", 2, 3), span("internal", "web", 3, 2)]
    assert counts(found([*ring, span("server", "llm", 4, 2)])) == {"web>llm": (1, 0, 0)}


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


def twice(span: Make, *servers: tuple[str, Status], callee: str = "llm", **first: Any) -> list[Span]:  # noqa: ANN401
    """A call under span 9, its SERVER spans by name and status, and a second call a second later."""
    at: dict[str, object] = {"name": "POST", "seconds": 0.5}
    return [
        span("client", "web", 10, 9, **(at | first)),
        *(span("server", "llm", 20 + n, 10, name=name, status=status) for n, (name, status) in enumerate(servers)),
        span("client", "web", 11, 9, end=NOW + 1, **at),
        span("server", callee, 31, 11, end=NOW + 1),
    ]


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


def test_a_call_with_a_failed_server_side_may_have_a_fallback(span: Make) -> None:
    """Another service replaces it."""
    spans = twice(span, ("generate", "error"), callee="small")
    assert texts(found(spans).fallbacks) == texts(found(spans[::-1]).fallbacks) == ["web: llm > small"]


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
    ("attributes", "edges"),
    [
        ({"url.full": "https://api.example.com/v1?k=1"}, {"web>api.example.com"}),
        ({"http.url": "http://legacy:8080/x"}, {"web>legacy"}),
        ({"url.full": "http://10.0.0.7:80/x"}, set()),
        ({"url.full": "http://[::1/x"}, set()),
        ({"url.full": "http://a:99999/x"}, set()),
        ({"server.address": "named", "url.full": "https://other/x"}, {"web>named"}),
    ],
)
def test_an_address_in_a_url_names_the_callee(span: Make, attributes: dict[str, str], edges: set[str]) -> None:
    """An IP address or an invalid URL names no callee."""
    assert set(counts(found([span("client", "web", 1, 9, attributes=attributes)]))) == edges


def test_unconsumed_messages_go_to_their_messaging_system(span: Make) -> None:
    """No attribute has the address of a broker."""
    attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    (step,) = found([span("producer", "web", 1, attributes=attributes)]).increments
    assert (str(step.edge.server), step.edge.connection) == ("kafka", "messaging_system")


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


@pytest.mark.parametrize(
    ("inner", "edges"),
    [
        ({"db.system.name": "redis"}, {"agent>openai", "agent>redis"}),
        ({"server.address": "api.openai.com"}, {"agent>openai"}),
        ({"peer.service": "proxy"}, {"agent>proxy"}),
        ({"server.address": "10.0.0.7"}, {"agent>openai"}),
    ],
    ids=["a cache", "an address", "a named peer", "an IP address"],
)
def test_a_call_to_a_provider_is_one_edge(span: Make, inner: dict[str, str], edges: set[str]) -> None:
    """The HTTP call within it is counted; the call around that names the callee. A cache is a separate call."""
    outer = span("client", "agent", 1, 9, name="chat", attributes={"gen_ai.system": "openai"})
    assert set(counts(found([outer, span("client", "agent", 2, 1, name="POST", attributes=inner)]))) == edges


def test_a_provider_that_sends_spans_has_its_own_service(span: Make) -> None:
    """A self-hosted model behind an OpenAI-compatible API."""
    outer, inner = chat(span, 0, "llama")
    assert set(counts(found([outer, inner, span("server", "llm", 3, 50)]))) == {"agent>llm"}


def test_a_receiving_client_span_is_the_consumer_of_its_links(span: Make) -> None:
    """It is no call to a broker; a sending one is."""
    producer = span("producer", "orders", 1, name="send")
    kafka = {"messaging.system": "kafka", "server.address": "kafka"}
    receive = span("client", "batch", 2, 0, links=(1,), attributes=kafka | {"messaging.operation.type": "receive"})
    settle = span("client", "batch", 3, 0, attributes=kafka | {"messaging.operation.type": "settle"})
    result = found([receive, settle, producer])
    assert {(str(i.edge.client), str(i.edge.server), i.edge.connection) for i in result.increments} == {
        ("orders", "batch", "messaging_system"),
        ("batch", "kafka", "messaging_system"),
    }


def tried(span: Make, number: int, *calls: Span) -> list[Span]:
    """Calls, each under a separate INTERNAL span, and these within one under the SERVER span 9."""
    steps = [span("internal", one.service.name, 200 + number + n, 100) for n, one in enumerate(calls)]
    under = [replace(one, parent_id=step.span_id) for step, one in zip(steps, calls, strict=True)]
    return [*under, *steps, span("internal", calls[0].service.name, 100, 9)]


def test_attempts_under_separate_internal_spans_are_compared(span: Make) -> None:
    """The nesting of tenacity, LiteLLM, and LangChain: retries, and a fallback."""
    calls = [
        span("client", "web", 10 + n, 9, end=NOW + n, seconds=0.5, status="unset" if n == 2 else "error",
             attributes={"url.full": "http://llm/v1", "server.address": "llm"})
        for n in range(3)
    ]  # fmt: skip
    top = span("server", "web", 9, end=NOW + 3, seconds=9)
    for spans in ([*tried(span, 0, *calls), top], [top, *reversed(tried(span, 0, *calls))]):
        assert counts(found(spans))["web>llm"] == (3, 2, 2)
    first, other = chat(span, 0, "gpt-5", "error")[0], chat(span, 1, "opus", provider="anthropic")[0]
    result = found([*tried(span, 0, first, other), span("server", "agent", 9, end=NOW + 3, seconds=9)])
    assert texts(result.fallbacks) == ["agent: openai:gpt-5 > anthropic:opus"]


def test_a_late_retry_under_internal_spans_is_counted(span: Make) -> None:
    """The common parent and the spans between stay pending."""
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    at = {"url.full": "http://llm/v1", "server.address": "llm"}
    one = span("client", "web", 10, 9, status="error", attributes=at)
    other = span("client", "web", 11, 9, end=NOW + 40, attributes=at)
    for now, spans in ((0.0, tried(span, 0, one)), (40.0, tried(span, 50, other))):
        graph.expire(now)
        for one in spans:
            graph.add(one, now)
    for now in (60.0, 200.0, 400.0):
        graph.expire(now)
    assert counts(graph.take())["web>llm"] == (2, 1, 1)
    assert len(graph) == 0


def test_internal_spans_in_circles_or_deep_chains_are_handled(span: Make) -> None:
    """A circle, and thousands within each other; a call within a call is still not counted twice."""
    ring = [span("internal", "a", 1, 2), span("internal", "a", 2, 1), span("client", "a", 3, 1)]
    assert counts(found([*ring, span("server", "b", 4, 3)])) == {"a>b": (1, 0, 0)}
    deep = [span("internal", "a", n, n - 1, status="error") for n in range(2, 3000)]
    outer = span("client", "a", 1, attributes={"gen_ai.system": "openai"})
    inner = span("client", "a", 5000, 2999, status="error")
    for spans in ([outer, *deep, inner], [inner, *deep, outer], [inner, *reversed(deep), outer]):
        assert counts(found([*spans, span("server", "b", 5001, 5000)])) == {"a>b": (1, 1, 0)}


def test_client_spans_in_circles_or_deep_chains_are_handled(span: Make) -> None:
    """A circle, a span within itself, and a thousand within each other."""
    ring = [span("client", "a", 1, 2), span("client", "a", 2, 1), span("server", "b", 3, 1)]
    assert counts(found(ring))["a>b"][0] == 1
    deep = [span("client", "a", n, n - 1, status="error") for n in range(1, 3000)]
    assert counts(found([*deep, span("server", "b", 5000, 2999)])) == {"a>b": (1, 1, 0)}


def test_calls_beyond_the_limit_of_comparisons_are_still_counted(span: Make) -> None:
    """A long-lived span with many calls."""
    calls = [
        span("client", "a", 10 + n, 9, attributes={"peer.service": "b"}, status="error", end=NOW + n)
        for n in range(MAX_CALLS_PER_SPAN + 50)
    ]
    result = found(calls)
    assert counts(result) == {"a>b": (MAX_CALLS_PER_SPAN + 50, MAX_CALLS_PER_SPAN + 50, MAX_CALLS_PER_SPAN - 1)}
    assert result.dropped == 50


Row = tuple[str, int, str, Status, int, str]


@st.composite
def agents(draw: st.DrawFn) -> list[Span]:
    """Nested model calls under a few spans, some with HTTP calls, of any outcome."""
    rows: list[Row] = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["model", "http", "internal", "server", "internal"]),
                st.integers(0, 9), st.sampled_from("ab"),
                st.sampled_from(["unset", "error", "ok"]), st.integers(0, 6), st.sampled_from(["openai", "anthropic"]),
            ),
            min_size=1, max_size=10,
        )
    )  # fmt: skip
    return [_span(number, *row) for number, row in enumerate(rows, 1)]


def _span(number: int, what: str, above: int, service: str, status: Status, start: int, provider: str) -> Span:
    attributes: dict[str, str] = {"server.address": f"{provider}.example"}
    if what == "model":
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider}
    parent = above % number or 99
    return Span(
        trace_id=f"{1:032x}", span_id=f"{number:016x}", parent_id=f"{parent:016x}", name=what,
        kind="server" if what == "server" else "internal" if what == "internal" else "client",
        start_ns=start * 10**9, end_ns=(start + 1) * 10**9, status=status, status_message="",
        resource={"service.name": service}, attributes=attributes,
    )  # fmt: skip


@given(agents(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_neither_retries_nor_fallbacks(spans: list[Span], random: Random) -> None:
    """For any nesting."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    one, other = found(spans), found(shuffled)
    assert counts(one) == counts(other)
    assert Counter(one.fallbacks) == Counter(other.fallbacks)
    assert Counter(one.unpaired) == Counter(other.unpaired)


@given(agents())
def test_totals_are_consistent(spans: list[Span]) -> None:
    """Fallbacks are failed requests; retries are requests; a span is in an edge, within one, or unpaired."""
    result = found(spans)
    sums = counts(result)
    for requests, failed, retries in sums.values():
        assert 0 <= failed <= requests
        assert 0 <= retries <= requests
    calls = [one for one in spans if one.kind == "client"]
    assert sum(total[0] for total in sums.values()) <= len(calls) + sum(one.kind == "server" for one in spans)
    assert len(result.fallbacks) <= sum(one.status == "error" for one in spans)
