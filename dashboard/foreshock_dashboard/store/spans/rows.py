"""Rows of spans for DuckDB: from memory those that meet the conditions, from segments as SQL that picks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshock_dashboard.store.blocks.block import Pieces
from foreshock_dashboard.store.blocks.chunk import Columns
from foreshock_dashboard.store.spans.columns import is_text
from foreshock_dashboard.store.spans.conditions import Condition
from foreshock_dashboard.store.spans.format import COLUMNS
from foreshock_dashboard.store.spans.table import Mask, Part, SpanTable


@dataclass(frozen=True, slots=True)
class Source:
    """A SELECT, the values in it, and the rows in memory that it names. Only constants and keys of ours are SQL."""

    sql: str
    given: dict[str, Any]
    memory: dict[str, Columns]


def source(
    pieces: Pieces[SpanTable],
    columns: Sequence[str],
    where: Sequence[Condition],
    hit: Sequence[Condition] | None = None,
    name: str = "memory",
    *,
    numbered: bool = False,
) -> Source:
    """The rows of some pieces, of which there is one at least, that meet the conditions `where`.

    Args:
        hit: a column more, `hit`, says which of them meet these conditions as well.
        name: tells the sources of one statement apart.
        numbered: a column more, `segment`, says which of the segments a row is from; null where it is in memory.
    """
    named = ", ".join(f'"{column}"' for column in columns)
    memory = {f"{name}{at}": _rows(table, columns, where, hit) for at, table in enumerate(pieces.tables)}
    none = ", null::ubigint as segment" if numbered else ""
    selects = [f"select *{none} from {each}" for each in memory]  # noqa: S608 - names of ours
    given: dict[str, Any] = {}
    if pieces.segments:
        given["files"] = [str(segment.folder / COLUMNS) for segment in pieces.segments]
        conditions = (*where, *(hit or ()))
        for condition in conditions:
            given |= condition.given
        told = "" if hit is None else f", ({_sql(hit)}) as hit"
        told += ", file_index as segment" if numbered else ""
        selects.append(f"select {named}{told} from {_read(conditions)} where {_sql(where)}")  # noqa: S608 - as above
    return Source(" union all ".join(selects), given, memory)


def _read(conditions: Sequence[Condition]) -> str:
    """All segments; a column that conditions ask for is there, without values, also where no segment has it."""
    read = "read_parquet($files, union_by_name = true)"
    lacking = sorted({each.lacking for each in conditions if each.lacking is not None})
    if not lacking:
        return read
    empty = ", ".join(f'null::varchar as "{column}"' for column in lacking)
    return f"(select *, file_index from {read} union all by name select {empty} where false)"  # noqa: S608 - keys of ours


def _sql(conditions: Sequence[Condition]) -> str:
    return " and ".join(condition.sql for condition in conditions) or "true"


def _rows(
    table: SpanTable, columns: Sequence[str], where: Sequence[Condition], hit: Sequence[Condition] | None
) -> Columns:
    picked = [(part, np.flatnonzero(met(where, part))) for part in list(table.parts)]
    found = {name: np.concatenate([part[name][at] for part, at in picked]) for name in columns}
    if texts := [*filter(is_text, columns)]:
        words = table.words()
        found |= {name: words[found[name]] for name in texts}
    if hit is not None:
        found["hit"] = np.concatenate([met(hit, part)[at] for part, at in picked])
    return found


def met(conditions: Sequence[Condition], part: Part) -> Mask:
    """Which rows of a part meet all conditions."""
    found = np.ones(part.rows, np.bool_)
    for condition in conditions:
        found &= condition.mask(part)
    return found
