"""Evaluation of `last`, `rate` and `increase` on a grid of steps, exactly as in Prometheus.

Vectorized over series. Times are integer milliseconds, as in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matrix, Query, grid
from foreshock_dashboard.model.samples import STALE, Labels
from foreshock_dashboard.model.types import Bools, Floats

Ints = NDArray[np.int64]

STALE_BITS = int(np.array([STALE], dtype=np.float64).view(np.int64)[0])
EVALUATED_CELLS = 1 << 16
"""Series times steps that are evaluated at once, in a dozen arrays of half a MiB."""
EXTRAPOLATION_FACTOR = 1.1
"""Ratio to the average sample interval; a smaller gap to the window's edge is extrapolated over
(promql/functions.go)."""


@dataclass(frozen=True, slots=True)
class Steps:
    """An evaluation grid in milliseconds: `start + step * k` for k = 0 … count - 1."""

    start: int
    step: int
    count: int

    @classmethod
    def of(cls, start: float, end: float, step: float) -> Steps:
        """Return the grid of `model.query.grid` in milliseconds. Raises ValueError, also for a shorter step."""
        count = len(grid(start, end, step))
        if step < 0.001:
            raise ValueError(f"step: {step} s is too short. Use at least 1 ms")
        return cls(round(start * 1000), round(step * 1000), count)

    @property
    def end(self) -> int:
        """Last time of the grid."""
        return self.start + self.step * (self.count - 1)

    def times(self) -> Ints:
        """All times of the grid."""
        return self.start + self.step * np.arange(self.count, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of many series. Those of series i are at `offsets[i]:offsets[i + 1]`, by ascending, distinct time."""

    offsets: Ints
    times: Ints
    values: Floats

    @classmethod
    def of(cls, count: int, rows: Ints, times: Ints, values: Floats) -> Series:
        """Group samples by series number (`rows`, 0 … count - 1). Of samples with equal time the first one is kept."""
        order = np.argsort(rows.astype(np.uint16) if count <= 1 << 16 else rows, kind="stable")
        rows, times, values = rows[order], times[order], values[order]
        same = rows[1:] == rows[:-1]
        if (same & (times[1:] <= times[:-1])).any():
            order = np.lexsort((times, rows))
            rows, times, values = rows[order], times[order], values[order]
            keep = np.append(True, (rows[1:] != rows[:-1]) | (times[1:] != times[:-1]))
            rows, times, values = rows[keep], times[keep], values[keep]
        offsets = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
        return cls(offsets, times, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, first: int, end: int) -> Series:
        """Return the series `first` … `end` - 1."""
        offsets = self.offsets[first : end + 1]
        samples = slice(int(offsets[0]), int(offsets[-1]))
        return Series(offsets - offsets[0], self.times[samples], self.values[samples])

    def without_stale(self) -> Series:
        """Return the samples without staleness markers."""
        keep = self.values.view(np.int64) != STALE_BITS
        if keep.all():
            return self
        before = np.concatenate(([0], np.cumsum(keep)))
        return Series(before[self.offsets], self.times[keep], self.values[keep])

    def end_index(self, steps: Steps, shift: int) -> Ints:
        """Index after the last sample with time ≤ step - `shift`; shape (series, steps)."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        bins = np.clip(-((steps.start - shift - self.times) // steps.step), 0, steps.count)
        counts = np.bincount(rows * (steps.count + 1) + bins, minlength=len(self) * (steps.count + 1))
        table = counts.reshape(len(self), steps.count + 1)[:, : steps.count]
        return self.offsets[:-1, None] + np.cumsum(table, axis=1, dtype=np.int64)


def last(series: Series, steps: Steps, window: int) -> tuple[Floats, Bools]:
    """Latest sample in (t - window, t], absent if it is a staleness marker.

    Returns values and a mask of the present ones, both of shape (series, steps).
    """
    latest = series.end_index(steps, 0) - 1
    present = latest >= series.offsets[:-1, None]
    latest = np.where(present, latest, 0)
    if not len(series.times):
        return np.full(latest.shape, np.nan), present
    values = series.values[latest]
    present &= (series.times[latest] > steps.times() - window) & (values.view(np.int64) != STALE_BITS)
    return np.where(present, values, np.nan), present


def increase(series: Series, steps: Steps, window: int) -> tuple[Floats, Bools]:
    """Extrapolated increase of counters over (t - window, t] (extrapolatedRate in promql/functions.go), as `last`."""
    series = series.without_stale()
    first, end = series.end_index(steps, window), series.end_index(steps, 0)
    present = end - first >= 2
    result = np.full(first.shape, np.nan)
    if present.any():
        times = np.broadcast_to(steps.times(), first.shape)[present]
        result[present] = _extrapolate(series, first[present], end[present] - 1, times, window)
    return result, present


def _extrapolate(series: Series, first: Ints, final: Ints, times: Ints, window: int) -> Floats:
    with np.errstate(all="ignore"):
        start_value = series.values[first]
        gain = series.values[final] - start_value + 0.0
        _add_resets(series, first, final, gain)
        sampled = (series.times[final] - series.times[first]) / 1000
        interval = sampled / (final - first)
        threshold = interval * EXTRAPOLATION_FACTOR
        before = (series.times[first] - (times - window)) / 1000
        before = np.where(before >= threshold, interval / 2, before)
        # A counter is never negative: do not extrapolate beyond its zero.
        to_zero = sampled * (start_value / gain)
        before = np.where((gain > 0) & (start_value >= 0) & (to_zero < before), to_zero, before)
        after = (times - series.times[final]) / 1000
        after = np.where(after >= threshold, interval / 2, after)
        return np.asarray(gain * ((sampled + before + after) / sampled), dtype=np.float64)


def _add_resets(series: Series, first: Ints, final: Ints, gain: Floats) -> None:
    """Add to `gain` the value before each counter reset, in time order, as Prometheus sums them."""
    is_reset = np.append(False, series.values[1:] < series.values[:-1])
    resets = np.flatnonzero(is_reset)
    if not len(resets):
        return
    values_before = series.values[resets - 1]
    reset_count = np.cumsum(is_reset)
    begin, count = reset_count[first], reset_count[final] - reset_count[first]
    for k in range(int(count.max())):
        affected = np.flatnonzero(count > k)
        gain[affected] += values_before[begin[affected] + k]


def evaluate(query: Query, series: Series, steps: Steps) -> tuple[Floats, Bools]:
    """Evaluate the query's function for every series, as `last`; some series at a time, as it takes many arrays."""
    count = max(1, EVALUATED_CELLS // steps.count)
    parts = [
        _evaluate(query, series.part(first, first + count), steps) for first in range(0, max(1, len(series)), count)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([values for values, _ in parts]), np.concatenate([present for _, present in parts])


def _evaluate(query: Query, series: Series, steps: Steps) -> tuple[Floats, Bools]:
    window = round(query.window * 1000)
    if query.reduce == "last":
        return last(series, steps, window)
    values, present = increase(series, steps, window)
    return (values / (window / 1000) if query.reduce == "rate" else values), present


def sum_by(query: Query, labels: Sequence[Labels], values: Floats, present: Bools, times: Floats) -> Matrix:
    """Sum rows by the query's labels (for buckets by `le` as well); no sum if `query.by` is None."""
    if query.by is None:
        return Matrix.of(times, dict(zip(labels, np.where(present, values, np.nan), strict=True)))
    by = {*query.by, "le"} if query.reduce == "buckets" else {*query.by}
    groups: dict[Labels, int] = {}
    group_of_row = [groups.setdefault(tuple(pair for pair in row if pair[0] in by), len(groups)) for row in labels]
    if not groups:
        return Matrix.empty(times)
    order = np.argsort(group_of_row, kind="stable")
    starts = np.searchsorted(np.asarray(group_of_row)[order], np.arange(len(groups)))
    with np.errstate(invalid="ignore"):  # infinities of both signs sum to NaN, as in Prometheus
        sums = np.add.reduceat(np.where(present, values, 0.0)[order], starts, axis=0)
    any_present = np.logical_or.reduceat(present[order], starts, axis=0)
    return Matrix.of(times, dict(zip(groups, np.where(any_present, sums, np.nan), strict=True)))
