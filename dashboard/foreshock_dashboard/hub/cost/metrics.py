"""Cost of the last 24 h as metrics. Unknown values have no series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client import Metric

from foreshock_dashboard.model.cost.ledger import CostKey
from foreshock_dashboard.model.cost.prices import Prices
from foreshock_dashboard.model.cost.report import CostReport
from foreshock_dashboard.model.service import Service, qualified, split_cluster
from foreshock_dashboard.model.world import World

LINE = ("holding", "service_name", "service_namespace", "pool", "model")
Rows = Iterable[tuple[tuple[str, ...], float]]
"""Label values and value of each series."""


def cost_families(report: CostReport, prices: Prices, world: World | None) -> Iterator[Metric]:
    """Metrics of a report of 24 h, and with prices those of OpenCost for the hosts of a World."""
    rows = report.rows
    for name, text, values in (
        ("allocated_gpu_seconds", "GPU-seconds held in the last 24 h.", [row.allocated for row in rows]),
        ("busy_gpu_seconds", "GPU-seconds in which a kernel ran.", [row.busy for row in rows]),
        ("waiting_gpu_seconds", "Upper bound on GPU-seconds of waiting.", [row.waiting for row in rows]),
        ("idle_gpu_seconds", "GPU-seconds held, neither busy nor waiting.", [row.idle for row in rows]),
        ("unused_gpu_seconds", "GPU-seconds held without any kernel.", [row.unused for row in rows]),
        ("energy_joules", "Energy by busy share, an estimate.", [row.joules for row in rows]),
        ("gpu_money", "Price of the GPU-hours held, in the currency of --prices.", [row.money for row in rows]),
    ):
        series = [(_line(row.key), value) for row, value in zip(rows, values, strict=True)]
        yield _family(f"foreshock_cost_{name}", text, LINE, series)
    savings = [((item.kind.value, *_line(item.key)), item) for item in report.savings]
    for name, text, amounts in (
        ("saving_gpus", "GPUs that an action saves, by kind.", [item.gpus for _, item in savings]),
        ("saving_idle_seconds", "Seconds for which they have been so.", [item.seconds for _, item in savings]),
        ("saving_money_per_day", "Money that it saves per day.", [item.money_per_day for _, item in savings]),
    ):
        pairs = [(labels, value) for (labels, _), value in zip(savings, amounts, strict=True)]
        yield _family(f"foreshock_cost_{name}", text, ("kind", *LINE), pairs)
    until = "Unix time up to which GPU time is accounted."
    yield _family("foreshock_cost_end_timestamp_seconds", until, (), [((), report.end)])
    yield from _node_families(prices, world)


def _node_families(prices: Prices, world: World | None) -> Iterator[Metric]:
    """OpenCost's metrics, with its labels (opencost.io, OpenCost Metrics), where there are prices: it has them, too.

    A host whose GPUs have several prices, or unknown ones, has no price.
    """
    hosts: dict[str, list[float]] = {}
    if prices.currency and world is not None:
        for gpu, pool in zip(world.gpus, world.pool or ("",) * len(world.gpus), strict=True):
            hosts.setdefault(gpu.host, []).append(prices.hourly(pool, gpu.model))
    price = Metric("node_gpu_hourly_cost", "Price of a GPU-hour on the host, as OpenCost names it.", "gauge")
    count = Metric("node_gpu_count", "GPUs of the host, as OpenCost names it.", "gauge")
    for host, found in hosts.items():
        cluster, name = split_cluster(host)
        labels = {"instance": name, "node": name, **({"cluster": cluster} if cluster else {})}
        count.add_sample(count.name, labels, float(len(found)))
        if len(set(found)) == 1 and math.isfinite(found[0]):
            price.add_sample(price.name, labels, found[0])
    yield from (price, count)


def _line(key: CostKey) -> tuple[str, ...]:
    service = key.service or Service(qualified(key.cluster, ""), "")
    return key.holding.value, service.name, service.namespace, split_cluster(key.pool)[1], key.model


def _family(name: str, text: str, labels: tuple[str, ...], series: Rows) -> Metric:
    family = Metric(name, text, "gauge")
    for values, value in series:
        if math.isfinite(value):
            family.add_sample(name, dict(zip(labels, values, strict=True)), value)
    return family
