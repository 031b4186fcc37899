"""Spans say where a service answers: at addresses that callers name, and in pods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.spans import as_sent

from foreshock_dashboard.ingest.span_metrics.addresses import MAX_PLACES
from foreshock_dashboard.ingest.span_metrics.names import ADDRESSES
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.span import AttributeValue, Span

Make = Callable[..., Span]
Arrive = Callable[[Sequence[Span]], Sequence[Span]]
Values = dict[str, AttributeValue]


def labels_at(spans: Sequence[Span], now: float) -> list[dict[str, str]]:
    """Labels of all places, sorted."""
    metrics = SpanMetrics()
    metrics.add(spans, now)
    found = [dict(sample.labels) for sample in metrics.collect(now) if sample.metric == ADDRESSES.name]
    return sorted(found, key=lambda labels: sorted(labels.items()))


@pytest.mark.parametrize("arrive", [as_sent, list])
@pytest.mark.parametrize(
    ("attributes", "address"),
    [
        ({"server.address": "gpu-1", "server.port": 8000}, ("gpu-1", "8000")),
        ({"server.address": "10.0.0.7", "server.port": 8000}, ("10.0.0.7", "8000")),
        ({"net.peer.name": "gpu-1", "net.peer.port": 8000}, ("gpu-1", "8000")),
        ({"url.full": "http://gpu-1:8000/v1/completions?x=1"}, ("gpu-1", "8000")),
        ({"http.url": "https://ada:secret@gpu-1/v1"}, ("gpu-1", "443")),
        ({"server.address": "fd00::7", "server.port": 8000}, ("[fd00::7]", "8000")),
        ({"url.full": "http://[fd00::7]:8000/"}, ("[fd00::7]", "8000")),
        ({"url.full": "http://gpu-1:99999/"}, None),
        ({}, None),
    ],
)
def test_a_service_answers_at_the_address_that_its_caller_names(
    span: Make, now: float, arrive: Arrive, attributes: Values, address: tuple[str, str] | None
) -> None:
    """The model server's own span has none. IP addresses count, which name no service."""
    client = replace(span("client", "gateway", 1), attributes=attributes)
    found = labels_at(arrive([client, span("server", "model", 2, 1)]), now)
    expected = [{"service_name": "model", "server_address": address[0], "server_port": address[1]}] if address else []
    assert found == expected


@pytest.mark.parametrize("arrive", [as_sent, list])
@pytest.mark.parametrize(
    ("resource", "attributes", "addresses"),
    [
        ({}, {"server.address": "gpu-1", "server.port": 8000}, {"gpu-1:8000"}),
        ({}, {"http.server_name": "gpu-1:8000", "net.host.port": 8000}, {"gpu-1:8000"}),
        ({"host.name": "gpu-1"}, {"server.address": "localhost", "server.port": 80}, {"gpu-1:80"}),
        ({}, {"server.address": "127.0.0.1", "server.port": 80}, set()),
        ({"k8s.pod.ip": "10.0.0.7"}, {"server.port": 8000}, {"10.0.0.7:8000"}),
        ({"server.address": "gpu-1", "server.port": 8000}, {}, {"gpu-1:8000"}),
        ({"service.instance.id": "gpu-1:8000"}, {}, {"gpu-1:8000"}),
        ({"service.instance.id": "3f1c-9a", "host.name": "gpu-1"}, {}, set()),
        ({"host.name": "gpu-1"}, {"server.address": "gpu-1"}, set()),
    ],
)
def test_a_server_span_has_its_port_and_the_resource_its_host(
    span: Make, now: float, arrive: Arrive, resource: Values, attributes: Values, addresses: set[str]
) -> None:
    """A port without a host, or a host without a port, is no address."""
    one = span("server", "model", 1)
    server = replace(one, resource={**one.resource, **resource}, attributes=attributes)
    found = labels_at(arrive([server]), now)
    assert {f"{labels['server_address']}:{labels['server_port']}" for labels in found} == addresses


def test_the_pod_of_a_resource_is_a_place(span: Make, now: float) -> None:
    """With its UID where only that is known, as by foreshock's resource detector."""
    one, other = span("server", "model", 1), span("internal", "batch", 2)
    pod: Values = {"k8s.pod.name": "model-0", "k8s.namespace.name": "ml"}
    spans = [
        replace(one, resource={**one.resource, **pod}),
        replace(other, resource={**other.resource, "k8s.pod.uid": "b1"}),
    ]
    assert labels_at(as_sent(spans), now) == [
        {"k8s_namespace_name": "ml", "k8s_pod_name": "model-0", "service_name": "model"},
        {"k8s_pod_uid": "b1", "service_name": "batch"},
    ]


def test_the_places_of_a_service_are_limited_until_old_ones_are_gone(span: Make, now: float) -> None:
    """A caller with another address in each request cannot fill the metrics."""
    metrics = SpanMetrics(slack=1e6)

    def call(number: int, at: float) -> None:
        one = span("server", "model", number)
        metrics.add([replace(one, resource={**one.resource, "k8s.pod.name": f"model-{number}"})], at)

    def counted(at: float) -> int:
        return sum(sample.metric == ADDRESSES.name for sample in metrics.collect(at))

    for number in range(MAX_PLACES + 5):
        call(number + 1, now)
    assert counted(now) == MAX_PLACES
    call(MAX_PLACES + 10, now + 1000.0)
    assert counted(now + 1000.0) == 1


def test_spans_that_are_not_counted_have_no_place(span: Make, now: float) -> None:
    """Late ones, of an address that the pod may no longer have; the span beside it is read."""
    late, fresh = span("server", "model", 1), span("server", "model", 2)
    late = replace(
        late, start_ns=late.start_ns - 10**12, end_ns=late.end_ns - 10**12,
        attributes={"server.address": "old", "server.port": 1},
    )  # fmt: skip
    fresh = replace(fresh, attributes={"server.address": "new", "server.port": 2})
    assert [labels["server_address"] for labels in labels_at(as_sent([fresh, late]), now)] == ["new"]
