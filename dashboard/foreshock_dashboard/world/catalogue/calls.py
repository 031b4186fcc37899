"""Catalogue of services and their calls: span metrics, service graph, Istio, and HTTP servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import SERVICE_LABELS, CatalogueRow, Producer, RateWindows

EDGE_LABELS = ("client", "client_service_namespace", "server", "server_service_namespace", "connection_type")
PAIR_LABELS = ("client", "client_service_namespace", "server", "server_service_namespace")

Labels = Mapping[str, str]

_SERVED = Matcher("span_kind", "=~", "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER")
_FAILED = Matcher("status_code", "=", "STATUS_CODE_ERROR")
_TEMPO_RENAMES = {"service": "service_name"}
_TEMPO_LABELS = ("service", "service_namespace")
_CALLS, _TEMPO_CALLS = "traces_span_metrics_calls_total", "traces_spanmetrics_calls_total"
_GRAPH = "traces_service_graph_request"


SPANS, TEMPO, GRAPH, ISTIO, HTTP = "spans", "tempo", "graph", "istio", "http"
"""Producers of request counts. The graph is used until its producer exports span metrics, too."""

_ISTIO, _ISTIO_SECONDS = "istio_requests_total", "istio_request_duration_milliseconds"
_DESTINATION_LABELS = (
    "destination_workload", "destination_workload_namespace",
    "destination_service_name", "destination_service_namespace",
)  # fmt: skip
_PAIR_LABELS = ("source_workload", "source_workload_namespace", *_DESTINATION_LABELS)
_STATUS_LABELS = ("response_code", "grpc_response_status")
_AT_SERVER = Matcher("reporter", "=~", "destination|waypoint")
_AT_CLIENT = Matcher("reporter", "=~", "source|waypoint")
_GRAPH_SERVER = ("client", "server", "server_service_namespace", "connection_type")
_NOT_A_WORKLOAD = ("", "unknown", "PassthroughCluster", "BlackHoleCluster")
_GRPC_ERRORS = frozenset(("2", "4", "12", "13", "14", "15"))
"""Istio's standard metrics: `reporter` is the counting proxy. The gRPC statuses are the server errors of
OpenTelemetry's conventions for gRPC."""

_HTTP = "http_server_request_duration_seconds"
_HTTP_LABELS = (*SERVICE_LABELS, "job")
_HTTP_FAILED = Matcher("http_response_status_code", "=~", "5..")


def _graph_service(labels: Labels) -> Labels | None:
    """The called service of a service graph edge; None if the callee sends no spans.

    Callees of clients outside count.
    """
    client, server, namespace, connection = (labels.get(name, "") for name in _GRAPH_SERVER)
    outside = connection == "database" or (connection == "virtual_node" and client != "user")
    return None if outside or not server else {"service_name": server, "service_namespace": namespace}


def _callee(labels: Labels) -> tuple[str, str] | None:
    """Name and namespace of the called workload; of the called service if no workload was reached."""
    workload, namespace, service, its_namespace = (labels.get(name, "") for name in _DESTINATION_LABELS)
    name = (service, its_namespace) if workload in _NOT_A_WORKLOAD else (workload, namespace)
    return None if name[0] in _NOT_A_WORKLOAD else name


def _workload_service(labels: Labels) -> Labels | None:
    callee = _callee(labels)
    return callee and dict(zip(SERVICE_LABELS, callee, strict=True))


def _mesh_pair(labels: Labels) -> Labels | None:
    callee, caller = _callee(labels), labels.get("source_workload", "")
    if callee is None or caller in _NOT_A_WORKLOAD:
        return None
    return dict(zip(PAIR_LABELS, (caller, labels.get("source_workload_namespace", ""), *callee), strict=True))


def _failed_only(relabel: Callable[[Labels], Labels | None]) -> Callable[[Labels], Labels | None]:
    """A relabeling that drops successful requests.

    Failures are a status of 5xx, no response, or a gRPC server error.
    """

    def failed_only(labels: Labels) -> Labels | None:
        code, grpc = (labels.get(name, "") for name in _STATUS_LABELS)
        return relabel(labels) if code == "0" or code.startswith("5") or grpc in _GRPC_ERRORS else None

    return failed_only


