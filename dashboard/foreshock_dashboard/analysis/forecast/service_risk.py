"""How likely each service is to miss its objective, and how soon, by what it shows itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.baseline.objectives import Slo
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.saturation.batching_model import moving_average
from foreshock_dashboard.analysis.saturation.overload import is_overloading
from foreshock_dashboard.model.batching_law import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.level_crossing import QUANTILES, fit_trend, forecast_crossing

LOOK_BACK = 900.0
"""Seconds that a trend rests on."""
QUICK = 240.0
"""The same for what comes fast."""
FULL = 0.9
"""KV cache in use at which requests begin to wait."""
LASTING = 60.0
"""Seconds that an excursion must last to hurt: what an objective is judged over."""
ENOUGH = 30.0
"""Requests within a minute, or a step where that is longer, below which a p95 tells of one or two of them."""
FEW = 5.0
"""Failed requests within a minute below which a share of them tells nothing."""
REMARKABLE = 2.0
"""Scales beyond the usual from which a trend is looked at."""
CROWDED = 0.45
"""KV cache in use from which on a trend of it is looked at: below, a burst finds room."""


@dataclass(frozen=True, slots=True)
class Own:
    """What a service shows itself.

    missing: it misses its objective now. chance: of missing it within `hazard.HORIZON`, 0…1. seconds: until then, by
    `hazard.QUANTILES`. by: "load" or "duration", what says so. crowded: its model servers are asked for more than they
    carry, or soon will be. strain: of its model servers, if it has any. objective: what it is judged by; None where
    nothing is promised or learned yet.
    """

    missing: bool
    chance: float
    seconds: tuple[float, ...]
    by: str
    crowded: bool
    strain: Utilization | None
    objective: Slo | None = None


def own_risks(scan: Scan, promised: Mapping[Service, Slo]) -> Mapping[Service, Own]:
    """Every service of the World."""
    world, at = scan.world, scan.at
    duration, rate, failed = scan["p95"], scan["rate"], scan["failed"]
    limit = np.array([promised[s].seconds if s in promised else np.nan for s in world.services])
    allowed = np.array([promised[s].failed if s in promised else np.nan for s in world.services])
    asked = rate.value * max(LASTING, world.step) >= ENOUGH
    with np.errstate(invalid="ignore"):
        lost = failed.value * rate.value * LASTING
        missing = asked & ((duration.denoised > limit) | ((failed.value > allowed) & (lost >= FEW)))
        slower = asked & (duration.z >= REMARKABLE)
    chances, seconds = _crossing(_window(world.red.p95, at, world.step, LOOK_BACK), np.log(limit), world.step)
    chances = np.where(slower, chances, 0.0)
    loads = _loads(scan, scan.utilizations)
    never = (math.inf,) * len(QUANTILES)
    out = {}
    for i, service in enumerate(world.services):
        strain = scan.utilizations.get(service)
        crowded = is_overloading(scan, service)
        if missing[i]:
            out[service] = Own(True, 1.0, (0.0,) * len(QUANTILES), "duration", crowded, strain, promised.get(service))
            continue
        chance, when, by = float(chances[i]), tuple(seconds[i].tolist()) if slower[i] else never, "duration"
        if service in loads and loads[service][0] > chance:
            (chance, when), by = loads[service], "load"
        out[service] = Own(False, chance, when, by, crowded, strain, promised.get(service))
    return out


def _window(values: Floats, at: int, step: float, seconds: float) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.maximum(values[:, max(0, at + 1 - max(1, round(seconds / step))) : at + 1], 1e-9))


def _crossing(logs: Floats, limit: Floats | float, step: float) -> tuple[Floats, Floats]:
    """Chance and seconds of passing a limit, by the slow trend or the quick one, whichever sees it sooner."""
    slow = forecast_crossing(fit_trend(logs, step), limit, LASTING, step)
    quick = forecast_crossing(fit_trend(logs[:, -max(1, round(QUICK / step)) :], step, 60.0), limit, LASTING, step)
    sooner = quick.expected > slow.expected
    return (
        np.where(sooner, quick.chance, slow.chance),
        np.where(sooner[:, None], quick.seconds, slow.seconds),
    )


def _loads(scan: Scan, found: Mapping[Service, Utilization]) -> Mapping[Service, tuple[float, tuple[float, ...]]]:
    """Chance and seconds until the model servers of a service are full."""
    servers = model_servers(scan.world)
    if not servers.services:
        return {}
    back = round((LOOK_BACK + 60) / scan.world.step)
    cache = moving_average(servers.cache[:, max(0, scan.at + 1 - back) : scan.at + 1], scan.world.step)
    logs = np.log(np.maximum(cache[:, -max(1, round(LOOK_BACK / scan.world.step)) :], 1e-3))
    chances, seconds = _crossing(logs, math.log(FULL), scan.world.step)
    out = {}
    for i, service in enumerate(servers.services):
        strain = found[service]
        if strain.cache >= CROWDED and scan.z("cache", service) >= REMARKABLE:
            out[service] = float(chances[i]), tuple(seconds[i].tolist())
    return out
