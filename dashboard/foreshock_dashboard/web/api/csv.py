"""Lists as CSV (RFC 4180), for spreadsheets: the same rows as in JSON, one line each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.state import conditions

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a text that a spreadsheet would compute instead of showing (OWASP, CSV injection)."""
SAFE = "'"
"""Put before such a text: spreadsheets then take it as text."""


class Listing(NamedTuple):
    """A list that can be had as a table. `rows` gives what JSON has; `columns` the keys of it that are told."""

    columns: tuple[str, ...]
    rows: Callable[[Snapshot], Sequence[Json]]


_RED = ("requests_per_second", "failed_ratio", "p50_seconds", "p95_seconds", "p99_seconds")
LISTS: Mapping[str, Listing] = {
    "services": Listing(
        ("service", "health", "condition", *_RED, "gpus"), lambda snapshot: conditions.services(snapshot)["services"]
    ),
    "edges": Listing(
        ("client", "server", "connection", *_RED, "server_p95_seconds", "attempts_per_call"),
        lambda snapshot: conditions.services(snapshot)["edges"],
    ),
    "pairs": Listing(
        ("victim", "aggressor", "stalled_ratio", "gpus"), lambda snapshot: conditions.contention(snapshot)["pairs"]
    ),
    "incidents": Listing(
        (
            *("id", "phase", "cause", "victim", "aggressor", "since", "opened", "paged", "until"),
            *("confidence", "quality", "gpus", "sentence", "next_step"),
        ),
        lambda snapshot: conditions.incidents(snapshot)["incidents"],
    ),
    "targets": Listing(
        ("instance", "job", "up", "age_seconds"),
        lambda snapshot: [conditions.target(item) for item in snapshot.world.targets] if snapshot.world else [],
    ),
}
"""Lists that are made of a tick alone. `gpus` takes a filter (`fleet.listed`), `traces` those of `/api/traces`."""
TRACES = (
    *("trace_id", "start", "duration_seconds", "gpu_wait_seconds", "service", "operation", "spans", "errors"),
    *("services", "root"),
)


def table(columns: Sequence[str], rows: Iterable[Json]) -> bytes:
    """UTF-8 text with a head line; None is an empty cell, a list is one cell with its parts apart by spaces.

    Numbers stay numbers; a text that a spreadsheet would compute gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = " ".join(map(_part, value)) if isinstance(value, list | tuple) else str(value)
    return SAFE + text if text.startswith(FORMULA) else text


def _part(item: object) -> str:
    """A part of a list: the name of what it is about."""
    if isinstance(item, Mapping):
        return str(item.get("gpu") or item.get("service") or "")
    return str(item)
