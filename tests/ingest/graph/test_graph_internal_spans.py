"""Calls under INTERNAL spans: who the caller is, and what is one call."""

from __future__ import annotations

import pytest
from tests.ingest.graph.calls import NOW, chat, counts, found, texts, tried
from tests.ingest.graph.counts import PATIENCE, TTL, Make

from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.service_graph.pending import MAX_INTERNAL_DEPTH


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
