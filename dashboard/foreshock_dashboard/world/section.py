"""Rows of one kind of entity that come and go, with figures that grow over time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.column_buffer import ColumnBuffer
from foreshock_dashboard.world.row_alignment import IntArray, LabelHasher, SeriesIndex
from foreshock_dashboard.world.targets import Targets

Key = TypeVar("Key", bound=Hashable)
NameOf = Callable[[Mapping[str, str]], Key | None]
SPARE_NAMES = 1000
"""Unused names kept beyond twice the names in use."""


class Section(Generic[Key]):
    """One row per entity, sorted by `order`; NaN is no sample.

    A naming function maps the labels of a series to its entity; None leaves the series out. Its result is cached per
    series until `forget`.
    """

    def __init__(
        self,
        order: Callable[[Key], Any],
        targets: Targets,
        buffer: Callable[[Floats], ColumnBuffer],
        marking: LabelHasher,
    ) -> None:
        self.keys: tuple[Key, ...] = ()
        self._order = order
        self._targets = targets
        self._new_buffer = buffer
        self._hasher = marking
        self._figures: dict[str, ColumnBuffer] = {}
        self._index: dict[str, SeriesIndex] = {}
        self._layers: dict[str, list[tuple[IntArray, IntArray]]] = {}
        self._names: list[Key] = []
        self._number: dict[Key, int] = {}
        self._row: IntArray = np.empty(0, np.int64)  # by entity number; -1 without a row
        self._last_sample: Floats = np.empty(0)  # by entity number, Unix seconds; -inf without a sample

    def update(self, reading: str, matrix: Matrix, name: NameOf[Key]) -> None:
        """Register the entities of a reading: they have a row while they have samples."""
        numbers = self._update_index(reading, matrix, name)[:, 0]
        known = ~np.isnan(matrix.values)
        present = known.any(axis=1) & (numbers >= 0)
        newest = matrix.times[len(matrix.times) - 1 - known[present, ::-1].argmax(axis=1)] if present.any() else []
        self._grow_index()
        np.maximum.at(self._last_sample, numbers[present], newest)

    def drop_idle(self, since: float) -> None:
        """Add rows of new entities; drop rows of entities without a sample since `since` (Unix seconds)."""
        alive = self._last_sample >= since
        alive &= self._last_sample > -np.inf
        if not np.array_equal(alive, self._row >= 0):
            self._rebuild_layout(np.flatnonzero(alive))

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Have rows for exactly these entities."""
        numbers = np.array(sorted(map(self._number_of, keys)), np.int64)
        self._grow_index()
        if not np.array_equal(numbers, np.flatnonzero(self._row >= 0)):
            self._rebuild_layout(numbers)

    def rows(
        self, reading: str, matrix: Matrix, name: NameOf[Key], *, copies: bool = False, while_up: bool = False
    ) -> Floats:
        """Values of a reading by row, shape (rows, times).

        Series of one entity are summed. With `copies` (a host scraped by two jobs, or under a new address), the first
        series with a sample counts instead. `while_up` drops values after the target went down, where a rate fades
        while its window empties.
        """
        numbers = self._update_index(reading, matrix, name)
        self._grow_index()
        values = matrix.values
        if while_up and len(values):
            values = np.where(self._targets.is_up(numbers[:, 1]), values, np.nan)
        out = np.full((len(self.keys), len(matrix.times)), np.nan)
        for depth, (rows, series) in enumerate(self._layers_of(reading, numbers[:, 0])):
            layer = values[series]
            if depth:
                before = out[rows]
                layer = np.where(np.isnan(before), layer, before if copies else before + np.nan_to_num(layer))
            out[rows] = layer
        return out

    def forget(self, *readings: str) -> None:
        """Drop the cached entities of these readings, because what they depend on has changed."""
        for reading in readings:
            self._index.pop(reading, None)
            self._layers.pop(reading, None)

    def grow(self, points: int, figures: Mapping[str, Floats]) -> None:
        """Append columns to figures that have `points` columns already."""
        for name, block in figures.items():
            if name not in self._figures:
                self._figures[name] = self._new_buffer(block)
                self._figures[name].start_with(len(self.keys), points)
            self._figures[name].append(block)

    @property
    def column_bytes(self) -> int:
        """Bytes of one column of all figures."""
        return len(self.keys) * sum(figure.itemsize for figure in self._figures.values())

    def trim(self, columns: int) -> None:
        """Drop the oldest columns."""
        for figure in self._figures.values():
            figure.trim(columns)

    def __getitem__(self, figure: str) -> Floats:
        return self._figures[figure].view()

    def _update_index(self, reading: str, matrix: Matrix, name: NameOf[Key]) -> IntArray:
        if reading not in self._index:

            def numbered(labels: Labels) -> tuple[int, int]:
                named = dict(labels)
                key = name(named)
                return -1 if key is None else self._number_of(key), self._targets.intern(named)

            self._index[reading] = SeriesIndex(numbered, 2, self._hasher)
        if self._index[reading].update(matrix.labels):
            self._layers.pop(reading, None)
        return self._index[reading].numbers

    def _number_of(self, key: Key) -> int:
        number = self._number.setdefault(key, len(self._names))
        if number == len(self._names):
            self._names.append(key)
        return number

    def _grow_index(self) -> None:
        """Grow the arrays to the number of entities."""
        more = len(self._names) - len(self._row)
        if more:
            self._row = np.concatenate([self._row, np.full(more, -1, np.int64)])
            self._last_sample = np.concatenate([self._last_sample, np.full(more, -np.inf)])

    def _layers_of(self, reading: str, numbers: IntArray) -> list[tuple[IntArray, IntArray]]:
        """Rows and the series that go there: the first series of every row, the second of those that have two, …"""
        if reading not in self._layers:
            rows = np.where(numbers >= 0, self._row[numbers], -1) if len(self._row) else np.full(len(numbers), -1)
            series = np.flatnonzero(rows >= 0)
            layers: list[tuple[IntArray, IntArray]] = []
            while len(series):
                _, first = np.unique(rows[series], return_index=True)
                layers.append((rows[series[first]].astype(np.int32), series[first].astype(np.int32)))
                series = np.delete(series, first)
            self._layers[reading] = layers
        return self._layers[reading]

    def _rebuild_layout(self, numbers: IntArray) -> None:
        """Lay out rows for these entity numbers."""
        ordered = sorted(numbers.tolist(), key=lambda number: self._order(self._names[number]))
        before = self._row[ordered]
        self._row = np.full(len(self._names), -1, np.int64)
        self._row[ordered] = np.arange(len(ordered))
        self.keys = tuple(self._names[number] for number in ordered)
        self._layers.clear()
        for figure in self._figures.values():
            figure.reorder(before)
        if len(self._names) > 2 * len(ordered) + SPARE_NAMES:
            self._renumber(ordered)

    def _renumber(self, used: Sequence[int]) -> None:
        """Drop the names of entities without a row, since entities come and go for months."""
        self._names = [self._names[number] for number in used]
        self._number = {key: number for number, key in enumerate(self._names)}
        self._row, self._last_sample = np.arange(len(used)), self._last_sample[list(used)]
        self._index.clear()
