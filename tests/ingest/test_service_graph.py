"""The service graph counts each request once, whatever the order of arrival."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.ingest.service_graph.call_pairing import MAX_LINKS, MAX_SERVER_LINKS, ServiceGraph
from foreshock_dashboard.ingest.service_graph.increments import Unpaired
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Link, Span, Status

Make = Callable[..., Span]
TTL = 10.0
PATIENCE = 60.0


class Total(NamedTuple):
    """All counts of one edge."""

    requests: int = 0
    failed: int = 0
    retries: int = 0
    client_seconds: tuple[float, ...] = ()
    server_seconds: tuple[float, ...] = ()


def graph_of(spans: Iterable[Span], max_items: int = 1000) -> tuple[dict[str, Total], Counter[str], int]:
    """Edges as `client>server[:connection]`, unpaired spans as `service:kind`, and the number of dropped ones."""
    graph = ServiceGraph(TTL, max_items, PATIENCE)
    for span in spans:
        graph.add(span, now=0.0)
    graph.expire(TTL)
    graph.expire(PATIENCE)
    assert len(graph) == 0
    found = graph.take()
    totals: dict[str, Total] = defaultdict(Total)
    for step in found.increments:
        assert min(step.requests, step.failed, step.retries) >= 0
        client, server, connection = step.edge
        name = f"{client}>{server}" + (f":{connection}" if connection else "")
        total = totals[name]
        totals[name] = Total(
            total.requests + step.requests,
            total.failed + step.failed,
            total.retries + step.retries,
            tuple(sorted(total.client_seconds + ((step.client_seconds,) if step.client_seconds is not None else ()))),
            tuple(sorted(total.server_seconds + ((step.server_seconds,) if step.server_seconds is not None else ()))),
        )
    return dict(totals), Counter(f"{alone.service}:{alone.kind}" for alone in found.unpaired), found.dropped


@pytest.fixture
def edges() -> Callable[..., dict[str, Total]]:
    """The edges of spans, which are equal for the reverse order."""

    def of(*spans: Span) -> dict[str, Total]:
        forwards, unpaired, dropped = graph_of(spans)
        assert graph_of(reversed(spans)) == (forwards, unpaired, dropped)
        return forwards

    return of


Edges = Callable[..., dict[str, Total]]


def test_the_two_sides_of_a_call_are_one_request_with_two_durations(span: Make, edges: Edges) -> None:
    """With different durations at client and server."""
    assert edges(span("client", "a", 1, seconds=0.3), span("server", "b", 2, 1, seconds=0.2)) == {
        "a>b": Total(1, 0, 0, (0.3,), (0.2,))
    }


@pytest.mark.parametrize(("client", "server"), [("error", "unset"), ("unset", "error"), ("error", "error")])
def test_a_request_failed_if_either_side_failed(span: Make, edges: Edges, client: Status, server: Status) -> None:
    """A failed request counts once, whichever side failed."""
    total = edges(span("client", "a", 1, status=client), span("server", "b", 2, 1, status=server))["a>b"]
    assert (total.requests, total.failed) == (1, 1)


def test_equal_names_in_two_namespaces_are_two_services(span: Make, edges: Edges) -> None:
    """A service is the pair of namespace and name."""
    assert set(edges(span("client", "red/a", 1), span("server", "blue/a", 2, 1))) == {"red/a>blue/a"}


def test_clock_skew_changes_no_duration(span: Make, edges: Edges) -> None:
    """Times of two hosts are never subtracted."""
    total = edges(span("client", "a", 1, seconds=0.3), span("server", "b", 2, 1, seconds=0.2, end=1_800_000_009.0))
    assert total["a>b"] == Total(1, 0, 0, (0.3,), (0.2,))


def test_a_root_server_span_has_the_client_user_without_client_duration(span: Make, edges: Edges) -> None:
    """The absent side has no duration, in particular not 0."""
    assert edges(span("server", "a", 1, seconds=0.2)) == {"user>a:virtual_node": Total(1, 0, 0, (), (0.2,))}


def test_several_server_spans_under_one_client_span_are_attempts(span: Make, edges: Edges) -> None:
    """The transport retried twice: three requests, two of them retries, one client duration."""
    total = edges(
        span("client", "a", 1, seconds=0.9),
        span("server", "b", 2, 1, seconds=0.1, status="error"),
        span("server", "b", 3, 1, seconds=0.2, status="error"),
        span("server", "b", 4, 1, seconds=0.3),
    )["a>b"]
    assert total == Total(3, 2, 2, (0.9,), (0.1, 0.2, 0.3))


def test_two_instrumentations_of_one_server_are_one_request(span: Make, edges: Edges) -> None:
    """Spans of a web framework and a model server under one call have different names."""
    total = edges(
        span("client", "a", 1),
        span("server", "b", 2, 1, name="POST /v1", seconds=2.1),
        span("server", "b", 3, 1, name="llm_request", seconds=2.0),
    )["a>b"]
    assert total == Total(1, 0, 0, (0.1,), (2.1,)), "and the longer one, which lasts until the answer was sent, counts"


def test_two_instrumentations_of_a_server_called_twice_are_two_requests(span: Make, edges: Edges) -> None:
    """The first attempt did not reach the model: the spans that cover both attempts give the server durations."""
    first = span("server", "b", 2, 1, name="POST /v1", seconds=0.1, status="error")
    both = [span("server", "b", 3, 1, name=name, seconds=seconds) for name, seconds in (("POST /v1", 2), ("llm", 9))]
    assert edges(span("client", "a", 1), first, *both)["a>b"] == Total(2, 1, 1, (0.1,), (0.1, 2.0))


def test_receiving_and_processing_a_message_is_one_request(span: Make, edges: Edges) -> None:
    """Two spans of one consumer; the duration is that of processing."""
    receive = {"messaging.operation.type": "receive"}
    total = edges(
        span("producer", "a", 1, name="send"),
        span("client", "b", 2, links=(1,), name="receive", seconds=0.01, attributes=receive),
        span("consumer", "b", 3, 2, links=(1,), name="process", seconds=4.0),
    )
    assert total == {"a>b:messaging_system": Total(1, 0, 0, (0.1,), (4.0,))}


def test_a_call_repeated_after_a_failure_is_a_retry(span: Make, edges: Edges) -> None:
    """Three attempts one after another under the same parent, the first two of which failed."""
    spans: list[Span] = []
    for number in range(3):
        failed = "error" if number < 2 else "unset"
        end = 1_800_000_000.0 + number
        spans += [
            span("client", "a", 10 + number, 1, seconds=0.5, end=end, status=failed),
            span("server", "b", 20 + number, 10 + number, end=end, status=failed),
        ]
    total = edges(*spans)["a>b"]
    assert (total.requests, total.failed, total.retries) == (3, 2, 2)


@pytest.mark.parametrize(
    "second",
    [
        {"name": "POST"},
        {"attributes": {"url.full": "http://b/other"}},
        {"seconds": 5.0},
    ],
    ids=["another operation", "another address", "begun before the first one failed"],
)
def test_a_different_call_is_no_retry(span: Make, edges: Edges, second: dict[str, object]) -> None:
    """Fan-out and different work after a failure are not retries."""
    first = span("client", "a", 10, 1, seconds=0.5, status="error", attributes={"url.full": "http://b/x?page=1"})
    second = {"attributes": {"url.full": "http://b/x?page=2"}, "seconds": 0.5} | second
    later = span("client", "a", 11, 1, end=1_800_000_001.0, **second)
    total = edges(first, span("server", "b", 20, 10), later, span("server", "b", 21, 11))["a>b"]
    assert (total.requests, total.retries) == (2, 0)


@pytest.mark.parametrize("attribute", ["http.request.resend_count", "http.resend_count"])
def test_a_resend_after_a_failed_call_is_one_retry(span: Make, edges: Edges, attribute: str) -> None:
    """The attribute and the failed call describe the same retry."""
    total = edges(
        span("client", "a", 10, 1, status="error"),
        span("server", "b", 20, 10),
        span("client", "a", 11, 1, end=1_800_000_001.0, attributes={attribute: 1}),
        span("server", "b", 21, 11),
    )["a>b"]
    assert (total.requests, total.retries) == (2, 1)


@pytest.mark.parametrize("value", [["1"], "1", 1])
def test_grpc_s_count_of_previous_attempts_makes_a_retry(span: Make, edges: Edges, value: object) -> None:
    """Even if the span of the first attempt is lost."""
    attributes = {"rpc.grpc.request.metadata.grpc-previous-rpc-attempts": value}
    total = edges(span("client", "a", 1), span("server", "b", 2, 1, attributes=attributes))["a>b"]
    assert (total.requests, total.retries) == (1, 1)


@pytest.mark.parametrize("value", ["many", "", None, float("inf"), float("nan"), [], {}, True, -3])
def test_a_malformed_resend_count_is_ignored(span: Make, edges: Edges, value: object) -> None:
    """The request is counted."""
    attributes = {"http.request.resend_count": value}
    assert edges(span("client", "a", 1, attributes=attributes), span("server", "b", 2, 1))["a>b"].requests == 1


def test_nested_client_spans_are_one_call(span: Make, edges: Edges) -> None:
    """Generative-AI spans are CLIENT spans around those of HTTP."""
    chat = span("client", "a", 1, name="chat gpt", attributes={"server.address": "api.example"})
    http = span("client", "a", 2, 1, name="POST", attributes={"server.address": "api.example"})
    assert edges(chat, http, span("server", "b", 3, 2)) == {"a>b": Total(1, 0, 0, (0.1,), (0.1,))}
    assert graph_of([chat, http])[0] == {"a>api.example:virtual_node": Total(1, 0, 0, (0.1,), ())}


def test_internal_spans_between_two_client_spans_are_skipped(span: Make, edges: Edges) -> None:
    """The HTTP call is counted, although a library adds a span between."""
    chat = span("client", "a", 1, name="chat llama", attributes={"gen_ai.provider.name": "openai"})
    steps = [span("internal", "a", 2, 1), span("internal", "a", 3, 2)]
    http = span("client", "a", 4, 3, name="POST", seconds=0.3, attributes={"server.address": "api.openai.com"})
    assert edges(chat, *steps, http, span("server", "vllm", 5, 4)) == {"a>vllm": Total(1, 0, 0, (0.3,), (0.1,))}
    assert edges(chat, *steps, http) == {"a>openai:virtual_node": Total(1, 0, 0, (0.3,), ())}


def test_an_internal_span_of_another_service_is_not_skipped(span: Make, edges: Edges) -> None:
    """Its calls are separate calls."""
    spans = span("client", "a", 1, attributes={"peer.service": "b"}), span("internal", "b", 2, 1)
    assert set(edges(*spans, span("client", "a", 3, 2, attributes={"peer.service": "c"}))) == {
        "a>b:virtual_node",
        "a>c:virtual_node",
    }


@pytest.mark.parametrize(
    ("attributes", "edge"),
    [
        ({"db.system.name": "redis"}, "a>redis:database"),
        ({"db.system": "postgresql", "db.name": "orders"}, "a>orders:database"),
        (
            {"db.system": "postgresql", "db.namespace": "orders", "server.address": "pg.internal"},
            "a>pg.internal:database",
        ),
        ({"db.system": "postgresql", "db.name": "orders", "server.address": "10.0.0.7"}, "a>orders:database"),
        (
            {"db.system": "redis", "service.peer.name": "cache", "service.peer.namespace": "shop"},
            "a>shop/cache:database",
        ),
        ({"peer.service": "billing"}, "a>billing:virtual_node"),
        ({"service.peer.name": "billing", "peer.service": "old"}, "a>billing:virtual_node"),
        ({"server.address": "api.example"}, "a>api.example:virtual_node"),
        ({"net.peer.name": "api.example"}, "a>api.example:virtual_node"),
    ],
)
def test_a_call_without_a_server_side_makes_a_virtual_node(
    span: Make, edges: Edges, attributes: dict[str, str], edge: str
) -> None:
    """Databases and services without spans, with the client duration."""
    assert edges(span("client", "a", 1, seconds=0.4, attributes=attributes)) == {edge: Total(1, 0, 0, (0.4,), ())}


def test_a_database_that_sends_spans_is_one_node(span: Make, edges: Edges) -> None:
    """The attributes are used only without a server side."""
    client = span("client", "a", 1, attributes={"db.system": "qdrant"})
    assert set(edges(client, span("server", "vectors", 2, 1))) == {"a>vectors"}


@pytest.mark.parametrize("address", ["", "10.0.0.7", "::1", "[::1]"])
def test_a_call_without_a_named_callee_makes_no_node(span: Make, address: str) -> None:
    """An IP address is a machine: the span is unpaired."""
    spans = [span("client", "a", 1, attributes={"server.address": address})]
    assert graph_of(spans) == ({}, Counter({"a:client": 1}), 0)


def test_a_server_span_with_a_missing_caller_is_unpaired(span: Make) -> None:
    """It has a parent, so the caller is not `user`."""
    assert graph_of([span("server", "b", 2, 1)]) == ({}, Counter({"b:server": 1}), 0)


def test_a_server_span_under_a_server_span_of_another_service_is_called_by_it(span: Make, edges: Edges) -> None:
    """The context was passed on without a CLIENT span."""
    found = edges(span("server", "gateway", 1), span("server", "llm", 2, 1, seconds=0.7))
    assert found["gateway>llm"] == Total(1, 0, 0, (), (0.7,))


def test_nested_server_spans_of_one_service_are_one_request(span: Make, edges: Edges) -> None:
    """Neither an edge to itself nor an unpaired span."""
    spans = (span("server", "llm", 1), span("server", "llm", 2, 1))
    assert set(edges(*spans)) == {"user>llm:virtual_node"}
    assert not graph_of(spans)[1]


def test_messages_are_edges_without_retries(span: Make, edges: Edges) -> None:
    """Each consumer of a message is a request, not a retry."""
    total = edges(span("producer", "a", 1), span("consumer", "b", 2, 1), span("consumer", "b", 3, 1))
    assert total == {"a>b:messaging_system": Total(2, 0, 0, (0.1,), (0.1, 0.1))}


def test_a_consumer_is_paired_with_every_producer_that_it_links_to(span: Make, edges: Edges) -> None:
    """A batch of messages in one span; links come before the parent."""
    found = edges(span("producer", "a", 1), span("producer", "b", 2), span("consumer", "c", 3, 9, links=(1, 2)))
    assert set(found) == {"a>c:messaging_system", "b>c:messaging_system"}


def unrelated(span: Make) -> list[Span]:
    """A request and a step of it. CLIENT spans are left out, since old libraries send messages with them."""
    return [span("server", "web", 5), span("internal", "web", 6, 5)]


@pytest.mark.parametrize("links", [(5,), (6,), (7,), (5, 6, 7)], ids=["a request", "a step", "nothing known", "all"])
def test_a_consumer_under_a_producer_is_paired_with_it_whatever_its_links(
    span: Make, edges: Edges, links: tuple[int, ...]
) -> None:
    """The message is the parent; the links lead to other spans, such as the first request."""
    spans = [span("producer", "a", 1), span("consumer", "c", 3, 1, links=links), *unrelated(span)]
    assert edges(*spans) == {
        "a>c:messaging_system": Total(1, 0, 0, (0.1,), (0.1,)),
        "user>web:virtual_node": Total(1, 0, 0, (), (0.1,)),
    }
    assert not graph_of(spans)[1]


def test_a_consumer_under_a_producer_also_pairs_with_its_links(span: Make, edges: Edges) -> None:
    """A parent that is also a link is one message."""
    found = edges(span("producer", "a", 1), span("producer", "b", 2), span("consumer", "c", 3, 1, links=(1, 2, 7)))
    assert {name: total.requests for name, total in found.items()} == {
        "a>c:messaging_system": 1,
        "b>c:messaging_system": 1,
    }


@pytest.mark.parametrize("parent", ["server", "client", "internal"])
def test_the_parent_of_a_consumer_with_links_counts_only_if_it_is_a_producer(
    span: Make, edges: Edges, parent: Kind
) -> None:
    """Other parents are its own polling, or the caller of that."""
    spans = [span("producer", "a", 1), span(parent, "d", 2, 9), span("consumer", "c", 3, 2, links=(1,))]
    assert edges(*spans).keys() == {"a>c:messaging_system"}
    assert graph_of(spans)[1].keys() <= {f"d:{parent}"}


def test_a_consumer_with_unknown_links_only_is_unpaired_once(span: Make) -> None:
    """Spans are counted, not links."""
    assert graph_of([span("consumer", "c", 3, links=(1, 2))]) == ({}, Counter({"c:consumer": 1}), 0)
    assert not graph_of([span("producer", "a", 1), span("consumer", "c", 3, links=(1, 2))])[1]


@pytest.mark.parametrize("parent", [0, 9], ids=["a root", "a missing parent"])
def test_a_server_span_that_links_to_a_producer_is_called_by_its_message(span: Make, edges: Edges, parent: int) -> None:
    """A broker pushes messages over HTTP: no call by `user`, and nothing unpaired."""
    spans = [span("producer", "a", 1), span("server", "b", 2, parent, links=(1, 7), seconds=0.2)]
    assert edges(*spans) == {"a>b:messaging_system": Total(1, 0, 0, (0.1,), (0.2,))}
    assert not graph_of(spans)[1]


def test_a_server_span_with_links_is_still_paired_with_its_parent(span: Make, edges: Edges) -> None:
    """A broker with spans: both are callers."""
    broker, producer = span("client", "broker", 4), span("producer", "a", 1)
    assert set(edges(broker, producer, span("server", "b", 2, 4, links=(1,)))) == {"broker>b", "a>b:messaging_system"}
    above = span("server", "gateway", 4, 9)
    assert set(edges(above, span("server", "b", 2, 4, links=(7,)))) == {"gateway>b"}
    assert set(edges(above, producer, span("server", "b", 2, 4, links=(1,)))) == {"a>b:messaging_system"}


def test_a_link_of_a_server_span_is_a_call_only_to_a_producer(span: Make, edges: Edges) -> None:
    """A new trace that links to the previous one still has the client `user`."""
    outside = [span("client", "app", 4, trace=1, attributes={"peer.service": "b"}), *unrelated(span)]
    found = edges(*outside, span("server", "b", 2, links=(4, 5, 6, 7)))
    assert set(found) == {"app>b:virtual_node", "user>web:virtual_node", "user>b:virtual_node"}
    assert graph_of([span("server", "b", 2, 9, links=(4,))])[1] == {"b:server": 1}


@pytest.mark.parametrize(("kind", "limit"), [("server", MAX_SERVER_LINKS), ("consumer", MAX_LINKS)])
def test_the_number_of_followed_links_is_limited(span: Make, kind: Kind, limit: int) -> None:
    """The first links are followed; later requests are paired as before."""
    many = span(kind, "b", 9000, links=(1, *range(2, 5000)))
    spans = [span("producer", "a", 1), many, span("server", "d", 9002, 9001), span("client", "c", 9001)]
    found, unpaired, dropped = graph_of(spans, max_items=200)
    assert {name: total.requests for name, total in found.items()} == {"a>b:messaging_system": 1, "c>d": 1}
    assert (unpaired, dropped) == ({}, 0)
    first = [span("producer", "a", limit), span("producer", "z", limit + 1)]
    assert set(graph_of([*first, span(kind, "b", 9000, links=tuple(range(1, 5000)))])[0]) == {"a>b:messaging_system"}


@pytest.mark.parametrize("kind", ["server", "consumer"])
def test_a_span_with_links_beyond_the_limit_is_dropped_once(span: Make, kind: Kind) -> None:
    """Dropped spans are counted, not links, and the known links still count."""
    found, unpaired, dropped = graph_of([span(kind, "b", 9000, links=tuple(range(1, 9)))], max_items=2)
    assert dropped == 1
    assert (set(found), unpaired.total()) == (({"user>b:virtual_node"}, 0) if kind == "server" else (set(), 1))


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


def traces() -> st.SearchStrategy[list[Span]]:
    """Spans of one trace: trees of any kinds, services, names, and outcomes."""
    url = st.sampled_from(["http://x/1", "http://x/2"])
    row = st.tuples(
        st.sampled_from(["client", "server", "client", "internal", "server", "internal", "producer", "consumer"]),
        st.sampled_from("abc"),
        st.integers(0, 100),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from(["unset", "error", "ok"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.dictionaries(st.sampled_from(["http.request.resend_count"]), st.integers(0, 2), max_size=1),
        st.dictionaries(st.sampled_from(["url.full", "peer.service", "db.name"]), url, max_size=2),
        st.lists(st.integers(1, 12), max_size=2),
    )
    return st.lists(row, min_size=1, max_size=12).map(_tree)


Row = tuple[Kind, str, int, str, Status, int, int, dict[str, int], dict[str, str], list[int]]


def _tree(rows: Sequence[Row]) -> list[Span]:
    spans = []
    for number, (kind, service, parent, name, status, start, length, resend, attributes, links) in enumerate(rows, 1):
        above = parent % number
        spans.append(
            Span(
                trace_id=f"{1:032x}",
                span_id=f"{number:016x}",
                parent_id=f"{above:016x}" if above else "",
                name=name,
                kind=kind,
                start_ns=start * 10**9,
                end_ns=(start + length) * 10**9,
                status=status,
                status_message="",
                resource={"service.name": service},
                attributes={**attributes, **resend},
                links=tuple(Link(f"{1:032x}", f"{link:016x}", {}) for link in links),
            )
        )
    return spans


@given(traces(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_count(spans: list[Span], random: Random) -> None:
    """A shuffled trace has the same edges, counts, durations, and unpaired spans."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    assert graph_of(shuffled) == graph_of(spans)


