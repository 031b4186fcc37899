"""Which service a call without a server side is to."""

from __future__ import annotations

import pytest
from tests.ingest.graph.calls import chat, counts, found
from tests.ingest.graph.counts import Make


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
