"""The series of one reading, named once: from one answer to the next only what came and went is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels

Numbers = NDArray[np.int64]
CHUNK = 1024
"""Series that are compared at once."""


class Alignment:
    """Numbers of the series of the newest answer; shape (series, width).

    `name` gives the numbers of a series from its labels. Series come sorted, as in a `Matrix`, and most of them are
    those of the answer before; comparing sorted runs is many times faster than naming each.
    """

    def __init__(self, name: Callable[[Labels], tuple[int, ...]], width: int) -> None:
        self._name = name
        self._labels: tuple[Labels, ...] = ()
        self.numbers: Numbers = np.empty((0, width), np.int64)

    def follow(self, labels: tuple[Labels, ...]) -> bool:
        """Name the series of a new answer; whether they are others than before."""
        if labels is self._labels or labels == self._labels:
            self._labels = labels
            return False
        numbers = np.empty((len(labels), self.numbers.shape[1]), np.int64)
        reached = 0
        for before, now, count in runs(self._labels, labels):
            for i in range(reached, now):
                numbers[i] = self._name(labels[i])
            numbers[now : now + count] = self.numbers[before : before + count]
            reached = now + count
        for i in range(reached, len(labels)):
            numbers[i] = self._name(labels[i])
        self._labels, self.numbers = labels, numbers
        return True


def runs(one: Sequence[Labels], other: Sequence[Labels]) -> Iterator[tuple[int, int, int]]:
    """The stretches that two sorted sequences have in common: where in one, where in the other, how long."""
    i = j = 0
    while i < len(one) and j < len(other):
        count = _common(one, i, other, j)
        if count:
            yield i, j, count
            i, j = i + count, j + count
        elif one[i] < other[j]:
            i += 1
        else:
            j += 1


def _common(one: Sequence[Labels], i: int, other: Sequence[Labels], j: int) -> int:
    """How many series are the same from there on."""
    if one[i] != other[j]:
        return 0
    most, count = min(len(one) - i, len(other) - j), 1
    while count < most and one[i + count : i + count + CHUNK] == other[j + count : j + count + CHUNK]:
        count += CHUNK
    if count >= most:
        return most
    equal, unequal = count, min(count + CHUNK, most) + 1  # the first difference lies in between
    while unequal - equal > 1:
        middle = (equal + unequal) // 2
        if one[i + count : i + middle] == other[j + count : j + middle]:
            equal = middle
        else:
            unequal = middle
    return equal
