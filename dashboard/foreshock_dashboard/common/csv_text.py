"""Rows as CSV (RFC 4180) for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a text that a spreadsheet would compute instead of showing (OWASP, CSV injection)."""
TEXT_PREFIX = "'"
"""Put before such a text: spreadsheets then take it as text."""


def csv_text(columns: Sequence[str], rows: Iterable[object]) -> str:
    """A head line and a line per row. None is an empty cell; the parts of a list are apart by spaces.

    Args:
        columns: names of fields; `a.b` is field b of field a, or of the first item of a list.
        rows: objects of JSON, or dataclasses that become one.

    Numbers stay numbers; a text that a spreadsheet would compute gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    paths = [column.split(".") for column in columns]
    writer.writerows([_cell(_field(row, path)) for path in paths] for row in rows)
    return text.getvalue()


def _field(row: object, path: Sequence[str]) -> object:
    """The value of a column; None where there is none."""
    for name in path:
        if isinstance(row, list | tuple):
            row = row[0] if row else None
        row = None if row is None else _fields(row).get(name)
    return row


def _fields(item: object) -> Mapping[str, object]:
    return item if isinstance(item, dict) else getattr(item, "__dict__", {})


def _cell(value: object) -> object:
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = " ".join(map(_part, value)) if isinstance(value, list | tuple) else _part(value)
    return TEXT_PREFIX + text if text.startswith(FORMULA_PREFIXES) else text


def _part(item: object) -> str:
    """A text; of an object its first field, which names it."""
    return item if isinstance(item, str) else str(next(iter(_fields(item).values()), item))
