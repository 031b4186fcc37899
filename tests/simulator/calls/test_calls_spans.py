"""Spans match those of instrumented services, depend on the seed only, and are counted whether sampled or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Golden
from tests.simulator.calls.stand import ROUTE, InfiniteServers, Stand, call, flow, service

from foreshock_dashboard.ingest.otlp.gen_ai import llm_request
from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.model.span import Kind, Span
from foreshock_simulator.core.engine import Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import (
    Call,
    CallPolicy,
    Cpu,
    LlmSpec,
    OperationSpec,
    Serve,
    ServiceSpec,
    Together,
)
from foreshock_simulator.tracing.spans import SimSpan

CHAT = "POST /v1/chat/completions"


def language_model(name: str) -> ServiceSpec:
    return replace(
        service(name, Serve()), model=LlmSpec("chat-13b"), operations=(OperationSpec(CHAT, (Cpu(0.001), Serve())),)
    )


def platform(**how: float) -> Stand:
    """A platform with one of everything, and enough trouble for timeouts, failures, retries and fallbacks."""
    chat = CallPolicy(1.5, attempts=2, fallback=("spare", CHAT), retry_budget=0.5, cancels=True)
    front = service(
        "front",
        Cpu(0.002),
        Together((call("auth", timeout=0.02, attempts=3), call("table", timeout=0.2, attempts=2, required=False))),
        Call("model", CHAT, chat),
        threads=40,
    )
    specs = [
        front,
        service("auth", Cpu(0.004, 0.9), threads=2, backlog=4),
        replace(service("table", Cpu(0.02), threads=1, backlog=2, kind="database"), system="qdrant"),
        language_model("model"),
        language_model("spare"),
    ]
    stand = Stand(specs, seed=6, **how)
    for name in ("front", "auth", "table"):
        stand.start(name, 2)
    for name in ("model", "spare"):
        stand.start(name, 2, lambda: 0.2 + stand.rng.expovariate(1.0))
    stand["auth"].fail_ratio = stand["table"].fail_ratio = 0.05
    stand.poisson(flow("front", rate=25.0, timeout=3.0, attempts=2), 60.0)
    return stand


def test_the_same_seed_gives_the_same_spans_for_any_split_of_the_run() -> None:
    """In one run, or in pieces of any length with all values read in between. Another seed gives other spans."""
    whole = platform()
    whole.run(40.0)
    spans = whole.take()

    @given(st.lists(st.floats(0.001, 40.0), max_size=40))
    @settings(max_examples=8)
    def cut(times: list[float]) -> None:
        pieces = platform()
        got: list[SimSpan] = []
        for time in sorted(times):
            pieces.run(time)
            got += pieces.take()
            for each in pieces.mesh.services.values():
                _ = each.cpu_seconds, each.in_flight, each.ready, each.population.integral(time)
        pieces.run(40.0)
        assert list(map(as_line, got + pieces.take())) == list(map(as_line, spans))

    cut()
    other = Stand([service("front", Cpu(0.002))], seed=7)
    other.start_all()
    other.mesh.enter(flow("front"), 0, 0)
    other.run(1.0)
    assert not {span.trace_id for span in other.take()} & {span.trace_id for span in spans}


def test_sampling_keeps_whole_traces_and_changes_nothing_else() -> None:
    """The spans of a run at 20% are those of the full run whose trace id is below the bound. Counts cover all spans."""
    whole, part = platform(count=1), platform(sample=0.2, count=1)
    for stand in (whole, part):
        stand.run(60.0)
    spans, kept = whole.take(), part.take()
    bound = round(0.2 * 2**64)
    assert list(map(as_line, kept)) == [as_line(span) for span in spans if int(span.trace_id[16:], 16) < bound]
    assert len(kept) / len(spans) == pytest.approx(0.2, abs=0.03)
    for one, other in zip(whole.mesh.counts.edges, part.mesh.counts.edges, strict=True):
        assert (one.requests, one.failed, one.retries) == (other.requests, other.failed, other.retries)
        assert (one.client_seconds, one.server_seconds) == (other.client_seconds, other.server_seconds)


def test_no_durations_accumulate_without_counting() -> None:
    """Durations are stored for a reader, or not at all."""
    stand = platform()
    stand.run(20.0)
    assert stand.take()
    counts = stand.mesh.counts
    assert not any(edge.requests or edge.client_seconds or edge.server_seconds for edge in counts.edges)
    assert not any(each.answered or each.failed for each in counts.durations)
    assert not any(model.queued_seconds or model.prompt_tokens for model in counts.models)


def test_counts_over_all_spans_match_those_of_the_hub() -> None:
    """By edge and by operation: requests, failures, retries, fallbacks, durations, tokens."""
    stand = platform(count=1)
    stand.run(200.0)
    spans = stand.take()
    graph = ServiceGraph(ttl=1e6, max_items=10**7)
    durations: dict[tuple[str, Kind, str, str], list[float]] = defaultdict(list)
    tokens: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for span in map(hub_spans, spans):
        graph.add(span, span.end_ns / 1e9)
        seconds = span.duration_ns / 1e9
        durations[span.service.name, span.kind, span.name, span.status].append(seconds)
        if request := llm_request(span.attributes):
            tokens[span.service.name][0] += request.input_tokens or 0
            tokens[span.service.name][1] += request.output_tokens or 0
    graph.expire(1e12)
    graph.expire(2e12)
    found = graph.take()
    assert found.unpaired == []
    edges: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0] * 5)
    for each in found.increments:
        row = edges[each.edge.client.name, each.edge.server.name, each.edge.connection]
        seen = (each.requests, each.failed, each.retries, each.client_seconds or 0.0, each.server_seconds or 0.0)
        for index, value in enumerate(seen):
            row[index] += value
    counts = stand.mesh.counts
    mine = {
        (edge.client.name, edge.server.name, edge.connection): [
            edge.requests,
            edge.failed,
            edge.retries,
            pytest.approx(sum(edge.client_seconds), abs=1e-4),
            pytest.approx(sum(edge.server_seconds), abs=1e-4),
        ]
        for edge in counts.edges
    }
    assert dict(edges) == mine
    troubled = {(client, server) for (client, server, _), row in edges.items() if row[1] > 20 and row[2] > 20}
    assert troubled >= {("front", "auth"), ("front", "table"), ("front", "model")}
    expected: dict[tuple[str, Kind, str, str], list[float]] = {
        (each.service.name, each.kind, each.name, status): sorted(values)
        for each in counts.durations
        for status, values in (("unset", each.answered), ("error", each.failed))
        if values
    }
    assert {key: len(values) for key, values in durations.items()} == {
        key: len(values) for key, values in expected.items()
    }
    for key, values in durations.items():
        assert sorted(values) == pytest.approx(expected[key], abs=2e-9)
    assert {each.service.name: [each.prompt_tokens, each.generated_tokens] for each in counts.models} == tokens
    fallbacks: dict[str, int] = defaultdict(int)
    for fallback in found.fallbacks:
        fallbacks[fallback.fallback.name] += 1
    (edge,) = (edge for edge in counts.edges if (edge.client.name, edge.server.name) == ("front", "model"))
    assert {name.name: count for name, count in edge.fallbacks.items()} == fallbacks
    assert fallbacks["spare"] > 20


def test_each_server_span_has_a_client_span_in_its_trace() -> None:
    """It starts and ends within it, unless the caller timed out. Roots are requests of users."""
    stand = platform()
    stand.run(200.0)
    spans = stand.take()
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans) > 5000
    answered = 0
    for span in spans:
        if not span.parent_id:
            assert (span.kind, span.resource["service.name"]) == ("server", "front")
            continue
        parent = by_id[span.parent_id]
        assert parent.trace_id == span.trace_id
        assert parent.kind == ("client" if span.kind == "server" else "server")
        assert parent.start_ns <= span.start_ns <= span.end_ns
        if span.kind == "server":
            answered += 1
            assert parent.attributes["server.address"] == span.resource["service.name"]
            if parent.code == span.code:
                assert span.end_ns <= parent.end_ns
    assert answered > 2000
    assert sum(span.kind == "server" for span in spans if not span.parent_id) == stand.mesh.attempts


def test_spans_of_calls_golden(golden: Golden) -> None:
    """Traces of successes, timeouts, retries, errors, an overloaded database, and a tenant's work."""
    lines: list[str] = []

    def show(title: str, spans: Sequence[SimSpan]) -> None:
        lines.append(f"# {title}")
        lines.extend(as_line(span) for span in sorted(spans, key=lambda span: (span.began, span.number)))
        lines.append("")

    policy = CallPolicy(0.5, attempts=2, backoff=0.2)
    select = Call("table", "SELECT documents", policy)
    front = service("front", Cpu(0.01, 0.0), Call("model", CHAT, policy), select)
    table = replace(
        service("table", threads=1, backlog=0, kind="database"),
        operations=(OperationSpec("SELECT documents", (Cpu(0.01, 0.0),)),),
    )
    stand = Stand([front, language_model("model"), table])
    stand.start("front")
    (model,) = stand.start("model", draw=lambda: 0.4)
    stand.start("table")

    def ask(title: str, count: int = 1) -> None:
        for _ in range(count):
            stand.mesh.enter(flow("front"), 120, 30)
        stand.run(stand.engine.now + 10.0)
        show(title, stand.take())

    ask("all is well")
    model.model = InfiniteServers(stand.engine, lambda: 0.7)
    ask("the model takes longer than its caller waits")
    model.model = InfiniteServers(stand.engine, lambda: 0.01)
    stand["model"].fail_ratio = 1.0
    ask("the model fails")
    stand["model"].fail_ratio = 0.0
    ask("the database takes one at a time, and two come", count=2)
    tenant = stand.mesh.tenant(ServiceName("ml", "batch"), stand.hosts["host-2"], 4242, [select])
    answers: list[bool] = []

    def work() -> Process:
        unit = tenant.begin()
        answers.append((yield from tenant.try_call(unit, next(iter(tenant.call_sites)))))
        yield 1.0
        tenant.end(unit, "embed shard", {"app.batches": 8})

    stand.engine.spawn(work())
    stand.run(stand.engine.now + 10.0)
    show("a tenant's unit of work", stand.take())
    stand["table"].retire(stand["table"].replicas[0])
    stand.engine.spawn(work())
    stand.run(stand.engine.now + 10.0)
    show("and one whose database is gone", stand.take())
    assert answers == [True, False]
    golden("simulator/calls_spans.txt", "\n".join(lines))


