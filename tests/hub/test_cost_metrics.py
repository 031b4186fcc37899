"""Cost of the last 24 h as Prometheus metrics, and OpenCost's names where it has them."""

from __future__ import annotations

from tests.web.costs import LEDGER, PRICES
from tests.web.worlds import healthy_world

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.hub.cost.metrics import cost_families
from foreshock_dashboard.model.cost.prices import NO_PRICES, Price, Prices

WORLD = healthy_world()
Series = dict[tuple[str, ...], float]


def series(name: str, *labels: str, prices: Prices = PRICES) -> Series:
    """The values of a metric by these labels."""
    report = cost_report(LEDGER, 86_400.0, prices)
    found = next(family for family in cost_families(report, prices, WORLD) if family.name == name)
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in found.samples}


def test_gpu_time_is_exported_by_line() -> None:
    """In seconds; unknown figures have no series, and all that is allocated is the GPU time of the fleet."""
    day = 86_400.0
    allocated = series("foreshock_cost_allocated_gpu_seconds", "holding", "service_name", "service_namespace", "pool")

    assert allocated == {
        ("service", "chat", "ml", "chat"): day,
        ("service", "notebook", "ml", "dev"): day,
        ("unallocated", "", "", "spare"): day,
        ("unknown", "", "", "spare"): day,
    }
    assert series("foreshock_cost_idle_gpu_seconds", "holding", "service_name") == {
        ("service", "chat"): 0.4 * day,
        ("service", "notebook"): day,
        ("unallocated", ""): day,
    }


def test_money_is_exported_with_prices_only() -> None:
    """Savings in GPUs are known without them."""
    labels = ("kind", "service_name")

    assert series("foreshock_cost_gpu_money", "service_name")["chat",] == 48
    assert series("foreshock_cost_saving_money_per_day", *labels)["release", "notebook"] == 48
    assert series("foreshock_cost_saving_money_per_day", *labels, prices=NO_PRICES) == {}
    assert series("foreshock_cost_saving_gpus", *labels, prices=NO_PRICES)["release", "notebook"] == 1
    assert series("foreshock_cost_saving_idle_seconds", *labels)["release", "notebook"] == 86_400


def test_hosts_have_the_price_of_their_gpus_under_opencosts_names() -> None:
    """With its labels; none without a price table, and no price where it is unknown."""
    prices = Prices("USD", {WORLD.gpus[0].model: Price(2.5)})
    hosts = {gpu.host for gpu in WORLD.gpus}

    assert series("node_gpu_hourly_cost", "instance", "node", prices=prices) == {(host, host): 2.5 for host in hosts}
    assert sum(series("node_gpu_count", "node", prices=prices).values()) == len(WORLD.gpus)
    assert series("node_gpu_count", "node", prices=NO_PRICES) == {}
    assert series("node_gpu_hourly_cost", "node", prices=Prices("USD", {"other": Price(1.0)})) == {}
