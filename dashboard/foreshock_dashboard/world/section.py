"""Rows of one kind of thing that come and go, and the figures of them that grow."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.column_buffer import Buffer
from foreshock_dashboard.world.row_alignment import Alignment, Marking, Numbers
from foreshock_dashboard.world.targets import Targets

Key = TypeVar("Key", bound=Hashable)
NameOf = Callable[[Mapping[str, str]], Key | None]
SPARE = 1000
"""Names that are remembered beyond twice those in use."""


class Section(Generic[Key]):
    """One row per thing, in order; NaN where a thing has no sample.

    Series are named by a function from their labels to what they are of; None leaves them out. What it says of a series
    is kept until `forget`. `order` sorts the rows.
    """

    def __init__(
        self, order: Callable[[Key], Any], targets: Targets, buffer: Callable[[Floats], Buffer], marking: Marking
    ) -> None:
        self.keys: tuple[Key, ...] = ()
        self._order = order
        self._targets = targets
        self._new_buffer = buffer
        self._marking = marking
        self._figures: dict[str, Buffer] = {}
        self._aligned: dict[str, Alignment] = {}
        self._layers: dict[str, list[tuple[Numbers, Numbers]]] = {}
        self._names: list[Key] = []
        self._number: dict[Key, int] = {}
        self._row: Numbers = np.empty(0, np.int64)  # of each number; -1 where it has none
        self._seen: Floats = np.empty(0)  # of each number: Unix seconds of its last sample, -inf where it needs no row

    def meet(self, reading: str, matrix: Matrix, name: NameOf[Key]) -> None:
        """Name the series of a reading. What they are of has a row from now on, while it has samples."""
        numbers = self._follow(reading, matrix, name)[:, 0]
        told = ~np.isnan(matrix.values)
        there = told.any(axis=1) & (numbers >= 0)
        newest = matrix.times[len(matrix.times) - 1 - told[there, ::-1].argmax(axis=1)] if there.any() else []
        self._sized()
        np.maximum.at(self._seen, numbers[there], newest)

    def settle(self, since: float) -> None:
        """Lay the rows out anew where something came, or has had no sample since then (Unix seconds)."""
        alive = self._seen >= since
        alive &= self._seen > -np.inf
        if not np.array_equal(alive, self._row >= 0):
            self._lay_out(np.flatnonzero(alive))

    def hold(self, keys: Iterable[Key]) -> None:
        """Have a row for just these."""
        numbers = np.array(sorted(map(self._numbered, keys)), np.int64)
        self._sized()
        if not np.array_equal(numbers, np.flatnonzero(self._row >= 0)):
            self._lay_out(numbers)

    def rows(
        self, reading: str, matrix: Matrix, name: NameOf[Key], *, copies: bool = False, while_up: bool = False
    ) -> Floats:
        """Arrange a reading, shape (rows, times).

        Series of one thing are summed, or, where they are `copies` of it (a host scraped by two jobs, or under another
        address than before), the first that has a sample counts. `while_up` leaves out what rates still tell of a
        target after it went down: the window empties, the figure only fades.
        """
        numbers = self._follow(reading, matrix, name)
        self._sized()
        values = matrix.values
        if while_up and len(values):
            values = np.where(self._targets.alive(numbers[:, 1]), values, np.nan)
        out = np.full((len(self.keys), len(matrix.times)), np.nan)
        for depth, (rows, series) in enumerate(self._layered(reading, numbers[:, 0])):
            found = values[series]
            if depth:
                there = out[rows]
                found = np.where(np.isnan(there), found, there if copies else there + np.nan_to_num(found))
            out[rows] = found
        return out

    def forget(self, *readings: str) -> None:
        """Name all series of these readings anew: what their names depend on has changed."""
        for reading in readings:
            self._aligned.pop(reading, None)
            self._layers.pop(reading, None)

    def grow(self, points: int, figures: Mapping[str, Floats]) -> None:
        """Append columns, of which there are `points` already, to every figure."""
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

    def _follow(self, reading: str, matrix: Matrix, name: NameOf[Key]) -> Numbers:
        if reading not in self._aligned:

            def numbered(labels: Labels) -> tuple[int, int]:
                named = dict(labels)
                key = name(named)
                return -1 if key is None else self._numbered(key), self._targets.number_of(named)

            self._aligned[reading] = Alignment(numbered, 2, self._marking)
        if self._aligned[reading].follow(matrix.labels):
            self._layers.pop(reading, None)
        return self._aligned[reading].numbers

    def _numbered(self, key: Key) -> int:
        number = self._number.setdefault(key, len(self._names))
        if number == len(self._names):
            self._names.append(key)
        return number

    def _sized(self) -> None:
        """Room for the numbers given since."""
        more = len(self._names) - len(self._row)
        if more:
            self._row = np.concatenate([self._row, np.full(more, -1, np.int64)])
            self._seen = np.concatenate([self._seen, np.full(more, -np.inf)])

    def _layered(self, reading: str, numbers: Numbers) -> list[tuple[Numbers, Numbers]]:
        """Rows and the series that go there: the first series of every row, the second of those that have two, …"""
        if reading not in self._layers:
            rows = np.where(numbers >= 0, self._row[numbers], -1) if len(self._row) else np.full(len(numbers), -1)
            series = np.flatnonzero(rows >= 0)
            layers: list[tuple[Numbers, Numbers]] = []
            while len(series):
                _, first = np.unique(rows[series], return_index=True)
                layers.append((rows[series[first]].astype(np.int32), series[first].astype(np.int32)))
                series = np.delete(series, first)
            self._layers[reading] = layers
        return self._layers[reading]

    def _lay_out(self, numbers: Numbers) -> None:
        """Rows for the things of these numbers."""
        ordered = sorted(numbers.tolist(), key=lambda number: self._order(self._names[number]))
        before = self._row[ordered]
        self._row = np.full(len(self._names), -1, np.int64)
        self._row[ordered] = np.arange(len(ordered))
        self.keys = tuple(self._names[number] for number in ordered)
        self._layers.clear()
        for figure in self._figures.values():
            figure.lay_out(before)
        if len(self._names) > 2 * len(ordered) + SPARE:
            self._renumber(ordered)

    def _renumber(self, kept: Sequence[int]) -> None:
        """Forget the names of what has no row any more: things come and go for months."""
        self._names = [self._names[number] for number in kept]
        self._number = {key: number for number, key in enumerate(self._names)}
        self._row, self._seen = np.arange(len(kept)), self._seen[list(kept)]
        self._aligned.clear()
