"""The labels of the series that spans are counted in."""

from __future__ import annotations

from foreshock_dashboard.ingest.service_graph.increments import Unpaired
from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Status

MAX_LENGTH = 200
"""Characters of a label's value; the rest is cut off."""
KEPT = ("connection_type", "span_kind", "status_code", "direction")
"""Labels with few values, which series without room keep."""

_KINDS = {
    "internal": "SPAN_KIND_INTERNAL",
    "server": "SPAN_KIND_SERVER",
    "client": "SPAN_KIND_CLIENT",
    "producer": "SPAN_KIND_PRODUCER",
    "consumer": "SPAN_KIND_CONSUMER",
}
_STATUSES = {"unset": "STATUS_CODE_UNSET", "ok": "STATUS_CODE_OK", "error": "STATUS_CODE_ERROR"}


def of_half(alone: Unpaired) -> Labels:
    """Of a span whose other half did not come."""
    return _labels(
        service_name=alone.service.name, service_namespace=alone.service.namespace, span_kind=_KINDS[alone.kind]
    )


def of_operation(service: Service, name: str, kind: Kind, status: Status) -> Labels:
    """Of an operation's spans."""
    return _labels(
        service_name=service.name,
        service_namespace=service.namespace,
        span_name=name,
        span_kind=_KINDS[kind],
        status_code=_STATUSES[status],
    )


def between(client: Service, server: Service, **more: str) -> Labels:
    """Of an edge."""
    return _labels(
        client=client.name,
        client_service_namespace=client.namespace,
        server=server.name,
        server_service_namespace=server.namespace,
        **more,
    )


def of_fallback(found: Fallback) -> Labels:
    """Of a fallback."""
    return between(
        found.client,
        found.server,
        fallback=found.fallback.name,
        fallback_service_namespace=found.fallback.namespace,
        gen_ai_request_model=found.model,
        fallback_gen_ai_request_model=found.fallback_model,
    )


def _labels(**pairs: str) -> Labels:
    return labels_of({name: value[:MAX_LENGTH] for name, value in pairs.items()})
