"""Cost of the last 24 h as Prometheus metrics."""

from __future__ import annotations

import math

import pytest
from tests.web.costs import LEDGER, PRICES

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.hub.cost import metrics
from foreshock_dashboard.hub.cost.metrics import LINE, cost_families
from foreshock_dashboard.ingest.span_metrics.registry import OTHER
from foreshock_dashboard.model.cost.prices import NO_PRICES, Prices

Series = dict[tuple[str, ...], float]


def series(name: str, *labels: str, prices: Prices = PRICES) -> Series:
    """The values of a metric by these labels."""
    report = cost_report(LEDGER, 86_400.0, prices)
    found = next(family for family in cost_families(report) if family.name == name)
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
    }


def test_gpu_wait_is_exported_of_services_whose_use_is_known() -> None:
    """An upper bound beside the parts of what they hold, as on the Cost page."""
    report = cost_report(LEDGER, 86_400.0, PRICES)
    waits = series("foreshock_cost_gpu_wait_gpu_seconds", "service_name")

    assert waits == {
        (row.key.service.name,): report.gpu_wait[row.key]
        for row in report.rows
        if row.key.service and not math.isnan(row.waiting)
    }
    assert max(waits.values()) > 0


def test_money_is_exported_with_prices_only() -> None:
    """Unused GPUs are known without them."""
    assert series("foreshock_cost_gpu_money", "service_name")["chat",] == 48
    assert series("foreshock_cost_gpu_money", "service_name", prices=NO_PRICES) == {}
    assert series("foreshock_cost_unused_gpus", "service_name", "pool", prices=NO_PRICES) == {("notebook", "dev"): 1}
    assert series("foreshock_cost_unused_duration_seconds", "service_name") == {("notebook",): 48 * 3600}


def test_lines_beyond_the_limit_are_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with the least GPU-hours; the sum stays."""
    whole = series("foreshock_cost_allocated_gpu_seconds", *LINE)
    monkeypatch.setattr(metrics, "MAX_LINES", 2)
    limited = series("foreshock_cost_allocated_gpu_seconds", *LINE)

    assert len(limited) == 3
    assert limited[(OTHER,) * len(LINE)] == 2 * 86_400
    assert sum(limited.values()) == sum(whole.values())
