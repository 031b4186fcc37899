"""The Capacity page, /api/forecast, and the announcement on Now."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.web.caller import Caller, answer_schema
from tests.web.conftest import client
from tests.web.forecasts import (
    DAY,
    EMBEDDER,
    FORECAST,
    NONE_SHORT,
    NOT_YET,
    RECENT,
    SMALL,
    UNREADABLE,
    YOUNG,
    shortage,
)
from tests.web.worlds import NOW, SCENES, FakeHub

from foreshock_dashboard.analysis.capacity.forecast import first_shortages
from foreshock_dashboard.analysis.capacity.headroom import headrooms, hourly_peaks, peak_within
from foreshock_dashboard.analysis.capacity.host_loss import replicas_on
from foreshock_dashboard.analysis.capacity.shortage import shortage as first_shortage
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadKind, Shortage
from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.capacity_text import closest_text
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import stamp
from foreshock_dashboard.web.charts.theme import LIGHT
from foreshock_dashboard.web.pages.capacity.data import capacity
from foreshock_dashboard.web.pages.capacity.layout import PAGE
from foreshock_dashboard.web.pages.capacity.what_if import WhatIf
from foreshock_dashboard.web.pages.now.data import now
from foreshock_dashboard.web.state.capacity_json import forecast, is_replay
from foreshock_dashboard.web.state.parameters import View


@pytest.fixture(scope="module")
def look() -> Caller:
    """A client of a hub with a forecast."""
    return client(FakeHub(SCENES["healthy"](), capacity=FORECAST))


def page(forecast: CapacityForecast, *, past: bool = False) -> dict[str, Any]:
    """The payload of the page."""
    return dict(capacity(SCENES["healthy"](), forecast, NOW, past=past))


def test_the_most_urgent_service_comes_first() -> None:
    """A shortage, then the highest peak; its limit is the kind of load that comes closest to it."""
    rows = headrooms(FORECAST, NOW)
    assert [str(row.subject.service or row.subject.pool) for row in rows] == ["vllm-70b", "embedder", "chat", "vllm-8b"]
    assert (rows[0].load.kind, rows[0].shortage) == ("requests", FORECAST.shortages[0])
    assert rows[0].now == pytest.approx(FORECAST.loads[0].history[-1])


def test_tokens_decide_over_requests() -> None:
    """They are two measures of one load."""
    tokens = replace(FORECAST.loads[3], kind=LoadKind.TOKENS, p90=0.5 * FORECAST.loads[3].p90)
    (row,) = headrooms(replace(FORECAST, loads=(FORECAST.loads[3], tokens), shortages=()), NOW)
    assert row.load is tokens


def test_an_unknown_safe_limit_comes_last() -> None:
    """Its load is still forecast."""
    unknown = replace(FORECAST.loads[0], safe=math.nan)
    rows = headrooms(replace(FORECAST, loads=(unknown, FORECAST.loads[2]), shortages=()), NOW)
    assert [row.load for row in rows] == [FORECAST.loads[2], unknown]
    row = page(replace(FORECAST, loads=(unknown,), shortages=()))["rows"][0]
    assert (row.peak, row.safe, row.median, row.upper) == (None, None, [], [])


def test_a_peak_is_that_within_its_time() -> None:
    """With the interval of that instant."""
    load = FORECAST.loads[2]
    day, hour = peak_within(load, NOW, DAY), peak_within(load, NOW, 600.0)
    assert day.at == NOW + 4 * 3600
    assert (day.p10, day.p90) == pytest.approx((0.9 * day.p50, 1.1 * day.p50))
    assert hour.p50 == pytest.approx(load.p50[:6].mean())
    assert peak_within(load, NOW + 7200.0, 600.0).p50 == pytest.approx(load.p50[12:18].mean())
    assert math.isnan(peak_within(replace(load, p50=np.full(1008, np.nan)), NOW, DAY).p50)
    assert math.isnan(peak_within(load, NOW + 8 * DAY, DAY).p50)


def test_the_upper_bound_of_a_peak_is_the_highest_one() -> None:
    """Also at another time than that of the highest median."""
    high = FORECAST.loads[2].p90.copy()
    high[100:106] = 50.0
    assert peak_within(replace(FORECAST.loads[2], p90=high), NOW, DAY).p90 == pytest.approx(50.0)


def test_a_red_hour_and_a_shortage_are_one_thing() -> None:
    """A peak of minutes is none of both; half an hour at twice the limit is both."""
    for points, is_short in ((1, False), (4, True)):
        median = np.full(1008, 10.0)
        median[200 : 200 + points] = 30.0
        load = replace(FORECAST.loads[2], p50=median, history=np.full(1008, 10.0))
        short = first_shortages((load,))
        (row,) = page(replace(FORECAST, loads=(load,), shortages=short))["rows"]
        assert (max(row.median) > 100, row.peak > 1, bool(short)) == (is_short,) * 3


def test_a_recent_shortage_is_marked() -> None:
    """On the page, in the API, and in CSV."""
    found = replace(FORECAST, shortages=(RECENT,))
    assert page(found)["rows"][0].shortage_basis == "recent"
    answer = forecast(found, NOW)
    short, load = answer["shortages"][0], answer["loads"][0]
    assert (short.basis, short.earliest, load.shortage_basis) == ("recent", None, "recent")
    assert short.act_by == RECENT.at - 480.0


def test_a_case_is_computed_once() -> None:
    """For the values and the chart of a page, and for its next poll; a new forecast is another."""
    case = WhatIf(1.3)
    first = case.applied(FORECAST, None)
    assert case.applied(FORECAST, None) is first
    assert case.applied(replace(FORECAST), None) is not first


def test_hours_begin_at_full_hours() -> None:
    """The first and the last one may be incomplete; an hour without a value has none."""
    values = np.array([1.0, 2.0, 9.0, 3.0, *[math.nan] * 6, 4.0])
    peaks = hourly_peaks(values, 3600.0 * 10 + 1800.0)
    np.testing.assert_array_equal(peaks, [6.0, 4.0, 4.0])
    np.testing.assert_array_equal(hourly_peaks(np.full(6, np.nan), 0.0), [np.nan])


def test_a_strip_has_the_share_of_the_safe_load_by_hour() -> None:
    """Median and upper bound, in percent."""
    found = page(FORECAST)
    row = next(row for row in found["rows"] if row.service == "vllm-8b")
    assert (len(row.median), max(row.median), max(row.upper)) == (168, 60, 66)
    assert (row.peak, row.peak_low, row.peak_high) == pytest.approx((0.6, 0.54, 0.66))
    assert (found["start"], found["state"], found["hidden"]) == (NOW, "warning", 0)


@pytest.mark.parametrize(
    ("forecast", "state"),
    [(NONE_SHORT, "healthy"), (NOT_YET, "learning"), (YOUNG, "learning"), (UNREADABLE, "error")],
)
def test_the_state_of_the_headline(forecast: CapacityForecast, state: str) -> None:
    """Without a forecast, the page says why in place of rows."""
    found = page(forecast)
    assert (found["state"], bool(found.get("rows"))) == (state, state == "healthy")


def test_a_shortage_says_when_to_act_and_how_high_its_peak_is() -> None:
    """A pool has neither, and a service without a known start time the peak alone."""

    def action(short: Shortage) -> str:
        return "".join(clause.text for clause in page(replace(FORECAST, shortages=(short,)))["action"])

    assert action(shortage()).startswith(
        "Add by tomorrow at 09:40 UTC: a replica takes 8 min to start. Forecast peak: 15% above"
    )
    assert action(shortage(provisioning_seconds=math.nan)).startswith("Forecast peak: 15% above")
    assert page(replace(FORECAST, shortages=(shortage(None, provisioning_seconds=math.nan),)))["action"] == []


def test_without_a_shortage_the_first_slow_burn_is_named() -> None:
    """No shortage is not taken for no problem."""
    calm, burning = (
        "".join(clause.text for clause in page(replace(NONE_SHORT, slow_burns=burns))["action"])
        for burns in ((), FORECAST.slow_burns)
    )
    assert burning == f"{calm} Host memory of host-3 fills up Thursday at 14:00 UTC."


def test_an_autoscaler_at_its_maximum_is_what_to_raise() -> None:
    """On the page and in the API, also while it has started all that it may."""
    load = replace(FORECAST.loads[0], replicas=4.0, ready=4.0, room=5.0, max_replicas=4.0)
    (short,) = first_shortages((load,))
    limited = replace(FORECAST, loads=(load,), shortages=(short,))
    (row,), answer = page(limited)["rows"], forecast(limited, NOW)
    assert (row.max_replicas, answer["loads"][0].max_replicas, answer["shortages"][0].max_replicas) == (4.0,) * 3
    assert "autoscaler's maximum is raised from 4 to 5 replicas" in answer["summary"]
    assert page(FORECAST)["rows"][0].max_replicas is None


def test_a_past_time_has_no_forecast(look: Caller) -> None:
    """The forecast is of the present."""
    body = look.get(f"/api/pages/capacity?at={NOW - 300:.0f}").json()
    assert "rows" not in body
    assert body["notes"][0][0]["text"].startswith("No capacity forecast for past times.")


def test_without_a_forecast_the_page_has_the_headroom_of_now_and_no_all_clear() -> None:
    """It says how much history is needed; a replay never gets a forecast."""
    scene = SCENES["healthy"]()
    loads = (Load(Service("ml", "chat"), "", ratio=0.3, safe=0.6), Load(Service("ml", "embed"), "", 0.5, 0.5))
    with_loads = replace(scene, forecast=replace(scene.forecast, loads=loads))
    early = capacity(with_loads, CapacityForecast(), NOW, past=False)
    replayed = capacity(replace(with_loads, bounds=(NOW - DAY, NOW)), CapacityForecast(), NOW, past=False)
    listed = forecast(
        CapacityForecast(), NOW, replay=is_replay(replace(with_loads, bounds=(0.0, NOW)), CapacityForecast())
    )
    assert listed["reason"] == listed["summary"] == replayed["notes"][0][0].text

    assert [(row.service, row.load, row.headroom) for row in early["current"]] == [
        ("ml/embed", 0.5, 0.0),
        ("ml/chat", 0.3, 0.5),
    ]
    assert [(row.status, row.basis) for row in early["current"]] == [("ok", "capacity")] * 2
    assert early["unlimited"] == list(map(str, sorted(scene.world.services if scene.world else ())))
    assert early["notes"][0][0].text.endswith("(needs at least 24 h of history).")
    assert (
        replayed["notes"][0][0].text
        == "Replays have no capacity forecast, because it needs at least 24 h of live history."
    )
    assert replayed["current"] == early["current"]


@pytest.mark.parametrize(
    ("ratio", "state", "words"),
    [
        (1.2, "critical", "ml/chat is overloaded: load > 100% (safe limit 76%)."),
        (0.81, "warning", "ml/chat is 7% above its safe limit: load 81% (safe limit 76%)."),
        (0.766, "warning", "ml/chat is 1% above its safe limit: load 77% (safe limit 76%)."),
        (0.762, "learning", "ml/chat is at its safe limit: load 76% (safe limit 76%)."),
        (0.38, "learning", "ml/chat has the least headroom, 50%: load 38% (safe limit 76%)."),
        (math.nan, "learning", "Replays have no capacity forecast, because it needs at least 24 h of live history."),
    ],
)
def test_without_a_forecast_the_headline_is_the_service_with_the_least_headroom(
    ratio: float, state: str, words: str
) -> None:
    """With the numbers of its table; without any known load, why there is no forecast."""
    scene = SCENES["healthy"]()
    loads = (Load(Service("ml", "embed"), "", 0.1, 0.9), Load(Service("ml", "chat"), "", ratio, 0.764))
    seen = replace(scene, forecast=replace(scene.forecast, loads=loads[math.isnan(ratio) :]), bounds=(NOW - DAY, NOW))
    page = capacity(seen, CapacityForecast(), NOW, past=False)

    assert (page["state"], "".join(clause.text for clause in page["clauses"])) == (state, words)
    past = capacity(seen, CapacityForecast(), NOW, past=True)
    assert past["state"] == ("unknown" if state == "learning" else state)


def test_the_api_has_shortages_loads_and_what_fills_up(look: Caller) -> None:
    """As OpenAPI describes it; unknown values are null."""
    body = look.get("/api/forecast").json()
    assert body["summary"].startswith("vllm-70b exceeds its hourly safe limit tomorrow at 10:40 UTC")
    assert [row["act_by"] for row in body["shortages"]] == [NOW + DAY + 2400 - 3000 - 480]
    assert [row["service"] for row in body["loads"]] == ["vllm-70b", "embedder", None, "vllm-8b"]
    assert body["loads"][0]["points"] is None
    assert body["loads"][0]["need"]["peak"] == {"needed": 5.0, "added": 2.0, "short": 1.0}
    assert (body["loads"][0]["room"], body["loads"][2]["need"]["peak"]["needed"], body["current"]) == (1.0, None, [])
    assert body["slow_burns"][0]["name"] == "host-3"
    described = answer_schema(look.get("/api/openapi.json").json(), "/api/forecast")
    assert body.keys() == described.keys() - {"clusters", "preview", "worst_incident"}


def test_one_service_has_its_forecast_by_step(look: Caller) -> None:
    """Seven days in steps of ten minutes."""
    (row,) = look.get("/api/forecast?service=vllm-8b").json()["loads"]
    assert (row["points"]["start"], row["points"]["step"], len(row["points"]["p90"])) == (NOW, 600.0, 1008)
    refused = look.get("/api/forecast?service=absent")
    assert (refused.status_code, "no forecast for this service" in refused.json()["error"]) == (404, True)


def test_the_csv_has_a_line_for_each_service(look: Caller) -> None:
    """With peaks by horizon."""
    rows = list(csv.DictReader(io.StringIO(look.get("/api/csv/forecast").text)))
    assert [row["service"] for row in rows] == ["vllm-70b", "embedder", "", "vllm-8b"]
    assert (rows[0]["replicas_to_add"], rows[0]["room"]) == ("2", "1.0")
    assert (rows[0]["need.peak.needed"], rows[0]["need.peak.added"], rows[0]["need.peak.short"]) == (
        "5.0",
        "2.0",
        "1.0",
    )
    assert rows[2]["need.peak.needed"] == ""  # a pool has no replicas
    assert float(rows[3]["peaks.7d.high"]) == pytest.approx(9.9)
    assert float(rows[3]["headroom"]) == pytest.approx(0.4)


def test_the_csv_has_the_what_if_case_of_the_page(look: Caller) -> None:
    """The peak is higher by its factor; an impossible case is an error."""
    (row,) = (
        row
        for row in csv.DictReader(io.StringIO(look.get("/api/csv/forecast?traffic=1.5").text))
        if row["service"] == "vllm-8b"
    )
    assert float(row["peaks.7d.high"]) == pytest.approx(1.5 * 9.9)
    assert look.get("/api/csv/forecast?lost=absent").status_code == 400


def test_without_a_forecast_api_and_csv_have_what_is_measured() -> None:
    """Each service of the page's table, with its headroom; with a forecast, the API has loads in its place."""
    scene = SCENES["healthy"]()
    loads = (Load(Service("ml", "chat"), "", ratio=0.3, safe=0.6), Load(Service("ml", "embed"), "", 0.5, 0.5))
    seen = FakeHub(replace(scene, forecast=replace(scene.forecast, loads=loads)), capacity=YOUNG)
    without = client(seen)
    body = without.get("/api/forecast").json()
    assert [(row["service"], row["headroom"]) for row in body["current"]] == [("ml/embed", 0.0), ("ml/chat", 0.5)]
    assert (body["loads"], body["current"][0]["need"]["peak"]) == ([], {"needed": None, "added": None, "short": None})
    assert without.get("/api/forecast?traffic=2").json()["current"] == [], "the present load is of no case"
    rows = list(csv.DictReader(io.StringIO(without.get("/api/csv/headroom").text)))
    assert [(row["service"], row["headroom"]) for row in rows] == [("ml/embed", "0.0"), ("ml/chat", "0.5")]
    assert list(csv.DictReader(io.StringIO(without.get("/api/csv/forecast").text))) == []