def test_callees_with_one_span_name_keep_their_addresses() -> None:
    """Two callees with the same route share a span name, and differ in the address."""
    specs = [
        service("front", call("a", timeout=1.0), call("b", timeout=1.0)),
        service("a", Cpu(0.1)),
        service("b", Cpu(0.1)),
    ]
    stand = Stand(specs, count=1)
    stand.start_all()
    stand.mesh.enter(flow("front"), 0, 0)
    stand.run(5.0)
    calls = [span for span in stand.take() if span.kind == "client"]
    assert [(span.name, span.attributes["server.address"]) for span in calls] == [(ROUTE, "a"), (ROUTE, "b")]
    (together,) = (each for each in stand.mesh.counts.durations if each.kind == "client")
    assert len(together.answered) == 2


def as_line(span: SimSpan) -> str:
    """All public attributes of a span, on one line."""
    attributes = " ".join(f"{key}={value}" for key, value in span.attributes.items())
    return (
        f"{span.trace_id} {span.parent_id or '-':16} {span.span_id} {(span.start_ns - span.epoch_ns) / 1e9:.4f} "
        f"{(span.end_ns - span.start_ns) / 1e9:.4f} {span.kind} {span.name!r} {span.status} {span.status_message!r} "
        f"{span.resource['service.instance.id']} | {attributes}"
    )


def hub_spans(span: SimSpan) -> Span:
    """The spans as the hub decodes them from OTLP."""
    return Span(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start_ns,
        span.end_ns,
        span.status,
        span.status_message,
        span.resource,
        span.attributes,
    )
