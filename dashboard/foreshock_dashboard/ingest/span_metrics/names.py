"""Metric families and labels of the metrics derived from spans."""

from __future__ import annotations

from foreshock_dashboard.ingest.service_graph.increments import Unpaired
from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.ingest.span_metrics.registry import Family
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.span import Kind, Status


def _counter(name: str, help_text: str) -> Family:
    return Family(name, "counter", help_text)


def _histogram(name: str, help_text: str) -> Family:
    return Family(name, "histogram", help_text)


REQUESTS = _counter("traces_service_graph_request_total", "Requests between two services.")
FAILED = _counter("traces_service_graph_request_failed_total", "Failed requests between two services.")
CLIENT_SECONDS = _histogram("traces_service_graph_request_client_seconds", "Request duration measured by the client.")
SERVER_SECONDS = _histogram("traces_service_graph_request_server_seconds", "Request duration measured by the server.")
RETRIES = _counter("foreshock_retry_attempts_total", "Requests that retry a failed request.")
FALLBACKS = _counter(
    "foreshock_fallback_calls_total",
    "Failed calls that another service or model answered instead.",
)
CALLS = _counter("traces_span_metrics_calls_total", "Number of spans, by operation.")
DURATION = _histogram("traces_span_metrics_duration_seconds", "Span duration, by operation.")
EXCEPTIONS = _counter("exceptions_total", "Exceptions recorded as span events.")
RESPONSES = _counter("traces_span_metrics_responses_total", "HTTP responses recorded by the server, by status code.")
VERSIONS = _counter("foreshock_service_version_spans_total", "Number of spans, by service version.")
ADDRESSES = _counter(
    "foreshock_service_address_spans_total", "Number of spans, by address or pod of the service that answered."
)
LLM_QUEUE = _histogram("foreshock_llm_queue_duration_seconds", "Queue time of requests to a model.")
LLM_FIRST_TOKEN = _histogram(
    "foreshock_llm_time_to_first_token_seconds", "Time to first token (TTFT) of requests to a model."
)
LLM_TOKENS = _counter("foreshock_llm_tokens_total", "Input and output tokens of requests to a model.")
UNPAIRED = _counter(
    "foreshock_service_graph_unpaired_spans_total", "Client or server spans whose counterpart did not arrive in time."
)
DROPPED = _counter(
    "foreshock_service_graph_dropped_spans_total", "Spans not paired with a counterpart because the buffer was full."
)
LATE = _counter("foreshock_spans_late_total", "Spans not counted because they arrived too long after they ended.")
EARLY = _counter("foreshock_spans_early_total", "Spans not counted because their end time is too far in the future.")
DUPLICATE = _counter("foreshock_spans_duplicate_total", "Duplicate spans received and not counted again.")
CLAMPED = _counter("foreshock_spans_clamped_total", "Spans that end before they start; their duration counts as 0 s.")
UNCOUNTED = _counter(
    "foreshock_spans_uncounted_total", "Spans stored but not counted because of an error; the log shows the error."
)
OVERFLOW = _counter("foreshock_span_metrics_overflow_total", "Increments counted as `(other)` at the series limit.")
ACCOUNTING_FAMILIES = (LATE, EARLY, DUPLICATE, CLAMPED, DROPPED, UNCOUNTED, OVERFLOW)
"""Counters of spans that were not counted, or not as received."""

MAX_LABEL_CHARACTERS = 200
"""Longest label value; the rest is cut off."""
BOUNDED_LABELS = ("connection_type", "span_kind", "status_code", "http_response_status_code", "gen_ai_token_type")
"""Labels with few values. Overflow series keep them."""


def operation_labels(service: Service, name: str, kind: Kind, status: Status) -> Labels:
    """Return the labels of an operation: the spans of one service, name, kind and status."""
    return _service_labels(
        service, span_name=name, span_kind=f"SPAN_KIND_{kind.upper()}", status_code=f"STATUS_CODE_{status.upper()}"
    )


def exception_labels(service: Service, kind: Kind, status: Status, exception: str) -> Labels:
    """Return the labels of an exception type, those of the Collector's exceptions connector."""
    return _service_labels(
        service,
        span_kind=f"SPAN_KIND_{kind.upper()}",
        status_code=f"STATUS_CODE_{status.upper()}",
        exception_type=exception,
    )


def response_labels(service: Service, code: str) -> Labels:
    """Return the labels of the responses of a service with an HTTP status code."""
    return _service_labels(service, http_response_status_code=code)


def version_labels(service: Service, version: str) -> Labels:
    """Return the labels of a version of a service."""
    return _service_labels(service, service_version=version)


def address_labels(service: Service, address: str) -> Labels:
    """Return the labels of a service at an address, `host:port`."""
    host, _, port = address.rpartition(":")
    return _service_labels(service, server_address=host, server_port=port)


def pod_labels(service: Service, namespace: str, pod: str, uid: str) -> Labels:
    """Return the labels of a service in a pod."""
    return _service_labels(service, k8s_namespace_name=namespace, k8s_pod_name=pod, k8s_pod_uid=uid)


def unpaired_labels(span: Unpaired) -> Labels:
    """Return the labels of an unpaired span."""
    return _service_labels(span.service, span_kind=f"SPAN_KIND_{span.kind.upper()}")


def llm_labels(service: Service, model: str, token_type: str = "") -> Labels:
    """Return the labels of a service and a model."""
    return _service_labels(service, gen_ai_request_model=model, gen_ai_token_type=token_type)


def edge_labels(client: Service, server: Service, **more: str) -> Labels:
    """Return the labels of an edge. A side that sends no spans is in the cluster of the other side."""
    client, server = client.in_cluster(server.cluster), server.in_cluster(client.cluster)
    return _labels(
        client=client.name,
        client_service_namespace=client.local.namespace,
        client_k8s_cluster_name=client.cluster,
        server=server.name,
        server_service_namespace=server.local.namespace,
        server_k8s_cluster_name=server.cluster,
        **more,
    )


def fallback_labels(fallback: Fallback) -> Labels:
    """Return the labels of a fallback."""
    return edge_labels(
        fallback.client,
        fallback.server,
        fallback=fallback.fallback.name,
        fallback_service_namespace=fallback.fallback.local.namespace,
        gen_ai_request_model=fallback.model,
        fallback_gen_ai_request_model=fallback.fallback_model,
    )


def _service_labels(service: Service, **more: str) -> Labels:
    cluster, namespace = split_cluster(service.namespace)
    return _labels(service_name=service.name, service_namespace=namespace, k8s_cluster_name=cluster, **more)


def _labels(**pairs: str) -> Labels:
    return labels_of({name: value[:MAX_LABEL_CHARACTERS] for name, value in pairs.items()})
