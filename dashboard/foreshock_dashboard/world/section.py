"""Rows of entities that come and go, with figures that grow over time, all on one time axis."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import count
from mmap import mmap
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.common.series_index import CachedLabelHasher, IntArray, SeriesIndex
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row import LabelMap, Readings
from foreshock_dashboard.world.row_math import sums_by_group
from foreshock_dashboard.world.targets import Targets

Key = TypeVar("Key", bound=Hashable)
GroupKey = TypeVar("GroupKey", bound=Hashable)
SPARE_NAMES = 1000
"""Unused names kept beyond twice the names in use."""
SPARE_COLUMNS = 4
"""Spare columns of a buffer. Each buffer has up to as many more, so that not all reallocate at once."""
MMAP_MIN_BYTES = 1 << 18
"""Size from which an array gets its own pages, which return to the system when it is freed."""
_SEQUENCE = count()


class Sections:
    """The sections of a World, with figures of type `dtype`.

    Together their figures take up to `max_bytes`, but have at least `min_columns`. columns: those that they have.
    """

    def __init__(self, dtype: DTypeLike, max_bytes: float = np.inf, min_columns: int = 0) -> None:
        self.targets = Targets()
        self._max_bytes, self._min_columns = max_bytes, min_columns
        self.columns = 0
        self.dtype = np.dtype(dtype)
        self.hasher = CachedLabelHasher()
        self.all: list[Section[Any]] = []

    @property
    def column_bytes(self) -> int:
        """Bytes of one column of all sections."""
        return sum(section.column_bytes for section in self.all)

    def make_room(self, more_bytes_per_column: int) -> None:
        """Drop the oldest columns if so many more bytes per column would not fit."""
        column = self.column_bytes + more_bytes_per_column
        fitting = max(self._min_columns, self._max_bytes / column) if column else np.inf
        if self.columns > fitting:
            self.trim(self.columns - int(fitting))

    def trim(self, columns: int) -> None:
        """Drop the oldest columns of every figure."""
        self.columns -= columns
        for section in self.all:
            for figure in section.figures.values():
                figure.trim(columns)


class Section(Generic[Key]):
    """One row per entity; NaN is no sample.

    Args:
        sections: shared by all sections of a World.
        order: sort key of the rows.
        name: maps the labels of a series to its entity; None leaves the series out. Cached per series until `forget`.
        copies: whether series of one entity are copies (a host scraped by two jobs, or under a new address), of which
            the first with a sample counts. Else they are summed.
        while_up: whether values end when the target goes down, where a rate fades while its window empties.
    """

    def __init__(
        self,
        sections: Sections,
        order: Callable[[Key], Any],
        name: Callable[[LabelMap], Key | None],
        *,
        copies: bool = False,
        while_up: bool = False,
    ) -> None:
        sections.all.append(self)
        self.keys: tuple[Key, ...] = ()
        self.figures: dict[str, ColumnBuffer] = {}
        self._sections = sections
        self._order, self._name = order, name
        self._copies, self._while_up = copies, while_up
        self._index: dict[str, SeriesIndex] = {}
        self._layers: dict[str, list[tuple[IntArray, IntArray]]] = {}
        self._names: list[Key] = []
        self._number: dict[Key, int] = {}
        self._row: IntArray = np.empty(0, np.int64)  # by entity number; -1 without a row
        self._last_sample: Floats = np.empty(0)  # by entity number, Unix seconds; -inf without a sample

    def register(self, readings: Readings, keys: Iterable[str], since: float) -> None:
        """Have rows for the entities with samples of these readings since `since` (Unix seconds)."""
        for key in keys:
            matrix = readings[key]
            numbers = self._update_index(key, matrix)[:, 0]
            known = ~np.isnan(matrix.values)
            present = known.any(axis=1) & (numbers >= 0)
            newest = matrix.times[len(matrix.times) - 1 - known[present, ::-1].argmax(axis=1)] if present.any() else []
            self._grow_index()
            np.maximum.at(self._last_sample, numbers[present], newest)
        alive = (self._last_sample >= since) & (self._last_sample > -np.inf)
        if not np.array_equal(alive, self._row >= 0):
            self._rebuild_layout(np.flatnonzero(alive))

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Have rows for exactly these entities."""
        numbers = np.array(sorted(map(self._number_of, keys)), np.int64)
        self._grow_index()
        if not np.array_equal(numbers, np.flatnonzero(self._row >= 0)):
            self._rebuild_layout(numbers)

    def rows(self, reading: str, matrix: Matrix) -> Floats:
        """Values of a reading by row, shape (rows, times)."""
        numbers = self._update_index(reading, matrix)
        self._grow_index()
        values = matrix.values
        if self._while_up and len(values):
            values = np.where(self._sections.targets.is_up(numbers[:, 1]), values, np.nan)
        out = np.full((len(self.keys), len(matrix.times)), np.nan)
        for depth, (rows, series) in enumerate(self._layers_of(reading, numbers[:, 0])):
            layer = values[series]
            if depth:
                before = out[rows]
                layer = np.where(np.isnan(before), layer, before if self._copies else before + np.nan_to_num(layer))
            out[rows] = layer
        return out

    def forget(self) -> None:
        """Drop the cached entities of all series, because what they depend on has changed."""
        self._index.clear()
        self._layers.clear()

    def rename(self, name_of: Callable[[Key], Key]) -> None:
        """Give entities new names and keep their history; one whose new name is taken loses its row."""
        numbers = np.flatnonzero(self._row >= 0).tolist()
        renamed = {number: new for number in numbers if (new := name_of(self._names[number])) != self._names[number]}
        if not renamed:
            return
        for number in renamed:
            del self._number[self._names[number]]
        for number, key in renamed.items():
            self._names[number] = key
            if self._number.setdefault(key, number) != number:
                self._last_sample[number] = -np.inf
                numbers.remove(number)
        self.forget()
        self._rebuild_layout(np.array(numbers, np.int64))

    def first_bytes(self, figures: Mapping[str, Floats]) -> int:
        """Bytes of one column of those figures that get their first sample: their earlier columns take memory, too."""
        return len(self.keys) * sum(
            self._dtype_of(block).itemsize
            for name, block in figures.items()
            if not (name in self.figures and self.figures[name].value_bytes) and not np.isnan(block).all()
        )

    def grow(self, points: int, figures: Mapping[str, Floats]) -> None:
        """Append columns to figures that have `points` columns already."""
        for name, block in figures.items():
            if name not in self.figures:
                self.figures[name] = ColumnBuffer(len(self.keys), points, self._dtype_of(block))
            self.figures[name].append(block)

    def _dtype_of(self, block: Floats) -> np.dtype[Any]:
        return min(self._sections.dtype, block.dtype, key=lambda dtype: dtype.itemsize)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in one column of all figures."""
        return sum(figure.value_bytes for figure in self.figures.values())

    @property
    def column_bytes(self) -> int:
        """Bytes of one column of all figures."""
        return len(self.keys) * self.row_bytes

    def __getitem__(self, figure: str) -> Floats:
        return self.figures[figure].view()

    def _update_index(self, reading: str, matrix: Matrix) -> IntArray:
        if reading not in self._index:
            self._index[reading] = SeriesIndex(self._numbered, 2, self._sections.hasher)
        if self._index[reading].update(matrix.labels):
            self._layers.pop(reading, None)
        return self._index[reading].numbers

    def _numbered(self, labels: Labels) -> tuple[int, int]:
        """Numbers of the entity and of the target of a series."""
        named = dict(labels)
        key = self._name(named)
        return -1 if key is None else self._number_of(key), self._sections.targets.intern(named)

    def _number_of(self, key: Key) -> int:
        number = self._number.setdefault(key, len(self._names))
        if number == len(self._names):
            self._names.append(key)
        return number

    def _grow_index(self) -> None:
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
        ordered = sorted(numbers.tolist(), key=lambda number: self._order(self._names[number]))
        self._sections.make_room((len(ordered) - len(self.keys)) * self.row_bytes)
        before = self._row[ordered]
        self._row = np.full(len(self._names), -1, np.int64)
        self._row[ordered] = np.arange(len(ordered))
        self.keys = tuple(self._names[number] for number in ordered)
        self._layers.clear()
        for figure in self.figures.values():
            figure.reorder(before)
        if len(self._names) > 2 * len(ordered) + SPARE_NAMES:
            self._renumber(ordered)

    def _renumber(self, used: Sequence[int]) -> None:
        """Drop the names of entities without a row, since entities come and go for months."""
        self._names = [self._names[number] for number in used]
        self._number = {key: number for number, key in enumerate(self._names)}
        self._row, self._last_sample = np.arange(len(used)), self._last_sample[list(used)]
        self._index.clear()


Growth = Sequence[tuple[Section[Any], Mapping[str, Floats]]]
"""New columns, by section and figure."""


class Grouping(Generic[Key, GroupKey]):
    """Groups of the rows of a section, which are the rows of another section.

    `index` is the row of each row's group.
    """

    def __init__(self, rows: Section[Key], groups: Section[GroupKey], group_of: Callable[[Key], GroupKey]) -> None:
        self.index: IntArray = np.empty(0, np.int64)
        self._rows, self._groups, self._group_of = rows, groups, group_of
        self._present: tuple[object, object] = (None, None)

    def update(self, more: tuple[GroupKey, ...] = ()) -> None:
        """Have a group for each row, and the groups `more`."""
        if self._present[0] is self._rows.keys and self._present[1] is more:
            return
        self._present = self._rows.keys, more
        group_of_rows = [self._group_of(key) for key in self._rows.keys]
        self._groups.set_keys({*group_of_rows, *more})
        row_of = {group: row for row, group in enumerate(self._groups.keys)}
        self.index = np.array([row_of[group] for group in group_of_rows], np.int64)

    def sums(self, rows: Floats) -> Floats:
        """Sum of the rows of each group; NaN without a sample."""
        return sums_by_group(rows, self.index, len(self._groups.keys))


class ColumnBuffer:
    """Columns of a figure, shape (rows, columns), NaN at first. Arrays returned by `view` are never written again.

    Columns without any sample take no memory: few of a platform's entities have all figures.
    """

    def __init__(self, rows: int, columns: int, dtype: np.dtype[Any]) -> None:
        self._start, self._end = 0, columns
        self._slack = SPARE_COLUMNS + next(_SEQUENCE) % SPARE_COLUMNS
        self._data = _unknown((rows, columns), dtype)
        self._has_samples = False

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self._data.dtype.itemsize

    @property
    def value_bytes(self) -> int:
        """Bytes that one value takes: 0 without any sample."""
        return self.itemsize if self._has_samples else 0

    def append(self, block: Floats) -> None:
        """Append columns."""
        columns = block.shape[1]
        if self._start == self._end:
            self._has_samples = not np.isnan(block).all()
            if self._has_samples:
                self._data = block.astype(self._data.dtype, copy=False)
            else:
                self._data = _unknown(block.shape, self._data.dtype)
            self._start, self._end = 0, columns
            return
        if not self._has_samples and np.isnan(block).all():
            self._data = _unknown((len(block), self._end - self._start + columns), self._data.dtype)
            self._start, self._end = 0, self._data.shape[1]
            return
        if not self._has_samples or self._end + columns > self._data.shape[1]:
            self._move(self.view(), columns)
        self._data[:, self._end : self._end + columns] = block
        self._end += columns

    def trim(self, columns: int) -> None:
        """Drop the oldest columns."""
        self._start += columns

    def reorder(self, before: IntArray) -> None:
        """Reorder the rows: `before` has the old row of each new row, -1 for none."""
        if not self._has_samples:
            self._data = _unknown((len(before), self._end - self._start), self._data.dtype)
            self._start, self._end = 0, self._data.shape[1]
            return
        rows = np.full((len(before), self._end - self._start), np.nan, self._data.dtype)
        rows[before >= 0] = self.view()[before[before >= 0]]
        self._move(rows, 0)

    def view(self) -> Floats:
        """The columns, without a copy."""
        return self._data[:, self._start : self._end]

    def _move(self, values: Floats, columns: int) -> None:
        """Move to a larger array that starts with `values`; without a sample in them, to none."""
        if not columns and np.isnan(values).all():
            self._data, self._has_samples = _unknown(values.shape, self._data.dtype), False
            self._start, self._end = 0, values.shape[1]
            return
        shape, dtype = (values.shape[0], values.shape[1] + columns + self._slack), self._data.dtype
        size = shape[0] * shape[1] * dtype.itemsize
        data: Floats = np.ndarray(shape, dtype, mmap(-1, size) if size >= MMAP_MIN_BYTES else bytearray(size))
        data[:, : values.shape[1]] = values
        self._data, self._start, self._end, self._has_samples = data, 0, values.shape[1], True


def _unknown(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Floats:
    """An array of NaN, which takes the memory of one value."""
    return np.broadcast_to(np.array(np.nan, dtype), shape)
