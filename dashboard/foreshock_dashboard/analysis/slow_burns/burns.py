"""Everything that fills up or runs out within a week."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import HOUR_POINTS
from foreshock_dashboard.analysis.slow_burns.certificates import expiring_certificate
from foreshock_dashboard.analysis.slow_burns.error_budgets import Budget, BudgetKey, error_budgets
from foreshock_dashboard.analysis.slow_burns.growth import daily_growth
from foreshock_dashboard.analysis.slow_burns.queues import growing_queue
from foreshock_dashboard.analysis.slow_burns.resource import UseKey
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey, SlowBurnKind
from foreshock_dashboard.model.types import Floats

Rule = Callable[[float, UseKey, Floats], SlowBurn | None]
RULES: Mapping[SlowBurnKind, Rule] = {
    SlowBurnKind.CERTIFICATE: expiring_certificate,
    SlowBurnKind.QUEUE: growing_queue,
}
"""Kinds that are no share of a limit."""


def slow_burns(
    end: float, uses: Mapping[UseKey, Floats], budgets: Mapping[BudgetKey, Budget] | None = None
) -> tuple[SlowBurn, ...]:
    """What reaches its limit within a week; the earliest first.

    end: Unix seconds at which the rows, in steps of `FORECAST_STEP_SECONDS`, end. uses: values in the unit of the kind.
    """
    found = (RULES.get(key[1], daily_growth)(end, key, values) for key, values in uses.items())
    burns = [*(burn for burn in found if burn), *error_budgets(end, budgets or {})]
    return tuple(sorted(burns, key=lambda burn: burn.at))


def measured(
    uses: Mapping[UseKey, Floats], budgets: Mapping[BudgetKey, Budget] | None = None
) -> frozenset[SlowBurnKey]:
    """What has a value in the last hour; whether the rest are slow burns is unknown. Rows: as `slow_burns`."""
    rows = {SlowBurnKey(kind, of.service, of.name): values for (of, kind), values in uses.items()}
    for (service, sli), budget in (budgets or {}).items():
        rows[SlowBurnKey(SlowBurnKind.ERROR_BUDGET, service, sli)] = budget.requests
    return frozenset(key for key, values in rows.items() if np.isfinite(values[-HOUR_POINTS:]).any())
