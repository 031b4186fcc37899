"""Savings: what could be given back, shared, or kept apart, and how much that is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.analysis.cost.usages import STEP, STEPS, holder, service, usage

from foreshock_dashboard.analysis.cost.account import account
from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.model.cost.ledger import HOUR_SECONDS, CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES, Price, Prices
from foreshock_dashboard.model.cost.report import CostReport, Saving, SavingKind
from foreshock_dashboard.model.cost.usage import GpuUsage

END = 1_796_040_000.0
PRICES = Prices(
    "USD",
    {"L40S": Price(1.0), "H1": Price(9.0), "H100": Price(3.0, 1.2)},
    {"spot": Price(spot=True), "own": Price(0.5)},
)
CHAT = holder("chat")


def report(*hours: GpuUsage, prices: Prices = PRICES) -> CostReport:
    """Of the last day of these hours, oldest first."""
    start = END - len(hours) * HOUR_SECONDS
    by_hour = {start + i * HOUR_SECONDS: account(hour) for i, hour in enumerate(hours)}
    return cost_report(CostLedger(END, END, by_hour), 86_400.0, prices)


def found(*hours: GpuUsage) -> list[tuple[SavingKind, float, float]]:
    """Kind, GPUs, and hours a day."""
    return [(item.kind, round(item.gpus, 2), round(item.hours_per_day, 1)) for item in report(*hours).savings]


IDLE, HALF = usage(1, [CHAT], [0.0]), usage(1, [CHAT], [0.5], memory=[0.9])
FREE = usage(1)
HOURS: dict[str, tuple[list[GpuUsage], list[tuple[SavingKind, float, float]]]] = {
    "idle all day": ([IDLE] * 24, [(SavingKind.RELEASE, 1, 24)]),
    "idle for the last six hours": ([HALF] * 18 + [IDLE] * 6, [(SavingKind.RELEASE, 1, 6)]),
    "idle for five": ([HALF] * 19 + [IDLE] * 5, []),
    "idle since it got the GPU an hour ago": ([FREE] * 23 + [IDLE], [(SavingKind.RELEASE, 1, 24)]),
    "in use": ([HALF] * 24, []),
    "a pool with a free GPU": ([FREE] * 24, [(SavingKind.SHRINK, 1, 24)]),
    "free for an hour": ([HALF] * 23 + [FREE], [(SavingKind.SHRINK, 1, 24)]),
    "two of three replicas idle": (
        [usage(3, [holder("chat", gpu) for gpu in range(3)], [0.6, 0, 0], memory=[0.9] * 3)] * 24,
        [(SavingKind.RELEASE, 2, 24)],
    ),
    "half of a GPU idle": ([usage(1, [CHAT, holder("batch")], [0.9, 0])] * 24, [(SavingKind.RELEASE, 0.5, 24)]),
    "waiting": ([usage(1, [CHAT], [0.6], waiting=[0.25], memory=[0.9])] * 24, [(SavingKind.SEPARATE, 0.25, 24)]),
    "use unknown": ([usage(1, [CHAT], [math.nan], utilization=[math.nan])] * 24, []),
    "a GPU of unknown use": ([usage(1, utilization=[0.5])] * 24, []),
    "fits on two MIG slices": (
        [usage(1, [CHAT], [0.3], sm_active=0.15, memory=[0.2])] * 24,
        [(SavingKind.SHARE, round(5 / 7, 2), 24)],
    ),
    "fits beside another one": ([usage(1, [CHAT], [0.3], memory=[0.4])] * 24, [(SavingKind.SHARE, 0.5, 24)]),
    "too little memory to share": ([usage(1, [CHAT], [0.1], memory=[0.9])] * 24, []),
    "memory unknown": ([usage(1, [CHAT], [0.1])] * 24, []),
    "one busy hour": ([usage(1, [CHAT], [0.1], memory=[0.2])] * 23 + [usage(1, [CHAT], [0.9], memory=[0.2])], []),
    "too short a time to propose sharing": ([usage(1, [CHAT], [0.1], memory=[0.2])] * 3, []),
    "a part of a GPU": ([usage(1, [CHAT, holder("batch")], [0.1, 0.5], memory=[0.1, 0.1])] * 24, []),
}


@pytest.mark.parametrize("case", HOURS)
def test_savings_are_what_the_hours_allow(case: str) -> None:
    """Kind, GPUs, and for how many hours a day."""
    hours, expected = HOURS[case]
    assert found(*hours) == expected


def test_idle_time_and_that_all_gpus_are_idle_are_known() -> None:
    """A service may be scaled to 0 only if none of its GPUs is used."""
    (part,) = report(*[usage(2, [CHAT, holder("chat", 1)], [0.5, 0], memory=[0.9, 0.9])] * 9).savings
    (whole,) = report(*[HALF] * 3, *[IDLE] * 9).savings

    assert (part.is_all, part.seconds) == (False, 9 * HOUR_SECONDS)
    assert (whole.is_all, whole.seconds, whole.quality) == (True, 9 * HOUR_SECONDS, "measured")


@pytest.mark.parametrize(
    ("pool", "model", "expected"),
    [
        ("chat", "NVIDIA H100 80GB HBM3", 3.0),
        ("spot", "NVIDIA H100 80GB HBM3", 1.2),
        ("own", "NVIDIA H100 80GB HBM3", 0.5),
        ("eu//own", "", 0.5),
        ("chat", "NVIDIA L40S", 1.0),
        ("spot", "NVIDIA L40S", math.nan),
        ("chat", "AMD Instinct MI300X", math.nan),
    ],
)
def test_the_pools_price_comes_before_the_models(pool: str, model: str, expected: float) -> None:
    """The longest matching name of a model counts; on spot capacity its spot price."""
    assert PRICES.hourly(pool, model) == pytest.approx(expected, nan_ok=True)


def test_money_is_gpu_hours_times_price() -> None:
    """Unknown without a price."""
    priced, unpriced = report(*[IDLE] * 24), report(*[IDLE] * 24, prices=NO_PRICES)

    assert (priced.rows[0].money, priced.savings[0].money_per_day) == pytest.approx((72, 72))
    assert math.isnan(unpriced.rows[0].money)
    assert math.isnan(unpriced.savings[0].money_per_day)


def test_at_most_ten_savings_the_largest_first() -> None:
    """By money where it is known."""
    gpus = 12
    idle = usage(gpus, [holder(f"s{gpu}", gpu) for gpu in range(gpus)], [0.0] * gpus)
    savings: tuple[Saving, ...] = report(*[idle] * 7).savings

    assert len(savings) == 10
    assert {item.key.service for item in savings} < {service(f"s{gpu}") for gpu in range(gpus)}


def test_rows_of_many_hours_sum_to_the_fleets_gpu_time() -> None:
    """Holders that come and go included."""
    hours = [IDLE, FREE, usage(1, utilization=[0.5]), HALF, usage(1, present=[[1, 0, 0, 1, 1, 1]])]

    assert sum(row.allocated for row in report(*hours).rows) == pytest.approx((4 * STEPS + 4) * STEP)
    assert np.isfinite([row.allocated for row in report(*hours).rows]).all()
