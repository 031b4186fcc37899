"""Index of the series of a reading that only looks at new series from one answer to the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels

IntArray = NDArray[np.integer]
Hashes = NDArray[np.int64]
LabelHasher = Callable[[tuple[Labels, ...]], Hashes]


def label_hashes(labels: tuple[Labels, ...]) -> Hashes:
    """Hash of each series, kept in place of its labels, which would take a hundred megabytes.

    Python's keyed hash: among a million series the chance of a collision is 1 in 40 million.
    """
    return np.fromiter(map(hash, labels), np.int64, len(labels))


class CachedLabelHasher:
    """`label_hashes` computed once for all readings of an answer that have the same series, as many do.

    Comparing labels is fast within one answer, because they consist of the same pair objects.
    """

    def __init__(self) -> None:
        self._known: dict[int, list[tuple[tuple[Labels, ...], Hashes]]] = {}  # by number of series

    def __call__(self, labels: tuple[Labels, ...]) -> Hashes:
        known = self._known.setdefault(len(labels), [])
        for other, hashes in known:
            if other is labels or other == labels:
                return hashes
        known.append((labels, label_hashes(labels)))
        return known[-1][1]

    def clear(self) -> None:
        """Release the labels of the answer."""
        self._known.clear()


class SeriesIndex:
    """Numbers of each series of the newest answer, shape (series, width), computed by `name` for new series."""

    def __init__(
        self, name: Callable[[Labels], tuple[int, ...]], width: int, marking: LabelHasher = label_hashes
    ) -> None:
        self._name = name
        self._hasher = marking
        self._marks: Hashes = np.empty(0, np.int64)
        self.numbers: IntArray = np.empty((0, width), np.int32)

    def update(self, labels: tuple[Labels, ...]) -> bool:
        """Index the series of a new answer; return whether they differ from the last answer.

        Few series change between answers, so only the part between the common head and tail is searched.
        """
        now, before = self._hasher(labels), self._marks
        head = _common_head(now, before)
        if head == len(now) == len(before):
            return False
        tail = _common_head(now[head:][::-1], before[head:][::-1])
        end, last = len(now) - tail, len(before) - tail
        numbers = np.empty((len(labels), self.numbers.shape[1]), np.int32)
        numbers[:head], numbers[end:] = self.numbers[:head], self.numbers[last:]
        positions = _positions(now[head:end], before[head:last])
        known = positions >= 0
        numbers[head:end][known] = self.numbers[head + positions[known]]
        for i in (head + np.flatnonzero(~known)).tolist():
            numbers[i] = self._name(labels[i])
        self._marks, self.numbers = now, numbers
        return True


def _common_head(one: Hashes, other: Hashes) -> int:
    both = min(len(one), len(other))
    differ = one[:both] != other[:both]
    return int(differ.argmax()) if differ.any() else both


def _positions(now: Hashes, before: Hashes) -> IntArray:
    """Position of each hash in `before`; -1 if absent."""
    if not len(before):
        return np.full(len(now), -1, np.intp)
    order = np.argsort(before)
    found = order[np.minimum(np.searchsorted(before, now, sorter=order), len(order) - 1)]
    return np.where(before[found] == now, found, -1)
