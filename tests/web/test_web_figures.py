"""Figures are plain dictionaries in the theme's colours, in which no name can be markup."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.web.worlds import NOW, FakeTraces

from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.web.figures.scatter import log_ticks, scatter
from foreshock_dashboard.web.figures.text import LONGEST, plain
from foreshock_dashboard.web.theme import DARK, LIGHT, stylesheet


def test_golden_scatter(golden: Callable[[str, str], None]) -> None:
    """The whole figure of eight traces."""
    found = FakeTraces(8).search(TraceQuery(NOW - 900, NOW))
    golden("web-scatter.json", json.dumps(scatter(found, NOW - 900, NOW, LIGHT), indent=1) + "\n")


@pytest.mark.parametrize("name", ["<b>bold</b>", '<a href="https://evil.example">x</a>', "a & b"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    """Plotly renders tags in labels; ours arrive escaped."""
    first = FakeTraces(1).search(TraceQuery(NOW - 900, NOW))[0]
    text = json.dumps(scatter([replace(first, operation=name, errors=0)], NOW - 900, NOW, DARK))
    assert "<b>" not in text
    assert "<a " not in text
    assert plain(name).replace('"', '\\"') in text


def test_a_long_name_is_shortened() -> None:
    """A tooltip is not a page."""
    assert len(plain("x" * 5000)) == LONGEST


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [([0.02, 0.3], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]), ([0.001, 50.0], [0.001, 0.01, 0.1, 1, 10, 100])],
)
def test_duration_ticks_are_round(seconds: list[float], ticks: list[float]) -> None:
    """1, 2 and 5 while there is room, whole decades beyond."""
    assert log_ticks(seconds) == ticks


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["panel", "raised", "ok-wash", "warn-wash", "crit-wash", "blind-wash"])
@pytest.mark.parametrize("ink", ["text", "muted"])
def test_text_can_be_read_on_every_ground(theme: dict[str, str], ground: str, ink: str) -> None:
    """A contrast of 4.5:1 at least."""
    assert _contrast(theme[ink], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("word", "ground"),
    [("warn", "warn-wash"), ("warn", "crit-wash"), ("crit", "crit-wash"), ("blind", "blind-wash"), ("blind", "panel")],
)
def test_the_word_of_a_state_can_be_read_on_its_wash(theme: dict[str, str], word: str, ground: str) -> None:
    """Bad figures stand in rows that are coloured themselves."""
    assert _contrast(theme[word], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_stand_out_from_the_panel(theme: dict[str, str]) -> None:
    """States and services have a contrast of 3:1 at least."""
    for colour in [theme[state] for state in ("ok", "warn", "crit", "idle", "blind")] + theme["services"].split():
        assert _contrast(colour, theme["panel"]) >= 3


def test_both_themes_have_the_same_tokens() -> None:
    """No colour is missing in the dark."""
    assert LIGHT.keys() == DARK.keys()
    assert stylesheet().count("--service-9:") == 3
