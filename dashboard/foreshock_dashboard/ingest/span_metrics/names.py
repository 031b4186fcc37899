"""Metric families and labels of the metrics derived from spans."""

from __future__ import annotations

from foreshock_dashboard.ingest.service_graph.increments import Unpaired
from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.ingest.span_metrics.registry import Family
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Status

REQUESTS = Family("traces_service_graph_request_total", "counter", "Requests between two services.")
FAILED = Family("traces_service_graph_request_failed_total", "counter", "Requests between two services that failed.")
CLIENT_SECONDS = Family(
    "traces_service_graph_request_client_seconds", "histogram", "Seconds of a request as its client saw it."
)
SERVER_SECONDS = Family(
    "traces_service_graph_request_server_seconds", "histogram", "Seconds of a request as its server saw it."
)
RETRIES = Family("foreshock_retry_attempts_total", "counter", "Requests that repeat a failed one.")
FALLBACKS = Family(
    "foreshock_fallback_calls_total",
    "counter",
    "Failed requests in whose place another service or model answered; each attempt that failed is one.",
)
CALLS = Family("traces_span_metrics_calls_total", "counter", "Spans of each operation.")
DURATION = Family("traces_span_metrics_duration_seconds", "histogram", "Seconds that each operation's spans took.")
LLM_QUEUE = Family("foreshock_llm_queue_seconds", "histogram", "Seconds that requests to a model waited in its queue.")
LLM_FIRST_TOKEN = Family(
    "foreshock_llm_time_to_first_token_seconds", "histogram", "Seconds until the first token of a model's answer."
)
LLM_TOKENS = Family("foreshock_llm_tokens_total", "counter", "Tokens that requests to a model had, and its answers.")
UNPAIRED = Family(
    "foreshock_service_graph_unpaired_spans_total", "counter", "Spans whose other half did not come in time."
)
DROPPED = Family(
    "foreshock_service_graph_dropped_spans_total", "counter", "Spans not paired because too many waited already."
)
LATE = Family("foreshock_spans_late_total", "counter", "Spans that ended too long ago to be counted.")
EARLY = Family("foreshock_spans_early_total", "counter", "Spans that end too far in the future to be counted.")
DUPLICATE = Family("foreshock_spans_duplicate_total", "counter", "Spans that came again and were not counted again.")
CLAMPED = Family("foreshock_spans_clamped_total", "counter", "Spans that ended before they started, counted as 0 s.")
UNCOUNTED = Family(
    "foreshock_spans_uncounted_total", "counter", "Spans that were kept although counting them failed; see the log."
)
OVERFLOW = Family(
    "foreshock_span_metrics_overflow_total",
    "counter",
    "Counts in the series of `(other)`, for want of room.",
)


MAX_LABEL_CHARACTERS = 200
"""Longest label value; the rest is cut off."""
BOUNDED_LABELS = ("connection_type", "span_kind", "status_code", "direction")
"""Labels with few values. Overflow series keep them."""

_KINDS = {
    "internal": "SPAN_KIND_INTERNAL",
    "server": "SPAN_KIND_SERVER",
    "client": "SPAN_KIND_CLIENT",
    "producer": "SPAN_KIND_PRODUCER",
    "consumer": "SPAN_KIND_CONSUMER",
}
_STATUSES = {"unset": "STATUS_CODE_UNSET", "ok": "STATUS_CODE_OK", "error": "STATUS_CODE_ERROR"}


def operation_labels(service: Service, name: str, kind: Kind, status: Status) -> Labels:
    """Return the labels of an operation: the spans of one service, name, kind and status."""
    return _labels(
        service_name=service.name,
        service_namespace=service.namespace,
        span_name=name,
        span_kind=_KINDS[kind],
        status_code=_STATUSES[status],
    )


def edge_labels(client: Service, server: Service, **more: str) -> Labels:
    """Return the labels of an edge."""
    return _labels(
        client=client.name,
        client_service_namespace=client.namespace,
        server=server.name,
        server_service_namespace=server.namespace,
        **more,
    )


def fallback_labels(fallback: Fallback) -> Labels:
    """Return the labels of a fallback."""
    return edge_labels(
        fallback.client,
        fallback.server,
        fallback=fallback.fallback.name,
        fallback_service_namespace=fallback.fallback.namespace,
        gen_ai_request_model=fallback.model,
        fallback_gen_ai_request_model=fallback.fallback_model,
    )


def unpaired_labels(span: Unpaired) -> Labels:
    """Return the labels of an unpaired span."""
    return _labels(
        service_name=span.service.name, service_namespace=span.service.namespace, span_kind=_KINDS[span.kind]
    )


def llm_labels(service: Service, model: str, direction: str = "") -> Labels:
    """Return the labels of a service and a model."""
    return _labels(
        service_name=service.name,
        service_namespace=service.namespace,
        gen_ai_request_model=model,
        direction=direction,
    )


def _labels(**pairs: str) -> Labels:
    return labels_of({name: value[:MAX_LABEL_CHARACTERS] for name, value in pairs.items()})
