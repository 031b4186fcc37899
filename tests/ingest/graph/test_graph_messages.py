"""Messages in the service graph: producers, consumers, and links."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.ingest.graph.counts import Edges, Make, Total, graph_of

from foreshock_dashboard.ingest.service_graph.call_pairing import MAX_LINKS, MAX_SERVER_LINKS
from foreshock_dashboard.model.span import Kind, Span


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