@pytest.mark.parametrize(("share", "shown"), [(0.064, "6.4%"), (0.924, "92%")])
def test_the_closest_peak_is_rounded_as_in_the_table(share: float, shown: str) -> None:
    """One value has one rounding."""
    said = closest_text(Service("", "llm"), LoadKind.REQUESTS, share, NOW + 3600.0, NOW)
    assert f"peak {shown} of its hourly safe limit" in "".join(clause.text for clause in said)


@pytest.mark.parametrize(
    ("chosen", "highest"),
    [
        ({}, 17.0),
        ({"service": "vllm-8b"}, 9.0),
        ({"pool": "chat"}, 10.5),
        ({"service": "vllm-8b", "pool": "chat"}, 9),
    ],
)
def test_the_chart_shows_the_chosen_service(chosen: dict[str, str], highest: float) -> None:
    """The most urgent one by default: history, median, and the interval around it."""
    figure = draw(chosen)
    names = [trace.get("name") for trace in figure["data"]]
    assert names == [None, "80% interval", "measured", "forecast"]
    low, high, measured, median = ([value or 0.0 for value in trace["y"]] for trace in figure["data"])
    assert max(low) < max(median) < max(high)
    assert highest <= max(median) < 1.3 * highest
    assert measured[-168:] == [0.0] * 168


