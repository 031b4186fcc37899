"""Critical path of a trace."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.analysis.traces.critical_path import critical_path
from foreshock_dashboard.model.span import Span, main_span

MS = 1_000_000


def span(number: int, parent: int, start: int, end: int) -> Span:
    """A span; times in milliseconds."""
    return Span(
        trace_id=f"{1:032x}", span_id=f"{number:016x}", parent_id=f"{parent:016x}" if parent else "", name=str(number),
        kind="server", start_ns=start * MS, end_ns=end * MS, status="unset", status_message="",
        resource={}, attributes={},
    )  # fmt: skip


def path(*spans: tuple[int, int, int, int]) -> dict[int, list[tuple[int, int]]]:
    """Own time in milliseconds by span number."""
    spans_ = [span(*row) for row in spans]
    result = critical_path(spans_)
    return {
        int(spans_[at].name): [(time.start // MS, time.end // MS) for time in own]
        for at, own in result.own_time.items()
    }


@pytest.mark.parametrize(
    ("name", "spans", "expected"),
    [
        ("alone", [(1, 0, 0, 10)], {1: [(0, 10)]}),
        ("one call", [(1, 0, 0, 10), (2, 1, 2, 7)], {1: [(0, 2), (7, 10)], 2: [(2, 7)]}),
        ("one after the other", [(1, 0, 0, 10), (2, 1, 0, 4), (3, 1, 4, 10)], {2: [(0, 4)], 3: [(4, 10)]}),
        (
            "side by side: the one that ended last",
            [(1, 0, 0, 10), (2, 1, 1, 5), (3, 1, 1, 9)],
            {1: [(0, 1), (9, 10)], 3: [(1, 9)]},
        ),
        (
            "a call that overlaps the one waited for was not waited for",
            [(1, 0, 0, 10), (2, 1, 0, 6), (3, 1, 4, 10)],
            {1: [(0, 4)], 3: [(4, 10)]},
        ),
        (
            "nested",
            [(1, 0, 0, 10), (2, 1, 1, 9), (3, 2, 2, 8)],
            {1: [(0, 1), (9, 10)], 2: [(1, 2), (8, 9)], 3: [(2, 8)]},
        ),
        ("what goes on after the answer", [(1, 0, 0, 10), (2, 1, 8, 20)], {1: [(0, 8)], 2: [(8, 10)]}),
        ("a clock that is ahead", [(1, 0, 0, 10), (2, 1, 12, 20)], {1: [(0, 10)]}),
        ("a parent that is not there", [(1, 0, 0, 10), (2, 7, 1, 9)], {1: [(0, 10)]}),
        ("a circle", [(1, 2, 0, 10), (2, 1, 0, 10)], {1: [(0, 10)]}),
    ],
)  # fmt: skip
def test_the_path_consists_of_the_spans_waited_for(
    name: str, spans: list[tuple[int, int, int, int]], expected: dict[int, list[tuple[int, int]]]
) -> None:
    """Each moment of the root span is in the own time of one span."""
    assert path(*spans) == expected, name
    assert path(*reversed(spans)) == expected, name


def test_uninstrumented_time_is_a_gap() -> None:
    """Only of spans with child spans, and from a tenth of the trace on."""
    spans_ = [span(1, 0, 0, 100), span(2, 1, 5, 40), span(3, 1, 60, 99)]
    result = critical_path(spans_)
    assert {spans_[at].name: own for at, own in result.gaps.items()} == {"1": ((40 * MS, 60 * MS),)}
    assert critical_path([]) == ({}, {})


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12))
def test_the_path_covers_the_root_span_once(rows: list[tuple[int, int, int]]) -> None:
    """For any tree, times, and order."""
    spans = [
        span(i, parent if parent != i else 0, start, start + length)
        for i, (parent, start, length) in enumerate(rows, 1)
    ]
    root = main_span(spans)
    ranges = sorted(time for own in critical_path(spans).own_time.values() for time in own)
    assert sum(end - start for start, end in ranges) == root.duration_ns
    assert all(one.end <= other.start for one, other in pairwise(ranges))
