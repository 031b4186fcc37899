"""The two sides of a call are one request of the service graph, with retries, and virtual nodes without a callee."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.ingest.graph.counts import Edges, Make, Total, graph_of

from foreshock_dashboard.model.span import Span, Status


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
