"""Shapes of traces and their series: a table, with a golden file for each shape."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest

from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.span import Link, Span

Make = Callable[..., Span]
NOW = 1_800_000_000.0
OPENAI = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5"}
ANTHROPIC = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "opus"}
VLLM = {
    "gen_ai.latency.time_in_queue": 0.3, "gen_ai.latency.time_to_first_token": 0.5, "gen_ai.latency.e2e": 2.0,
    "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 200, "gen_ai.response.model": "llama-70b",
}  # fmt: skip


class Arrival(NamedTuple):
    """Spans, and their arrival in seconds after NOW."""

    after: float
    spans: list[Span]


def cases(span: Make) -> Iterator[tuple[str, list[Arrival]]]:
    """Every shape by its name."""

    def at_once(name: str, *spans: Span) -> tuple[str, list[Arrival]]:
        return name, [Arrival(0.0, list(spans))]

    client, server = span("client", "web", 1, 9, seconds=0.3), span("server", "llm", 2, 1, seconds=0.2)
    yield at_once("client-first", client, server)
    yield at_once("server-first", server, client)
    yield "duplicate", [Arrival(0.0, [client, server]), Arrival(3.0, [client, server]), Arrival(20.0, [server])]
    yield (
        "late",
        [
            Arrival(0.0, [client, server]),
            Arrival(1.0, [span("client", "web", 3, end=NOW - 40), span("server", "llm", 4, 3, end=NOW - 40)]),
            Arrival(2.0, [span("server", "llm", 5, trace=2, end=NOW + 90)]),
        ],
    )
    yield at_once(
        "nested-client",
        span("client", "agent", 1, 9, name="chat gpt-5", seconds=1.0, attributes={"gen_ai.operation.name": "chat"}),
        span("client", "agent", 2, 1, name="POST", seconds=0.9, attributes={"server.address": "llm"}),
        span("server", "llm", 3, 2, seconds=0.8),
    )
    yield at_once(
        "two-servers",
        span("client", "web", 1, 9, seconds=0.9),
        span("server", "llm", 2, 1, seconds=0.2, status="error"),
        span("server", "llm", 3, 1, seconds=0.3),
    )
    yield at_once(
        "links",
        span("producer", "orders", 1, trace=1, name="send"),
        span("producer", "orders", 2, trace=1, name="send"),
        _linked(span("consumer", "batch", 3, trace=2, name="process", seconds=4.0), (1, 1), (1, 2), (1, 2)),
        _linked(
            span("client", "audit", 4, trace=3, name="receive", attributes={"messaging.operation.type": "receive"}),
            (1, 1),
        ),
    )
    yield at_once("links-before-the-producer", *reversed(_message(span)))
    yield at_once(
        "database",
        span("client", "web", 1, 9, name="SELECT", attributes={"db.system.name": "postgresql", "db.namespace": "shop"}),
        span("client", "web", 2, 9, name="query", attributes={"db.system": "qdrant"}),
        span("client", "web", 3, 2, name="POST", attributes={"server.address": "vectors.internal"}),
    )
    yield at_once(
        "virtual-both-sides",
        span("server", "web", 1, seconds=0.5),
        span("client", "web", 2, 1, seconds=0.4, attributes={"server.address": "api.example"}),
    )
    yield at_once("unequal-durations", replace_seconds(client, 0.01), replace_seconds(server, 40.0))
    yield at_once("end-before-start", replace(server, start_ns=server.end_ns, clamped=True), client)
    yield at_once(
        "bad-ids",
        replace(client, parent_id=client.span_id),
        replace(server, parent_id=server.span_id),
    )
    yield at_once("skew", client, span("server", "llm", 2, 1, seconds=0.2, end=NOW - 20))
    yield at_once(
        "mesh-ingress",
        span("client", "web", 1, 9, seconds=0.5),
        span("client", "ingress", 2, 1, seconds=0.4),
        span("server", "llm", 3, 2, seconds=0.3),
    )
    yield at_once(
        "external-provider",
        span("client", "agent", 1, 9, name="chat gpt-5", seconds=2.0, attributes=OPENAI),
        span("client", "agent", 2, 1, name="POST", seconds=1.9, attributes={"server.address": "api.openai.com"}),
        span("client", "agent", 3, 9, name="chat opus", seconds=3.0, attributes={"gen_ai.system": "AWS_Bedrock"}),
    )
    yield at_once(
        "fallback",
        span("client", "agent", 1, 9, name="chat gpt-5", status="error", attributes=OPENAI),
        span("client", "agent", 2, 1, name="POST", status="error", attributes={"server.address": "api.openai.com"}),
        span("client", "agent", 3, 9, name="chat opus", end=NOW + 1, attributes=ANTHROPIC),
        span("client", "agent", 4, 3, name="POST", end=NOW + 1, attributes={"server.address": "api.anthropic.com"}),
    )
    yield at_once(
        "retry",
        span("server", "web", 9, seconds=3.0, end=NOW + 2),
        *(
            half
            for n, status in enumerate(("error", "error", "unset"))
            for half in (
                span("client", "web", 10 + n, 9, seconds=0.5, end=NOW + n, status=status),
                span("server", "llm", 20 + n, 10 + n, seconds=0.4, end=NOW + n, status=status),
            )
        ),
    )
    yield at_once(
        "model-server",
        span("client", "web", 1, 9, seconds=2.2),
        span("server", "llm", 2, 1, name="POST /v1/chat/completions", seconds=2.1),
        span("server", "llm", 3, 1, name="llm_request", seconds=2.0, attributes=VLLM),
    )


def _message(span: Make) -> tuple[Span, Span]:
    return span("producer", "orders", 1, name="send"), _linked(span("consumer", "batch", 3, trace=2), (1, 1))


def _linked(span: Span, *to: tuple[int, int]) -> Span:
    return replace(span, links=tuple(Link(f"{trace:032x}", f"{number:016x}", {}) for trace, number in to))


def replace_seconds(span: Span, seconds: float) -> Span:
    """The same span with another duration."""
    return replace(span, start_ns=span.end_ns - round(seconds * 1e9))


def series(arrivals: list[Arrival]) -> str:
    """All counts once nothing is pending: a line per series, without buckets and zeros."""
    metrics = SpanMetrics()
    for after, spans in arrivals:
        metrics.add(spans, NOW + after)
    for after in (30, 60, 200, 201):
        samples = metrics.collect(NOW + after)
    lines = [_line(sample) for sample in samples if not sample.metric.endswith("_bucket") and sample.value]
    return "\n".join(sorted(lines)) + "\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sample.labels)
    return f"{sample.metric}{{{labels}}} {round(sample.value, 6):g}"


NAMES = (
    "client-first", "server-first", "duplicate", "late", "nested-client", "two-servers", "links",
    "links-before-the-producer", "database", "virtual-both-sides", "unequal-durations", "end-before-start", "bad-ids",
    "skew", "mesh-ingress", "external-provider", "fallback", "retry", "model-server",
)  # fmt: skip


def test_the_table_is_complete(span: Make) -> None:
    """Every case is tested."""
    assert tuple(name for name, _ in cases(span)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_shape_makes_its_series(span: Make, name: str, golden: Callable[[str, str], None]) -> None:
    """Those of tests/golden/graph."""
    golden(f"graph/{name}.prom", series(dict(cases(span))[name]))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("duplicate", "late")])
def test_the_order_of_arrival_does_not_change_the_series(span: Make, name: str) -> None:
    """Also if the spans arrive in separate requests at different times."""
    spans = dict(cases(span))[name][0].spans
    expected = series([Arrival(0.0, spans)])
    chance = random.Random(name)
    for _ in range(10):
        chance.shuffle(spans)
        assert series([Arrival(i * 0.9, [one]) for i, one in enumerate(spans)]) == expected


def test_the_reverse_of_a_shape_has_the_same_series(span: Make) -> None:
    """Server first, client first; the consumer before its producer."""
    by_name = dict(cases(span))
    assert series(by_name["client-first"]) == series(by_name["server-first"])
    assert series(by_name["links-before-the-producer"]) == series([Arrival(0.0, list(_message(span)))])
