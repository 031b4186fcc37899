"""GPUs shared by tiers, and the number of GPUs that each tier needs, bursts included.

The safe load of bursty arrivals is far below the capacity. Work that arrives within w seconds has the mean λw and the
variance IDC(w) · λw (index of dispersion for counts, Gusella 1991). So capacity covers z standard deviations up to

    ρ_max = 1 / (1 + z · √(IDC(w) / (λw))) = 1 / (1 + z · CV)

with CV the coefficient of variation of the work of w seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.stats.robust import nan_mean

COVERED_STANDARD_DEVIATIONS = 3.0
"""z: standard deviations that capacity covers; one window in 700 exceeds them."""
WINDOW_SECONDS = 60.0
"""w: about the rate window of the World; callers do not wait for a longer queue."""
MIN_WINDOWS = 10
"""Fewest windows of a variance."""
MEMORY_PERCENTILE = 95.0
"""Percentile over time of a tier's memory that has to fit."""


class SharedGpu(NamedTuple):
    """A GPU shared by tiers, with the services of each, busiest first."""

    gpu: Gpu
    pool: str
    tiers: Mapping[str, tuple[Service, ...]]


class TierNeed(NamedTuple):
    """GPUs that a tier uses and needs.

    used: GPUs with services of the tier. shared: those shared with other tiers. load: mean offered work, in GPUs. safe:
    safe load as a share of capacity. needed: whole GPUs needed. by: resource that decides, "load" or "memory".
    """

    tier: str
    services: tuple[Service, ...]
    used: int
    shared: int
    load: float
    safe: float
    needed: int
    by: str


def tier_by_service(world: World) -> Mapping[Service, str]:
    """Tier of every service: as configured, or its namespace if no tier is; "" without either."""
    tiers = dict(zip(world.services, world.tier, strict=True)) if any(world.tier) else {}
    return {service: tiers.get(service, "") if tiers else service.namespace for service in world.services}


def shared_gpus(world: World) -> tuple[SharedGpu, ...]:
    """GPUs with services of more than one tier, in the order of the World."""
    tiers, busy = tier_by_service(world), np.nan_to_num(nan_mean(world.busy)).tolist()
    by_gpu: list[dict[str, list[Service]]] = [{} for _ in world.gpus]
    gpus = _tenant_gpus(world)
    for row in sorted(range(len(world.tenants)), key=lambda row: (-busy[row], world.tenants[row].service)):
        service = world.tenants[row].service
        if (gpu := gpus[row]) is not None:
            by_gpu[gpu].setdefault(tiers.get(service, ""), []).append(service)
    pools = world.pool or ("",) * len(world.gpus)
    return tuple(
        SharedGpu(gpu, pool, {tier: tuple(services) for tier, services in sorted(on.items())})
        for gpu, pool, on in zip(world.gpus, pools, by_gpu, strict=True)
        if len(on) > 1
    )


def _tenant_gpus(world: World) -> list[int | None]:
    """Number of each tenant's GPU; None if the World lacks it."""
    numbers = {gpu: number for number, gpu in enumerate(world.gpus)}
    return [numbers.get(tenant.gpu) for tenant in world.tenants]


def tier_needs(world: World) -> tuple[TierNeed, ...]:
    """Needs of each tier with services on GPUs, by name."""
    tiers, gpus = tier_by_service(world), _tenant_gpus(world)
    rows: dict[str, list[int]] = {}
    on: dict[int, set[str]] = {}
    for row, (tenant, gpu) in enumerate(zip(world.tenants, gpus, strict=True)):
        tier = tiers.get(tenant.service, "")
        rows.setdefault(tier, []).append(row)
        if gpu is not None:
            on.setdefault(gpu, set()).add(tier)
    shared = {gpu for gpu, found in on.items() if len(found) > 1}
    return tuple(_need(world, tier, rows[tier], gpus, shared) for tier in sorted(rows))


def _need(world: World, tier: str, rows: Sequence[int], gpus: Sequence[int | None], shared: Set[int]) -> TierNeed:
    """gpus: number of the GPU of each tenant. shared: numbers of GPUs with several tiers."""
    used = {gpu for row in rows if (gpu := gpus[row]) is not None}
    by_service: dict[Service, list[int]] = {}
    for row in rows:
        by_service.setdefault(world.tenants[row].service, []).append(row)
    services = tuple(sorted(by_service))
    work = {service: _work(world, by_service[service]) for service in services}
    load = math.fsum(value for value in work.values() if math.isfinite(value))
    safe = safe_load(_offered(world, work), world.step)
    if math.isnan(safe):
        safe = 1.0  # without requests, as of a batch job: it may use all capacity
    for_load, for_memory = math.ceil(load / safe - 1e-9), _memory(world, rows, sorted(used))
    by = "memory" if for_memory > for_load else "load"
    return TierNeed(tier, services, len(used), len(used & shared), load, safe, max(for_load, for_memory, 1), by)


def _work(world: World, rows: Sequence[int]) -> float:
    """Mean offered work of tenants, in GPUs: time used, and the upper bound of time waited."""
    return float(np.nansum(nan_mean(np.minimum(world.busy[rows] + np.nan_to_num(world.gpu_wait[rows]), 1.0))))


def _offered(world: World, work: Mapping[Service, float]) -> Floats:
    """Work of a tier over time, shape (times,): proportional to requests, constant for services without any."""
    rates = dict(zip(world.services, world.red.rate, strict=True))
    total = np.zeros(len(world.times))
    steady = 0.0
    for service, mean in work.items():
        mean_rate = float(nan_mean(rates[service][None])[0]) if service in rates else math.nan
        if mean_rate > 0 and math.isfinite(mean):
            total = total + mean * rates[service] / mean_rate
        elif math.isfinite(mean):
            steady += mean
    return total + steady if total.any() else np.empty(0)


def safe_load(work: Floats, step: float) -> float:
    """ρ_max of work or requests per second over time, shape (times,); NaN with too few windows.

    `step` is the seconds between points, each of which averages about `WINDOW_SECONDS`.
    """
    windows = work[:: -max(1, math.ceil(WINDOW_SECONDS / step))]
    windows = windows[np.isfinite(windows)]
    if len(windows) < MIN_WINDOWS or not windows.mean() > 0:
        return math.nan
    return float(1 / (1 + COVERED_STANDARD_DEVIATIONS * windows.std(ddof=1) / windows.mean()))


def _memory(world: World, rows: Sequence[int], gpus: Sequence[int]) -> int:
    """Number of GPUs with enough memory for the tenants, on GPUs of these numbers, at their peak; 0 if unknown."""
    size = nan_mean(world.memory_total[gpus])
    held = np.nansum(world.memory[rows], axis=0)
    if not np.isfinite(size).any() or not len(held) or not held.any():
        return 0
    return math.ceil(float(np.percentile(held[held > 0], MEMORY_PERCENTILE)) / float(np.nanmean(size)) - 1e-9)
