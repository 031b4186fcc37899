"""Figures are plain dictionaries in the theme's colors, in which no name can be markup."""

from __future__ import annotations

import colorsys
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.web.worlds import NOW, FakeTraces

from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.model.trace_heatmap import Bins, Heatmap, count_traces, heatmap
from foreshock_dashboard.web.charts import lines as lines_module
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import (
    AXIS_PIXELS,
    LEGEND_ROW_PIXELS,
    MAX_TEXT_LENGTH,
    Line,
    Threshold,
    escape_label,
    lines,
)
from foreshock_dashboard.web.charts.theme import DARK, LIGHT, stylesheet
from foreshock_dashboard.web.pages.traces.layout import _label_above, heat_map, log_ticks

RANGE = (NOW - 900, NOW)
WEB = Path(lines_module.__file__).parents[1]


def test_golden_heat_map(golden: Callable[[str, str], None]) -> None:
    """The whole figure of forty traces, eight of them marked."""
    query = TraceQuery(*RANGE)
    found = heatmap(FakeTraces(40), query, Bins.of(query, 6))
    marks = FakeTraces(8).search(query)
    golden("web-heat.json", json.dumps(heat_map(found, marks, Look(LIGHT), RANGE, ""), indent=1) + "\n")


def test_a_source_that_only_lists_is_counted_as_far_as_it_lists() -> None:
    """And the picture knows that it lacks some."""
    query = TraceQuery(*RANGE, min_duration=0.1, max_duration=0.5)
    few, many = (heatmap(FakeTraces(count), query, Bins.of(query, 6)) for count in (40, 2000))
    assert few.counts.sum() == len(FakeTraces(40).search(replace(query, limit=1000)))
    assert (few.note, many.note) == ("", "Cells: newest 1,000 traces only")
    result = heat_map(many, (), Look(LIGHT), (many.bins.start, many.bins.end), "")
    assert [line["text"] for line in result["layout"]["annotations"]] == ["Cells: newest 1,000 traces only."]
    assert few.counts.shape == (24, 6)
    assert (few.bins.lengths[0], few.bins.lengths[-1]) == (pytest.approx(0.1), pytest.approx(0.5))


def test_time_without_cells_says_why_right_there() -> None:
    """It would look like an outage; below the axis where it is short."""
    query = TraceQuery(*RANGE)
    bins = Bins.of(query, 6)
    late = np.zeros((24, 6))
    late[:, 3:] = 1.0
    (label,) = heat_map(Heatmap(bins, late, "Cells: newest traces only"), (), Look(LIGHT), RANGE, "")["layout"][
        "annotations"
    ]
    assert (label["text"], label["x"], label["xanchor"]) == (
        "Cells: newest<br>traces only",
        pytest.approx(0.25),
        "center",
    )


def test_names_of_marks_are_above_the_traces_and_hide_none() -> None:
    """Each in its own row, the first one on top."""
    layout = {"annotations": [{"text": "note", "y": 0}, {"y": 1}, {"y": 0.91}], "margin": {"t": 18}}
    _label_above(layout, 2)
    assert [label.get("yshift") for label in layout["annotations"]] == [None, 15, 0]  # type: ignore[attr-defined]
    assert [label["y"] for label in layout["annotations"]] == [0, 1, 1]  # type: ignore[index]
    assert layout["margin"] == {"t": 33}


def test_the_slowest_traces_lie_between_the_last_ticks_and_below_the_upper_edge() -> None:
    query = TraceQuery(*RANGE)
    some = [
        replace(each, duration=seconds) for each, seconds in zip(FakeTraces(2).search(query), (0.02, 28.0), strict=True)
    ]
    bins = Bins.of(query, 6)
    axis = heat_map(Heatmap(bins, count_traces(some, bins)), some, Look(LIGHT), RANGE, "")["layout"]["yaxis"]
    shown = [text for at, text in zip(axis["tickvals"], axis["ticktext"], strict=True) if at <= 10 ** axis["range"][1]]
    assert shown[-2:] == ["10 s", "50 s"]
    assert 10 ** axis["range"][1] >= 1.5 * 28.0


def test_a_picture_of_nothing_says_so() -> None:
    """In the words of the page."""
    query = TraceQuery(*RANGE)
    figure = heat_map(heatmap(FakeTraces(0), query, Bins.of(query, 6)), (), Look(LIGHT), RANGE, "No trace matches.")
    assert figure["layout"]["annotations"][0]["text"] == "No trace matches."


@pytest.mark.parametrize("name", ["<b>bold</b>", '<a href="https://evil.example">x</a>', "a & b"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    """Plotly renders tags in labels; ours arrive escaped."""
    query = TraceQuery(*RANGE)
    first = replace(FakeTraces(1).search(query)[0], operation=name, errors=0)
    text = json.dumps(heat_map(heatmap(FakeTraces(1), query, Bins.of(query, 6)), [first], Look(DARK), RANGE, ""))
    assert "<b>" not in text
    assert "<a " not in text
    assert escape_label(name).replace('"', '\\"') in text


def test_a_long_name_is_shortened() -> None:
    """A tooltip is not a page."""
    assert len(escape_label("x" * 5000)) == MAX_TEXT_LENGTH


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [([0.02, 0.3], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]), ([0.001, 50.0], [0.001, 0.01, 0.1, 1, 10, 100])],
)
def test_duration_ticks_are_round(seconds: list[float], ticks: list[float]) -> None:
    """1, 2 and 5 while there is room, whole decades beyond."""
    assert log_ticks(seconds) == ticks


