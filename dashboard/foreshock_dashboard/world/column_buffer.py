"""An array that grows at the end and shrinks at the start."""

from __future__ import annotations

from itertools import count
from mmap import mmap

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row_alignment import Numbers

SLACK = 4
"""Columns of room that a buffer is given beyond what it holds; up to as many more, so that not all move at once."""
LARGE = 1 << 18
"""Bytes from which an array has pages of its own: given back when it goes, not kept in pieces for smaller things."""
_NUMBER = count()


class Buffer:
    """Columns of figures, shape (rows, columns). What `view` gave is never written again."""

    def __init__(self, dtype: DTypeLike = np.float64) -> None:
        self._data: Floats = np.empty((0, 0), dtype)
        self._start = self._end = 0
        self._slack = SLACK + next(_NUMBER) % SLACK

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self._data.dtype.itemsize

    def start_with(self, rows: int, columns: int) -> None:
        """Hold that many columns of NaN."""
        self._data = np.full((rows, columns), np.nan, self._data.dtype)
        self._start, self._end = 0, columns

    def append(self, block: Floats) -> None:
        """Add columns."""
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

    def lay_out(self, before: Numbers) -> None:
        """Arrange the rows anew: for each the one it was before, -1 for a new one."""
        held = np.full((len(before), self._end - self._start), np.nan, self._data.dtype)
        held[before >= 0] = self.view()[before[before >= 0]]
        self._data = self._moved(held, 0)

    def view(self) -> Floats:
        """The columns held."""
        return self._data[:, self._start : self._end]

    def _moved(self, held: Floats, columns: int) -> Floats:
        """A larger array that begins with what is held."""
        rows, width = held.shape
        data = _empty(rows, width + columns + self._slack, self._data.dtype)
        data[:, :width] = held
        self._start, self._end = 0, width
        return data


def _empty(rows: int, columns: int, dtype: np.dtype[np.floating]) -> Floats:
    size = rows * columns * dtype.itemsize
    if size < LARGE:
        return np.empty((rows, columns), dtype)
    return np.frombuffer(mmap(-1, size), dtype).reshape(rows, columns)
