"""Error budgets that run out within a week at the present burn rate are reported with the time."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS
from foreshock_dashboard.analysis.slow_burns.burns import slow_burns
from foreshock_dashboard.analysis.slow_burns.error_budgets import Budget
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

CART, END, DAY = Service("shop", "cart"), 1_767_571_200.0, 86_400.0
DAYS = np.arange(30 * DAY_POINTS) / DAY_POINTS - 30.0
"""Time before the end."""
REQUESTS: Floats = np.full(len(DAYS), 10.0)
RATIO = 0.01


def budget(burn_rate: Floats, requests: Floats = REQUESTS) -> dict[tuple[Service, str], Budget]:
    """Of 1%, with violations at a burn rate by step."""
    return {(CART, "availability"): Budget(RATIO, requests, burn_rate * RATIO * requests)}


def since(days: float, burn_rate: float, before: float = 0.0) -> Floats:
    """A burn rate since so many days ago, and another one before."""
    values: Floats = np.where(-days <= DAYS, burn_rate, before)
    return values


@pytest.mark.parametrize(
    ("burn_rate", "at"),
    [
        pytest.param(since(15, 1.4), 0.0, id="more than the budget"),
        pytest.param(since(15, 1.05), 0.0, id="little more"),
        pytest.param(since(15, 0.8) + since(3, 0.6), 2.0, id="less until three days ago"),
    ],
)
def test_of_a_short_history_the_budget_is_that_of_its_period(burn_rate: Floats, at: float) -> None:
    """Requests and violations of the same 15 days, as a store keeps them: a rate of 1.4 has spent 140%."""
    known = np.where(DAYS < -15, np.nan, REQUESTS)
    (burn,) = slow_burns(END, {}, budget(burn_rate, known))
    spent = float(burn_rate[-15 * DAY_POINTS :].mean())
    assert burn.period_seconds == 15 * DAY
    assert burn.value == pytest.approx(spent, rel=0.01)
    assert burn.at == pytest.approx(END + at * DAY, abs=0.1 * DAY)


def test_the_time_is_that_of_the_rest_at_the_present_rate() -> None:
    """Half was spent in 28 days at 0.6; two days at 5 spend a third; the rest lasts half a day at 5, as 0.6 leaves."""
    (burn,) = slow_burns(END, {}, budget(since(2, 5.0, before=0.6)))
    spent = 0.6 * 28 / 30 + 5 * 2 / 30
    assert (burn.kind, burn.service, burn.name) == (SlowBurnKind.ERROR_BUDGET, CART, "availability")
    assert burn.value == pytest.approx(spent, rel=0.02)
    assert burn.growth * DAY == pytest.approx(5 / 30, rel=0.02)
    assert burn.at == pytest.approx(END + (1 - spent) / ((5 - 0.6) / 30) * DAY, abs=0.05 * DAY)
    assert burn.earliest <= burn.at <= burn.latest


def test_violations_of_thirty_days_ago_leave_the_budget() -> None:
    """A day that took 60% is reported with the rest that the present rate spends, unless it leaves before."""

    def day(ago: float) -> Floats:
        spike: Floats = since(ago, 18.0) - since(ago - 1, 18.0) + since(3, 2.0)
        return spike

    (burn,) = slow_burns(END, {}, budget(day(20)))
    assert burn.at == pytest.approx(END + 3 * DAY, abs=0.1 * DAY)
    assert slow_burns(END, {}, budget(day(29))) == ()


def test_a_spent_budget_is_spent_now() -> None:
    (burn,) = slow_burns(END, {}, budget(since(2, 20.0)))
    assert burn.value > 1
    assert burn.at == burn.earliest == END


def test_the_interval_is_that_of_the_burn_rates_of_two_hours() -> None:
    """A rate that varies leaves the time open."""
    varying = since(3, 3.5, before=0.6) * (1 + 0.5 * np.sign(np.sin(2 * np.pi * DAYS * 4)))
    (burn,) = slow_burns(END, {}, budget(varying))
    assert burn.earliest < burn.at - 0.2 * DAY
    assert burn.latest > burn.at + 0.2 * DAY


@pytest.mark.parametrize(
    ("burn_rate", "requests"),
    [
        pytest.param(since(30, 0.9), REQUESTS, id="within the budget"),
        pytest.param(since(2, 5.0) - since(0.3, 5.0), REQUESTS, id="it ended seven hours ago"),
        pytest.param(since(3, 2.0), REQUESTS, id="less than a week would spend"),
        pytest.param(since(2, 5.0), REQUESTS / 1e4, id="a handful of requests"),
        pytest.param(since(2, 5.0), np.where(DAYS > -2.5, np.nan, REQUESTS), id="no data any more"),
        pytest.param(since(2, 10.0), np.where(DAYS < -6, np.nan, REQUESTS), id="less than a week known"),
        pytest.param(since(2, 5.0), np.full(len(DAYS), np.nan), id="no data"),
    ],
)
def test_other_budgets_do_not_run_out_this_week(burn_rate: Floats, requests: Floats) -> None:
    assert slow_burns(END, {}, budget(burn_rate, requests)) == ()
