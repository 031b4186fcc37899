"""Cost of the last 24 h as metrics. Unknown values have no series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client import Metric

from foreshock_dashboard.ingest.span_metrics.registry import OTHER
from foreshock_dashboard.model.cost.ledger import CostKey
from foreshock_dashboard.model.cost.report import CostReport
from foreshock_dashboard.model.service import Service, qualified, split_cluster

MAX_LINES = 500
"""Lines with series, by GPU-hours; the rest is one line named `OTHER`: names of batch jobs have no bound."""
LINE = ("holding", "service_name", "service_namespace", "pool", "model")
Rows = Iterable[tuple[tuple[str, ...], float]]
"""Label values and value of each series."""


def cost_families(report: CostReport) -> Iterator[Metric]:
    """Metrics of a report of 24 h."""
    rows = sorted(report.rows, key=lambda row: -row.allocated)
    for name, text, values in (
        ("allocated_gpu_seconds", "GPU-seconds held in the last 24 h.", [row.allocated for row in rows]),
        ("busy_gpu_seconds", "GPU-seconds in which a kernel ran.", [row.busy for row in rows]),
        ("waiting_gpu_seconds", "GPU-seconds held but waiting for noisy neighbors.", [row.waiting for row in rows]),
        ("idle_gpu_seconds", "GPU-seconds held, neither busy nor waiting.", [row.idle for row in rows]),
        ("unused_gpu_seconds", "GPU-seconds held without any kernel.", [row.unused for row in rows]),
        ("energy_joules", "Energy by busy share, an estimate.", [row.joules for row in rows]),
        ("gpu_money", "Price of the GPU-hours held, in the currency of --prices.", [row.money for row in rows]),
    ):
        series = [(_line(row.key), value) for row, value in zip(rows, values, strict=True)]
        rest = [value for _, value in series[MAX_LINES:] if math.isfinite(value)]
        other = [((OTHER,) * len(LINE), math.fsum(rest))] if rest else []
        yield _family(f"foreshock_cost_{name}", text, LINE, [*series[:MAX_LINES], *other])
    idle = [(_line(item.key), item) for item in report.idle[:MAX_LINES]]
    for name, text, amounts in (
        ("saving_gpus", "GPUs held that ran no kernel.", [item.gpus for _, item in idle]),
        ("saving_idle_seconds", "Seconds for which they ran none.", [item.seconds for _, item in idle]),
        ("saving_money_per_day", "Money that giving them back saves.", [item.money_per_day for _, item in idle]),
    ):
        pairs = [(labels, value) for (labels, _), value in zip(idle, amounts, strict=True)]
        yield _family(f"foreshock_cost_{name}", text, LINE, pairs)
    until = "Unix time up to which GPU time is known."
    yield _family("foreshock_cost_end_timestamp_seconds", until, (), [((), report.end)])


def _line(key: CostKey) -> tuple[str, ...]:
    service = key.service or Service(qualified(key.cluster, ""), "")
    return key.holding.value, service.name, service.namespace, split_cluster(key.pool)[1], key.model


def _family(name: str, text: str, labels: tuple[str, ...], series: Rows) -> Metric:
    family = Metric(name, text, "gauge")
    for values, value in series:
        if math.isfinite(value):
            family.add_sample(name, dict(zip(labels, values, strict=True)), value)
    return family
