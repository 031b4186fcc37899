"""The service graph counts a call once, whenever its sides arrive."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.graph.counts import PATIENCE, TTL, Make, graph_of

from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.service_graph.increments import Unpaired
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Span, Status


def test_a_side_that_arrives_after_the_ttl_is_no_second_request(span: Make) -> None:
    """Counted calls stay as they are."""
    graph = ServiceGraph(TTL, 1000)
    client = span("client", "a", 1, attributes={"peer.service": "b"})
    server = span("server", "b", 2, 1)
    graph.add(client, 0.0)
    graph.expire(TTL)
    graph.add(server, TTL + 1)
    graph.expire(3 * TTL)
    found = graph.take()
    assert sum(step.requests for step in found.increments) == 1
    assert found.unpaired == [Unpaired(Service("", "b"), "server")]


@pytest.fixture
def update() -> Callable[[ServiceGraph], list[tuple[str, int, int, int, float | None, float | None]]]:
    """Return the last update of a graph: increments by edge, written as `client>server[:connection]`."""

    def take(graph: ServiceGraph) -> list[tuple[str, int, int, int, float | None, float | None]]:
        found = graph.take()
        assert (found.unpaired, found.dropped) == ([], 0)
        return [
            (
                f"{step.edge.client}>{step.edge.server}" + (f":{step.edge.connection}" * bool(step.edge.connection)),
                *step[1:6],
            )
            for step in found.increments
        ]

    return take


Update = Callable[[ServiceGraph], list[tuple[str, int, int, int, float | None, float | None]]]
AT_B = {"server.address": "b.internal", "server.port": 8000}


def answered(span: Make, update: Update) -> ServiceGraph:
    """A graph without pending spans after one call from a to b.internal:8000, answered by b."""
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    for side in (span("client", "a", 91, attributes=AT_B), span("server", "b", 92, 91)):
        graph.add(side, -TTL)
    assert update(graph) == [("a>b", 1, 0, 0, 0.1, None)]
    graph.expire(0.0)
    assert update(graph) == [("a>b", 0, 0, 0, None, 0.1)]
    assert len(graph) == 0
    return graph


def test_a_failed_call_without_a_server_side_calls_the_service_known_at_its_address(span: Make, update: Update) -> None:
    """A killed server sends no span; the failure still counts for its service."""
    graph = answered(span, update)
    client = span("client", "a", 1, seconds=5, status="error", attributes=AT_B)
    graph.add(client, 0.0)
    graph.expire(TTL)
    assert update(graph) == [("a>b", 1, 1, 0, 5.0, None)]
    server = span("server", "b", 2, 1, seconds=35)
    graph.add(server, PATIENCE - 1)
    assert update(graph) == [("a>b", 0, 0, 0, None, 35.0)], "the late side only adds its duration"
    graph.expire(2 * PATIENCE)
    assert (update(graph), len(graph)) == ([], 0)


def test_a_stream_is_paired_half_a_minute_after_its_client_span(span: Make, update: Update) -> None:
    """The client span ended with the headers, without failure."""
    graph = answered(span, update)
    client = span("client", "a", 1, seconds=0.5, attributes=AT_B)
    graph.add(client, 0.0)
    graph.expire(PATIENCE - 1)
    server = span("server", "b", 2, 1, seconds=35)
    graph.add(server, PATIENCE - 1)
    assert update(graph) == [("a>b", 1, 0, 0, 0.5, None), ("a>b", 0, 0, 0, None, 35.0)]


def test_a_first_stream_is_counted_once_as_a_virtual_node(span: Make, update: Update) -> None:
    """From the second one on, the address is known."""
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    first, second = span("client", "a", 1, attributes=AT_B), span("client", "a", 3, attributes=AT_B)
    graph.add(first, 0.0)
    graph.expire(TTL)
    assert update(graph) == [("a>b.internal:virtual_node", 1, 0, 0, 0.1, None)]
    for now, half in ((35.0, span("server", "b", 2, 1)), (35.0, second), (55.0, span("server", "b", 4, 3))):
        graph.expire(now)
        graph.add(half, now)
    graph.expire(3 * PATIENCE)
    assert update(graph) == [("a>b", 1, 0, 0, 0.1, None), ("a>b", 0, 0, 0, None, 0.1)]


@pytest.mark.parametrize(
    ("before", "status", "attributes", "decided"),
    [
        ({}, "unset", AT_B, TTL),
        ({}, "error", AT_B, PATIENCE),
        (AT_B, "error", AT_B, TTL),
        (AT_B, "error", AT_B | {"server.port": 6379}, PATIENCE),
        ({}, "error", {"db.system.name": "redis"}, TTL),
    ],
    ids=[
        "a success at an unknown address",
        "a failure at an unknown address: its answer may come yet",
        "a failure without an earlier answer",
        "a failure at another port",
        "a database, which sends no spans",
    ],
)
def test_a_callee_without_spans_is_counted_after_the_ttl(
    span: Make, before: dict[str, str], status: Status, attributes: dict[str, str], decided: float
) -> None:
    """Calls to an untraced model server are counted within seconds, except the first failure."""
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    if before:
        graph.add(span("client", "a", 91, attributes=before), -TTL)
        graph.expire(0.0)
        graph.take()
    graph.add(span("client", "a", 1, status=status, attributes=attributes), 0.0)
    graph.expire(decided - 0.01)
    assert graph.take().increments == []
    graph.expire(decided)
    assert [(step.requests, step.failed) for step in graph.take().increments] == [(1, int(status == "error"))]


def test_no_server_is_assumed_for_an_address_of_several_services(span: Make, update: Update) -> None:
    """Many services are behind one ingress: the call stays pending, and then calls the address."""
    graph = answered(span, update)
    for half in (span("client", "a", 93, attributes=AT_B), span("server", "c", 94, 93)):
        graph.add(half, 0.0)
    client = span("client", "a", 1, status="error", attributes=AT_B)
    graph.add(client, 0.0)
    graph.expire(PATIENCE)
    assert update(graph) == [
        ("a>c", 1, 0, 0, 0.1, None),
        ("a>c", 0, 0, 0, None, 0.1),
        ("a>b.internal:virtual_node", 1, 1, 0, 0.1, None),
    ]


def test_a_retry_half_a_minute_after_the_failed_call_is_a_retry(span: Make, update: Update) -> None:
    """Timeouts of models are long, and so is the time between attempts."""
    graph = answered(span, update)
    for number in range(3):
        end = 29.0 * number
        graph.expire(end)
        client = span("client", "a", 10 + number, 1, seconds=25, end=1e9 + end, status="error", attributes=AT_B)
        graph.add(client, end)
    graph.expire(4 * PATIENCE)
    assert [step[:4] for step in update(graph)] == [("a>b", 1, 1, 0), ("a>b", 1, 1, 1), ("a>b", 1, 1, 1)]


def test_extended_calls_are_evicted_for_new_ones(span: Make) -> None:
    """New spans have priority, and memory is bounded."""
    graph = ServiceGraph(TTL, 10, PATIENCE)
    for number in range(1, 101):
        now = number * 2.0
        graph.expire(now)
        client = span("client", "a", number, status="error", attributes={"server.address": f"host{number}.internal"})
        graph.add(client, now)
        assert len(graph) <= 10
    graph.expire(1000.0)
    found = graph.take()
    assert (len(found.increments), found.dropped, len(graph)) == (100, 0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["unset", "error"]), st.integers(0, 90), st.integers(0, 90), st.sampled_from("xyz")),
        max_size=8,
    )
)
def test_a_call_is_counted_once_whenever_its_sides_arrive(calls: list[tuple[Status, int, int, str]]) -> None:
    """Early, in time, or late, at known or unknown addresses."""
    halves: list[tuple[float, Span]] = []
    for number, (status, client_at, server_at, host) in enumerate(calls, 1):
        for kind, at, own, parent in (("client", client_at, 1, 0), ("server", server_at, 2, 1)):
            halves.append((at, _half(kind, number, own, parent, status, host)))  # type: ignore[arg-type]  # two literals
    graph = ServiceGraph(TTL, 1000, PATIENCE)
    for now, half in sorted(halves, key=lambda item: item[0]):
        graph.expire(now)
        graph.add(half, now)
    graph.expire(1000.0)
    found = graph.take()
    assert sum(step.requests for step in found.increments) == len(calls)
    assert len(graph) == 0


def _half(kind: Kind, trace: int, own: int, parent: int, status: Status, host: str) -> Span:
    return Span(
        trace_id=f"{trace:032x}", span_id=f"{own:016x}", parent_id=f"{parent:016x}" if parent else "", name="GET",
        kind=kind, start_ns=0, end_ns=10**9, status=status if kind == "client" else "unset", status_message="",
        resource={"service.name": "a" if kind == "client" else host}, attributes={"server.address": f"{host}.internal"},
        links=(),
    )  # fmt: skip


def test_nothing_is_decided_before_the_ttl(span: Make) -> None:
    """Exporters batch for five seconds, so the other side may be that late."""
    graph = ServiceGraph(TTL, 1000)
    client, server = span("client", "a", 1, attributes={"peer.service": "x"}), span("server", "b", 2, 1)
    graph.add(client, 0.0)
    graph.expire(TTL - 0.01)
    graph.add(server, TTL - 0.01)
    assert [str(step.edge.server) for step in graph.take().increments] == ["b"]


def test_pending_spans_are_limited_and_the_dropped_counted(span: Make) -> None:
    edges, unpaired, dropped = graph_of([span("client", "a", n) for n in range(1, 16)], max_items=10)
    assert (edges, unpaired.total(), dropped) == ({}, 10, 5)