def test_the_chart_crosses_the_safe_load_when_the_shortage_begins() -> None:
    """The last point below it is before that time, the first one above it is not, and the highest is the peak."""
    load = FORECAST.loads[0]
    short = first_shortage(load)
    assert short is not None
    forecast = draw({})["data"][-1]
    points = [(at, load) for at, load in zip(forecast["x"], forecast["y"], strict=True) if load is not None]
    above = next(i for i, (_, value) in enumerate(points) if value > load.safe)
    begins = stamp(short.at, Look(LIGHT))
    assert points[above - 1][0] < begins <= points[above][0]
    assert max(value for _, value in points) == pytest.approx(peak_within(load, NOW, math.inf).p50, rel=1e-3)


def test_a_chart_without_a_forecast_says_why() -> None:
    """Of an unknown service, and before there is one."""
    assert "No capacity forecast for this service" in str(draw({"service": "absent"})["layout"]["annotations"])
    assert "24 h needed" in str(draw({}, YOUNG)["layout"]["annotations"])


def draw(chosen: dict[str, str], forecast: CapacityForecast = FORECAST) -> dict[str, Any]:
    """The chart of the page, with these parameters in its address."""
    hub = FakeHub(SCENES["healthy"](), capacity=forecast)
    figure: dict[str, Any] = PAGE.charts[0].draw(hub, View(NOW - 900, NOW, True, chosen), Look(LIGHT))
    return figure


