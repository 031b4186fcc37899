"""PromQL that the dashboards share, and their links."""

from __future__ import annotations

from grafana.panels import Link

HOST = 'instance=~"$instance"'
SERVICE = 'service_name=~"$service"'
SERVED = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"'
CALL = "client_service_namespace, client, server_service_namespace, server"
"""The labels of one edge of the service graph."""
BY_SERVICE = "service_namespace, service_name"

TIME = "${__url_time_range}"
"""The dashboard's time range as parameters `from` and `to`, which the hub's pages accept."""
TO_SERVICE = Link("Service page", "${hub:raw}/services/${__field.labels.service:raw}?" + TIME)
TO_TRACES = Link("Traces", "${hub:raw}/traces?service=${__field.labels.service:percentencode}&" + TIME)


def rate(metric: str, *matchers: str) -> str:
    """The rate of a counter over the window that Grafana chooses."""
    return (
        f"rate({metric}{{{','.join(matchers)}}}[$__rate_interval])" if matchers else f"rate({metric}[$__rate_interval])"
    )


def named(expr: str, label: str = "service", namespace: str = "service_namespace", name: str = "service_name") -> str:
    """`expr` with one more label, `namespace/name`, or the name alone where there is no namespace."""
    joined = f'label_join({expr}, "{label}", "/", "{namespace}", "{name}")'
    return f'label_replace({joined}, "{label}", "$1", "{label}", "/(.+)")'


def called(expr: str) -> str:
    """An edge of the service graph, with `caller` and `callee` as one label each."""
    with_caller = named(expr, "caller", "client_service_namespace", "client")
    return named(with_caller, "callee", "server_service_namespace", "server")


def placed(expr: str) -> str:
    """`expr` by instance and gpu, with the label `host_name` of its host."""
    return f"({expr}) * on (job, instance) group_left (host_name) target_info"


def p95(metric: str, by: str, *matchers: str) -> str:
    """The p95 of a histogram of seconds."""
    return f"histogram_quantile(0.95, sum by ({by}, le) ({rate(f'{metric}_bucket', *matchers)}))"
