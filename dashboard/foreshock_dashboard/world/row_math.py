"""What every part of the World is made with: who a series is of, and arithmetic that knows what is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.catalogue.catalogue import service_at
from foreshock_dashboard.world.row_alignment import Marks, Numbers, marks

Named = Mapping[str, str]
K = TypeVar("K")
V = TypeVar("V")


class Told(Generic[K, V]):
    """What series say by their labels alone, remembered: the newest word on each thing."""

    def __init__(self, read: Callable[[Named], tuple[K, V] | None]) -> None:
        self.found: dict[K, V] = {}
        self._read = read
        self._marks: Marks = np.empty(0, np.int64)

    def meet(self, *matrices: Matrix) -> bool:
        """Take note; whether something is new."""
        labels = [each for matrix in matrices for each in matrix.labels]
        now = marks(tuple(labels))
        fresh = np.flatnonzero(np.isin(now, self._marks, invert=True))
        self._marks = now
        told = dict(filter(None, (self._read(dict(labels[i])) for i in fresh.tolist())))
        new = any(self.found.get(key) != value for key, value in told.items())
        self.found |= told
        return new


def service_of(labels: Named) -> Service | None:
    """The service that labels name, if any."""
    service = service_at(labels)
    return service if service.name else None


def last_told(matrix: Matrix) -> float:
    """When there was a sample last, Unix seconds; -inf where there is none."""
    told = np.flatnonzero(~np.isnan(matrix.values).all(axis=0)) if len(matrix) else np.empty(0, np.intp)
    return float(matrix.times[told[-1]]) if len(told) else -np.inf


def share(values: Floats) -> Floats:
    """A share of time: extrapolation may carry a rate a little past 1."""
    return np.minimum(values, 1.0)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Their ratio; NaN where there is nothing to have a part of."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def totals(rows: Floats, of: Numbers, count: int) -> Floats:
    """Sums of the rows that belong to each of `count` things; NaN where none has a sample."""
    out, known = np.zeros((count, rows.shape[1])), np.zeros((count, rows.shape[1]), bool)
    np.add.at(out, of, np.nan_to_num(rows))
    np.logical_or.at(known, of, ~np.isnan(rows))
    return np.where(known, out, np.nan)