@pytest.mark.parametrize(
    ("scene", "at", "announced"),
    [("healthy", NOW + 82_800, True), ("healthy", NOW + DAY + 60, False), ("contended", NOW + 3600, False)],
)
def test_a_healthy_platform_names_a_shortage_of_the_next_day(scene: str, at: float, announced: bool) -> None:
    """An incident comes first; later shortages are on Capacity."""
    snapshot = SCENES[scene]()
    facts = now(snapshot, "x", capacity=replace(FORECAST, shortages=(shortage(at=at),)))["verdict"]["facts"]
    assert ("Next shortage" in [fact.label for fact in facts]) == announced


def test_a_what_if_case_changes_the_whole_page(look: Caller) -> None:
    """More traffic, and a host of which two of the four GPUs of a service are."""
    body = look.get("/api/pages/capacity?traffic=2").json()
    rows = {row["service"]: row for row in body["rows"]}
    assert rows["vllm-8b"]["peak"] == pytest.approx(1.2)
    assert rows["vllm-8b"]["shortage_at"]
    assert body["case"] == "What if: traffic x 2. This is not the forecast."
    assert look.get("/api/pages/capacity?traffic=1").json()["case"] == ""


def test_a_lost_host_takes_its_share_of_the_replicas(look: Caller) -> None:
    """All GPUs of vllm-8b are on host-2, and those of the others are not."""
    body = look.get("/api/pages/capacity?lost=host-2").json()
    rows = {row["service"]: row for row in body["rows"]}
    assert body["hosts"] == ["host-0", "host-1", "host-2", "host-3"]
    assert (rows["vllm-8b"]["safe"], rows["vllm-8b"]["ready"]) == (0.0, 0.0)
    assert set(rows["vllm-8b"]["median"]) == {999}
    assert "".join(part["text"] for part in body["clauses"]) == "vllm-8b has no replicas left."
    assert (rows["embedder"]["safe"], rows["embedder"]["peak"]) == (15.0, pytest.approx(0.9))
    world = SCENES["healthy"]().world
    assert world is not None
    assert replicas_on(world, FORECAST, "host-2") == {FORECAST.loads[2].subject: 4.0}


