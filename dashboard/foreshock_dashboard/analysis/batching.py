"""How a model server with continuous batching behaves: what slows it down besides its own load, and how full it is.

A step of decoding takes a + b·n seconds for n sequences (Agrawal et al., *Vidur*, MLSys 2024, measured it as linear:
weights are read once a step, keys and values once a sequence). Both are learned while nothing is wrong. A time per
token above that line is somebody else's doing: a neighbour on the GPU, clocks, longer prompts; on the line it is load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.signals import GUARD, HISTORY, RECENT, inference, recent
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

MINUTE = 60.0
LEAST = 30
"""Points that a line needs."""
CROWDED = 0.9
"""KV cache in use, as a share, from which on a server counts as full and tells nothing of how it is while it is not."""
NARROW = 0.05
"""Least scale of the residual, a logarithm: what the line does not explain in the best of cases."""


@dataclass(frozen=True, slots=True)
class Law:
    """Seconds per token = `base` + `each` · sequences per replica. `scale`: of the residual's logarithm."""

    base: float
    each: float
    scale: float

    def seconds(self, sequences: Floats) -> Floats:
        """What a token takes with so many sequences at once."""
        return self.base + self.each * sequences


def averaged(values: Floats, step: float, over: float = MINUTE) -> Floats:
    """The mean of the last `over` seconds at every point of arrays (rows, times): what a rate over that time goes with."""
    points = max(1, round(over / step))
    known = np.isfinite(values)
    sums = np.cumsum(np.where(known, values, 0.0), axis=1)
    counts = np.cumsum(known, axis=1)
    sums[:, points:] -= sums[:, :-points].copy()
    counts[:, points:] -= counts[:, :-points].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)


def sequences(world: World) -> Floats:
    """Sequences that run on each replica, mean of a minute; shape (services with model servers, times)."""
    found = inference(world)
    return averaged(found.running / np.maximum(replicas(world), 1.0), world.step)


def replicas(world: World) -> Floats:
    """Replicas of each service that tell something, at least one; shape (services with model servers, times)."""
    found = inference(world)
    known = np.isfinite(found.replica_busy)
    out = np.zeros(found.running.shape)
    row = {service: i for i, service in enumerate(found.services)}
    for i, replica in enumerate(found.replicas):
        if replica.service in row:
            out[row[replica.service]] += known[i]
    return np.maximum(out, 1.0)


def learned(world: World, at: int) -> Mapping[Service, Law]:
    """The line of every service that has told enough, from the points before `at` that are old enough and not crowded.

    Least squares with weights 1/level, and once more without what lies far off (a line through bursts of prompts).
    """
    found = inference(world)
    last = max(0, at - round(GUARD / world.step))
    first = max(0, last - round(HISTORY / world.step))
    running = sequences(world)[:, first:last]
    laws = {}
    for i, service in enumerate(found.services):
        n, y = running[i], found.per_token[i, first:last]
        good = np.isfinite(n) & np.isfinite(y) & (y > 0) & (n > 0)
        good &= ~(found.cache[i, first:last] > CROWDED)
        if (law := _line(n[good], y[good])) is not None:
            laws[service] = law
    return laws


def _line(n: Floats, y: Floats) -> Law | None:
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
    return Law(float(base), float(each), max(scale, NARROW))


@dataclass(frozen=True, slots=True)
class Strain:
    """A service's model servers at one instant.

    slowdown: time per token over what the load explains, 1 as learned; z: the same in scales. cache: KV cache used
    0…1, mean of replicas; room: sequences per replica at which it is full. load: throughput that is asked for over what
    a full server gives, 0…1 and above where requests wait. All NaN where they are not known.
    """

    slowdown: float
    z: float
    cache: float
    room: float
    load: float


def strains(world: World, at: int, laws: Mapping[Service, Law]) -> Mapping[Service, Strain]:
    """Every service with model servers at grid point `at`.

    load = X(n) / X(room), X(n) = n / (a + b·n) tokens per second: by Little's law n is what the work asked for needs.
    """
    found = inference(world)
    window = slice(max(0, at + 1 - round(5 * MINUTE / world.step)), at + 1)
    count = replicas(world)[:, at]
    running = recent(sequences(world)[:, : at + 1], at)
    waiting = recent(found.waiting, at) / count
    token, cache = recent(found.per_token, at, RECENT), recent(averaged(found.cache[:, : at + 1], world.step), at)
    used = found.running[:, window] / replicas(world)[:, window]
    with np.errstate(invalid="ignore", divide="ignore"):
        room = np.where(found.cache[:, window] > 0.02, used / found.cache[:, window], np.nan)
    out = {}
    for i, service in enumerate(found.services):
        law = laws.get(service)
        most = float(np.nanmedian(room[i])) if np.isfinite(room[i]).any() else np.nan
        if law is None:
            out[service] = Strain(np.nan, np.nan, float(cache[i]), most, np.nan)
            continue
        over = float(token[i] / law.seconds(running[i]))
        asked = float(running[i] + np.nan_to_num(waiting[i]))
        load = asked / law.seconds(np.float64(asked)) / (most / law.seconds(np.float64(most))) if most > 0 else np.nan
        full = asked / most if most > 0 else np.nan
        out[service] = Strain(
            over, float(np.log(over)) / law.scale, float(cache[i]), most, float(max(load, full if full > 1 else load))
        )
    return out
