"""What is read of services and the calls between them: span metrics and the service graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import SERVICE_LABELS, CatalogueRow, Producer, RateWindows

EDGE = ("client", "client_service_namespace", "server", "server_service_namespace", "connection_type")
PAIR = ("client", "client_service_namespace", "server", "server_service_namespace")

Labels = Mapping[str, str]

_SERVED = Matcher("span_kind", "=~", "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER")
_FAILED = Matcher("status_code", "=", "STATUS_CODE_ERROR")
_TEMPO = {"service": "service_name"}
_BY_TEMPO = ("service", "service_namespace")
_CALLS, _TEMPO_CALLS = "traces_span_metrics_calls_total", "traces_spanmetrics_calls_total"
_GRAPH = "traces_service_graph_request"


SPANS, TEMPO, GRAPH, ISTIO, HTTP = "spans", "tempo", "graph", "istio", "http"
"""Who tells of services. The graph does until its maker counts spans as well."""

_ISTIO, _ISTIO_SECONDS = "istio_requests_total", "istio_request_duration_milliseconds"
_DESTINATION = (
    "destination_workload", "destination_workload_namespace",
    "destination_service_name", "destination_service_namespace",
)  # fmt: skip
_ENDS = ("source_workload", "source_workload_namespace", *_DESTINATION)
_STATUS = ("response_code", "grpc_response_status")
_AT_SERVER = Matcher("reporter", "=~", "destination|waypoint")
_AT_CLIENT = Matcher("reporter", "=~", "source|waypoint")
_SERVER = ("client", "server", "server_service_namespace", "connection_type")
_NOBODY = ("", "unknown", "PassthroughCluster", "BlackHoleCluster")
_GRPC_ERRORS = frozenset(("2", "4", "12", "13", "14", "15"))
"""Istio's own statistics: `reporter` is the proxy that counted. Which gRPC statuses are errors of a server is told by
OpenTelemetry's conventions for gRPC."""

_HTTP = "http_server_request_duration_seconds"
_BY_HTTP = (*SERVICE_LABELS, "job")
_HTTP_LOST = Matcher("http_response_status_code", "=~", "5..")


def _server(labels: Labels) -> Labels | None:
    """Who is called in a service graph: nobody who sends no spans, but whoever is called from outside."""
    client, server, namespace, connection = (labels.get(name, "") for name in _SERVER)
    outside = connection == "database" or (connection == "virtual_node" and client != "user")
    return None if outside or not server else {"service_name": server, "service_namespace": namespace}


def _callee(labels: Labels) -> tuple[str, str] | None:
    """Name and namespace of a workload; of what reached none, those of the service that was asked for."""
    workload, namespace, service, its_namespace = (labels.get(name, "") for name in _DESTINATION)
    name = (service, its_namespace) if workload in _NOBODY else (workload, namespace)
    return None if name[0] in _NOBODY else name


def _called(labels: Labels) -> Labels | None:
    callee = _callee(labels)
    return callee and dict(zip(SERVICE_LABELS, callee, strict=True))


def _ends(labels: Labels) -> Labels | None:
    callee, caller = _callee(labels), labels.get("source_workload", "")
    if callee is None or caller in _NOBODY:
        return None
    return dict(zip(PAIR, (caller, labels.get("source_workload_namespace", ""), *callee), strict=True))


def _lost(named: Callable[[Labels], Labels | None]) -> Callable[[Labels], Labels | None]:
    """The same of requests that failed: a status of 5xx or none at all, or an error of gRPC."""

    def lost(labels: Labels) -> Labels | None:
        code, grpc = (labels.get(name, "") for name in _STATUS)
        return named(labels) if code == "0" or code.startswith("5") or grpc in _GRPC_ERRORS else None

    return lost