@pytest.mark.parametrize("traffic", ["0", "-1", "4", "nan", "1e3", "x"])
def test_an_impossible_factor_is_refused(look: Caller, traffic: str) -> None:
    """With its bounds."""
    refused = look.get(f"/api/pages/capacity?traffic={traffic}")
    assert (refused.status_code, "from 1 to 3" in refused.json()["error"]) == (400, True)


def test_a_model_moves_to_another_pool_on_the_page_and_in_the_api(look: Caller) -> None:
    """The case is named, and the address of the page is that of the API."""
    page = look.get("/api/pages/capacity").json()
    row = page["movable"][0]
    to = next(pool for pool in page["pools"] if pool != row["pool"])
    address = f"move={row['service']}&move_to={to}"
    case = f"What if: all replicas of {row['service']} moved to pool {to}. This is not the forecast."
    moved = {path: look.get(f"{path}?{address}").json() for path in ("/api/pages/capacity", "/api/forecast")}
    for path, key in (("/api/pages/capacity", "rows"), ("/api/forecast", "loads")):
        assert moved[path]["case"] == case
        assert {item["pool"] for item in moved[path][key] if item["service"] == row["service"]} == {to}
    some = look.get(f"/api/forecast?{address}&replicas=1&traffic=1.3").json()["case"]
    assert some.startswith(f"What if: traffic x 1.3, 1 replica of {row['service']} moved to pool")


