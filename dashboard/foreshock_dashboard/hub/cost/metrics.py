"""Cost of the last 24 h as metrics. Unknown values have no series."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import Metric

from foreshock_dashboard.ingest.span_metrics.registry import OTHER
from foreshock_dashboard.model.cost.ledger import CostKey, Holding
from foreshock_dashboard.model.cost.report import CostReport, CostRow
from foreshock_dashboard.model.service import Service, qualified, split_cluster

MAX_LINES = 500
"""Lines with series, by GPU-hours; the rest is one line named `OTHER`: names of batch jobs have no bound."""
LINE = ("holding", "service_name", "service_namespace", "pool", "model")
Rows = Iterable[tuple[tuple[str, ...], float]]
"""Label values and value of each series."""
ENERGY = "Energy, an estimate: idle power by what is held, the rest by busy share."
GPU_WAIT = "GPU wait, an upper bound, also beyond what is held."
_FIGURES: tuple[tuple[str, str, Holding | None, Callable[[CostRow], float]], ...] = (
    ("allocated_gpu_seconds", "GPU-seconds held in the last 24 h.", None, lambda row: row.allocated),
    ("busy_gpu_seconds", "GPU-seconds in which a kernel ran.", Holding.SERVICE, lambda row: row.busy),
    (
        "waiting_gpu_seconds",
        "GPU-seconds held but waiting for noisy neighbors.",
        Holding.SERVICE,
        lambda row: row.waiting,
    ),
    ("idle_gpu_seconds", "GPU-seconds held, neither busy nor waiting.", Holding.SERVICE, lambda row: row.idle),
    ("unknown_gpu_seconds", "GPU-seconds held, of unknown use.", None, lambda row: row.unknown),
    ("borrowed_gpu_seconds", "GPU-seconds busy beyond what is held.", Holding.SERVICE, lambda row: row.borrowed),
    ("energy_joules", ENERGY, None, lambda row: row.joules),
    ("gpu_money", "Price of the GPU-hours held, in the currency of --prices.", None, lambda row: row.money),
)
"""Name, help, holding of the lines that have it (None: all), and value."""


def cost_families(report: CostReport) -> Iterator[Metric]:
    """Metrics of a report of 24 h."""
    rows = sorted(report.rows, key=lambda row: -row.allocated)
    services = [row for row in rows if row.key.holding is Holding.SERVICE]
    for name, text, of, value in _FIGURES:
        series = [(_line(row.key), value(row)) for row in (services if of is Holding.SERVICE else rows)]
        yield _family(f"foreshock_cost_{name}", text, LINE, _limited(series))
    waits = [(_line(row.key), report.gpu_wait.get(row.key, math.nan)) for row in services if math.isfinite(row.waiting)]
    yield _family("foreshock_cost_gpu_wait_gpu_seconds", GPU_WAIT, LINE, _limited(waits))
    unused = [(_line(item.key), item) for item in report.idle[:MAX_LINES]]
    for name, text, amounts in (
        ("unused_gpus", "GPUs held now without any kernel.", [item.gpus for _, item in unused]),
        ("unused_duration_seconds", "Seconds for which they have been unused.", [item.seconds for _, item in unused]),
    ):
        pairs = [(labels, value) for (labels, _), value in zip(unused, amounts, strict=True)]
        yield _family(f"foreshock_cost_{name}", text, LINE, pairs)
    until = "Unix time up to which GPU time is known."
    yield _family("foreshock_cost_end_timestamp_seconds", until, (), [((), report.end)])


def _limited(series: Sequence[tuple[tuple[str, ...], float]]) -> Rows:
    """The first `MAX_LINES` series, and the sum of the others."""
    rest = [amount for _, amount in series[MAX_LINES:] if math.isfinite(amount)]
    return [*series[:MAX_LINES], *([((OTHER,) * len(LINE), math.fsum(rest))] if rest else [])]


def _line(key: CostKey) -> tuple[str, ...]:
    service = key.service or Service(qualified(key.cluster, ""), "")
    return key.holding.value, service.name, service.namespace, split_cluster(key.pool)[1], key.model


def _family(name: str, text: str, labels: tuple[str, ...], series: Rows) -> Metric:
    family = Metric(name, text, "gauge")
    for values, value in series:
        if math.isfinite(value):
            family.add_sample(name, dict(zip(labels, values, strict=True)), value)
    return family
