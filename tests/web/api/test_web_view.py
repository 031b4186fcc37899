"""What an address asks to see: Grafana's grammar of time, and remedies for what cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.settings.times import parse_time
from foreshock_dashboard.web.shell.shell import Page, find
from foreshock_dashboard.web.state.parameters import (
    DEFAULT_RANGE_SECONDS,
    BadParameterError,
    View,
    view,
    view_of,
)

NOW = 1_764_064_800.0  # 2025-11-25 10:00 UTC
DAY = 86_400.0


@pytest.mark.parametrize(
    ("text", "up", "expected"),
    [
        ("now", False, NOW),
        ("now-15m", False, NOW - 900),
        ("now-1.5h", False, NOW - 5400),
        ("now/d", False, NOW - 36_000),
        ("now/d", True, NOW - 36_000 + DAY),
        ("now-1d/d", False, NOW - 36_000 - DAY),
        ("now-90s/m", False, NOW - 120),
        ("1764064800", False, NOW),
        ("1764064800000", False, NOW),
        ("1764064800.5", False, NOW + 0.5),
        ("2025-11-25T10:00:00Z", False, NOW),
        ("2025-11-25T19:00:00+09:00", False, NOW),
    ],
)
def test_a_time_is_read_as_grafana_writes_it(text: str, up: bool, expected: float) -> None:
    """Relative, rounded, seconds, milliseconds and ISO 8601."""
    assert parse_time(text, NOW, up) == expected


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, View(NOW - DEFAULT_RANGE_SECONDS, NOW)),
        ({"from": "now-6h"}, View(NOW - 21_600, NOW)),
        ({"from": "now-6h", "to": "now", "refresh": "5s"}, View(NOW - 21_600, NOW)),
        ({"from": "1764060000000", "to": "1764064000000"}, View(1_764_060_000.0, 1_764_064_000.0, live=False)),
        ({"to": "now-1h"}, View(NOW - 3600 - DEFAULT_RANGE_SECONDS, NOW - 3600, live=False)),
        ({"to": "now/d", "from": "now/d"}, View(NOW - 36_000, NOW, live=False)),
        ({"victim": " a "}, View(NOW - DEFAULT_RANGE_SECONDS, NOW, parameters={"victim": " a "})),
    ],
)
def test_a_view_is_what_the_address_says(given_: dict[str, str], expected: View) -> None:
    """What it leaves out is the last half hour; no view looks into the future."""
    assert view(given_, NOW) == expected


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"from": "yesterday"}, "from='yesterday': is not a valid time; use"),
        ({"to": "now-1h", "from": "now"}, "from='now' is less than a minute before the end time. Use a longer range"),
        ({"from": "now-3s"}, "Use a longer range"),
        ({"to": "now-1000000000000d"}, "is outside the years 1970 to 2200"),
        ({"to": "9" * 14}, "is outside the years 1970 to 2200"),
        ({"from": "now-900d"}, "more than 360 days before the end time"),
    ],
)
def test_what_cannot_be_shown_names_the_parameter_and_the_remedy(given_: dict[str, str], words: str) -> None:
    """A range that is no range is refused."""
    with pytest.raises(BadParameterError, match=words.replace("(", r"\(")):
        view(given_, NOW)


@given(st.one_of(st.none(), st.integers(), st.text(), st.text().map(lambda text: f"?from={text}&to=now&x={text}")))
def test_any_address_gives_a_view(search: object) -> None:
    """Charts never fail for an address; the page beside them says what is wrong with it."""
    seen = view_of(search, NOW, "ns/name")
    assert seen.end <= NOW
    assert seen.end - seen.start >= 60
    assert seen.rest == "ns/name"


def test_a_deep_page_is_found_below_its_address() -> None:
    """Names keep their slashes and their special characters; another page is not in the way."""
    services = Page("/services", "Services", "Services", lambda: None, deep=True)  # type: ignore[arg-type,return-value]
    plain = Page("/", "Now", "Now", lambda: None)  # type: ignore[arg-type,return-value]
    pages = (plain, services)
    assert find(pages, "/services/prod/embed%20der") is services
    assert services.rest("/services/prod/embed%20der") == "prod/embed der"
    assert find(pages, "/services/") is services
    assert find(pages, "/serviceship") is None
    assert plain.rest("/x") == ""
