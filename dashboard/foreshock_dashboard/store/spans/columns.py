"""The columns by which spans are found, as SQL names them."""

from __future__ import annotations

from collections.abc import Collection

from foreshock_dashboard.model.span import Kind, Status

KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")

_NUMBERS = ("trace_hi", "trace_lo", "span", "root", "kind", "status", "start_ns", "end_ns", "place")
_TEXTS = ("name", "namespace", "service")
_ATTRIBUTE = "a:"


def span_columns(keys: Collection[str]) -> tuple[str, ...]:
    """The columns that spans may have which are searched by these attributes."""
    return (*_NUMBERS, *_TEXTS, *map(column_of, keys))


def column_of(key: str) -> str:
    """The column that holds an attribute's texts."""
    return f"{_ATTRIBUTE}{key}"


def is_attribute(column: str) -> bool:
    """Whether a column holds an attribute's texts."""
    return column.startswith(_ATTRIBUTE)


def is_text(column: str) -> bool:
    """Whether a column holds texts."""
    return column in _TEXTS or is_attribute(column)
