"""Reduction of bucketed durations to quantiles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.common.series_index import CachedLabelHasher, IntArray, LabelHasher, SeriesIndex, label_hashes
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.histogram_quantile import Share, histogram_quantiles, quantile_lower_bound
from foreshock_dashboard.world.row import Readings

BUCKETED = ("served_seconds", "operation_seconds", "client_seconds", "server_seconds", "first_token_seconds")
WITH_LOWER_BOUND = ("served_seconds", "operation_seconds", "client_seconds")
QUANTILES: Mapping[str, Share] = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "lower_bound": quantile_lower_bound(0.95)}


class QuantileReducer:
    """Replaces the buckets of each duration `x_seconds` by the quantiles `x_p50`, `x_p95`, and `x_p99` in seconds.

    Durations of `WITH_LOWER_BOUND` also have `x_lower_bound`, a lower confidence bound of the p95. The bucket of each
    series is cached, because consecutive results have nearly the same series. Rows without observations stay, all NaN.
    """

    def __init__(self) -> None:
        self._marker = CachedLabelHasher()
        self._stacks = {key: BucketStack(self._marker) for key in BUCKETED}

    def __call__(self, readings: Readings) -> Readings:
        out = {key: matrix for key, matrix in readings.items() if key not in BUCKETED}
        for key, stack in self._stacks.items():
            labels, bounds, counts = stack.arrange(readings[key])
            shares = {
                name: share for name, share in QUANTILES.items() if key in WITH_LOWER_BOUND or name != "lower_bound"
            }
            answers = histogram_quantiles(bounds, counts, tuple(shares.values()))
            for name, rows in zip(shares, answers, strict=True):
                out[f"{key.removesuffix('_seconds')}_{name}"] = Matrix(readings[key].times, labels, rows)
        self._marker.clear()
        return out


class BucketStack:
    """Arranges `buckets` answers as (labels without `le`, bounds, counts of shape (rows, bounds, times)).

    A bound that a row lacks is NaN, which `histogram_quantiles` reads as the bucket below it.
    """

    def __init__(self, marking: LabelHasher = label_hashes) -> None:
        self._numbers: dict[Labels, int] = {}
        self._bounds: dict[str, float] = {}
        self._index = SeriesIndex(self._place, 2, marking)
        # Labels of the rows, bounds, row by entity number, and column by bound number.
        self._layout: tuple[tuple[Labels, ...], Floats, IntArray, IntArray] = (
            (),
            np.empty(0),
            *np.empty((2, 0), np.int64),
        )

    def arrange(self, buckets: Matrix) -> tuple[tuple[Labels, ...], Floats, Floats]:
        """Labels, bounds, and counts of an answer."""
        if self._index.update(buckets.labels):
            self._rebuild_layout()
        labels, bounds, row, column = self._layout
        numbers = self._index.numbers
        counts = np.full((len(labels), len(bounds), len(buckets.times)), np.nan)
        known = numbers[:, 0] >= 0
        counts[row[numbers[known, 0]], column[numbers[known, 1]]] = buckets.values[known]
        return labels, bounds, counts

    def _place(self, labels: Labels) -> tuple[int, int]:
        """Numbers of the entity and of the bound of a series, in order of appearance; -1 without `le`."""
        bound = next((value for name, value in labels if name == "le"), None)
        if bound is None:
            return -1, -1
        entity = tuple(pair for pair in labels if pair[0] != "le")
        self._bounds.setdefault(bound, float(bound))
        return self._numbers.setdefault(entity, len(self._numbers)), list(self._bounds).index(bound)

    def _rebuild_layout(self) -> None:
        names = list(self._numbers)
        numbers = np.unique(self._index.numbers[:, 0])
        present = sorted(numbers[numbers >= 0].tolist(), key=names.__getitem__)
        row = np.full(len(names), -1, np.int32)
        row[present] = np.arange(len(present))
        seen = list(self._bounds.values())  # all ever seen: a bucket without observations has no series
        bounds = sorted(set(seen))
        column = np.array(list(map(bounds.index, seen)), np.int32)
        entities = tuple(names[number] for number in present)
        self._layout = (entities, np.asarray(bounds, np.float64), row, column)
