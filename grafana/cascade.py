"""The cascade dashboard: incidents, the service map, forecasts, retries, and capacity."""

from __future__ import annotations

from grafana.fleet import INCIDENTS
from grafana.panels import Dashboard, Link, Panel, Query, Row, Variable
from grafana.promql import BY_SERVICE, CALL, SERVED, SERVICE, TIME, TO_SERVICE, TO_TRACES, called, named, p95, rate

EITHER_END = ('client=~"$service"', 'server=~"$service"')
SERVICE_LINKS = (TO_SERVICE, TO_TRACES)
NODE_LINKS = (
    Link("Service page", "${hub:raw}/services/${__data.fields.id:raw}?" + TIME),
    Link("Traces", "${hub:raw}/traces?service=${__data.fields.id:percentencode}&" + TIME),
)
EDGE = "{{caller}} to {{callee}}"


def of_edges(expr: str) -> str:
    """An expression of one metric, `{}` its matchers, over the calls that the chosen services make or get."""
    return " or ".join(expr.format("{" + matcher + "}") for matcher in EITHER_END)


def node(expr: str, namespace: str, name: str) -> str:
    """A node of the map for each service of `expr`: id, title and subtitle of Grafana's node graph."""
    ids = f"sum by (id) ({named(expr, 'id', namespace, name)})"
    titled = f'label_replace({ids}, "title", "$1", "id", "(?:.*/)?(.+)")'
    return f'label_replace({titled}, "subtitle", "$1", "id", "(.*)/.*")'


def edge(expr: str) -> str:
    """An edge of the map for each call of `expr`: id, source and target of Grafana's node graph."""
    ends = named(named(expr, "source", "client_service_namespace", "client"),
                 "target", "server_service_namespace", "server")  # fmt: skip
    return f'label_join({ends}, "id", " to ", "source", "target")'


def share_of_requests(share: str) -> str:
    """A share of what each service served, as a part of its node's ring; who serves nothing has no ring."""
    return node(f"clamp({share}, 0, 1)", "service_namespace", "service_name")


