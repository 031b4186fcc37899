"""What is read of services and the calls between them: span metrics and the service graph."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.reading import SERVICE, Form, Reading, Windows

EDGE = ("client", "client_service_namespace", "server", "server_service_namespace", "connection_type")
PAIR = ("client", "client_service_namespace", "server", "server_service_namespace")

_SERVED = Matcher("span_kind", "=~", "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER")
_FAILED = Matcher("status_code", "=", "STATUS_CODE_ERROR")
_TEMPO = {"service": "service_name"}
_BY_TEMPO = ("service", "service_namespace")
_CALLS, _TEMPO_CALLS = "traces_span_metrics_calls_total", "traces_spanmetrics_calls_total"


_ISTIO, _ISTIO_SECONDS = "istio_requests_total", "istio_request_duration_milliseconds"
_BY_DESTINATION = ("destination_workload", "destination_workload_namespace")
_DESTINATION = {"destination_workload": "service_name", "destination_workload_namespace": "service_namespace"}
_BY_ENDS = ("source_workload", "source_workload_namespace", *_BY_DESTINATION)
_ENDS = {
    "source_workload": "client",
    "source_workload_namespace": "client_service_namespace",
    "destination_workload": "server",
    "destination_workload_namespace": "server_service_namespace",
}
_AT_SERVER = Matcher("reporter", "=~", "destination|waypoint")
_AT_CLIENT = Matcher("reporter", "=~", "source|waypoint")
_KNOWN = (Matcher("source_workload", "!~", "unknown|"), Matcher("destination_workload", "!~", "unknown|"))
_LOST = Matcher("response_code", "=~", "5..|0")
"""Istio's own statistics: `reporter` is the proxy that counted, a code of 0 is no answer."""

_HTTP = "http_server_request_duration_seconds"
_HTTP_LOST = Matcher("http_response_status_code", "=~", "5..")
_NAMED = Matcher("service_name", "=~", ".+")
"""OpenTelemetry's conventions for HTTP servers; resource attributes are labels, or else the job says whose they are."""


def readings(windows: Windows) -> Mapping[str, Reading]:
    """Span metrics of the Collector's connector and of Tempo's metrics-generator; the graph has the same names in both.
    Where there are none, what Istio's proxies count, or what HTTP servers do.

    The connector counts in milliseconds by default.
    """
    rate, buckets = windows.rate, windows.buckets
    graph, services = "the service map", "services"

    def served(*lost: Matcher, istio: tuple[Matcher, ...] = (), http: tuple[Matcher, ...] = ()) -> Reading:
        return Reading(
            rate(_CALLS, SERVICE, _SERVED, *lost),
            "failed requests" if lost else services,
            (
                Form(rate(_TEMPO_CALLS, _BY_TEMPO, _SERVED, *lost), _TEMPO),
                Form(rate(_ISTIO, _BY_DESTINATION, _AT_SERVER, *istio), _DESTINATION),
                Form(rate(f"{_HTTP}_count", SERVICE, _NAMED, *http), {}),
                Form(rate(f"{_HTTP}_count", ("job",), *http), {}, by_job=True),
            ),
            shown=not lost,
            part_of="served" if lost else "",
        )

    seconds = (
        Form(buckets("traces_span_metrics_duration_milliseconds", SERVICE, _SERVED), {}, 0.001),
        Form(buckets("traces_spanmetrics_latency", _BY_TEMPO, _SERVED), _TEMPO),
        Form(buckets(_ISTIO_SECONDS, _BY_DESTINATION, _AT_SERVER), _DESTINATION, 0.001),
        Form(buckets(_HTTP, SERVICE, _NAMED), {}),
        Form(buckets(_HTTP, ("job",)), {}, by_job=True),
    )

    def mesh(*more: Matcher) -> tuple[Form, ...]:
        return (Form(rate(_ISTIO, _BY_ENDS, _AT_CLIENT, *_KNOWN, *more), _ENDS),)

    def mesh_seconds(where: Matcher) -> tuple[Form, ...]:
        return (Form(buckets(_ISTIO_SECONDS, _BY_ENDS, where, *_KNOWN), _ENDS, 0.001),)

    return {
        "served": served(),
        "served_failed": served(_FAILED, istio=(_LOST,), http=(_HTTP_LOST,)),
        "served_seconds": Reading(
            buckets("traces_span_metrics_duration_seconds", SERVICE, _SERVED), services, seconds, shown=True
        ),
        "calls": Reading(rate("traces_service_graph_request_total", EDGE), graph, mesh(), shown=True),
        "calls_failed": Reading(
            rate("traces_service_graph_request_failed_total", EDGE), "failed calls", mesh(_LOST), part_of="calls"
        ),
        "client_seconds": Reading(
            buckets("traces_service_graph_request_client_seconds", EDGE), graph, mesh_seconds(_AT_CLIENT), shown=True
        ),
        "server_seconds": Reading(
            buckets("traces_service_graph_request_server_seconds", EDGE),
            "what the network adds to a call",
            mesh_seconds(_AT_SERVER),
        ),
        "retries": Reading(rate("foreshock_retry_attempts_total", PAIR), "retries"),
        "tier": Reading(windows.last("service_tier_info", (*SERVICE, "tier")), "tiers of services"),
    }
