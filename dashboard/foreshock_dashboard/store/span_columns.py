"""The columns by which spans are found, as SQL names and types them."""

from __future__ import annotations

from collections.abc import Collection

from foreshock_dashboard.model.span import Kind, Status

KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")

_COLUMNS = {
    "trace_hi": "UBIGINT", "trace_lo": "UBIGINT", "span": "UBIGINT", "root": "BOOLEAN", "kind": "UTINYINT",
    "status": "UTINYINT", "start_ns": "BIGINT", "end_ns": "BIGINT", "name": "VARCHAR", "namespace": "VARCHAR",
    "service": "VARCHAR", "place": "BIGINT",
}  # fmt: skip


_TEXTS = frozenset(name for name, kind in _COLUMNS.items() if kind == "VARCHAR")
_ATTRIBUTE = "a:"


def span_columns(keys: Collection[str]) -> dict[str, str]:
    """Name and type of each column of spans that are searched by these attributes."""
    return {**_COLUMNS, **{column_of(key): "VARCHAR" for key in keys}}


def column_of(key: str) -> str:
    """The column that holds an attribute's texts."""
    return f"{_ATTRIBUTE}{key}"


def is_attribute(column: str) -> bool:
    """Whether a column holds an attribute's texts."""
    return column.startswith(_ATTRIBUTE)


def is_text(column: str) -> bool:
    """Whether a column holds texts."""
    return column in _TEXTS or is_attribute(column)
