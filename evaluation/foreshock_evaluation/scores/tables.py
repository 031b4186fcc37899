"""Tables for a terminal and for Markdown documents."""

from __future__ import annotations

from collections.abc import Sequence

Table = Sequence[Sequence[str]]
"""Rows of cells, the head first."""


def aligned(table: Table) -> str:
    """Columns under each other."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A table of Markdown."""
    head, *rows = table
    lines = [f"| {' | '.join(row)} |" for row in (head, tuple("---" for _ in head), *rows)]
    return "\n".join(lines)


def between(text: str, name: str, part: str) -> str:
    """A document with the part between the markers of that name replaced.

    Raises:
        ValueError: the markers are not there.
    """
    begin, end = f"<!-- evaluate {name} -->", f"<!-- end of evaluate {name} -->"
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"has no lines {begin!r} and {end!r}; add them around the place of the tables")
    return f"{before}{begin}\n{part}\n{end}{after}"