def _served_by(labels: Labels) -> Labels | None:
    """The service of an HTTP server: its own name, or else its job, `namespace/name` or just `name` (OpenTelemetry's
    "Prometheus and OpenMetrics Compatibility")."""
    name, namespace, job = (labels.get(key, "") for key in _BY_HTTP)
    if not name:
        namespace, _, name = job.rpartition("/")
    return {"service_name": name, "service_namespace": namespace} if name else None


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Span metrics of the Collector's connector and of Tempo's metrics-generator; the graph has the same names in both.
    Where there are none, what Istio's proxies count, or what HTTP servers do.

    The connector counts in milliseconds by default.
    """
    rate, buckets = windows.rate, windows.buckets
    graph, services, seconds = "the service map", "services", "traces_span_metrics_duration"

    def mesh(reporter: Matcher, *, lost: bool = False) -> Producer:
        by, named = (_DESTINATION, _called) if reporter is _AT_SERVER else (_ENDS, _ends)
        if lost:
            return Producer(rate(_ISTIO, (*by, *_STATUS), reporter), relabel=_lost(named), producer=ISTIO)
        return Producer(rate(_ISTIO, by, reporter), relabel=named, producer=ISTIO)

    def edge_seconds(reporter: Matcher) -> Producer:
        return Producer(buckets(_ISTIO_SECONDS, _ENDS, reporter), le_scale=0.001, relabel=_ends, producer=ISTIO)

    return {
        "served": CatalogueRow(
            rate(_CALLS, SERVICE_LABELS, _SERVED),
            services,
            (
                Producer(rate(_TEMPO_CALLS, _BY_TEMPO, _SERVED), _TEMPO, producer=TEMPO),
                Producer(rate(f"{_GRAPH}_total", _SERVER), relabel=_server, producer=GRAPH),
                mesh(_AT_SERVER),
                Producer(rate(f"{_HTTP}_count", _BY_HTTP), relabel=_served_by, producer=HTTP),
            ),
            shown=True,
            producer=SPANS,
        ),
        "operations": CatalogueRow(
            rate(_CALLS, (*SERVICE_LABELS, "span_name"), _SERVED),
            "which kind of request began, by `span_name`",
            (Producer(rate(_TEMPO_CALLS, (*_BY_TEMPO, "span_name"), _SERVED), _TEMPO, producer=TEMPO),),
            producer=SPANS,
            part_of="served",
        ),
        "served_failed": CatalogueRow(
            rate(_CALLS, SERVICE_LABELS, _SERVED, _FAILED),
            "failed requests",
            (
                Producer(rate(_TEMPO_CALLS, _BY_TEMPO, _SERVED, _FAILED), _TEMPO, producer=TEMPO),
                Producer(rate(f"{_GRAPH}_failed_total", _SERVER), relabel=_server, producer=GRAPH),
                mesh(_AT_SERVER, lost=True),
                Producer(rate(f"{_HTTP}_count", _BY_HTTP, _HTTP_LOST), relabel=_served_by, producer=HTTP),
            ),
            producer=SPANS,
            part_of="served",
        ),
        "served_seconds": CatalogueRow(
            buckets(f"{seconds}_seconds", SERVICE_LABELS, _SERVED),
            services,
            (
                Producer(buckets(f"{seconds}_milliseconds", SERVICE_LABELS, _SERVED), le_scale=0.001, producer=SPANS),
                Producer(buckets("traces_spanmetrics_latency", _BY_TEMPO, _SERVED), _TEMPO, producer=TEMPO),
                Producer(buckets(f"{_GRAPH}_server_seconds", _SERVER), relabel=_server, producer=GRAPH),
                Producer(
                    buckets(_ISTIO_SECONDS, _DESTINATION, _AT_SERVER),
                    le_scale=0.001,
                    relabel=_called,
                    producer=ISTIO,
                ),
                Producer(buckets(_HTTP, _BY_HTTP), relabel=_served_by, producer=HTTP),
            ),
            shown=True,
            producer=SPANS,
            part_of="served",
        ),
        "calls": CatalogueRow(rate(f"{_GRAPH}_total", EDGE), graph, (mesh(_AT_CLIENT),), shown=True),
        "calls_failed": CatalogueRow(
            rate(f"{_GRAPH}_failed_total", EDGE),
            "failed calls",
            (mesh(_AT_CLIENT, lost=True),),
            part_of="calls",
        ),
        "client_seconds": CatalogueRow(
            buckets(f"{_GRAPH}_client_seconds", EDGE),
            graph,
            (edge_seconds(_AT_CLIENT),),
            shown=True,
            part_of="calls",
        ),
        "server_seconds": CatalogueRow(
            buckets(f"{_GRAPH}_server_seconds", EDGE),
            "what the network adds to a call",
            (edge_seconds(_AT_SERVER),),
            part_of="calls",
        ),
        "retries": CatalogueRow(rate("foreshock_retry_attempts_total", PAIR), "retries"),
        "tier": CatalogueRow(windows.last("service_tier_info", (*SERVICE_LABELS, "tier")), "tiers of services"),
    }
