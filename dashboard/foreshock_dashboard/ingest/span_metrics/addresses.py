"""Where services answer: addresses and pods, by which a scrape target is joined with its service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress

from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.ingest.service_graph.call_sides import host_and_port
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.registry import Registry
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, Outlines, Span

MAX_PLACES = 1000
"""Addresses and pods per service in metrics; further ones are not counted."""
KEPT_SECONDS = 900.0
"""Time without spans after which an address or pod makes room for another."""
MAX_SERVICES = 10_000
"""Services with remembered addresses and pods."""
READ_SECONDS = 60.0
"""Time between two reads of the address in the SERVER spans of one resource."""
MAX_RESOURCES = 10_000
"""Resources whose last read is remembered."""
_HOST = ("server.address", "net.host.name", "http.server_name")
_PORT = ("server.port", "net.host.port")
_INSTANCE = "service.instance.id"
_POD, _POD_UID, _POD_NAMESPACE = "k8s.pod.name", "k8s.pod.uid", "k8s.namespace.name"


class AddressCounter:
    """Counts spans by address and by pod of their service."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._places: dict[Service, dict[Labels, float]] = {}
        self._read_at: dict[int, tuple[Attributes, float]] = {}

    def count_calls(self, answered: Mapping[tuple[Service, str], int], now: float) -> None:
        """Count calls that were answered at an address."""
        for (service, address), calls in answered.items():
            self._add(service, names.address_labels(service, address), calls, now)

    def count_spans(self, spans: Sequence[Span], rows: Sequence[int], outlines: Outlines, now: float) -> None:
        """Count spans by the addresses and pod of their resource. One SERVER span a minute is read for its address.

        rows: position of each outline in `spans`.
        """
        keys = [*map(id, outlines.resource)]
        places = dict(zip(keys, range(len(keys)), strict=True))
        servers = dict(compress(zip(keys, rows, strict=True), [kind == "server" for kind in outlines.kind]))
        for key, count in Counter(keys).items():
            resource, service = outlines.resource[places[key]], outlines.service[places[key]]
            if pod := pod_of(resource):
                self._add(service, names.pod_labels(service, *pod), count, now)
            known, read_at = self._read_at.get(key, (None, 0.0))
            if key not in servers or (known is resource and abs(now - read_at) < READ_SECONDS):
                continue
            if len(self._read_at) >= MAX_RESOURCES:
                self._read_at.clear()
            self._read_at[key] = resource, now
            for address in addresses_of(resource, spans[servers[key]].attributes):
                self._add(service, names.address_labels(service, address), count, now)

    def _add(self, service: Service, labels: Labels, count: int, now: float) -> None:
        if service not in self._places and len(self._places) >= MAX_SERVICES:
            self._places.clear()
        places = self._places.setdefault(service, {})
        if labels not in places and len(places) >= MAX_PLACES:
            places = self._places[service] = {old: at for old, at in places.items() if now - at < KEPT_SECONDS}
        if labels in places or len(places) < MAX_PLACES:
            places[labels] = now
            self._registry.get(names.ADDRESSES, labels, now).add(count, now)


def pod_of(resource: Attributes) -> tuple[str, str, str] | None:
    """Namespace, name, and UID of the pod of a resource; None if neither name nor UID is known."""
    namespace, pod, uid = (str(resource.get(key) or "") for key in (_POD_NAMESPACE, _POD, _POD_UID))
    return (namespace, pod, uid) if pod or uid else None


def addresses_of(resource: Attributes, attributes: Attributes) -> frozenset[str]:
    """Addresses, `host:port`, at which the server of a resource and of a SERVER span answers.

    A server knows its port, and the name by which its client called it. With the names of its host and pod, the port
    makes addresses that others may use. Loopback addresses are left out: health checks use them in each container.
    """
    instance, port = str(resource.get(_INSTANCE) or ""), ""
    for key in _PORT:
        port = port or str(attributes.get(key) or resource.get(key) or "")
    hosts = [str(resource.get(key) or "") for key in ("host.name", "k8s.pod.ip")]
    hosts += [str(attributes.get(key) or resource.get(key) or "").removesuffix(f":{port}") for key in _HOST]
    addresses = [instance, *(host_and_port(host, port) for host in hosts if host and port)]
    return frozenset(address for address in addresses if _is_address(address))


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and len(port) <= 5 and not is_loopback(host.strip("[]").lower())
