"""All the rows of a World: sections on one time axis, with the targets that their samples come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.column_buffer import Buffer
from foreshock_dashboard.world.row_alignment import Marker
from foreshock_dashboard.world.section import Key, Section
from foreshock_dashboard.world.targets import Targets

Growth = Sequence[tuple[Section[Any], Mapping[str, Floats]]]
"""New columns of some sections' figures."""


class Sections:
    """Makes sections. `dtype`: of their figures."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.targets = Targets()
        self._dtype = np.dtype(dtype)
        self.marker = Marker()
        self._all: list[Section[Any]] = []

    def new(self, order: Callable[[Key], Any]) -> Section[Key]:
        """A section whose rows are sorted so."""
        made = Section(order, self.targets, self._buffer, self.marker)
        self._all.append(made)
        return made

    def _buffer(self, first: Floats) -> Buffer:
        """For a figure that begins with these."""
        return Buffer(min(self._dtype, first.dtype, key=lambda each: each.itemsize))

    @property
    def column_bytes(self) -> int:
        """Bytes of one column of everything."""
        return sum(section.column_bytes for section in self._all)

    def trim(self, columns: int) -> None:
        """Drop the oldest columns of every figure."""
        for section in self._all:
            section.trim(columns)
