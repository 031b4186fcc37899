"""Prometheus recording rules for the hub's SLOs, and groups of rules as YAML.

Per SLO: requests per second that violate it, and the ratio that may. Burn rates over seven windows and the alerts on
them are the same for all services, in alerts/slo.rules.yml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from foreshock_dashboard.ingest.span_metrics.histogram import BUCKET_BOUNDS
from foreshock_dashboard.model.capacity.slow_burn import LATE_RATIO
from foreshock_dashboard.model.query import promql_string
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.rules.by_cluster import by_cluster

SloTarget = tuple[str, float, float]
"""Name of a service, `name` or `namespace/name`; its p95 in seconds; ratio (0 to 1) of requests that may fail."""
Rule = Mapping[str, object]
_SERVED = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"'
CLUSTER = "cluster"
"""Default label of the cluster that the name of a service begins with."""


def slo_rule_groups(
    targets: Sequence[SloTarget], bounds: Sequence[float] = BUCKET_BOUNDS, cluster_label: str = ""
) -> list[Rule]:
    """One group of recording rules per SLO.

    targets: one per service. bounds: histogram bucket bounds of latency in seconds. cluster_label: the label of
    clusters, by which the rules group as well. Raises ValueError if a p95 lies beyond the last bound, or a service has
    two SLOs.
    """
    names = [name for name, _, _ in targets]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"{twice} has two SLOs; keep one")
    return [
        {
            "name": f"foreshock-slo-{name}",
            "interval": "30s",
            "rules": list(_rules(Service.parse(name), latency, failed, bounds, cluster_label)),
        }
        for name, latency, failed in targets
    ]


def bucket_bound(seconds: float, bounds: Sequence[float]) -> float:
    """The bound of the bucket that a latency falls into. Raises ValueError if it lies beyond the last bound."""
    found = next((bound for bound in sorted(bounds) if bound >= seconds), None)
    if found is None:
        last = f"a p95 of {seconds:g} s is above the last bucket bound, {max(bounds):g} s"
        raise ValueError(f"{last}; lower it, or name your buckets with --latency-buckets")
    return found


def _rules(
    service: Service, latency: float, failed: float, bounds: Sequence[float], cluster_label: str
) -> Iterator[Rule]:
    try:
        bound = bucket_bound(latency, bounds)
    except ValueError as error:
        raise ValueError(f"{service}: {error}") from None
    requests = f"service:requests:rate5m{{{_service_matchers(service, cluster_label)}}}"
    errors = f"service:errors:ratio_rate5m{{{_service_matchers(service, cluster_label)}}}"
    within = "\n  or ".join(_within(service, bound, cluster_label))
    late = f"clamp_min(\n  {requests}\n  - on (service_namespace, service_name) (\n  {within}\n  ),\n  0\n)\n"
    violations = {"latency": late, "availability": f"{requests} * {errors}\nor {requests} * 0\n"}
    # The series have these labels already; repeated here, they distinguish the rules of several services.
    namespace = service.local.namespace
    named = ({"service_namespace": namespace} if namespace else {}) | {"service_name": service.name}
    named |= {cluster_label or CLUSTER: service.cluster} if service.cluster else {}
    if cluster_label:
        violations = {sli: by_cluster(expr, cluster_label) for sli, expr in violations.items()}
    for sli, ratio in (("latency", LATE_RATIO), ("availability", failed)):
        labels = {"sli": sli, **named}
        yield {"record": "service:slo_violations:rate5m", "expr": violations[sli], "labels": labels}
        yield {"record": "service:slo_error_budget:ratio", "expr": f"{requests} * 0 + {ratio:g}", "labels": labels}


def _within(service: Service, bound: float, cluster_label: str) -> Iterator[str]:
    """PromQL of requests per second up to the bound in seconds, one for each name of the metric."""
    by = "sum by (service_namespace, service_name)"
    for metric, label, limit in (
        ("traces_span_metrics_duration_seconds_bucket", "service_name", bound),
        ("traces_span_metrics_duration_milliseconds_bucket", "service_name", bound * 1000),
        ("traces_spanmetrics_latency_bucket", "service", bound),
    ):
        matchers = f"{_SERVED},{_service_matchers(service, cluster_label, label)},le=~{promql_string(_le(limit))}"
        rate = f"rate({metric}{{{matchers}}}[5m])"
        renamed = rate if label == "service_name" else f'label_replace({rate}, "service_name", "$1", "{label}", "(.+)")'
        yield f"{by} ({renamed})"


def _service_matchers(service: Service, cluster_label: str, label: str = "service_name") -> str:
    """PromQL matchers of a service, separated by a comma. label: the label with its name."""
    cluster = f"{cluster_label or CLUSTER}={promql_string(service.cluster)}," if service.cluster else ""
    namespace = f"service_namespace={promql_string(service.local.namespace)}," if service.local.namespace else ""
    return f"{cluster}{namespace}{label}={promql_string(service.name)}"


def _le(bound: float) -> str:
    """Regular expression of a bound in the formats of all exporters: `25` and `25.0`."""
    return re.escape(f"{bound:.10g}") + (r"(\.0)?" if float(bound).is_integer() else "")


def rule_file(groups: Sequence[Rule]) -> str:
    """A file for `rule_files` of a Prometheus."""
    return _text({"groups": list(groups)})


def operator_rule(groups: Sequence[Rule]) -> str:
    """A PrometheusRule with the groups."""
    return _text(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "foreshock", "labels": {"app.kubernetes.io/name": "foreshock"}},
            "spec": {"groups": list(groups)},
        }
    )


def _text(document: Rule) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes multi-line texts as blocks, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as inherited
        """Repeat equal values instead of `&id001`."""
        return True


_Plain.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)