def _http_service(labels: Labels) -> Labels | None:
    """The service of an HTTP server, from its name or its job, `namespace/name` or `name`.

    Source: OpenTelemetry's "Prometheus and OpenMetrics Compatibility".
    """
    name, namespace, job = (labels.get(key, "") for key in _HTTP_LABELS)
    if not name:
        namespace, _, name = job.rpartition("/")
    return {"service_name": name, "service_namespace": namespace} if name else None


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Readings of services and calls.

    Sources: span metrics of the Collector's connector (milliseconds by default) and of Tempo's metrics-generator, which
    share the names of the service graph. Otherwise the metrics of Istio's proxies, or of HTTP servers.
    """
    rate, buckets = windows.rate, windows.buckets
    graph, services, seconds = "the service map", "services", "traces_span_metrics_duration"

    def mesh(reporter: Matcher, *, failed: bool = False) -> Producer:
        by, relabel = (_DESTINATION_LABELS, _workload_service) if reporter is _AT_SERVER else (_PAIR_LABELS, _mesh_pair)
        if failed:
            return Producer(
                rate(_ISTIO, (*by, *_STATUS_LABELS), reporter), relabel=_failed_only(relabel), producer=ISTIO
            )
        return Producer(rate(_ISTIO, by, reporter), relabel=relabel, producer=ISTIO)

    def edge_seconds(reporter: Matcher) -> Producer:
        return Producer(
            buckets(_ISTIO_SECONDS, _PAIR_LABELS, reporter), le_scale=0.001, relabel=_mesh_pair, producer=ISTIO
        )

    return {
        "served": CatalogueRow(
            rate(_CALLS, SERVICE_LABELS, _SERVED),
            services,
            (
                Producer(rate(_TEMPO_CALLS, _TEMPO_LABELS, _SERVED), _TEMPO_RENAMES, producer=TEMPO),
                Producer(rate(f"{_GRAPH}_total", _GRAPH_SERVER), relabel=_graph_service, producer=GRAPH),
                mesh(_AT_SERVER),
                Producer(rate(f"{_HTTP}_count", _HTTP_LABELS), relabel=_http_service, producer=HTTP),
            ),
            shown=True,
            producer=SPANS,
        ),
        "operations": CatalogueRow(
            rate(_CALLS, (*SERVICE_LABELS, "span_name"), _SERVED),
            "which kind of request began, by `span_name`",
            (Producer(rate(_TEMPO_CALLS, (*_TEMPO_LABELS, "span_name"), _SERVED), _TEMPO_RENAMES, producer=TEMPO),),
            producer=SPANS,
            part_of="served",
        ),
        "served_failed": CatalogueRow(
            rate(_CALLS, SERVICE_LABELS, _SERVED, _FAILED),
            "failed requests",
            (
                Producer(rate(_TEMPO_CALLS, _TEMPO_LABELS, _SERVED, _FAILED), _TEMPO_RENAMES, producer=TEMPO),
                Producer(rate(f"{_GRAPH}_failed_total", _GRAPH_SERVER), relabel=_graph_service, producer=GRAPH),
                mesh(_AT_SERVER, failed=True),
                Producer(rate(f"{_HTTP}_count", _HTTP_LABELS, _HTTP_FAILED), relabel=_http_service, producer=HTTP),
            ),
            producer=SPANS,
            part_of="served",
        ),
        "served_seconds": CatalogueRow(
            buckets(f"{seconds}_seconds", SERVICE_LABELS, _SERVED),
            services,
            (
                Producer(buckets(f"{seconds}_milliseconds", SERVICE_LABELS, _SERVED), le_scale=0.001, producer=SPANS),
                Producer(buckets("traces_spanmetrics_latency", _TEMPO_LABELS, _SERVED), _TEMPO_RENAMES, producer=TEMPO),
                Producer(buckets(f"{_GRAPH}_server_seconds", _GRAPH_SERVER), relabel=_graph_service, producer=GRAPH),
                Producer(
                    buckets(_ISTIO_SECONDS, _DESTINATION_LABELS, _AT_SERVER),
                    le_scale=0.001,
                    relabel=_workload_service,
                    producer=ISTIO,
                ),
                Producer(buckets(_HTTP, _HTTP_LABELS), relabel=_http_service, producer=HTTP),
            ),
            shown=True,
            producer=SPANS,
            part_of="served",
        ),
        "calls": CatalogueRow(rate(f"{_GRAPH}_total", EDGE_LABELS), graph, (mesh(_AT_CLIENT),), shown=True),
        "calls_failed": CatalogueRow(
            rate(f"{_GRAPH}_failed_total", EDGE_LABELS),
            "failed calls",
            (mesh(_AT_CLIENT, failed=True),),
            part_of="calls",
        ),
        "client_seconds": CatalogueRow(
            buckets(f"{_GRAPH}_client_seconds", EDGE_LABELS),
            graph,
            (edge_seconds(_AT_CLIENT),),
            shown=True,
            part_of="calls",
        ),
        "server_seconds": CatalogueRow(
            buckets(f"{_GRAPH}_server_seconds", EDGE_LABELS),
            "what the network adds to a call",
            (edge_seconds(_AT_SERVER),),
            part_of="calls",
        ),
        "retries": CatalogueRow(rate("foreshock_retry_attempts_total", PAIR_LABELS), "retries"),
        "tier": CatalogueRow(windows.last("service_tier_info", (*SERVICE_LABELS, "tier")), "tiers of services"),
    }
