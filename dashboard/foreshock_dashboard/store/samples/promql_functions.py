"""Samples → values on a grid, exactly as Prometheus evaluates `last`, `rate` and `increase`.

Pure numpy without a loop over series. Times are integer milliseconds, as in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matrix, Query, grid
from foreshock_dashboard.model.samples import STALE, Labels
from foreshock_dashboard.model.types import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

STALE_BITS = int(np.array([STALE], dtype=np.float64).view(np.int64)[0])
EXTRAPOLATION_FACTOR = 1.1
"""A gap to the window's edge up to this many average intervals counts as covered (promql/functions.go)."""


@dataclass(frozen=True, slots=True)
class Steps:
    """An evaluation grid in milliseconds: `start + step · k` for k in 0 … count - 1."""

    start: int
    step: int
    count: int

    @classmethod
    def of(cls, start: float, end: float, step: float) -> Steps:
        """The grid of `model.query.grid`, rounded to milliseconds.

        Raises:
            ValueError: as `grid`, or the step is shorter than a millisecond.
        """
        count = len(grid(start, end, step))
        if step < 0.001:
            raise ValueError(f"step must be a millisecond at least, not {step} s")
        return cls(round(start * 1000), round(step * 1000), count)

    @property
    def end(self) -> int:
        """The last time of the grid."""
        return self.start + self.step * (self.count - 1)

    def times(self) -> Ints:
        """Every time of the grid."""
        return self.start + self.step * np.arange(self.count, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of many series: row i is `times[offsets[i]:offsets[i + 1]]`, ascending, each time once."""

    offsets: Ints
    times: Ints
    values: Floats

    @classmethod
    def of(cls, count: int, rows: Ints, times: Ints, values: Floats) -> Series:
        """Group samples by `rows` (0 … count - 1). Of two samples at one time the first to arrive is kept."""
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

    def without_stale(self) -> Series:
        """The same without staleness markers."""
        keep = self.values.view(np.int64) != STALE_BITS
        if keep.all():
            return self
        before = np.concatenate(([0], np.cumsum(keep)))
        return Series(before[self.offsets], self.times[keep], self.values[keep])

    def until(self, steps: Steps, shift: int) -> Ints:
        """Index one past the last sample at or before each step minus `shift`; shape (series, steps)."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        bins = np.clip(-((steps.start - shift - self.times) // steps.step), 0, steps.count)
        counts = np.bincount(rows * (steps.count + 1) + bins, minlength=len(self) * (steps.count + 1))
        table = counts.reshape(len(self), steps.count + 1)[:, : steps.count]
        return self.offsets[:-1, None] + np.cumsum(table, axis=1, dtype=np.int64)


def last(series: Series, steps: Steps, window: int) -> tuple[Floats, Bools]:
    """The latest sample in (t - window, t] unless it is a staleness marker: values and where there is one."""
    at = series.until(steps, 0) - 1
    known = at >= series.offsets[:-1, None]
    at = np.where(known, at, 0)
    if not len(series.times):
        return np.full(at.shape, np.nan), known
    values = series.values[at]
    known &= (series.times[at] > steps.times() - window) & (values.view(np.int64) != STALE_BITS)
    return np.where(known, values, np.nan), known


def increase(series: Series, steps: Steps, window: int) -> tuple[Floats, Bools]:
    """The extrapolated increase of counters over (t - window, t]; source: extrapolatedRate in promql/functions.go."""
    series = series.without_stale()
    first, end = series.until(steps, window), series.until(steps, 0)
    known = end - first >= 2
    result = np.full(first.shape, np.nan)
    if known.any():
        at = np.broadcast_to(steps.times(), first.shape)[known]
        result[known] = _extrapolate(series, first[known], end[known] - 1, at, window)
    return result, known


def _extrapolate(series: Series, first: Ints, final: Ints, at: Ints, window: int) -> Floats:
    with np.errstate(all="ignore"):
        begin = series.values[first]
        gained = series.values[final] - begin + 0.0
        _add_resets(series, first, final, gained)
        sampled = (series.times[final] - series.times[first]) / 1000
        interval = sampled / (final - first)
        threshold = interval * EXTRAPOLATION_FACTOR
        before = (series.times[first] - (at - window)) / 1000
        before = np.where(before >= threshold, interval / 2, before)
        # A counter cannot have been negative: extrapolate to its zero at most.
        zero = sampled * (begin / gained)
        before = np.where((gained > 0) & (begin >= 0) & (zero < before), zero, before)
        after = (at - series.times[final]) / 1000
        after = np.where(after >= threshold, interval / 2, after)
        return np.asarray(gained * ((sampled + before + after) / sampled), dtype=np.float64)


def _add_resets(series: Series, first: Ints, final: Ints, gained: Floats) -> None:
    """Add what each counter had reached before it fell, in the order of time, as Prometheus sums it."""
    fell = np.append(False, series.values[1:] < series.values[:-1])
    positions = np.flatnonzero(fell)
    if not len(positions):
        return
    reached = series.values[positions - 1]
    upto = np.cumsum(fell)
    begin, count = upto[first], upto[final] - upto[first]
    for k in range(int(count.max())):
        open_ = np.flatnonzero(count > k)
        gained[open_] += reached[begin[open_] + k]


def evaluate(query: Query, series: Series, steps: Steps) -> tuple[Floats, Bools]:
    """Reduce every series on the grid: values of shape (series, steps) and where there is one."""
    window = round(query.window * 1000)
    if query.reduce == "last":
        return last(series, steps, window)
    values, known = increase(series, steps, window)
    return (values / (window / 1000) if query.reduce == "rate" else values), known


def grouped(query: Query, labels: Sequence[Labels], values: Floats, known: Bools, times: Floats) -> Matrix:
    """Sum rows by the query's labels (`le` besides for buckets) into a `Matrix`."""
    if query.by is None:
        return Matrix.of(times, dict(zip(labels, np.where(known, values, np.nan), strict=True)))
    keep = {*query.by, "le"} if query.reduce == "buckets" else {*query.by}
    groups: dict[Labels, int] = {}
    of_row = [groups.setdefault(tuple(pair for pair in row if pair[0] in keep), len(groups)) for row in labels]
    if not groups:
        return Matrix.empty(times)
    order = np.argsort(of_row, kind="stable")
    starts = np.searchsorted(np.asarray(of_row)[order], np.arange(len(groups)))
    with np.errstate(invalid="ignore"):  # infinities of both signs sum to NaN, as in Prometheus
        sums = np.add.reduceat(np.where(known, values, 0.0)[order], starts, axis=0)
    present = np.logical_or.reduceat(known[order], starts, axis=0)
    return Matrix.of(times, dict(zip(groups, np.where(present, sums, np.nan), strict=True)))
