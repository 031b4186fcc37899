"""What the tables of all lists share: formats and cells."""

from __future__ import annotations

from foreshock_dashboard.cli.output import Column
from foreshock_dashboard.model.service import split_cluster
from foreshock_dashboard.render.clause import joined, joined_text, place
from foreshock_dashboard.render.units import percent

FORMATS = ("table", "json", "yaml", "csv")

MAX_NAMES = 3
"""Names in a cell."""


def names(found: list[str], gpu: str = "", most: int = MAX_NAMES) -> str | None:
    """The first names; gpu: that of the row, whose cluster they do not repeat."""
    more = f" +{len(found) - most}" if len(found) > most else ""
    shown = joined_text(joined(map(place, found[:most]), ","), split_cluster(gpu)[0])
    return shown + more if found else None


def ratio(head: str, key: str) -> Column:
    """A column of percentages."""
    return head, lambda row: None if row[key] is None else percent(row[key])