@pytest.mark.parametrize("duration", [3.2, 1.0, 0.0007, 2e-5, 48.0, 2e4])
def test_traces_that_are_about_as_long_have_an_axis_with_two_marks(duration: float) -> None:
    """Between which they lie; one trace is enough."""
    query = TraceQuery(*RANGE)
    mark = replace(FakeTraces(1).search(query)[0], duration=duration)
    nothing = heatmap(FakeTraces(0), query, Bins.of(query, 6))
    axis = heat_map(nothing, (mark,), Look(LIGHT), RANGE, "")["layout"]["yaxis"]
    low, high = (10**end for end in axis["range"])
    seen = [tick for tick in axis["tickvals"] if low <= tick * 1.001 and tick <= high * 1.001]
    assert len(seen) >= 2
    assert seen[0] <= duration <= seen[-1]


def test_what_failed_at_once_is_seen_below_all_else_and_stretches_no_axis() -> None:
    """Requests of 0 s beside some of a second: the axis has these, and one row and mark for those."""
    query = TraceQuery(*RANGE)
    listed = [
        replace(each, duration=0.0 if i < 3 else 0.5, errors=i < 3)
        for i, each in enumerate(FakeTraces(9).search(query))
    ]
    bins = Bins.of(query, 6)
    figure = heat_map(Heatmap(bins, count_traces(listed, bins)), listed, Look(LIGHT), RANGE, "")
    cells, _, failed = figure["data"]
    axis = figure["layout"]["yaxis"]
    low, high = (10**end for end in axis["range"])
    assert high / low < 10
    assert (axis["ticktext"][0], axis["tickvals"][0]) == ("0 s", failed["y"][0])
    assert low < cells["y"][0] < failed["y"][0] < cells["y"][1] < 0.5 < high
    result = {text for row in cells["text"] for text in row}
    assert any(text.endswith(" of 0 s") for text in result)
    assert any(" of 422 ms to 562 ms" in text for text in result)
    wide = replace(listed[-1], duration=60.0)
    marks = [replace(listed[-1], duration=0.0095), wide, listed[0]]
    ends = heat_map(Heatmap(bins, count_traces(marks, bins)), marks, Look(LIGHT), RANGE, "")["layout"]["yaxis"]
    assert ends["ticktext"][:2] == ["0 s", "100 ms"]  # 10 ms would cover it
    alone = heat_map(Heatmap(bins, count_traces(listed[:3], bins)), listed[:3], Look(LIGHT), RANGE, "")
    assert alone["layout"]["yaxis"]["ticktext"][0] == "0 s"


@pytest.mark.parametrize(("unit", "pixels"), [("per_second", 56), ("tokens_per_second", 81)])
def test_a_long_unit_leaves_room_for_the_numbers_of_the_axis(unit: str, pixels: int) -> None:
    """They were cut off: only `tokens/s` was left."""
    times = np.array([NOW - 60, NOW])
    assert lines(times, [Line("p50", times)], Look(LIGHT), unit=unit, span=RANGE)["layout"]["margin"]["l"] == pixels


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("ready", "wanted"), 1),
        (("p50", "p95", "p99", "p95 a week before"), 2),
        (("uses itself", "waits for ml/batch-embed", "waits for ml/nightly-eval"), 3),
        ([f"waits for ml/batch-embed-{i}" for i in range(6)], 0),
    ],
)
def test_names_of_lines_have_room_below_the_chart(names: Sequence[str], rows: int) -> None:
    """In one row where all fit, else in columns as wide as the longest; none where they took the chart's room."""
    times = np.array([NOW - 60, NOW])
    drawn = lines(times, [Line(name, times) for name in names], Look(LIGHT), unit="s", span=RANGE)
    assert drawn["layout"]["showlegend"] is (rows > 0)
    assert drawn["layout"]["margin"]["b"] == AXIS_PIXELS + LEGEND_ROW_PIXELS * rows


def test_a_threshold_is_drawn_with_its_name_and_in_sight() -> None:
    """A reader compares the line with it, however far away it is."""
    times = np.linspace(NOW - 900, NOW, 60)
    drawn = lines(
        times, [Line("p95", times * 0 + 2)], Look(LIGHT), unit="s", span=RANGE, threshold=Threshold(16.4, "SLO 16.4 s")
    )
    (line,) = drawn["layout"]["shapes"]
    assert (line["y0"], drawn["layout"]["annotations"][0]["text"]) == (16.4, "SLO 16.4 s")
    assert drawn["layout"]["yaxis"]["range"][1] > 16.4


