"""A trace as text: its tree, its lanes, its sentence, within a hundred columns, whatever the names are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.render.trace_text import MAX_SPANS, WIDTH, trace_text

if TYPE_CHECKING:
    from tests.conftest import Golden

ANSWER = Path(__file__).parents[1] / "golden" / "web-trace-lanes.json"
"""What the API gives of a trace, as another test has it."""


def answer() -> Any:  # noqa: ANN401  # JSON
    """A trace of seven spans, two of which waited for a GPU."""
    return json.loads(ANSWER.read_text())


def span(number: int, parent: int = 0, **more: object) -> dict[str, object]:
    """A span of an answer."""
    return {
        "span_id": str(number),
        "parent_id": str(parent) if parent else "",
        "service": "gateway",
        "name": f"step {number}",
        "kind": "internal",
        "status": "unset",
        "offset_seconds": float(number),
        "duration_seconds": 1.0,
        "gpu": None,
        **more,
    }


def trace_json(*spans: dict[str, object], **more: object) -> dict[str, object]:
    """An answer without lanes."""
    return {**answer(), "spans": list(spans), "lanes": [], "sentence": "", **more}


def names(text: str) -> list[str]:
    """The names of the spans in the order in which they are shown, with their indentation."""
    return [
        line[23:].partition("gateway")[0] + line.rpartition("step ")[2] for line in text.splitlines() if "step" in line
    ]


def test_golden_trace_as_text(golden: Golden) -> None:
    """All of it, to see what a change changes."""
    golden("trace.txt", trace_text(answer()))


def test_spans_are_shown_under_their_parents_by_start() -> None:
    """One whose parent is not here stands at the edge."""
    spans = [span(1), span(4, 1), span(3, 2), span(2, 1), span(9, 77)]
    assert names(trace_text(trace_json(*spans))) == ["1", "  2", "    3", "  4", "9"]


def test_spans_that_are_each_others_parents_are_shown_once() -> None:
    """A malformed trace does not go round for ever."""
    assert sorted(name.strip() for name in names(trace_text(trace_json(span(1, 2), span(2, 1), span(3, 3))))) == [
        "1",
        "2",
        "3",
    ]


def test_a_long_trace_is_cut_and_says_so() -> None:
    """The hub itself may have left out some before."""
    text = trace_text(trace_json(*(span(i, i - 1) for i in range(1, 1001)), left_out=7))
    assert len(names(text)) == MAX_SPANS
    assert f"… and {1000 - MAX_SPANS + 7} more spans" in text


@pytest.mark.parametrize(
    ("gpu", "shown"),
    [
        (None, ""),
        ({"waited_seconds": 0.49, "quality": "measured", "upper_bound": False}, "49%"),
        ({"waited_seconds": 0.49, "quality": "measured", "upper_bound": True}, "≤49%"),
        ({"waited_seconds": 0.49, "quality": "inferred", "upper_bound": True}, "~49%"),
    ],
)
def test_the_share_that_a_span_waited_shows_its_quality(gpu: dict[str, object] | None, shown: str) -> None:
    """A bound and a guess look different from a measurement."""
    line = next(line for line in trace_text(trace_json(span(1, gpu=gpu))).splitlines() if "step 1" in line)
    assert line[12:22].strip() == shown


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"lanes_settled": False}, "GPU wait is not final: the last GPU samples are still arriving."),
        ({"lanes_error": "the store is away"}, "GPU wait unknown: the store is away"),
        ({"lanes_left_out": 12}, "GPU samples for 12 minutes were not read."),
        ({}, "No span in this trace used a shared GPU."),
        ({"lanes_note": "no metrics"}, "GPU wait unknown: no metrics"),
        ({"sentence": "It waited."}, "It waited."),
    ],
)
def test_what_is_not_known_is_said(more: dict[str, object], words: str) -> None:
    """Missing data does not look healthy."""
    assert words in trace_text(trace_json(span(1), **more))


NAMES = st.text(max_size=150)


@given(NAMES, NAMES, st.floats(0, 1e6), st.integers(0, 40))
def test_no_line_is_longer_than_the_terminal_and_none_commands_it(
    who: str, name: str, seconds: float, depth: int
) -> None:
    """Names come from the network."""
    body = answer()
    body["spans"] = [span(i, i - 1, service=who, name=name, duration_seconds=seconds) for i in range(1, depth + 2)]
    for lane in body["lanes"]:
        lane["own"] = who
        lane["intervals"] = [{**each, "service": who, "duration_seconds": seconds} for each in lane["intervals"]]
    body["sentence"] = "It waited."

    text = trace_text(body)
    assert max(map(len, text.split("\n"))) <= WIDTH
    assert all(line.isprintable() for line in text.split("\n"))
