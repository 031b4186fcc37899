"""Which GPUs tiers share, and how few GPUs carry what each tier is asked for, bursts included.

What can be carried for long is far below the capacity where arrivals come in bursts. Work that arrives within w seconds
has the mean λw and the variance IDC(w) · λw (index of dispersion for counts, Gusella 1991), so that capacity covers z
standard deviations up to the load

    ρ_max = 1 / (1 + z · √(IDC(w) / (λw))) = 1 / (1 + z · CV)

with CV the coefficient of variation of the work of w seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World

Z = 3.0
"""Standard deviations that capacity is to cover: one window in 700 has more."""
WINDOW = 60.0
"""w, seconds: rates of the World look back about so far, and a queue of a minute is more than callers wait for."""
LEAST = 10
"""Windows from which a variance says something."""
PEAK = 95.0
"""Percentile of a tier's memory over time that has to fit."""


class Mixed(NamedTuple):
    """A GPU on which tiers meet; the services of each, busiest first."""

    gpu: Gpu
    pool: str
    tiers: Mapping[str, tuple[Service, ...]]


class Need(NamedTuple):
    """What a tier uses and what would do.

    used: GPUs that it is on; of these shared with other tiers: shared. load: GPUs' worth of work that is asked for,
    mean; safe: the share of capacity up to which its bursts do no harm. needed: whole GPUs that carry it; by: "load",
    or "memory" where that takes more. NaN and 0 where there is nothing to tell by.
    """

    tier: str
    services: tuple[Service, ...]
    used: int
    shared: int
    load: float
    safe: float
    needed: int
    by: str


def tier_of(world: World) -> Mapping[Service, str]:
    """Every service's tier, as it is configured; its namespace where nobody tells of tiers; "" where it has neither."""
    told = dict(zip(world.services, world.tier, strict=True)) if any(world.tier) else {}
    return {service: told.get(service, "") if told else service.namespace for service in world.services}


def mixed(world: World) -> tuple[Mixed, ...]:
    """GPUs with services of more than one tier, in the World's order."""
    tiers = tier_of(world)
    pools = dict(zip(world.gpus, world.pool, strict=False))
    on: dict[Gpu, dict[str, list[tuple[float, Service]]]] = {}
    for tenant, busy in zip(world.tenants, _mean(world.busy).tolist(), strict=True):
        by_tier = on.setdefault(tenant.gpu, {})
        by_tier.setdefault(tiers.get(tenant.service, ""), []).append((-_number(busy), tenant.service))
    return tuple(
        Mixed(
            gpu, pools.get(gpu, ""), {tier: tuple(who for _, who in sorted(on[gpu][tier])) for tier in sorted(on[gpu])}
        )
        for gpu in world.gpus
        if len(on.get(gpu, ())) > 1
    )


def needs(world: World) -> tuple[Need, ...]:
    """What each tier with services on GPUs needs, by name."""
    tiers = tier_of(world)
    rows: dict[str, list[int]] = {}
    for row, tenant in enumerate(world.tenants):
        rows.setdefault(tiers.get(tenant.service, ""), []).append(row)
    crowded = {each.gpu for each in mixed(world)}
    return tuple(_need(world, tier, rows[tier], crowded) for tier in sorted(rows))


def _need(world: World, tier: str, rows: Sequence[int], crowded: set[Gpu]) -> Need:
    gpus = {world.tenants[row].gpu for row in rows}
    services = tuple(sorted({world.tenants[row].service for row in rows}))
    work = {service: _work(world, [r for r in rows if world.tenants[r].service == service]) for service in services}
    load = math.fsum(value for value in work.values() if math.isfinite(value))
    safe = safe_load(_offered(world, work), world.step)
    if math.isnan(safe):
        safe = 1.0  # work that nobody waits for, such as a batch job's: it may use all there is
    carried, held = math.ceil(load / safe - 1e-9), _memory(world, rows, gpus)
    needed = max(carried, held, 1)
    by = "memory" if held > carried else "load"
    return Need(tier, services, len(gpus), len(gpus & crowded), load, safe, needed, by)


def _work(world: World, rows: Sequence[int]) -> float:
    """GPUs' worth of time that tenants ask for, mean over time: what they use, and what they wait for at most."""
    asked = world.busy[rows] + np.nan_to_num(world.stalled[rows])
    return float(np.nansum(_mean(np.minimum(asked, 1.0)))) if len(rows) else math.nan


def _offered(world: World, work: Mapping[Service, float]) -> Floats:
    """Work of a tier over time: each service's by its requests, what has none at its mean. Shape (times,)."""
    place = {service: row for row, service in enumerate(world.services)}
    total = np.zeros(len(world.times))
    steady = 0.0
    for service, mean in work.items():
        rate = world.red.rate[place[service]] if service in place else np.empty(0)
        usual = float(_mean(rate[None])[0]) if len(rate) else math.nan
        if usual > 0 and math.isfinite(mean):
            total = total + mean * rate / usual
        elif math.isfinite(mean):
            steady += mean
    return total + steady if total.any() else np.empty(0)


def safe_load(work: Floats, step: float) -> float:
    """ρ_max of work or requests per second over time, shape (times,); NaN where there are too few windows to tell.

    step: seconds between the points, each of which looks back about `WINDOW`.
    """
    apart = work[:: -max(1, math.ceil(WINDOW / step))]
    apart = apart[np.isfinite(apart)]
    if len(apart) < LEAST or not apart.mean() > 0:
        return math.nan
    return float(1 / (1 + Z * apart.std(ddof=1) / apart.mean()))


def _memory(world: World, rows: Sequence[int], gpus: set[Gpu]) -> int:
    """GPUs whose memory holds what the tenants have at their peak; 0 where nobody tells."""
    size = _mean(world.memory_total[[i for i, gpu in enumerate(world.gpus) if gpu in gpus]])
    held = np.nansum(world.memory[rows], axis=0)
    if not np.isfinite(size).any() or not len(held) or not held.any():
        return 0
    return math.ceil(float(np.percentile(held[held > 0], PEAK)) / float(np.nanmean(size)) - 1e-9)


def _mean(values: Floats) -> Floats:
    """The mean over time of each row, NaN where nothing is known."""
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=1) / counts, np.nan)


def _number(value: float) -> float:
    return value if math.isfinite(value) else 0.0
