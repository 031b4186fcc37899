"""Error budgets of SLOs that run out within a week at the present burn rate.

Burn rate and windows: Beyer et al., The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts",
those of a ticket. A rate of 1 spends the budget of 30 days in 30 days. Where less is known, the budget is that of the
known days: requests and violations count over the same period.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS
from foreshock_dashboard.model.capacity.load import FORECAST_POINTS, FORECAST_STEP_SECONDS
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

PERIOD_POINTS = 30 * DAY_POINTS
"""Steps of the rolling 30 days that a budget is for, where as much is known."""
MIN_PERIOD_POINTS = 7 * DAY_POINTS
"""Fewest steps of a budget. The burn of a day or two would spend one of a few days at once."""
MIN_VIOLATIONS = 10.0
"""Fewest violations in the long window, as in the alerts: one failure of a quiet night is an extreme burn rate."""
MIN_KNOWN_RATIO = 0.5
"""Least known share of the long window."""
SPREAD_POINTS = 2 * HOUR_POINTS
"""Steps of the windows whose burn rates span the interval."""


class Window(NamedTuple):
    """The burn rate that both windows must exceed: the long one shows that it matters, the short that it goes on."""

    burn_rate: float
    long: int
    short: int


WINDOWS = (Window(3.0, DAY_POINTS, 2 * HOUR_POINTS), Window(1.0, 3 * DAY_POINTS, 6 * HOUR_POINTS))


class Budget(NamedTuple):
    """An SLO with its history.

    ratio: share of requests that may violate it. requests, violations: per second in steps of `FORECAST_STEP_SECONDS`;
    NaN is unknown.
    """

    ratio: float
    requests: Floats
    violations: Floats


BudgetKey = tuple[Service, str]
"""A service, and `latency` or `availability`."""


def error_budgets(end: float, budgets: Mapping[BudgetKey, Budget]) -> Iterator[SlowBurn]:
    """Budgets that run out within a week. end: Unix seconds at which the histories end."""
    for (service, sli), budget in budgets.items():
        if burn := _burn(end, service, sli, budget):
            yield burn


def _burn(end: float, service: Service, sli: str, budget: Budget) -> SlowBurn | None:
    known = np.isfinite(budget.requests[-PERIOD_POINTS:])
    period = len(known) - int(known.argmax()) if known.any() else 0
    if period < MIN_PERIOD_POINTS:
        return None
    known = known[-period:]
    requests = np.where(known, budget.requests[-period:], 0.0).astype(np.float64) * FORECAST_STEP_SECONDS
    violations = np.where(known, np.nan_to_num(budget.violations[-period:]), 0.0).astype(np.float64)
    violations *= FORECAST_STEP_SECONDS
    window = next((item for item in WINDOWS if _burns(item, budget.ratio, requests, violations, known)), None)
    if window is None:
        return None
    allowed = budget.ratio * requests.sum()
    of_window = violations[-window.long :][known[-window.long :]]
    parts = of_window[len(of_window) % SPREAD_POINTS :].reshape(-1, SPREAD_POINTS).mean(axis=1)
    per_step = float(of_window.mean())
    slowest, fastest = (float(bound) for bound in np.quantile(parts, (0.1, 0.9)))
    at = _spent_at(violations, per_step, allowed)
    if at is None:
        return None
    earliest = _spent_at(violations, max(fastest, per_step), allowed)
    latest = _spent_at(violations, min(slowest, per_step), allowed)
    per_second = 1.0 / allowed / FORECAST_STEP_SECONDS
    return SlowBurn(
        kind=SlowBurnKind.ERROR_BUDGET,
        service=service,
        name=sli,
        value=float(violations.sum() / allowed),
        limit=1.0,
        growth=per_step * per_second,
        slowest=slowest * per_second,
        fastest=fastest * per_second,
        at=end + at * FORECAST_STEP_SECONDS,
        earliest=end + (at if earliest is None else earliest) * FORECAST_STEP_SECONDS,
        latest=math.inf if latest is None else end + latest * FORECAST_STEP_SECONDS,
        since=end - window.long * FORECAST_STEP_SECONDS,
        period_seconds=period * FORECAST_STEP_SECONDS,
    )


def _burns(window: Window, ratio: float, requests: Floats, violations: Floats, known: Floats) -> bool:
    """Whether both windows exceed the burn rate, with enough violations and data."""
    if violations[-window.long :].sum() < MIN_VIOLATIONS or known[-window.long :].mean() < MIN_KNOWN_RATIO:
        return False
    totals = [requests[-points:].sum() for points in (window.long, window.short)]
    bad = [violations[-points:].sum() for points in (window.long, window.short)]
    return all(count > window.burn_rate * ratio * total > 0 for count, total in zip(bad, totals, strict=True))


def _spent_at(violations: Floats, per_step: float, allowed: float) -> int | None:
    """Steps from now until the violations of a period are all that is allowed; None if not within a week.

    violations: of the last period, of a week or more. per_step: in each step to come. Those that are a period old leave
    the sum.
    """
    left = np.concatenate([[0.0], np.cumsum(violations[:FORECAST_POINTS])])
    spent = violations.sum() - left + per_step * np.arange(FORECAST_POINTS + 1)
    places = np.flatnonzero(spent >= allowed)
    return int(places[0]) if len(places) else None
