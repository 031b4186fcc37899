"""Baseline level and scale of every signal by entity, and the sampling noise around them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS, SIGNALS, Signal, transformed
from foreshock_dashboard.common.identity_cache import IdentityCache, row_by_key
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import robust_baseline

BASELINE_HISTORY_SECONDS = 7200.0
MIN_HISTORY_POINTS = 60
"""Longest history behind a baseline: two hours, so that it follows the daily load, or as many grid points."""
GUARD_SECONDS = 180.0
MIN_GUARD_POINTS = 3
"""Newest part of the history left out of the baseline, so that a beginning incident does not shift it."""
SPACING_SECONDS = 60.0
"""Distance of the points of a baseline: rates over a minute carry no more information."""
MIN_BASELINE_POINTS = 5
"""Fewest points of a baseline."""
TAIL_SHIFT_SCALES = 2.0
"""Scales above the normal p99 at which the slow requests themselves have become slower."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Level and scale of one signal by entity.

    entities: by row. rows: row of each. pairs: shape (rows, 2), NaN without a baseline.
    """

    entities: Sequence[Hashable]
    rows: Mapping[Hashable, int]
    pairs: Floats

    def get(self, key: Hashable, default: tuple[float, float] = (math.nan, math.nan)) -> tuple[float, float]:
        """Level and scale of an entity; `default` without a baseline."""
        row = self.rows.get(key)
        if row is None:
            return default
        level, scale = self.pairs.item(row, 0), self.pairs.item(row, 1)
        return default if math.isnan(scale) else (level, scale)

    def of(self, entities: Sequence[Hashable]) -> Floats:
        """Level and scale of any entities, shape (entities, 2); NaN without a baseline."""
        if entities is self.entities:
            return self.pairs
        rows = np.fromiter((self.rows.get(entity, -1) for entity in entities), np.intp, len(entities))
        return np.concatenate([self.pairs, [(np.nan, np.nan)]])[rows]

    def with_frozen(self, before: Levels, frozen: Sequence[int]) -> Levels:
        """Copy in which the rows `frozen` of `before` keep their earlier level and scale."""
        old = {before.entities[row]: before.pairs[row] for row in frozen if not np.isnan(before.pairs[row, 1])}
        if not old:
            return self
        added = [key for key in old if key not in self.rows]
        entities = (*self.entities, *added) if added else self.entities
        rows = row_by_key(entities) if added else self.rows
        pairs = np.concatenate([self.pairs, np.full((len(added), 2), np.nan)])
        pairs[[rows[key] for key in old]] = [*old.values()]
        return Levels(entities, rows, pairs)


NO_LEVELS = Levels((), {}, np.empty((0, 2)))


@dataclass(frozen=True, slots=True)
class Baselines:
    """Baselines of every signal and entity, taken at `time` (Unix seconds).

    Levels and scales are logarithms where the signal is compared as a ratio.
    """

    time: float
    levels: Mapping[str, Levels]

    def of(self, name: str) -> Levels:
        """Levels of one signal; empty where none were taken."""
        return self.levels.get(name, NO_LEVELS)


def baselines_at(
    world: World, at: int, signals: Sequence[Signal] = SIGNALS, cache: IdentityCache | None = None
) -> Baselines:
    """Baselines at grid point `at`: median and scaled MAD of the history up to `GUARD_SECONDS` earlier.

    Entities with fewer than `MIN_BASELINE_POINTS` points have no baseline.
    """
    columns, cache = baseline_columns(world, at), cache or IdentityCache()
    levels = {}
    for signal in signals:
        keys = signal.keys(world)
        if not keys:
            levels[signal.name] = NO_LEVELS
            continue
        values = transformed(signal, signal.values(world, (ALL_ROWS, columns)))
        baseline = robust_baseline(values, signal.floor, signal.worse)
        pairs = np.stack([baseline.level, baseline.scale], axis=1).astype(np.float64)
        pairs[np.isfinite(values).sum(axis=1) < MIN_BASELINE_POINTS] = np.nan
        levels[signal.name] = Levels(keys, cache.get(row_by_key, keys), pairs)
    return Baselines(float(world.times[at]), levels)


def baseline_columns(world: World, at: int) -> slice:
    """Columns of the baseline at a grid point."""
    guard = world.points(GUARD_SECONDS, MIN_GUARD_POINTS)
    history, stride = world.points(BASELINE_HISTORY_SECONDS, MIN_HISTORY_POINTS), world.points(SPACING_SECONDS)
    last = max(0, at - guard)
    first = max(0, last - history)
    return slice(first + (last - first) % stride, last, stride)


def seconds_to_baseline(world: World, values: Floats) -> Floats:
    """Seconds from the end of the World until rows of a signal have a baseline, if they have samples from now on.

    values: shape (rows, times). The result has shape (rows,): 0 with enough points, NaN without any sample.
    """
    last, first = len(world.times) - 1, baseline_columns(world, len(world.times) - 1).start
    spaced = np.arange(first, last + 1, world.points(SPACING_SECONDS))
    known = np.isfinite(values[:, spaced])
    count = np.cumsum(known, axis=1)
    enough = count >= MIN_BASELINE_POINTS
    since = world.time - world.times[spaced[np.argmax(enough, axis=1)]] if len(spaced) else np.zeros(len(values))
    missing = (MIN_BASELINE_POINTS - count[:, -1]) * SPACING_SECONDS
    guard = world.points(GUARD_SECONDS, MIN_GUARD_POINTS) * world.step
    left = np.where(enough.any(axis=1), np.maximum(guard - since, 0.0), guard + missing)
    return np.where(np.isfinite(values).any(axis=1), left, np.nan)


def is_sampling_noise(
    base: Baselines, signal: Signal, world: World, rows: slice, values: Floats, lower_bound: Floats
) -> Bools:
    """Where an estimated p95 may exceed the baseline by chance; False where the tail of the signal is unknown.

    If about 5% of requests are slow (cache misses), the estimate jumps between the fast and the slow mode. It is noise
    where its lower confidence bound is not above the baseline, and where it stays within the normal range of the slow
    requests, if the signal has a tail. More slow requests, or slower ones, are not noise. `values` and their
    `lower_bound` are in the signal's unit, shape (rows, points); so is the result.
    """
    keys = signal.keys(world)
    level, _ = base.of(signal.name).of(keys)[rows].T[:, :, None]
    estimate = transformed(signal, values)
    with np.errstate(invalid="ignore"):
        noise: Bools = (estimate > level) & (transformed(signal, lower_bound) <= level)
        if signal.tail:
            tail, scale = base.of(signal.tail).of(keys)[rows].T[:, :, None]
            noise &= estimate <= tail + TAIL_SHIFT_SCALES * scale
    return noise
