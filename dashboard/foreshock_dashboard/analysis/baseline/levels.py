"""Baseline level and scale of every signal, by entity."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS, SIGNALS, Signal, transformed
from foreshock_dashboard.common.identity_cache import IdentityCache, row_by_key
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import robust_baseline

BASELINE_HISTORY_SECONDS = 7200.0
"""Longest history behind a baseline: two hours, so that it follows the daily load."""
GUARD_SECONDS = 180.0
"""Newest part of the history left out of the baseline, so that a beginning incident does not shift it."""
SPACING_SECONDS = 60.0
"""Distance of the points of a baseline: rates over a minute carry no more information."""
MIN_BASELINE_POINTS = 5
"""Fewest points of a baseline."""
_UNKNOWN = (np.nan, np.nan)


class Levels(Mapping[Hashable, tuple[float, float]]):
    """Mapping from entity to (level, scale), for entities with a baseline.

    `entities` are the keys by row, `rows` the row of each, and `pairs` has shape (rows, 2), NaN without a baseline.
    """

    def __init__(self, entities: Sequence[Hashable], rows: Mapping[Hashable, int], pairs: Floats) -> None:
        self.entities, self.rows, self.pairs = entities, rows, pairs
        self._count = int((~np.isnan(pairs[:, 1])).sum())

    def __getitem__(self, key: Hashable) -> tuple[float, float]:
        row = self.rows[key]
        level, scale = self.pairs.item(row, 0), self.pairs.item(row, 1)
        if scale != scale:
            raise KeyError(key)
        return level, scale

    def get(self, key: Hashable, default: tuple[float, float] = _UNKNOWN) -> tuple[float, float]:  # type: ignore[override]
        """Level and scale; `default`, NaN unless given, without a baseline."""
        row = self.rows.get(key)
        if row is None:
            return default
        level, scale = self.pairs.item(row, 0), self.pairs.item(row, 1)
        return (level, scale) if scale == scale else default

    def __iter__(self) -> Iterator[Hashable]:
        return (self.entities[row] for row in np.flatnonzero(~np.isnan(self.pairs[:, 1])).tolist())

    def __len__(self) -> int:
        return self._count

    def of(self, entities: Sequence[Hashable]) -> Floats:
        """Level and scale of any entities, shape (entities, 2); NaN without a baseline."""
        if entities is self.entities:
            return self.pairs
        rows = np.fromiter((self.rows.get(entity, -1) for entity in entities), np.intp, len(entities))
        padded = np.concatenate([self.pairs, [_UNKNOWN]])
        return np.asarray(padded[rows])

    def with_frozen(self, before: Levels, frozen: Sequence[int]) -> Levels:
        """Copy in which the rows `frozen` of `before` keep their earlier level and scale."""
        if not len(frozen):
            return self
        if before.entities is self.entities:
            known = np.asarray(frozen)[~np.isnan(before.pairs[frozen, 1])]
            same = self.pairs.copy()
            same[known] = before.pairs[known]
            return Levels(self.entities, self.rows, same)
        old = {before.entities[row]: before.pairs[row] for row in frozen if not np.isnan(before.pairs[row, 1])}
        new = [key for key in old if key not in self.rows]
        entities = (*self.entities, *new)
        pairs = np.concatenate([self.pairs, np.full((len(new), 2), np.nan)]) if new else self.pairs.copy()
        rows = row_by_key(entities) if new else self.rows
        for key, pair in old.items():
            pairs[rows[key]] = pair
        return Levels(entities if new else self.entities, rows, pairs)


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
    columns, cache = _columns(world, at), cache or IdentityCache()
    levels = {}
    for signal in signals:
        keys = signal.keys(world)
        values = transformed(signal, signal.values(world, (ALL_ROWS, columns)))
        baseline = robust_baseline(values, signal.floor, signal.worse)
        pairs = np.stack([baseline.level, baseline.scale], axis=1).astype(np.float64)
        pairs[np.isfinite(values).sum(axis=1) < MIN_BASELINE_POINTS] = np.nan
        levels[signal.name] = Levels(keys, cache.get(row_by_key, keys), pairs)
    return Baselines(float(world.times[at]), levels)


def _columns(world: World, at: int) -> slice:
    guard, history = world.points(GUARD_SECONDS), world.points(BASELINE_HISTORY_SECONDS)
    stride = max(1, world.points(SPACING_SECONDS))
    last = max(0, at - guard)
    first = max(0, last - history)
    return slice(first + (last - first) % stride, last, stride)