@st.composite
def messages(draw: st.DrawFn) -> list[Span]:
    """Nested messages and requests, half of them with links to others or to unknown spans."""
    kinds = st.sampled_from(["producer", "consumer", "server", "client", "internal"])
    rows = draw(
        st.lists(st.tuples(kinds, st.sampled_from("abc"), st.integers(0, 100), st.lists(st.integers(1, 9), max_size=3)),
                 min_size=2, max_size=8)
    )  # fmt: skip
    return _tree([(*row[:3], "GET", "unset", 0, 1, {}, {}, row[3]) for row in rows])  # type: ignore[misc]  # as drawn


@given(messages(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_the_pairs_of_spans_with_links(spans: list[Span], random: Random) -> None:
    """A link is paired, names the caller, or is unpaired once."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    found = graph_of(spans)
    assert graph_of(shuffled) == found
    sides = Counter(f"{one.service}:{one.kind}" for one in spans)
    assert all(count <= sides[name] for name, count in found[1].items())


@given(traces())
def test_counts_are_consistent(spans: list[Span]) -> None:
    """Failures and retries do not exceed requests, and every request has a side."""
    for total in graph_of(spans)[0].values():
        assert 0 <= total.failed <= total.requests
        assert 0 <= total.retries <= total.requests
        assert len(total.client_seconds) <= total.requests
        assert len(total.server_seconds) <= total.requests
        assert total.requests <= len(total.client_seconds) + len(total.server_seconds)
