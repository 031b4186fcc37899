"""Resources that fill up within days: growth from one day to the next, and when the limit is reached."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import network, resources
from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS
from foreshock_dashboard.analysis.slow_burns.resource import Resource, UseKey, at_rates
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import DAY_SECONDS

MIN_DIFFERENCES = 6 * HOUR_POINTS
"""Fewest differences between one day and the next: those of six hours."""
GROWING_DAYS = 2
"""Days that must each exceed the day before. A single step raises one."""
MIN_USED_RATIO = 0.3
"""Share of the limit from which growth is reported."""


def observed_uses(world: World) -> Mapping[UseKey, Floats]:
    """Used share of the limit, 0 to 1, by resource at the World's times; all-missing rows are left out."""
    state = resources(world)
    rows: dict[UseKey, Floats] = {}
    for kind, values in (
        (SlowBurnKind.MEMORY, state.memory),
        (SlowBurnKind.DISK, state.disk),
        (SlowBurnKind.FILE_DESCRIPTORS, state.files),
    ):
        rows |= {(Resource(of, ""), kind): row for of, row in zip(state.services, values, strict=True)}
    with np.errstate(invalid="ignore", divide="ignore"):
        memory = world.memory_used / world.memory_total
    rows |= {
        (Resource(None, gpu.label, gpu.host), SlowBurnKind.GPU_MEMORY): row
        for gpu, row in zip(world.gpus, memory, strict=True)
    }
    hosts = network(world)
    rows |= {
        (Resource(None, host, host), SlowBurnKind.HOST_MEMORY): row
        for host, row in zip(hosts.hosts, hosts.memory, strict=True)
    }
    return {key: row.astype(np.float64) for key, row in rows.items() if np.isfinite(row).any()}


def daily_growth(end: float, key: UseKey, values: Floats) -> SlowBurn | None:
    """A used share that grows from day to day and reaches its limit within a week.

    None unless nearly all differences to the day before are growth, on both of the last days. The difference to the
    same time of the day before is free of the daily course. A resource that is released at a restart each day does not
    grow by it. end: Unix seconds at which the values, in steps of `FORECAST_STEP_SECONDS`, end.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known) or len(values) - int(known[-1]) > HOUR_POINTS:
        return None
    recent = values[-(GROWING_DAYS + 1) * DAY_POINTS :].astype(np.float64)
    differences = recent[DAY_POINTS:] - recent[: len(recent) - DAY_POINTS]
    days = [day[np.isfinite(day)] for day in (differences[:-DAY_POINTS], differences[-DAY_POINTS:])]
    value = float(np.nanmedian(values[-HOUR_POINTS:]))
    if min(map(len, days)) < MIN_DIFFERENCES or value < MIN_USED_RATIO:
        return None
    if not min(np.quantile(day, 0.1) for day in days) > 0:
        return None
    rates = np.quantile(np.concatenate(days), (0.1, 0.5, 0.9)) / DAY_SECONDS
    since = end - (len(values) - _grows_from(values)) * FORECAST_STEP_SECONDS
    return at_rates(end, key, value, 1.0, rates, since)


def _grows_from(values: Floats) -> int:
    """Step from which each day exceeds the day before, going back in whole days."""
    start = len(values) - DAY_POINTS
    while start >= DAY_POINTS:
        now, before = values[start : start + DAY_POINTS], values[start - DAY_POINTS : start]
        if not np.nanmedian(now - before) > 0 or not np.isfinite(now - before).any():
            break
        start -= DAY_POINTS
    return start
