"""Answers as text: a table for people, JSON, YAML, or CSV."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import yaml

from foreshock_dashboard.common.csv_text import csv_text
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.units import printable

MISSING = "-"
"""Cell of a table for no data; an empty cell in CSV, null in JSON."""

_NUMBER = re.compile(rf"{MISSING}|<?[\d.,/]+%?( \S+)?")
"""A number with its unit."""

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str | None]]
"""Heading, and the text of a row's cell; None for no data."""


def show(
    form: str, answer: Json, rows: Sequence[Row], columns: Sequence[Column], fields: Sequence[str], empty: str
) -> None:
    """Print an answer of the API.

    Args:
        form: `table`, `json`, `yaml`, or `csv`.
        answer: printed whole as JSON or YAML.
        rows: its rows. columns: those of the table. fields: names of the values that CSV has.
        empty: sentence for a table without rows.
    """
    match form:
        case "table":
            is_waiting = "data_time" in answer and answer["data_time"] is None
            click.echo(
                table(rows, columns)
                if rows
                else "No data yet: the first evaluation is running."
                if is_waiting
                else empty
            )
        case "csv":
            click.echo(csv_text(fields, rows), nl=False)
        case _:
            click.echo(document(form, answer))


def plain(answer: object) -> Json:
    """An answer with dataclasses as objects, as the API sends it."""
    content: Json = json.loads(json.dumps(answer, default=vars))
    return content


def document(form: str, answer: object) -> str:
    """JSON or YAML."""
    if form == "yaml":
        return yaml.safe_dump(answer, sort_keys=False, allow_unicode=True, width=120).rstrip()
    return json.dumps(answer, indent=1)


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Aligned columns: numbers to the right, without trailing spaces."""
    cells = [[printable(text) if (text := cell(row)) is not None else MISSING for _, cell in columns] for row in rows]
    heads = [head for head, _ in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    is_number = [all(_NUMBER.fullmatch(line[i]) for line in cells) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in (heads, *cells)
    )