def test_an_axis_has_one_unit() -> None:
    """Seconds below one are milliseconds, with their threshold: never `0.00s` beside `150ms`."""
    times = np.linspace(NOW - 900, NOW, 60)
    drawn = lines(
        times, [Line("p95", times * 0 + 0.15)], Look(LIGHT), unit="s", span=RANGE, threshold=Threshold(0.2, "SLO")
    )
    assert drawn["layout"]["yaxis"]["ticksuffix"] == " ms"
    assert (drawn["data"][0]["y"][0], drawn["layout"]["shapes"][0]["y0"]) == (150.0, 200.0)


def test_the_date_is_in_the_ticks_only_of_more_than_a_day() -> None:
    """Half an hour needs none."""
    formats = [
        lines(np.array([NOW - 60, NOW]), [Line("p95", np.ones(2))], Look(LIGHT), unit="s", span=(NOW - span, NOW))[
            "layout"
        ]["xaxis"]["tickformat"]
        for span in (120, 1800, 2 * 86_400, 7 * 86_400)
    ]
    assert formats == ["%H:%M:%S", "%H:%M", "%b %-d, %H:%M", "%b %-d"]


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["panel", "raised", "ok-wash", "warn-wash", "crit-wash", "unknown-wash"])
@pytest.mark.parametrize("ink", ["text", "muted"])
def test_text_can_be_read_on_every_ground(theme: dict[str, str], ground: str, ink: str) -> None:
    """A contrast of 4.5:1 at least."""
    assert _contrast(theme[ink], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("word", "ground"),
    [
        ("warn", "warn-wash"),
        ("warn", "crit-wash"),
        ("crit", "crit-wash"),
        ("unknown", "unknown-wash"),
        ("unknown", "panel"),
    ],
)
def test_the_word_of_a_state_can_be_read_on_its_wash(theme: dict[str, str], word: str, ground: str) -> None:
    """Bad figures stand in rows that are colored themselves."""
    assert _contrast(theme[word], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_stand_out_from_the_panel(theme: dict[str, str]) -> None:
    """States and services have a contrast of 3:1 at least."""
    for color in [theme[state] for state in ("ok", "warn", "crit", "idle", "unknown")] + theme["services"].split():
        assert _contrast(color, theme["panel"]) >= 3


def _hue(color: str) -> float:
    """Degrees on the color wheel: red 0, yellow 60, green 120, blue 240, magenta 300."""
    return 360 * colorsys.rgb_to_hsv(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_red_and_amber_mean_a_status_and_never_a_service(theme: dict[str, str]) -> None:
    """Neither does pink. A magnitude, such as utilization, has no status color either."""
    assert all(_hue(theme[status]) < 60 or _hue(theme[status]) > 340 for status in ("warn", "crit"))
    for color in theme["services"].split() + theme["ramp"].split():
        assert 65 < _hue(color) < 300, color


def test_a_color_has_one_meaning() -> None:
    """A link, a status, a series, and a magnitude differ."""
    for theme in (LIGHT, DARK):
        ramp = theme["ramp"].split()
        meanings = [*(theme[name] for name in ("link", "ok", "warn", "crit", "unknown", "idle", "data")), *ramp]
        assert len(set(meanings)) == len(meanings)


def test_text_has_five_sizes_none_below_12_pixels() -> None:
    """Each is a token of the style sheet."""
    sheets = {path.name: path.read_text() for path in WEB.rglob("*.css")}
    sizes = [int(size) for size in re.findall(r"--size-\w+: (\d+)px", sheets["base.css"])]
    assert len(sizes) == 5
    assert min(sizes) >= 12
    for name, sheet in sheets.items():
        for size in re.findall(r"font-size: ([^;]+);", sheet):
            assert size.startswith("var(--size-") or size.endswith("em") or size == "inherit", (name, size)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_a_value_can_be_read_on_every_color_of_the_ramp(theme: dict[str, str]) -> None:
    """Black or white has a contrast of 4.5:1 at least; Plotly's colors between two steps are linear."""
    ramp = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in theme["ramp"].split()]
    for low, high in itertools.pairwise(np.array(ramp, float)):
        for share in np.linspace(0.0, 1.0, 64):
            color = "#" + "".join(f"{round(part):02X}" for part in low + (high - low) * share)
            assert max(_contrast(color, theme[ink]) for ink in ("on-ramp-light", "on-ramp-dark")) >= 4.5


def test_both_themes_have_the_same_tokens() -> None:
    """No color is missing in the dark."""
    assert LIGHT.keys() == DARK.keys()
    assert stylesheet().count("--service-9:") == 3


def test_the_only_line_of_several_is_named() -> None:
    """A time to first token of which the queue time alone is known would be read as the whole."""
    times = np.array([NOW - 600.0, NOW])
    used, none = Line("queue time", np.ones(2)), Line("TTFT", np.full(2, np.nan))
    shown = [lines(times, drawn, Look(LIGHT), unit="ratio", span=RANGE) for drawn in ([used], [none, used])]
    assert [drawn["layout"]["showlegend"] for drawn in shown] == [False, True]
