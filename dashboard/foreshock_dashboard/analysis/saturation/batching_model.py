"""How a model server with continuous batching behaves: what slows it down besides its own load, and how full it is.

A step of decoding takes a + b·n seconds for n sequences (Agrawal et al., *Vidur*, MLSys 2024, measured it as linear:
weights are read once a step, keys and values once a sequence). Both are learned while nothing is wrong. A time per
token above that line is somebody else's doing: a neighbour on the GPU, clocks, longer prompts; on the line it is load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import GUARD_SECONDS, HISTORY_SECONDS
from foreshock_dashboard.analysis.baseline.point import recent_median
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.model.batching_law import BatchingLaw, Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import EXCURSION_QUANTILE, median, quantile

MINUTE = 60.0
LEAST = 20
"""Points that a line needs."""
CROWDED = 0.9
"""KV cache in use, as a share, from which on a server counts as full and tells nothing of how it is while it is not."""
FULL = 0.92
"""The same from which hardly any is free."""
WINDOWS = (20.0, 120.0, 300.0)
"""Seconds over which the load is averaged, shortest first: the first as it is told, the others by the minute."""
LATELY = 30.0
"""The same, by the minute, where one figure is to be told."""
LITTLE = 0.02
"""KV cache in use below which it does not tell how much a sequence takes."""
NARROW = 0.05
"""Least scale of the residual, a logarithm: what the line does not explain in the best of cases."""


def averaged(values: Floats, step: float, over: float = MINUTE) -> Floats:
    """The mean of the last `over` seconds at every point of arrays (rows, times), as a rate over that time has it."""
    points = max(1, round(over / step))
    known = np.isfinite(values)
    sums = np.cumsum(np.where(known, values, 0.0), axis=1)
    counts = np.cumsum(known, axis=1)
    sums[:, points:] -= sums[:, :-points].copy()
    counts[:, points:] -= counts[:, :-points].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)


def _per_replica(world: World, columns: slice) -> Floats:
    """Sequences that run on each replica; shape (services with model servers, points)."""
    return model_servers(world).running[:, columns] / model_servers(world).reporting_replicas(columns)


def learned(world: World, at: int) -> Mapping[Service, BatchingLaw]:
    """The line of every service that has told enough, from the points before `at` that are old enough and not crowded.

    Least squares with weights 1/level, and once more without what lies far off (a line through bursts of prompts).
    """
    found = model_servers(world)
    last = max(0, at - round(GUARD_SECONDS / world.step))
    first = max(0, last - round(HISTORY_SECONDS / world.step))
    running = averaged(_per_replica(world, slice(first, last)), world.step)
    rooms = _rooms(world, slice(first, last))
    laws = {}
    for i, service in enumerate(found.services):
        n, y = running[i], found.per_token[i, first:last]
        good = np.isfinite(n) & np.isfinite(y) & (y > 0) & (n > 0)
        good &= ~(found.cache[i, first:last] > CROWDED)
        if (law := _line(n[good], y[good])) is not None:
            asked = law.offered_load(n, float(rooms[i]))
            laws[service] = replace(
                law, load=float(median(asked[None])[0]), peak=float(quantile(asked[None], EXCURSION_QUANTILE)[0])
            )
    return laws


def _line(n: Floats, y: Floats) -> BatchingLaw | None:
    for _ in range(2):
        if len(n) < LEAST or not n.std() > 0:
            return None
        each, base = np.polyfit(n, y, 1, w=1 / y)
        if each < 0 or base <= 0:  # no load to speak of, or none that tells
            base, each = float(np.median(y)), 0.0
        off = np.log(y / (base + each * n))
        scale = 1.4826 * float(np.median(np.abs(off - np.median(off))))
        near = np.abs(off - np.median(off)) <= 3 * max(scale, NARROW)
        n, y = n[near], y[near]
    return BatchingLaw(float(base), float(each), max(scale, NARROW), math.nan, math.nan)


def _rooms(world: World, columns: slice) -> Floats:
    """Sequences per replica at which its KV cache is full, by what those that run take; shape (services,)."""
    cache, running = model_servers(world).cache[:, columns], _per_replica(world, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where((cache > LITTLE) & (running > 0), running / cache, np.nan)
    return (
        recent_median(found, found.shape[1] - 1, max(found.shape[1], 1))
        if found.shape[1]
        else np.full(len(found), np.nan)
    )


def strains(world: World, at: int, laws: Mapping[Service, BatchingLaw]) -> Mapping[Service, Utilization]:
    """Every service with model servers at grid point `at`."""
    found = model_servers(world)
    window = slice(max(0, at + 1 - max(1, round(WINDOWS[-1] / world.step))), at + 1)
    told, queued = _per_replica(world, window), found.waiting[:, window] / found.reporting_replicas(window)
    running, waiting = averaged(told, world.step), np.nan_to_num(averaged(queued, world.step))
    asked, newest = told + np.nan_to_num(queued), running.shape[1] - 1
    token = recent_median(found.per_token[:, window], newest)
    cache = recent_median(averaged(found.cache[:, window], world.step), newest)
    rooms = _rooms(world, window)
    full = _lasting(found.cache[:, window] >= FULL) * world.step
    out = {}
    for i, service in enumerate(found.services):
        law = laws.get(service)
        if law is None:
            unknown = (math.nan,) * len(WINDOWS)
            out[service] = Utilization(
                math.nan, math.nan, cache[i], full[i], rooms[i], math.nan, unknown, math.nan, math.nan
            )
            continue
        over = float(token[i] / law.seconds(recent_median(running[i : i + 1], newest)[0]))
        at_once, load = (
            law.offered_load(asked[i], rooms[i].item()),
            law.offered_load(running[i] + waiting[i], rooms[i].item()),
        )
        lately, *means = (_mean(load, seconds, world.step) for seconds in (LATELY, *WINDOWS[1:]))
        loads = (_mean(at_once, WINDOWS[0], world.step), *means)
        z = math.log(over) / law.scale if over > 0 else math.nan
        out[service] = Utilization(
            over, z, float(cache[i]), float(full[i]), float(rooms[i]), lately, loads, law.load, law.peak
        )
    return out


def _lasting(true: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For how many of the newest points each row (rows, times) has been true without a break."""
    ended = ~true[:, ::-1]
    return np.asarray(np.where(ended.any(axis=1), np.argmax(ended, axis=1), true.shape[1]), np.intp)


def _mean(values: Floats, seconds: float, step: float) -> float:
    values = values[-max(1, round(seconds / step)) :]
    known = values[np.isfinite(values)]
    return float(known.mean()) if 2 * len(known) >= len(values) and len(known) else math.nan
