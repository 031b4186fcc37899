"""Rules and boards ask only for what is really emitted: a rule on a metric that nobody has is silent for ever."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Yaml = dict[str, Any]


class Asked(NamedTuple):
    """What an expression asks for."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    groups: frozenset[str]


_DCGM = frozenset({"gpu", "UUID", "device", "modelName", "Hostname"})
_VLLM = frozenset({"model_name", "engine", "service_name", "service_namespace"})
_TEMPO = frozenset({"service", "service_namespace", "span_name", "span_kind", "status_code", "le"})
_COLLECTOR = frozenset({"service_name", "service_namespace", "span_name", "span_kind", "status_code", "le"})
_HPA = frozenset({"namespace", "horizontalpodautoscaler"})
FOREIGN: Mapping[str, tuple[frozenset[str], str]] = {
    "up": (frozenset(), "Prometheus itself, for each target"),
    "DCGM_FI_DEV_XID_ERRORS": (_DCGM, "dcgm-exporter, default-counters.csv"),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": (_DCGM, "dcgm-exporter, default-counters.csv"),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": (_DCGM, "dcgm-exporter, a comment in default-counters.csv"),
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": (_DCGM, "dcgm-exporter, field 112 of DCGM"),
    "vllm:num_requests_waiting": (_VLLM, "vLLM, docs/usage/metrics"),
    "vllm:request_success_total": (_VLLM | {"finished_reason"}, "vLLM, docs/usage/metrics"),
    "vllm:kv_cache_usage_perc": (_VLLM, "vLLM, docs/usage/metrics"),
    "vllm:gpu_cache_usage_perc": (_VLLM, "vLLM before 0.10"),
    "vllm:num_preemptions_total": (_VLLM, "vLLM, docs/usage/metrics"),
    "traces_spanmetrics_calls_total": (_TEMPO, "Tempo's metrics-generator, processor span-metrics"),
    "traces_spanmetrics_latency_bucket": (_TEMPO, "Tempo's metrics-generator, processor span-metrics"),
    "traces_span_metrics_duration_milliseconds_bucket": (_COLLECTOR, "OpenTelemetry Collector, span metrics connector"),
    "kube_horizontalpodautoscaler_status_desired_replicas": (_HPA, "kube-state-metrics"),
    "kube_horizontalpodautoscaler_info": (
        _HPA | {"scaletargetref_kind", "scaletargetref_name"}, "kube-state-metrics"
    ),
    "kube_pod_status_phase": (frozenset({"namespace", "pod", "phase"}), "kube-state-metrics"),
    "kube_deployment_status_replicas_ready": (frozenset({"namespace", "deployment"}), "kube-state-metrics"),
    "otelcol_receiver_refused_spans_total": (frozenset({"receiver", "transport"}), "OpenTelemetry Collector"),
    "otelcol_receiver_refused_spans": (frozenset({"receiver", "transport"}), "OpenTelemetry Collector, older releases"),
}  # fmt: skip
"""Metrics that come from elsewhere: their labels, and where they are described."""
MADE = frozenset({"direction", "kind", "reason", "objective", "deployment", "part", "xid", "uuid", "by"})
"""Labels that the rules themselves make."""
CONFIGURED = frozenset({"service:objective_missed:rate5m", "service:objective_budget:ratio"})
"""What `foreshock alerts` writes for each service that promises something."""
BY_THE_SCRAPE = frozenset({"job", "instance", "environment"})
"""Labels that the scrape configuration adds."""


@pytest.fixture
def expressions(root: Path, rules: list[Yaml]) -> dict[str, str]:
    """Every expression of rules, boards and runbooks, by where it stands."""
    found = {rule.get("record") or f"{rule['alert']} ({at})": rule["expr"] for at, rule in enumerate(rules)}
    for file in root.glob("grafana/dashboards/*.json"):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
        for variable in board["templating"]["list"]:
            if values := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", "")):
                found[f"{file.name}: variable {variable['name']}"] = f'{values[1]}{{{values[2]}!=""}}'
    return found


def test_every_metric_and_label_that_is_asked_for_is_really_emitted(
    expressions: dict[str, str],
    rules: list[Yaml],
    emitted: Mapping[str, frozenset[str]],
    asks: Callable[[str], Asked],
) -> None:
    """Compared with the pages of a real exporter in mock mode and of the hub."""
    recorded = {rule["record"] for rule in rules if "record" in rule} | CONFIGURED
    told = {metric: labels for metric, (labels, _) in FOREIGN.items()} | dict(emitted)
    labels = frozenset().union(*told.values()) | BY_THE_SCRAPE | MADE
    wrong = []
    for where, expression in expressions.items():
        for metric, matched in asks(expression).selectors:
            if metric in recorded:
                wrong += [f"{where}: {label}" for label in matched - labels]
            elif metric in told:
                known = told[metric] | BY_THE_SCRAPE
                wrong += [f"{where}: {metric} has no {label}" for label in matched - known]
            else:
                wrong.append(f"{where}: nobody emits {metric}")
        wrong += [f"{where}: groups by {label}" for label in asks(expression).groups - labels]
    assert not wrong, "\n".join(wrong)


def test_no_foreign_name_is_declared_that_nobody_asks_for(
    expressions: dict[str, str], asks: Callable[[str], Asked]
) -> None:
    """Nor one that is ours."""
    asked = {metric for text in expressions.values() for metric, _ in asks(text).selectors}
    assert FOREIGN.keys() - asked == set()
    assert not [metric for metric in FOREIGN if metric.startswith(("foreshock_", "gpu_"))]


def test_every_recording_rule_is_used(
    expressions: dict[str, str], rules: list[Yaml], asks: Callable[[str], Asked], root: Path
) -> None:
    """By another rule, by a board, or in a runbook."""
    recorded = {rule["record"] for rule in rules if "record" in rule}
    used = {metric for where, text in expressions.items() for metric, _ in asks(text).selectors if metric != where}
    written = "".join(page.read_text() for page in root.glob("alerts/runbooks/*.md"))
    assert {name for name in recorded if name not in used and name not in written} == set()


def test_the_reader_of_expressions_sees_what_they_ask_for(asks: Callable[[str], Asked]) -> None:
    """Names in functions, label lists, strings, ranges and offsets are told apart from metrics."""
    found = asks(
        'sum by (a, b) (rate(x_total{c=~"d{e}|f", g!="h"}[5m] offset 10m)) / on (a) group_left () (s:y:z > bool 0.1)'
        " and up offset 1h or quantile_over_time(0.5, w[1h:30s])"
    )
    assert found.selectors == (
        ("x_total", frozenset({"c", "g"})),
        ("s:y:z", frozenset()),
        ("up", frozenset()),
        ("w", frozenset()),
    )
    assert found.groups == {"a", "b"}
