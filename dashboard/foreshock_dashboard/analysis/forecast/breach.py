"""Forecast of a breach: its probability, and the time until then, by the trend of a series towards a limit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.level_crossing import NEAR_SECONDS, QUANTILES, fit_trend, forecast_crossing

SLOW_TREND_SECONDS, FAST_TREND_SECONDS = 900.0, 240.0
MIN_SLOW_TREND_POINTS, MIN_FAST_TREND_POINTS = 10, 4
"""Lookback of the two trends, or grid points if longer; the one that forecasts more excursions counts."""
MIN_TREND_Z = 2.0
"""Scales above the baseline from which a trend is forecast."""
SLO_WINDOW_SECONDS = 60.0
"""Duration that an excursion must have to count as an SLO breach."""
FORECAST_EXCURSIONS, OBSERVED_RATIOS = (0.0, 4.0, 8.0, 10.0), (0.0, 0.2, 0.4, 0.85)
"""Excursions that a trend forecasts within `NEAR_SECONDS`, and the share of such forecasts that a breach followed in
that time; fitted on the development seeds, isotonic, linear in between. Excursions come together, and trends end."""
SLOW_BREACH_RATIO = 0.8
"""The same for the share of slow requests over what the SLO allows."""


class Breach(NamedTuple):
    """Score and probability of a breach, as in `ServiceRisk`, and the seconds until then at each of `QUANTILES`.

    relevant: whether it matters to callers although the latency is near the baseline. resource: signal of the resource
    that is used up by then, or "".
    """

    score: float
    probability: float
    seconds: tuple[float, ...]
    relevant: bool = False
    resource: str = ""


NEVER = Breach(0.0, 0.0, (math.inf,) * len(QUANTILES))
NOW = Breach(1.0, 1.0, (0.0,) * len(QUANTILES))


def worst(*breaches: Breach) -> Breach:
    """The breach with the highest score, the first of equals."""
    return max(breaches, key=lambda breach: breach.score)


def likely(score: float) -> Breach:
    """A breach by slow requests of that score (0 to 1, exclusive) within `NEAR_SECONDS`, at any time alike."""
    rate = -math.log1p(-score) / NEAR_SECONDS
    return Breach(score, SLOW_BREACH_RATIO * score, tuple(-math.log1p(-q) / rate for q in QUANTILES), relevant=True)


def breach_probability(excursions: Floats) -> Floats:
    """Probability of a breach within `NEAR_SECONDS` in which a trend forecasts so many excursions; monotonic."""
    return np.asarray(np.interp(excursions, FORECAST_EXCURSIONS, OBSERVED_RATIOS))


def trend_window(point: EvaluationPoint) -> slice:
    """Columns of the slow trend."""
    points = point.world.points(SLOW_TREND_SECONDS, MIN_SLOW_TREND_POINTS)
    return slice(max(0, point.column + 1 - points), point.column + 1)


def forecast(logs: Floats, limit: Floats | float, step: float) -> list[Breach]:
    """The breach of a limit by each row, by the slow or the fast trend. logs, limit: logarithms."""
    if not len(logs):
        return []
    recent = logs[:, -max(MIN_FAST_TREND_POINTS, round(FAST_TREND_SECONDS / step)) :]
    slow = forecast_crossing(fit_trend(logs, step), limit, SLO_WINDOW_SECONDS, step)
    fast = forecast_crossing(fit_trend(recent, step, 60.0), limit, SLO_WINDOW_SECONDS, step)
    sooner = fast.expected > slow.expected
    score = np.where(sooner, fast.probability, slow.probability)
    probability = breach_probability(np.where(sooner, fast.near_expected, slow.near_expected))
    seconds = np.where(sooner[:, None], fast.seconds, slow.seconds)
    rows = zip(score.tolist(), probability.tolist(), seconds.tolist(), strict=True)
    return [Breach(*row[:2], tuple(row[2])) for row in rows]
