"""Batching law of model servers, fitted from healthy operation, and the utilization that it implies.

A decoding step takes a + b·n seconds for n sequences (Agrawal et al., *Vidur*, MLSys 2024, measured it as linear:
weights are read once a step, the KV cache once a sequence). A time per token on that line is load. Above the line
it has another cause: a noisy neighbor on the GPU, lower clocks, longer prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS, GUARD_SECONDS
from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.model.forecast import BatchingLaw, Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import EXCURSION_QUANTILE, median, moving_average, quantile

MIN_FIT_POINTS = 20
"""Fewest points of a fit."""
MAX_FIT_KV_CACHE_RATIO = 0.9
"""KV-cache usage up to which a point enters the fit; a full server does not follow the law."""
FULL_KV_CACHE_RATIO = 0.92
"""KV-cache usage at which the cache counts as full."""
LOAD_WINDOWS_SECONDS = (20.0, 120.0, 300.0)
"""Averaging windows of the load in seconds, shortest first: the first of raw points, the others of averages."""
CURRENT_LOAD_SECONDS = 30.0
"""Averaging window of the one current load."""
MIN_KV_CACHE_RATIO = 0.02
"""KV-cache usage below which the size of a sequence cannot be estimated."""
MIN_RESIDUAL_SCALE = 0.05
"""Smallest scale of the residual, a logarithm."""
UNKNOWN_LAW = BatchingLaw(math.nan, math.nan, math.nan, math.nan, math.nan)


def _per_replica(world: World, columns: slice) -> Floats:
    """Running sequences per replica; shape (services with model servers, points)."""
    return model_servers(world).running[:, columns] / model_servers(world).reporting_replicas(columns)


def fit_batching_laws(world: World, at: int) -> Mapping[Service, BatchingLaw]:
    """Batching law of every service with enough points before `at` that are old enough and below a full KV cache.

    Least squares with weights 1/level, repeated once without outliers (bursts of prompts).
    """
    servers = model_servers(world)
    last = max(0, at - world.points(GUARD_SECONDS))
    first = max(0, last - world.points(BASELINE_HISTORY_SECONDS))
    running = moving_average(_per_replica(world, slice(first, last)), world.step)
    max_sequences = max_sequences_per_replica(world, slice(first, last))
    laws = {}
    for i, service in enumerate(servers.services):
        n, y = running[i], servers.per_token[i, first:last]
        good = np.isfinite(n) & np.isfinite(y) & (y > 0) & (n > 0)
        good &= ~(servers.cache[i, first:last] > MAX_FIT_KV_CACHE_RATIO)
        if (law := fit_batching_law(n[good], y[good])) is not None:
            load = law.offered_load(n, float(max_sequences[i]))[None]
            peak = quantile(load, EXCURSION_QUANTILE)
            laws[service] = replace(law, load=float(median(load)[0]), peak=float(peak[0]))
    return laws


def fit_batching_law(n: Floats, y: Floats) -> BatchingLaw | None:
    """Law of seconds per token `y` at `n` sequences per replica, both above 0; None with too few points.

    Its load and peak are NaN.
    """
    for _ in range(2):
        if len(n) < MIN_FIT_POINTS or not n.std() > 0:
            return None
        slope, base = np.polyfit(n, y, 1, w=1 / y)
        if slope < 0 or base <= 0:  # hardly any load, or no visible effect of it
            base, slope = float(np.median(y)), 0.0
        residual = np.log(y / (base + slope * n))
        scale = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
        near = np.abs(residual - np.median(residual)) <= 3 * max(scale, MIN_RESIDUAL_SCALE)
        n, y = n[near], y[near]
    return BatchingLaw(float(base), float(slope), max(scale, MIN_RESIDUAL_SCALE), math.nan, math.nan)


def max_sequences_per_replica(world: World, columns: slice) -> Floats:
    """Sequences per replica at a full KV cache, from the size of running sequences; shape (services,)."""
    cache, running = model_servers(world).cache[:, columns], _per_replica(world, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        max_sequences = np.where((cache > MIN_KV_CACHE_RATIO) & (running > 0), running / cache, np.nan)
    return median(max_sequences)


def utilizations(world: World, at: int, laws: Mapping[Service, BatchingLaw]) -> Mapping[Service, Utilization]:
    """Utilization of every service with model servers at grid point `at`."""
    servers = model_servers(world)
    if not servers.services:
        return {}
    window = slice(max(0, at + 1 - world.points(LOAD_WINDOWS_SECONDS[-1])), at + 1)
    sequences, queued = _per_replica(world, window), servers.waiting[:, window] / servers.reporting_replicas(window)
    running, waiting = moving_average(sequences, world.step), np.nan_to_num(moving_average(queued, world.step))
    demand = sequences + np.nan_to_num(queued)
    token = median(servers.per_token[:, window][:, -SMOOTHING_POINTS:])
    cache = median(moving_average(servers.cache[:, window], world.step)[:, -SMOOTHING_POINTS:])
    recent = median(running[:, -SMOOTHING_POINTS:])
    max_sequences = max_sequences_per_replica(world, window)
    was_not_full = ~(servers.cache[:, window] >= FULL_KV_CACHE_RATIO)[:, ::-1]
    full_points = np.where(was_not_full.any(axis=1), was_not_full.argmax(axis=1), was_not_full.shape[1])
    found = {}
    for i, service in enumerate(servers.services):
        law, limit = laws.get(service, UNKNOWN_LAW), max_sequences[i].item()
        slowdown = float(token[i] / law.seconds(recent[i]))
        z = math.log(slowdown) / law.scale if slowdown > 0 else math.nan
        raw_load, load = law.offered_load(demand[i], limit), law.offered_load(running[i] + waiting[i], limit)
        current, *means = (
            _mean(load, seconds, world.step) for seconds in (CURRENT_LOAD_SECONDS, *LOAD_WINDOWS_SECONDS[1:])
        )
        loads = (_mean(raw_load, LOAD_WINDOWS_SECONDS[0], world.step), *means)
        kv_cache, full_seconds = float(cache[i]), float(full_points[i] * world.step)
        found[service] = Utilization(
            slowdown, z, kv_cache, full_seconds, limit, current, loads, law.load, law.peak, laws.get(service)
        )
    return found


def _mean(values: Floats, seconds: float, step: float) -> float:
    values = values[-max(1, round(seconds / step)) :]
    known = values[np.isfinite(values)]
    return float(known.mean()) if 2 * len(known) >= len(values) and len(known) else math.nan
