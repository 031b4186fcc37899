"""The series of one reading, named once: from one answer to the next only what came is looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels

Numbers = NDArray[np.integer]
Marks = NDArray[np.int64]


def marks(labels: tuple[Labels, ...]) -> Marks:
    """A number for each series by which it is known again: of labels a hub would have to hold a hundred megabytes.

    Python's keyed hash; of a million series, two have the same with a chance of 1 to 40 million.
    """
    return np.fromiter(map(hash, labels), np.int64, len(labels))


class Alignment:
    """Numbers of the series of the newest answer; shape (series, width). `name` gives those of a series."""

    def __init__(self, name: Callable[[Labels], tuple[int, ...]], width: int) -> None:
        self._name = name
        self._marks: Marks = np.empty(0, np.int64)
        self.numbers: Numbers = np.empty((0, width), np.int32)

    def follow(self, labels: tuple[Labels, ...]) -> bool:
        """Name the series of a new answer; whether they are others than before."""
        now = marks(labels)
        if np.array_equal(now, self._marks):
            return False
        numbers = np.empty((len(labels), self.numbers.shape[1]), np.int32)
        known = np.zeros(len(labels), bool)
        if len(self._marks):
            order = np.argsort(self._marks)
            before = order[np.minimum(np.searchsorted(self._marks, now, sorter=order), len(order) - 1)]
            known = self._marks[before] == now
            numbers[known] = self.numbers[before[known]]
        for i in np.flatnonzero(~known).tolist():
            numbers[i] = self._name(labels[i])
        self._marks, self.numbers = now, numbers
        return True
