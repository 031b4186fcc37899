"""Calls under one span, and what a service graph finds in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.ingest.graph.counts import PATIENCE, TTL, Make

from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.service_graph.increments import GraphUpdate
from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.model.span import Span, Status

NOW = 1_800_000_000.0
Call = Callable[..., list[Span]]
"""Both sides of a call under span 9."""


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


def twice(span: Make, *servers: tuple[str, Status], callee: str = "llm", **first: Any) -> list[Span]:  # noqa: ANN401
    """A call under span 9, its SERVER spans by name and status, and a second call a second later."""
    at: dict[str, object] = {"name": "POST", "seconds": 0.5}
    return [
        span("client", "web", 10, 9, **(at | first)),
        *(span("server", "llm", 20 + n, 10, name=name, status=status) for n, (name, status) in enumerate(servers)),
        span("client", "web", 11, 9, end=NOW + 1, **at),
        span("server", callee, 31, 11, end=NOW + 1),
    ]


def tried(span: Make, number: int, *calls: Span) -> list[Span]:
    """Calls, each under a separate INTERNAL span, and these within one under the SERVER span 9."""
    steps = [span("internal", one.service.name, 200 + number + n, 100) for n, one in enumerate(calls)]
    under = [replace(one, parent_id=step.span_id) for step, one in zip(steps, calls, strict=True)]
    return [*under, *steps, span("internal", calls[0].service.name, 100, 9)]
