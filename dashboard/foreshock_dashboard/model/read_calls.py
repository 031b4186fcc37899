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


def readings(windows: Windows) -> Mapping[str, Reading]:
    """Span metrics of the Collector's connector and of Tempo's metrics-generator; the graph has the same names in both.

    The connector counts in milliseconds by default.
    """
    rate, buckets = windows.rate, windows.buckets
    graph, services = "the service map", "services"
    seconds = (
        Form(buckets("traces_span_metrics_duration_milliseconds", SERVICE, _SERVED), {}, 0.001),
        Form(buckets("traces_spanmetrics_latency", _BY_TEMPO, _SERVED), _TEMPO),
    )
    return {
        "served": Reading(
            rate(_CALLS, SERVICE, _SERVED),
            services,
            (Form(rate(_TEMPO_CALLS, _BY_TEMPO, _SERVED), _TEMPO),),
            shown=True,
        ),
        "served_failed": Reading(
            rate(_CALLS, SERVICE, _SERVED, _FAILED),
            "failed requests",
            (Form(rate(_TEMPO_CALLS, _BY_TEMPO, _SERVED, _FAILED), _TEMPO),),
        ),
        "served_seconds": Reading(
            buckets("traces_span_metrics_duration_seconds", SERVICE, _SERVED), services, seconds, shown=True
        ),
        "calls": Reading(rate("traces_service_graph_request_total", EDGE), graph, shown=True),
        "calls_failed": Reading(rate("traces_service_graph_request_failed_total", EDGE), "failed calls"),
        "client_seconds": Reading(buckets("traces_service_graph_request_client_seconds", EDGE), graph, shown=True),
        "server_seconds": Reading(
            buckets("traces_service_graph_request_server_seconds", EDGE), "what the network adds to a call"
        ),
        "retries": Reading(rate("foreshock_retry_attempts_total", PAIR), "retries"),
        "tier": Reading(windows.last("service_tier_info", (*SERVICE, "tier")), "tiers of services"),
    }
