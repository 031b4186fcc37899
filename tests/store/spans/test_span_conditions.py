"""Search conditions on rows of the head, and the estimates by which a search chooses what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import EXPORTER_NAME, OCCUPANCY_NAME, TraceQuery, UnsearchableError
from foreshock_dashboard.store.blocks.block_dir import Block
from foreshock_dashboard.store.blocks.block_meta import BlockMeta
from foreshock_dashboard.store.blocks.manifest import Snapshot
from foreshock_dashboard.store.spans import conditions as span_conditions
from foreshock_dashboard.store.spans import search
from foreshock_dashboard.store.spans.conditions import (
    duration_range,
    is_selective,
    matching,
    nanoseconds,
    ranking_span,
    spread_range,
    started_since,
)
from foreshock_dashboard.store.spans.scan import all_met
from foreshock_dashboard.store.spans.table import STATUSES, SpanTable, SymbolTable, TablePart

SECOND = 10**9


@pytest.fixture
def part() -> TablePart:
    """Four spans that start at 0, 1, 2, and 3 s and take 1, 2, 3, and 4 s; the last one is of the exporter."""
    symbols = SymbolTable()
    starts = np.arange(4) * SECOND
    columns = {
        "start_ns": starts,
        "end_ns": starts + (np.arange(4) + 1) * SECOND,
        "status": np.array([STATUSES.index(status) for status in ("unset", "error", "ok", "unset")]),
        "service": symbols.refs(["cart", "cart", "pay", EXPORTER_NAME]),
        "namespace": symbols.refs(["shop", "", "shop", ""]),
        "name": symbols.refs(["GET", "PUT", "GET", OCCUPANCY_NAME]),
        "a:user": symbols.refs(["ada", None, "bob", "ada"]),
    }
    return TablePart(columns, symbols, 4)


@pytest.mark.parametrize(
    ("conditions", "selective", "rows"),
    [
        ({}, False, [0, 1, 2]),
        ({"start": 1.0, "end": 2.0}, False, [1, 2]),
        ({"start": 1.5, "end": 1.6}, False, []),
        ({"service": Service("shop", "cart")}, True, [0]),
        ({"service": Service("", "cart")}, True, [1]),
        ({"service": Service("", "cart"), "any_namespace": True}, True, [0, 1]),
        ({"operation": "GET"}, True, [0, 2]),
        ({"operation": OCCUPANCY_NAME}, True, [3]),
        ({"operation": "absent"}, True, []),
        ({"operation": ""}, True, []),
        ({"status": "error"}, True, [1]),
        ({"status": "unset"}, True, [0]),
        ({"attributes": {"user": "ada"}}, True, [0]),
        ({"attributes": {"user": "eve"}}, True, []),
        ({"attributes": {"other": "ada"}}, True, []),
        ({"attributes": {"user": "ada"}, "operation": "PUT"}, True, []),
        ({"min_duration": 2.0}, False, [0, 1, 2]),
    ],
    ids=str,
)
def test_a_row_matches_if_it_meets_all_conditions(
    part: TablePart, conditions: dict[str, Any], selective: bool, rows: list[int]
) -> None:
    """Durations are of a whole trace, not of a row."""
    query = TraceQuery(**{"start": 0.0, "end": 9.0} | conditions)
    assert is_selective(query) is selective
    mask = all_met(matching(query, ("user", "other")), part)
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == rows


def test_a_text_that_no_row_has_gives_a_mask_of_all_rows(part: TablePart) -> None:
    """Whether the column or the text is unknown."""
    for column, text in (("a:other", "ada"), ("a:user", "eve"), ("a:other", "eve")):
        assert part.equals(column, text).tolist() == [False] * 4
    assert part.equals("a:user", "ada").tolist() == [True, False, False, True]


def test_an_attribute_that_is_not_searched_by_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnsearchableError, match="attribute 'x' is not searched by; use one of user, other"):
        matching(TraceQuery(0, 1, attributes={"x": "1"}), ("user", "other"))


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (TraceQuery(0, 9), [0, 1, 2, 3]),
        (TraceQuery(2, 2), [1, 2]),
        (TraceQuery(0, 9, min_duration=2), [1, 2, 3]),
        (TraceQuery(0, 9, max_duration=2), [0, 1]),
        (TraceQuery(0, 9, min_duration=2, max_duration=3), [1, 2]),
        (TraceQuery(3_602, 3_700), []),
    ],
    ids=["all", "overlap", "slow", "fast", "both", "long ago"],
)
def test_a_trace_is_ranked_by_a_span_that_overlaps_the_range(
    part: TablePart, query: TraceQuery, rows: list[int]
) -> None:
    assert np.flatnonzero(ranking_span(query).mask(part)).tolist() == rows


def test_a_span_that_started_since_a_time_is_found(part: TablePart) -> None:
    assert np.flatnonzero(started_since(2 * SECOND).mask(part)).tolist() == [2, 3]


def test_times_are_clipped_to_what_a_column_holds() -> None:
    assert [nanoseconds(seconds) for seconds in (1.5, -1.5, 0.0)] == [1_500_000_000, -1_500_000_000, 0]
    assert (nanoseconds(1e30), nanoseconds(-1e30)) == (1 << 61, -(1 << 61))
    assert spread_range(TraceQuery(10_000, 10_001)) == (6_400 * SECOND, 13_601 * SECOND)
    assert duration_range(TraceQuery(0, 1)) == (0, (1 << 63) - 1)
    assert duration_range(TraceQuery(0, 1, min_duration=0.5, max_duration=2.0)) == (SECOND // 2, 2 * SECOND)
    assert STATUSES.index("error") == span_conditions.ERROR


def snapshot(*ranges: tuple[int, int, int], head: tuple[int, int, int] | None = None) -> Snapshot[SpanTable]:
    """Blocks, and a table of the head, with (start, end, rows)."""
    metas = [BlockMeta("spans", (1, 1), 0, rows, start, end, ()) for start, end, rows in ranges]
    table = SpanTable(0.0)
    if head:
        table.start, table.end, table.rows = head
    return Snapshot(tuple(Block(Path("unread"), meta) for meta in metas), (table,))


@pytest.mark.parametrize(
    ("start", "end", "spans"),
    [
        (0, 1_000, 1_700),
        (0, 100, 1_000),
        (50, 100, 500),
        (100, 200, 500),
        (150, 900, 250 + 200),
        (900, 999, 0),
        (-9, 0, 0),
    ],
)
def test_the_spans_of_a_range_are_estimated_as_evenly_distributed_in_each_block(
    start: int, end: int, spans: float
) -> None:
    found = search._spans_started(snapshot((0, 100, 1_000), (100, 200, 500), head=(400, 500, 200)), start, end)
    assert found == spans


def test_the_start_of_the_last_spans_is_estimated_within_a_second() -> None:
    blocks = snapshot((0, 100 * SECOND, 1_000), (100 * SECOND, 200 * SECOND, 1_000))
    for count, seconds in ((500, 150), (1_000, 100), (1_500, 50), (9_999, 0)):
        found = search._start_of_last(blocks, 200 * SECOND, count)
        assert abs(found - seconds * SECOND) <= search._SINCE_RESOLUTION_NS
    assert search._start_of_last(snapshot(), 7, 1) == 7


@pytest.mark.parametrize(
    ("count", "starts"),
    [(1, [[0, 1, 2]]), (2, [[0, 2], [1]]), (3, [[0], [1], [2]]), (9, [[0], [1], [2]]), (0, [[0, 1, 2]])],
)
def test_a_snapshot_is_split_by_block_with_the_head_in_the_first_part(count: int, starts: list[list[int]]) -> None:
    parts = search._parts(snapshot((0, 1, 1), (1, 2, 1), (2, 3, 1)), count)
    assert [[block.meta.start for block in part.blocks] for part in parts] == starts
    assert [len(part.tables) for part in parts] == [1] + [0] * (len(parts) - 1)
    assert len(search._parts(snapshot(), count)) == 1
