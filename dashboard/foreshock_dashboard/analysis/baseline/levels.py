"""Level and scale of what is usual, for each thing of a kind: a mapping to look at one, arrays to look at all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import ALL, SIGNALS, Signal, transformed
from foreshock_dashboard.common.identity_cache import IdentityCache, row_by_key
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import robust_baseline

HISTORY = 7200.0
"""Seconds of past that a baseline rests on, as far as there are so many."""
GUARD = 180.0
"""Seconds before now that are left out of the baseline, so that what begins does not become what is usual."""
SPACING = 60.0
"""Seconds between the points that a baseline takes: rates over a minute tell nothing new more often."""
LEAST = 5
"""Points that a baseline needs at least."""
_UNKNOWN = (np.nan, np.nan)


class Levels(Mapping[Hashable, tuple[float, float]]):
    """(level, scale) of every thing that has a baseline.

    keys: what the rows are of, rows: the row of each. pairs: shape (rows, 2), NaN where there is no baseline.
    """

    def __init__(self, things: Sequence[Hashable], rows: Mapping[Hashable, int], pairs: Floats) -> None:
        self.things, self.rows, self.pairs = things, rows, pairs
        self._count = int((~np.isnan(pairs[:, 1])).sum())

    def __getitem__(self, key: Hashable) -> tuple[float, float]:
        row = self.rows[key]
        level, scale = self.pairs.item(row, 0), self.pairs.item(row, 1)
        if scale != scale:
            raise KeyError(key)
        return level, scale

    def get(self, key: Hashable, default: tuple[float, float] = _UNKNOWN) -> tuple[float, float]:  # type: ignore[override]
        """As of any mapping; NaN where nothing is said."""
        row = self.rows.get(key)
        if row is None:
            return default
        level, scale = self.pairs.item(row, 0), self.pairs.item(row, 1)
        return (level, scale) if scale == scale else default

    def __iter__(self) -> Iterator[Hashable]:
        return (self.things[row] for row in np.flatnonzero(~np.isnan(self.pairs[:, 1])).tolist())

    def __len__(self) -> int:
        return self._count

    def of(self, things: Sequence[Hashable]) -> Floats:
        """Level and scale of other things, shape (things, 2), NaN where there is no baseline."""
        if things is self.things:
            return self.pairs
        rows = np.fromiter((self.rows.get(each, -1) for each in things), np.intp, len(things))
        padded = np.concatenate([self.pairs, [_UNKNOWN]])
        return np.asarray(padded[rows])

    def kept(self, before: Levels, which: Sequence[int]) -> Levels:
        """These, but those rows of `before` as they were there."""
        if not len(which):
            return self
        if before.things is self.things:
            known = np.asarray(which)[~np.isnan(before.pairs[which, 1])]
            same = self.pairs.copy()
            same[known] = before.pairs[known]
            return Levels(self.things, self.rows, same)
        old = {before.things[row]: before.pairs[row] for row in which if not np.isnan(before.pairs[row, 1])}
        new = [key for key in old if key not in self.rows]
        things = (*self.things, *new)
        pairs = np.concatenate([self.pairs, np.full((len(new), 2), np.nan)]) if new else self.pairs.copy()
        rows = row_by_key(things) if new else self.rows
        for key, pair in old.items():
            pairs[rows[key]] = pair
        return Levels(things if new else self.things, rows, pairs)


NOTHING = Levels((), {}, np.empty((0, 2)))


@dataclass(frozen=True, slots=True)
class Usual:
    """Level and scale of every signal of every thing, as they were when they were taken (Unix seconds).

    Levels and scales are in logarithms where the signal is compared as ratios.
    """

    time: float
    levels: Mapping[str, Levels]

    def of(self, name: str) -> Levels:
        """Of one signal; of nothing where it was not looked at."""
        return self.levels.get(name, NOTHING)


def usual_at(
    world: World, at: int, signals: Sequence[Signal] = SIGNALS, remembered: IdentityCache | None = None
) -> Usual:
    """What was usual before grid point `at`: median and scaled MAD of what came `GUARD` seconds earlier and before.

    Things with fewer than `LEAST` points have no baseline.
    """
    columns, remembered = _columns(world, at), remembered or IdentityCache()
    levels = {}
    for signal in signals:
        keys = signal.keys(world)
        values = transformed(signal, signal.values(world, (ALL, columns)))
        found = robust_baseline(values, signal.floor, signal.bad)
        pairs = np.stack([found.level, found.scale], axis=1).astype(np.float64)
        pairs[np.isfinite(values).sum(axis=1) < LEAST] = np.nan
        levels[signal.name] = Levels(keys, remembered.get(row_by_key, keys), pairs)
    return Usual(float(world.times[at]), levels)


def _columns(world: World, at: int) -> slice:
    guard, history = round(GUARD / world.step), round(HISTORY / world.step)
    stride = max(1, round(SPACING / world.step))
    last = max(0, at - guard)
    first = max(0, last - history)
    return slice(first + (last - first) % stride, last, stride)
