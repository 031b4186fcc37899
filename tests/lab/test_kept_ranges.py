"""Which parts of a time range a recording keeps."""

from __future__ import annotations

import pytest

from foreshock_lab.record.record import Range, kept_ranges, pieces


@pytest.mark.parametrize(
    ("left_out", "kept"),
    [
        ([], [(0.0, 100.0)]),
        ([(20.0, 30.0)], [(0.0, 20.0), (30.0, 100.0)]),
        ([(20.0, 30.0), (30.0, 40.0)], [(0.0, 20.0), (40.0, 100.0)]),
        ([(-10.0, 30.0)], [(30.0, 100.0)]),
        ([(90.0, 120.0)], [(0.0, 90.0)]),
        ([(-20.0, -10.0), (110.0, 120.0)], [(0.0, 100.0)]),
        ([(0.0, 100.0)], []),
    ],
    ids=["nothing", "one", "adjacent", "at the start", "at the end", "outside", "all"],
)
def test_what_is_left_out_splits_the_range(left_out: list[Range], kept: list[Range]) -> None:
    assert kept_ranges(0.0, 100.0, left_out) == kept


def test_pieces_cover_a_range() -> None:
    assert list(pieces(0.0, 25.0, 10.0)) == [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]
