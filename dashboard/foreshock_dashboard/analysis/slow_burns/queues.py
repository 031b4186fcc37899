"""Queues that grow for hours instead of draining."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS
from foreshock_dashboard.analysis.slow_burns.resource import UseKey, at_rates
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn
from foreshock_dashboard.model.types import Floats

GROWING_HOURS = 4
"""Hours of which each must be longer at its shortest than the hour before: a queue that drains between is none."""
MIN_RISE_RATIO = 0.2
"""Least rise of each of these hours over their median, or over the next rise where that is less: chance also raises an
idle queue, and growth may be exponential."""
MIN_WAITING = 10.0
"""Fewest that wait now. Less is chance."""
MAX_GROWTH = 2.0
"""Length over that of now at which the limit is: a queue has none."""


def growing_queue(end: float, key: UseKey, values: Floats) -> SlowBurn | None:
    """A queue that has grown for hours, and doubles within a week at this rate; else None.

    It must be longer than in any hour before it began to grow, of which a day must be known: a queue that comes with
    the daily peak is as long on most days. One that grows ever faster goes on as in the last hour.

    end: Unix seconds at which the values, numbers that wait in steps of `FORECAST_STEP_SECONDS`, end.
    """
    hours = values[len(values) % HOUR_POINTS :].astype(np.float64).reshape(-1, HOUR_POINTS)
    known = np.logical_or.reduce(np.isfinite(hours), axis=1)
    if len(hours) <= GROWING_HOURS or not known[-GROWING_HOURS - 1 :].all():
        return None
    shortest = np.fmin.reduce(hours, axis=1)
    rises = np.diff(shortest)
    steady = np.flatnonzero(~(rises > 0))
    begin = int(steady[-1]) + 1 if len(steady) else 0  # the hour from which each is longer than the one before
    value = float(np.nanmedian(hours[-1]))
    before = hours[:begin][known[:begin]]
    if len(hours) - 1 - begin < GROWING_HOURS or value < MIN_WAITING or len(before) < DAY_POINTS // HOUR_POINTS:
        return None
    if value <= np.nanmax(np.nanmedian(before, axis=1)):
        return None
    last = rises[-GROWING_HOURS:]
    if (last < MIN_RISE_RATIO * np.fmin(np.append(last[1:], np.nan), np.median(last))).any():
        return None
    rates = np.quantile(last, (0.1, 0.5, 0.9))
    if (np.diff(last) > 0).all():
        rates[1:] = last[-1]
    return at_rates(end, key, value, MAX_GROWTH * value, rates / 3600.0, end - (len(hours) - begin) * 3600.0)
