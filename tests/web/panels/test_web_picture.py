"""The picture of an incident."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from tests.web.worlds import NOW, contended, contention_incident

from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.web.charts.svg import HEIGHT, WIDTH
from foreshock_dashboard.web.documents.picture import ZOOM, incident_picture, incident_svg, sample_picture


def test_a_picture_is_a_png_of_two_plots_without_a_browser() -> None:
    """With the font that comes along: text is drawn where no font is installed."""
    world = contended()
    png = incident_picture(world, contention_incident(world))
    assert png is not None
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (WIDTH * ZOOM, 2 * HEIGHT * ZOOM)
    assert 20_000 < len(png) < 200_000
    assert len(sample_picture()) > 5000


@pytest.mark.parametrize(
    ("cause", "titles"),
    [
        ("gpu_contention", ["p95 latency", "GPU wait of the affected services by neighbor"]),
        ("retry_storm", ["Error rate", "Request rate"]),
        ("overload", ["p95 latency", "Error rate"]),
    ],
)
def test_a_picture_shows_the_plots_of_the_cause(cause: Cause, titles: list[str]) -> None:
    """Two of those of the postmortem."""
    world = contended()
    svg = incident_svg(world, replace(contention_incident(world), cause=cause))
    assert svg is not None
    assert [title for title in titles if f'aria-label="{title}"' in svg] == titles
    assert svg.count("aria-label") == 2


def test_a_picture_does_not_show_a_cause_that_is_not_stated() -> None:
    """At low confidence."""
    world = contended()
    svg = incident_svg(world, replace(contention_incident(world), confidence=0.49))
    assert svg is not None
    assert "GPU wait" not in svg


def test_an_incident_without_data_has_no_picture() -> None:
    """As after a restart over a source that lost it."""
    world = contended()
    before = replace(contention_incident(world), since=NOW - 90_000, opened=NOW - 90_000, resolved=NOW - 89_000)
    assert incident_picture(world, replace(before, evidence=())) is None
