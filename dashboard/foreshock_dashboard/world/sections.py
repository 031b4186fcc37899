"""All sections of a World on one time axis, with the scrape targets of their samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.column_buffer import ColumnBuffer
from foreshock_dashboard.world.row_alignment import CachedLabelHasher
from foreshock_dashboard.world.section import Key, Section
from foreshock_dashboard.world.targets import Targets

Growth = Sequence[tuple[Section[Any], Mapping[str, Floats]]]
"""New columns, by section and figure."""


class Sections:
    """Creates sections and trims them together. `dtype` of their figures."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.targets = Targets()
        self._dtype = np.dtype(dtype)
        self.hasher = CachedLabelHasher()
        self._all: list[Section[Any]] = []

    def new(self, order: Callable[[Key], Any]) -> Section[Key]:
        """Create a section with rows sorted by `order`."""
        section = Section(order, self.targets, self._buffer, self.hasher)
        self._all.append(section)
        return section

    def _buffer(self, first: Floats) -> ColumnBuffer:
        """Buffer for a figure that starts with the columns `first`."""
        return ColumnBuffer(min(self._dtype, first.dtype, key=lambda dtype: dtype.itemsize))

    @property
    def column_bytes(self) -> int:
        """Bytes of one column of all sections."""
        return sum(section.column_bytes for section in self._all)

    def trim(self, columns: int) -> None:
        """Drop the oldest columns of every figure."""
        for section in self._all:
            section.trim(columns)
