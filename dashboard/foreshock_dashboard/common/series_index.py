"""Index of the series of a reading that only looks at new series from one answer to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats

T = TypeVar("T")
IntArray = NDArray[np.integer]
Hashes = NDArray[np.int64]
LabelHasher = Callable[[tuple[Labels, ...]], Hashes]


class SeriesLabels(tuple[Labels, ...]):
    """Labels of the series of an answer, of a source that returns the same object for as long as they are the same.

    What is found about all of them is kept with them, see `once`.
    """

    found: dict[Hashable, Any]


def once(labels: tuple[Labels, ...], find: Callable[[tuple[Labels, ...]], T], key: Hashable = None) -> T:
    """`find(labels)`, computed once if a source keeps the labels. key: what the result depends on, if not on `find`."""
    if not isinstance(labels, SeriesLabels):
        return find(labels)
    found: dict[Hashable, T] = labels.__dict__.setdefault("found", {})
    key = find if key is None else key
    if key not in found:
        found[key] = find(labels)
    return found[key]


def answer_of(times: Floats, labels: SeriesLabels, values: Floats) -> Matrix:
    """The answer with these rows, without those that are all NaN."""
    unknown = np.isnan(values).all(axis=1)
    if not unknown.any():
        return Matrix(times, labels, values)
    rows = np.flatnonzero(~unknown)
    return Matrix(times, tuple([labels[row] for row in rows.tolist()]), values[rows])


def renamed(matrix: Matrix, name: Callable[[Labels], Labels | None], key: Hashable) -> Matrix:
    """The answer with other labels, by `name`, which leaves a series out with None. Series with equal ones are summed.

    key: what `name` depends on.
    """

    def arrange(labels: tuple[Labels, ...]) -> tuple[SeriesLabels, list[IntArray]]:
        """New labels; then pairs of their position and a series: the first series of each, the second, …"""
        series: dict[Labels, list[int]] = {}
        for number, own in enumerate(labels):
            if (new := name(own)) is not None:
                series.setdefault(new, []).append(number)
        ordered = sorted(series)
        layers: list[list[tuple[int, int]]] = [[] for _ in range(max(map(len, series.values()), default=1))]
        for position, new in enumerate(ordered):
            for layer, number in zip(layers, series[new], strict=False):
                layer.append((position, number))
        return SeriesLabels(ordered), [np.array(layer, np.intp).reshape(-1, 2) for layer in layers]

    labels, (first, *others) = once(matrix.labels, arrange, key)
    values = matrix.values[first[:, 1]]
    for positions, numbers in (layer.T for layer in others):
        before, more = values[positions], matrix.values[numbers]
        values[positions] = np.where(np.isnan(before), more, before + np.nan_to_num(more))
    return answer_of(matrix.times, labels, values)


def label_hashes(labels: tuple[Labels, ...]) -> Hashes:
    """Hash of each series, kept in place of its labels, which would take a hundred megabytes.

    Python's keyed hash: among a million series the chance of a collision is 1 in 40 million.
    """
    return once(labels, _hashes)


def _hashes(labels: tuple[Labels, ...]) -> Hashes:
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
