"""Who starves whom: a service slows down while a neighbour on its GPUs grows and takes the time it waits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline import usual
from foreshock_dashboard.analysis.world import gpu_order
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, Stall, Tenant, World

HISTORY = 1800.0
"""Seconds of past that the baseline rests on."""
GUARD = 180.0
"""Seconds before now that are left out of the baseline, so that what begins does not become what is usual."""
RECENT = 3
"""Grid points whose median stands for now: one lost scrape or one slow request does not move it."""
TOUCHED = 0.02
"""Growth of the stalled ratio from which a GPU counts as one on which the victim waits."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """One victim under pressure of one neighbour at one instant.

    slowdown: the victim's p95 over its baseline (1 = as usual); z: the same in scales of the logarithm.
    p95 and p95_usual in seconds. stalled: share of time the victim waits for this neighbour, mean over the GPUs they
    share; busy: the neighbour's share of those GPUs; own_growth: rise of the victim's own share; failed: share of the
    victim's requests that failed; `_usual` their baselines. confidence: this neighbour's share of all growth in the
    victim's stalled time. seen: there is data to judge by, on both sides.
    """

    victim: Service
    aggressor: Service
    gpus: tuple[Gpu, ...]
    slowdown: float
    z: float
    p95: float
    p95_usual: float
    stalled: float
    stalled_usual: float
    busy: float
    busy_usual: float
    own_growth: float
    failed: float
    failed_usual: float
    confidence: float
    seen: bool

    @property
    def growth(self) -> float:
        """Rise of the neighbour's busy share over its baseline, mean over the shared GPUs."""
        return self.busy - self.busy_usual


def recent(values: Floats, at: int) -> Floats:
    """The median of the last `RECENT` points up to `at`, per row; NaN where none has a value."""
    window = values[:, max(0, at - RECENT + 1) : at + 1]
    out = np.full(values.shape[0], np.nan)
    counted = ~np.isnan(window).all(axis=1)
    out[counted] = np.nanmedian(window[counted], axis=1)
    return out


def past(values: Floats, at: int, step: float) -> Floats:
    """The columns that a baseline at `at` rests on."""
    guard, history = round(GUARD / step), round(HISTORY / step)
    return values[:, max(0, at - guard - history) : max(0, at - guard)]


@dataclass(frozen=True, slots=True)
class Usual:
    """The baseline of everything that an incident compares with, so that an open incident can keep its own.

    p95: level and scale of the logarithm of seconds, per service. failed, stalled and busy: levels as ratios.
    """

    p95: Mapping[Service, tuple[float, float]]
    failed: Mapping[Service, float]
    stalled: Mapping[Stall, float]
    busy: Mapping[Tenant, float]


def usual_at(world: World, at: int) -> Usual:
    """What was usual before grid point `at`."""
    p95 = usual(past(_log(world.red.p95), at, world.step), floor=0.10)
    stalled = np.nan_to_num(usual(past(world.stalled_by, at, world.step), 0.01).level)
    busy = np.nan_to_num(usual(past(world.busy, at, world.step), 0.01).level)
    failed = np.nan_to_num(usual(past(world.red.failed, at, world.step), 0.01).level)
    return Usual(
        dict(zip(world.services, zip(p95.level.tolist(), p95.scale.tolist(), strict=True), strict=True)),
        dict(zip(world.services, failed.tolist(), strict=True)),
        dict(zip(world.stalls, stalled.tolist(), strict=True)),
        dict(zip(world.tenants, busy.tolist(), strict=True)),
    )


def _log(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, np.nan))


class Slowdown(NamedTuple):
    """A service's p95 against its baseline: `ratio` 1 is as usual, `z` in scales of the logarithm, times in seconds."""

    ratio: float
    z: float
    p95: float
    p95_usual: float


def slowdowns(world: World, at: int, base: Usual) -> Mapping[Service, Slowdown]:
    """Every service's slow-down at grid point `at`; NaN where it has no requests or no baseline."""
    found = {}
    for service, now in zip(world.services, recent(_log(world.red.p95), at).tolist(), strict=True):
        level, scale = base.p95.get(service, (np.nan, np.nan))
        found[service] = Slowdown(
            float(np.exp(now - level)), (now - level) / scale, float(np.exp(now)), float(np.exp(level))
        )
    return found


def pressures(world: World, at: int, base: Usual) -> tuple[Pressure, ...]:
    """Every pair of victim and neighbour that share a GPU at grid point `at`, the surest first.

    Attribution is by the share of *growth* in stalled time, not by its level: two services that have always shared a
    GPU have not harmed each other anew.
    """
    slow = slowdowns(world, at, base)
    failed = dict(zip(world.services, np.nan_to_num(recent(world.red.failed, at)).tolist(), strict=True))
    stalled_now = recent(world.stalled_by, at)
    told = {stall for stall, value in zip(world.stalls, stalled_now.tolist(), strict=True) if not math.isnan(value)}
    stalled = dict(zip(world.stalls, np.nan_to_num(stalled_now).tolist(), strict=True))
    busy = dict(zip(world.tenants, np.nan_to_num(recent(world.busy, at)).tolist(), strict=True))
    pairs: dict[tuple[Service, Service], list[Stall]] = {}
    for stall in world.stalls:
        if stall.victim in slow:
            pairs.setdefault((stall.victim, stall.aggressor), []).append(stall)
    growth = {pair: max(0.0, sum(stalled[s] - base.stalled.get(s, 0.0) for s in rows)) for pair, rows in pairs.items()}
    total: dict[Service, float] = {}
    for (victim, _), value in growth.items():
        total[victim] = total.get(victim, 0.0) + value

    found = []
    for (victim, aggressor), rows in pairs.items():
        touched = [s for s in rows if stalled[s] > base.stalled.get(s, 0.0) + TOUCHED] or rows
        gpus = tuple(sorted((s.gpu for s in touched), key=gpu_order))
        theirs = [Tenant(gpu, aggressor) for gpu in gpus]
        own = [Tenant(gpu, victim) for gpu in gpus]
        found.append(
            Pressure(
                victim=victim,
                aggressor=aggressor,
                gpus=gpus,
                slowdown=slow[victim].ratio,
                z=slow[victim].z,
                p95=slow[victim].p95,
                p95_usual=slow[victim].p95_usual,
                stalled=fmean(stalled[s] for s in touched),
                stalled_usual=fmean(base.stalled.get(s, 0.0) for s in touched),
                busy=fmean(busy.get(t, 0.0) for t in theirs),
                busy_usual=fmean(base.busy.get(t, 0.0) for t in theirs),
                own_growth=fmean(busy.get(t, 0.0) - base.busy.get(t, 0.0) for t in own),
                failed=failed[victim],
                failed_usual=base.failed.get(victim, 0.0),
                confidence=growth[victim, aggressor] / total[victim] if total[victim] > 0 else 0.0,
                seen=math.isfinite(slow[victim].ratio) and any(stall in told for stall in rows),
            )
        )
    return tuple(sorted(found, key=lambda pair: (-pair.confidence, pair.victim, pair.aggressor)))
