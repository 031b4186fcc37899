"""The series of one reading, named once: from one answer to the next only what came is looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels

Numbers = NDArray[np.integer]
Marks = NDArray[np.int64]
Marking = Callable[[tuple[Labels, ...]], Marks]


def marks(labels: tuple[Labels, ...]) -> Marks:
    """A number for each series by which it is known again: of labels a hub would have to hold a hundred megabytes.

    Python's keyed hash; of a million series, two have the same with a chance of 1 to 40 million.
    """
    return np.fromiter(map(hash, labels), np.int64, len(labels))


class Marker:
    """`marks` of an answer, worked out once for all readings that have the same series: many do.

    To compare labels of one answer takes a fraction of the time: they are made of the same pairs of name and value.
    """

    def __init__(self) -> None:
        self._known: dict[int, list[tuple[tuple[Labels, ...], Marks]]] = {}  # by how many series there are

    def __call__(self, labels: tuple[Labels, ...]) -> Marks:
        known = self._known.setdefault(len(labels), [])
        for other, found in known:
            if other is labels or other == labels:
                return found
        known.append((labels, marks(labels)))
        return known[-1][1]

    def let_go(self) -> None:
        """Hold the labels of that answer no longer."""
        self._known.clear()


class Alignment:
    """Numbers of the series of the newest answer; shape (series, width). `name` gives those of a series."""

    def __init__(self, name: Callable[[Labels], tuple[int, ...]], width: int, marking: Marking = marks) -> None:
        self._name = name
        self._marking = marking
        self._marks: Marks = np.empty(0, np.int64)
        self.numbers: Numbers = np.empty((0, width), np.int32)

    def follow(self, labels: tuple[Labels, ...]) -> bool:
        """Name the series of a new answer; whether they are others than before.

        Few come and go from one to the next, so they are looked for between what both begin and end with.
        """
        now, before = self._marking(labels), self._marks
        head = _alike(now, before)
        if head == len(now) == len(before):
            return False
        tail = _alike(now[head:][::-1], before[head:][::-1])
        end, last = len(now) - tail, len(before) - tail
        numbers = np.empty((len(labels), self.numbers.shape[1]), np.int32)
        numbers[:head], numbers[end:] = self.numbers[:head], self.numbers[last:]
        places = _places(now[head:end], before[head:last])
        known = places >= 0
        numbers[head:end][known] = self.numbers[head + places[known]]
        for i in (head + np.flatnonzero(~known)).tolist():
            numbers[i] = self._name(labels[i])
        self._marks, self.numbers = now, numbers
        return True


def _alike(one: Marks, other: Marks) -> int:
    """How many both begin with."""
    both = min(len(one), len(other))
    differ = one[:both] != other[:both]
    return int(differ.argmax()) if differ.any() else both


def _places(now: Marks, before: Marks) -> Numbers:
    """Where each was before; -1 where it was not."""
    if not len(before):
        return np.full(len(now), -1, np.intp)
    order = np.argsort(before)
    found = order[np.minimum(np.searchsorted(before, now, sorter=order), len(order) - 1)]
    return np.where(before[found] == now, found, -1)
