"""Array that grows at its end and shrinks at its start."""

from __future__ import annotations

from itertools import count
from mmap import mmap

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row_alignment import IntArray

SPARE_COLUMNS = 4
"""Spare columns of a buffer. Each buffer has up to as many more, so that not all reallocate at once."""
MMAP_MIN_BYTES = 1 << 18
"""Size from which an array gets its own pages, which return to the system when it is freed."""
_SEQUENCE = count()


class ColumnBuffer:
    """Columns of a figure, shape (rows, columns). An array returned by `view` is never written again."""

    def __init__(self, dtype: DTypeLike = np.float64) -> None:
        self._data: Floats = np.empty((0, 0), dtype)
        self._start = self._end = 0
        self._slack = SPARE_COLUMNS + next(_SEQUENCE) % SPARE_COLUMNS

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self._data.dtype.itemsize

    def start_with(self, rows: int, columns: int) -> None:
        """Fill with columns of NaN."""
        self._data = np.full((rows, columns), np.nan, self._data.dtype)
        self._start, self._end = 0, columns

    def append(self, block: Floats) -> None:
        """Append columns."""
        columns = block.shape[1]
        if self._start == self._end:
            self._data, self._start, self._end = block.astype(self._data.dtype, copy=False), 0, columns
            return
        if self._end + columns > self._data.shape[1]:
            self._data = self._moved(self.view(), columns)
        self._data[:, self._end : self._end + columns] = block
        self._end += columns

    def trim(self, columns: int) -> None:
        """Drop the oldest columns."""
        self._start += columns

    def reorder(self, before: IntArray) -> None:
        """Reorder the rows: `before` has the old row of each new row, -1 for none."""
        rows = np.full((len(before), self._end - self._start), np.nan, self._data.dtype)
        rows[before >= 0] = self.view()[before[before >= 0]]
        self._data = self._moved(rows, 0)

    def view(self) -> Floats:
        """The columns, without a copy."""
        return self._data[:, self._start : self._end]

    def _moved(self, held: Floats, columns: int) -> Floats:
        """A larger array that starts with `held`."""
        rows, width = held.shape
        data = _empty(rows, width + columns + self._slack, self._data.dtype)
        data[:, :width] = held
        self._start, self._end = 0, width
        return data


def _empty(rows: int, columns: int, dtype: np.dtype[np.floating]) -> Floats:
    size = rows * columns * dtype.itemsize
    if size < MMAP_MIN_BYTES:
        return np.empty((rows, columns), dtype)
    return np.frombuffer(mmap(-1, size), dtype).reshape(rows, columns)
