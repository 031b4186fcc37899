"""Scans: the rows of a snapshot that meet conditions, as one SELECT over block files and filtered head rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Bools
from foreshock_dashboard.store.blocks.format import Columns
from foreshock_dashboard.store.blocks.manifest import Snapshot
from foreshock_dashboard.store.spans.conditions import Condition
from foreshock_dashboard.store.spans.format import COLUMNS_FILE
from foreshock_dashboard.store.spans.table import SpanTable, TablePart, is_text


class Scan(NamedTuple):
    """A SELECT of constants and configured keys, its parameters, and the head rows to register, by name."""

    sql: str
    parameters: dict[str, Any]
    head_rows: dict[str, Columns]


def scan(
    snapshot: Snapshot[SpanTable],
    columns: Sequence[str],
    where: Sequence[Condition],
    hit: Sequence[Condition] | None = None,
    name: str = "memory",
    *,
    with_block: bool = False,
) -> Scan:
    """Return a scan of a non-empty snapshot for the rows that meet the conditions `where`.

    Args:
        hit: if given, a further column `hit` says whether a row meets these conditions as well.
        name: prefix of the registered names, unique among the scans of a statement.
        with_block: add a column `block`: position of the row's block in the snapshot; null for the head.
    """
    quoted = ", ".join(f'"{column}"' for column in columns)
    head_rows = {f"{name}{i}": _head_rows(table, columns, where, hit) for i, table in enumerate(snapshot.tables)}
    null_block = ", null::ubigint as block" if with_block else ""
    selects = [f"select *{null_block} from {registered}" for registered in head_rows]  # noqa: S608 - own names
    parameters: dict[str, Any] = {}
    if snapshot.blocks:
        parameters["files"] = [str(block.folder / COLUMNS_FILE) for block in snapshot.blocks]
        conditions = (*where, *(hit or ()))
        for condition in conditions:
            parameters |= condition.parameters
        extra = "" if hit is None else f", ({_conjunction(hit)}) as hit"
        extra += ", file_index as block" if with_block else ""
        source = _read_parquet(conditions)
        selects.append(f"select {quoted}{extra} from {source} where {_conjunction(where)}")  # noqa: S608 - as above
    return Scan(" union all ".join(selects), parameters, head_rows)


def _read_parquet(conditions: Sequence[Condition]) -> str:
    """Return the SQL source of all block files. Attribute columns that all of them lack are added without values."""
    read = "read_parquet($files, union_by_name = true)"
    columns = sorted({condition.attribute_column for condition in conditions if condition.attribute_column is not None})
    if not columns:
        return read
    nulls = ", ".join(f'null::varchar as "{column}"' for column in columns)
    return f"(select *, file_index from {read} union all by name select {nulls} where false)"  # noqa: S608 - own keys


def _conjunction(conditions: Sequence[Condition]) -> str:
    return " and ".join(condition.sql for condition in conditions) or "true"


def _head_rows(
    table: SpanTable, columns: Sequence[str], where: Sequence[Condition], hit: Sequence[Condition] | None
) -> Columns:
    picked = [(part, np.flatnonzero(all_met(where, part))) for part in list(table.parts)]
    rows = {name: np.concatenate([part[name][positions] for part, positions in picked]) for name in columns}
    if text_columns := [*filter(is_text, columns)]:
        texts = table.texts()
        rows |= {name: texts[rows[name]] for name in text_columns}
    if hit is not None:
        rows["hit"] = np.concatenate([all_met(hit, part)[positions] for part, positions in picked])
    return rows


def all_met(conditions: Sequence[Condition], part: TablePart) -> Bools:
    """Return the mask of rows that meet all conditions."""
    mask = np.ones(part.rows, np.bool_)
    for condition in conditions:
        mask &= condition.mask(part)
    return mask