def test_the_api_has_the_other_cases_too(look: Caller) -> None:
    """As on the page."""
    body = look.get("/api/forecast?traffic=2&lost=host-2").json()
    assert body["case"] == "What if: traffic x 2, host-2 lost. This is not the forecast."
    assert next(row for row in body["loads"] if row["service"] == "vllm-8b")["ready"] == 0


def test_more_replicas_than_are_ready_are_all_of_them(look: Caller) -> None:
    """The case says so."""
    case = look.get("/api/forecast?move=vllm-8b&move_to=batch&replicas=9999").json()["case"]
    assert case == "What if: all replicas of vllm-8b moved to pool batch. This is not the forecast."


def test_a_service_has_the_shortages_of_its_pool() -> None:
    """Such as those that its move to the pool makes."""
    own, other = shortage(None, pool="chat"), shortage(None, pool="batch")
    found = forecast(replace(FORECAST, shortages=(own, other, shortage(EMBEDDER, pool=""))), NOW, SMALL)
    assert [(row.service, row.pool) for row in found["shortages"]] == [(None, "chat")]


@pytest.mark.parametrize("path", ["/api/pages/capacity", "/api/forecast"])
def test_a_defect_is_no_bad_parameter(look: Caller, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is right, so the answer is an error of the server."""

    def fails(*_: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("foreshock_dashboard.web.pages.capacity.data.headrooms", fails)
    monkeypatch.setattr("foreshock_dashboard.web.state.capacity_json.headrooms", fails)
    assert look.get(f"{path}?traffic=1.2").status_code == 500


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("lost=no-such-host", "unknown host"),
        ("lost=host-2&move=vllm-8b&move_to=batch", "Pass one of them"),
        ("replicas=3", "no service moves"),
        ("move=embedder&move_to=batch", "the replicas, GPUs, or pool of embedder are unknown"),
        ("move=vllm-8b&move_to=chat", "is in pool chat already"),
        ("move=missing&move_to=h100", "no forecast for this service"),
        ("move=vllm-8b&move_to=nowhere", "unknown pool"),
        ("move=vllm-8b", "unknown pool"),
        ("move_to=h100", "no forecast for this service"),
        ("move=vllm-8b&move_to=h100&replicas=0", "not an integer from 1"),
    ],
)
@pytest.mark.parametrize("path", ["/api/pages/capacity", "/api/forecast"])
def test_an_impossible_case_is_refused(look: Caller, path: str, address: str, problem: str) -> None:
    """With the known names."""
    refused = look.get(f"{path}?{address}")
    assert (refused.status_code, problem in refused.json()["error"]) == (400, True)