def mean(side: str) -> str:
    """The mean time of a call as its client or its server saw it."""
    seconds = f"traces_service_graph_request_{side}_seconds"
    total, count = (f"sum by ({CALL}) ({rate(f'{seconds}_{part}', EITHER_END[1])})" for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


FAILED = "(service:errors:ratio_rate5m or 0 * service:requests:rate5m)"
"""A service without any error has no series of errors."""
RISK = f"max by ({BY_SERVICE}) (foreshock_slo_breach_probability)"
SERVED_RATE = f"sum by (server_service_namespace, server) ({rate('traces_service_graph_request_total')})"
CALLED_RATE = f"sum by (client_service_namespace, client) ({rate('traces_service_graph_request_total')})"
MAP = Panel(
    "Service map",
    "Node: request rate and SLO breach probability, with the error rate as the red part of the ring. Edge: request "
    "rate and requests per logical call.",
    (
        Query(
            f"{node(SERVED_RATE, 'server_service_namespace', 'server')}"
            f" or 0 * {node(CALLED_RATE, 'client_service_namespace', 'client')}",
            name="nodes_rate",
        ),
        Query(share_of_requests(FAILED), name="nodes_failed"),
        Query(share_of_requests(f"1 - {FAILED}"), name="nodes_served"),
        Query(node(RISK, "service_namespace", "service_name"), name="nodes_risk"),
        Query(edge(f"sum by ({CALL}) ({rate('traces_service_graph_request_total')})"), name="edges_rate"),
        Query(edge(f"sum by ({CALL}) (client_server:request_amplification:ratio_rate5m)"), name="edges_retries"),
    ),
    "none", "nodegraph", 24, 14,
    links=NODE_LINKS,
    columns={
        "id": "id", "title": "title", "subtitle": "subtitle", "source": "source", "target": "target",
        "Value #nodes_rate": "mainstat", "Value #nodes_risk": "secondarystat", "Value #nodes_failed": "arc__failed",
        "Value #nodes_served": "arc__served", "Value #edges_rate": "mainstat", "Value #edges_retries": "secondarystat",
    },
)  # fmt: skip
FORECAST = Row(
    "Forecast",
    (
        Panel(
            "SLO breach probability",
            "The hub's estimate of the probability of an SLO breach within 10 minutes.",
            (Query(named(f"sort_desc(max by ({BY_SERVICE}) (foreshock_slo_breach_probability{{{SERVICE}}}))"),
                   "{{service}}"),),
            "percentunit", "bargauge", 8, 8, ((0.2, "orange"), (0.5, "red")), 1, SERVICE_LINKS,
        ),
        Panel(
            "Time to SLO breach",
            "Median forecast of the hub; 0 during a breach, no line beyond the forecast horizon.",
            (
                Query(
                    named(
                        f"min by ({BY_SERVICE}) (foreshock_slo_breach_eta_seconds"
                        f'{{{SERVICE},quantile="0.5"}})'
                    ),
                    "{{service}}",
                ),
            ),
            "s", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "Load over safe limit",
            "Load of a service divided by its safe limit. Above 100%, the next burst queues.",
            (
                Query(
                    named(
                        f"max by ({BY_SERVICE}) (foreshock_service_load_ratio{{{SERVICE}}} / "
                        f"(foreshock_service_safe_load_ratio{{{SERVICE}}} > 0))"
                    ),
                    "{{service}}",
                ),
            ),
            "percentunit", width=8, links=SERVICE_LINKS,
        ),
        Panel(
            "Forecast load over hourly safe limit, next 24 h",
            "Median forecast of the highest hourly load within 24 h, divided by the hourly safe limit. "
            "Above 100%, capacity is short.",
            (
                Query(
                    named(
                        f"max by ({BY_SERVICE}) (foreshock_forecast_load_ratio"
                        f'{{{SERVICE},horizon="24h",quantile="0.5"}}) / on ({BY_SERVICE}) '
                        f"max by ({BY_SERVICE}) (foreshock_forecast_safe_load_ratio{{{SERVICE}}} > 0)"
                    ),
                    "{{service}}",
                ),
            ),
            "percentunit", width=12, links=SERVICE_LINKS,
        ),
        Panel(
            "Time to capacity shortage",
            "When load is forecast to exceed its hourly safe limit, from the median forecast or "
            "the last 7 days. No line means no shortage.",
            (
                Query(
                    named(
                        f"min by ({BY_SERVICE}) ((foreshock_forecast_shortage_timestamp_seconds"
                        f'{{{SERVICE},quantile="0.5"}} or '
                        f"foreshock_forecast_recent_shortage_timestamp_seconds{{{SERVICE}}}) - time())"
                    ),
                    "{{service}}",
                ),
            ),
            "s", width=12, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
CALLS = Row(
    "Calls",
    (
        Panel(
            "Retry amplification",
            "Requests per logical call; 1 means no retries.",
            (Query(called(of_edges("client_server:request_amplification:ratio_rate5m{}")), EDGE),),
            "none", width=8,
        ),
        Panel(
            "Error rate",
            "Share of a service's requests that failed.",
            (Query(named(f"service:errors:ratio_rate5m{{{SERVICE}}}"), "{{service}}"),),
            "percentunit", width=8, most=1, links=SERVICE_LINKS,
        ),
        Panel(
            "p95 latency of calls",
            "Seen by the caller. A dot is one call and links to its trace.",
            (
                Query(
                    called(p95("traces_service_graph_request_client_seconds", CALL, EITHER_END[1])),
                    EDGE, exemplars=True,
                ),
            ),
            "s", width=8,
        ),
        Panel(
            "p95 latency of services",
            "Seen by the service. A dot is one request and links to its trace.",
            (
                Query(
                    named(p95("traces_span_metrics_duration_seconds", BY_SERVICE, SERVICE, SERVED)),
                    "{{service}}", exemplars=True,
                ),
            ),
            "s", links=SERVICE_LINKS,
        ),
        Panel(
            "Transit time of calls",
            "Mean time that calls spend outside the callee: network, queues in front of it, and abandoned attempts.",
            (
                Query(called(f"clamp_min({mean('client')} - {mean('server')}, 0)"), EDGE),
            ),
            "s",
        ),
    ),
)  # fmt: skip
CAPACITY = Row(
    "Capacity",
    (
        Panel(
            "Replicas requested and ready",
            "Replicas requested by the autoscaler, and ready replicas. The difference is pending.",
            (
                Query(
                    "max by (namespace, horizontalpodautoscaler) "
                    "(kube_horizontalpodautoscaler_status_desired_replicas)",
                    "{{namespace}}/{{horizontalpodautoscaler}} requested",
                ),
                Query(
                    "max by (namespace, deployment) (kube_deployment_status_replicas_ready"
                    '{deployment=~"$service"})',
                    "{{namespace}}/{{deployment}} ready",
                ),
            ),
            "short", width=8,
        ),
        Panel(
            "Pending pods",
            "Pods not assigned to a node, by namespace, such as those waiting for a free GPU.",
            (Query('sum by (namespace) (kube_pod_status_phase{phase="Pending"})', "{{namespace}}"),),
            "short", width=8,
        ),
        Panel(
            "Queued requests",
            "Requests queued at all replicas of a model server.",
            (Query(named(f"sum by ({BY_SERVICE}) (vllm:num_requests_waiting{{{SERVICE}}})"), "{{service}}"),),
            "short", width=8, links=SERVICE_LINKS,
        ),
    ),
)  # fmt: skip
CASCADE = Dashboard(
    uid="foreshock-cascade",
    title="foreshock / Cascade",
    description="Incidents, the service map, forecasts of SLO breaches, retries, and capacity.",
    page="/cascade",
    variables=(Variable("service", "Service", "traces_span_metrics_calls_total", "service_name"),),
    rows=(Row("Incidents", (INCIDENTS, MAP)), FORECAST, CALLS, CAPACITY),
)
