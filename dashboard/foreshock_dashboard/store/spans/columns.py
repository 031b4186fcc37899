"""The columns by which spans are searched, and the symbol table of their text columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.span import Kind, Status

KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")

_NUMBER_COLUMNS = ("trace_hi", "trace_lo", "span", "root", "kind", "status", "start_ns", "end_ns", "place")
_TEXT_COLUMNS = ("name", "namespace", "service")
_ATTRIBUTE_PREFIX = "a:"


def span_columns(keys: Collection[str]) -> tuple[str, ...]:
    """Return the possible columns of spans that are searched by the attributes `keys`."""
    return (*_NUMBER_COLUMNS, *_TEXT_COLUMNS, *map(column_of, keys))


def column_of(key: str) -> str:
    """Return the column of an attribute."""
    return f"{_ATTRIBUTE_PREFIX}{key}"


def is_attribute(column: str) -> bool:
    """Whether a column holds an attribute."""
    return column.startswith(_ATTRIBUTE_PREFIX)


def is_text(column: str) -> bool:
    """Whether a column holds text."""
    return column in _TEXT_COLUMNS or is_attribute(column)


SymbolRefs = NDArray[np.uint32]
NO_SYMBOL = 0
"""Ref of a missing text."""


class SymbolTable(dict[str | None, int]):
    """Maps texts to integers, as most spans share a few texts. `[]` adds a missing text; `list(table)[ref]` is it."""

    def __init__(self) -> None:
        super().__init__({None: NO_SYMBOL})

    def __missing__(self, text: str | None) -> int:
        ref = self[text] = len(self)
        return ref

    def refs(self, texts: Sequence[str | None]) -> SymbolRefs:
        """Return the ref of each text."""
        return np.fromiter(map(self.__getitem__, texts), np.uint32, len(texts))
