"""Buckets of durations → quantiles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.histogram_quantile import Share, histogram_quantiles, quantile_lower_bound
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_alignment import Alignment, Marker, Marking, Numbers, marks

BUCKETED = ("served_seconds", "client_seconds", "server_seconds", "first_token_seconds")
BOUNDED = ("served_seconds", "client_seconds")
QUANTILES: Mapping[str, Share] = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "lower_bound": quantile_lower_bound(0.95)}


class Condenser:
    """Turns every bucketed duration `x_seconds` into the quantiles `x_p50`, `x_p95` and `x_p99`, in seconds, and for
    those of `BOUNDED` into `x_least`, which the p95 is hardly below.

    Remembers which bucket of what each series is, so that the next answer, with nearly the same series, costs little.
    Rows without observations are all NaN here, and keep their place.
    """

    def __init__(self) -> None:
        self._marker = Marker()
        self._stacks = {key: Stack(self._marker) for key in BUCKETED}

    def __call__(self, readings: Readings) -> Readings:
        """The readings, condensed."""
        out = {key: matrix for key, matrix in readings.items() if key not in BUCKETED}
        for key, stack in self._stacks.items():
            labels, bounds, counts = stack.of(readings[key])
            shares = {name: share for name, share in QUANTILES.items() if key in BOUNDED or name != "lower_bound"}
            answers = histogram_quantiles(bounds, counts, tuple(shares.values()))
            for name, rows in zip(shares, answers, strict=True):
                out[f"{key.removesuffix('_seconds')}_{name}"] = Matrix(readings[key].times, labels, rows)
        self._marker.let_go()
        return out


class Stack:
    """Arranges a `buckets` answer as (row labels without `le`, bounds, counts of shape (rows, bounds, times)).

    Where rows have different bounds, a bound that a row lacks is NaN, which `quantiles` reads as its predecessor.
    """

    def __init__(self, marking: Marking = marks) -> None:
        self._numbers: dict[Labels, int] = {}
        self._bounds: dict[str, float] = {}
        self._aligned = Alignment(self._place, 2, marking)
        # Labels of the rows, the bounds, and the row of each thing and the column of each bound, by their numbers.
        self._laid: tuple[tuple[Labels, ...], Floats, Numbers, Numbers] = ((), np.empty(0), *np.empty((2, 0), np.int64))

    def of(self, buckets: Matrix) -> tuple[tuple[Labels, ...], Floats, Floats]:
        """The answer, arranged."""
        if self._aligned.follow(buckets.labels):
            self._lay_out()
        labels, bounds, row, column = self._laid
        numbers = self._aligned.numbers
        counts = np.full((len(labels), len(bounds), len(buckets.times)), np.nan)
        known = numbers[:, 0] >= 0
        counts[row[numbers[known, 0]], column[numbers[known, 1]]] = buckets.values[known]
        return labels, bounds, counts

    def _place(self, labels: Labels) -> tuple[int, int]:
        """Which thing a series is of, and which bound it has, both numbered as they came."""
        bound = next((value for name, value in labels if name == "le"), None)
        if bound is None:
            return -1, -1
        thing = tuple(pair for pair in labels if pair[0] != "le")
        self._bounds.setdefault(bound, float(bound))
        return self._numbers.setdefault(thing, len(self._numbers)), list(self._bounds).index(bound)

    def _lay_out(self) -> None:
        names = list(self._numbers)
        numbers = np.unique(self._aligned.numbers[:, 0])
        present = sorted(numbers[numbers >= 0].tolist(), key=names.__getitem__)
        row = np.full(len(names), -1, np.int32)
        row[present] = np.arange(len(present))
        told = list(self._bounds.values())  # all that ever were: a bucket without observations yet has no series
        bounds = sorted(set(told))
        column = np.array(list(map(bounds.index, told)), np.int32)
        things = tuple(names[number] for number in present)
        self._laid = (things, np.asarray(bounds, np.float64), row, column)
