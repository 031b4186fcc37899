"""What a snapshot becomes in JSON: figures with their names, and absent never as zero."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.web.worlds import (
    SCENES,
    request,
    span,
)

from foreshock_dashboard.web.api.list_routes import services as listed_services
from foreshock_dashboard.web.http.responses import envelope
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.pages.traces import trace_json as traces_json
from foreshock_dashboard.web.panels.topology import topology
from foreshock_dashboard.web.state import lists, numbers
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.service_history import HistoryCache


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_null(value: float) -> None:
    """JSON has no NaN, and zero would be a lie."""
    assert number(value) is None


def test_a_ratio_travels_as_one_byte_and_absent_as_its_own() -> None:
    """0, 1/2, 1 and nothing come back as they were."""
    packed = numbers.packed(np.array([0.0, 0.5, 1.0, np.nan, 1.7]))
    assert list(base64.b64decode(packed)) == [0, 125, 250, 255, 250]


def test_a_trace_is_shownfrom_its_first_span_on() -> None:
    """Offsets count from the earliest span; events and attributes come along."""
    result = traces_json.trace("1", request())
    assert result["duration_seconds"] == pytest.approx(1.0)
    by_name = {row["name"]: row for row in result["spans"]}
    assert by_name["answer"]["offset_seconds"] == pytest.approx(0.04)
    failed = next(row for row in result["spans"] if row["status"] == "error")
    assert failed["events"][0]["attributes"] == {"exception.type": "Timeout"}


def test_a_trace_is_shownwithout_occupancy_unless_it_has_nothing_else() -> None:
    """What ran on a GPU is no part of a request; its own trace can be looked at."""
    occupancy = replace(span("gpu.occupancy", "foreshock-exporter", 9, 0, 0.0, 60.0), kind="internal")
    occupancy = replace(occupancy, resource={"service.name": "foreshock-exporter"})

    assert traces_json.trace("1", [*request(), occupancy]) == traces_json.trace("1", request())
    assert [row["name"] for row in traces_json.trace("1", [occupancy])["spans"]] == ["gpu.occupancy"]


def test_attributes_of_every_kind_survive_json() -> None:
    """Bytes, nested values and integers beyond JavaScript's exact range."""
    values = {"raw": b"\x01\xff", "list": ["a", 1, None], "map": {"k": [True]}, "large": 2**60}
    result = traces_json.trace("1", [span("s", "api", 1, 0, 0.0, 1.0, **values)])
    attributes = json.loads(json.dumps(result["spans"][0]["attributes"]))
    assert attributes["raw"] == "01ff"
    assert attributes["list"] == ["a", 1, None]
    assert attributes["map"] == {"k": [True]}
    assert attributes["large"] == str(2**60)


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_every_payload_of_every_scene_is_json(scene: str) -> None:
    """Also before the first evaluation and without any data."""
    seen = SCENES[scene]()
    for make in (
        partial(listed_services, HistoryCache()),
        lists.gpus,
        lists.contention,
        lists.incidents,
    ):
        json.dumps({**envelope(seen), **make(seen)}, allow_nan=False, default=vars)
    json.dumps({**data.now(seen, "x"), **topology(seen.world)}, allow_nan=False, default=vars)
