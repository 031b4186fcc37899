"""Missing data is shown as missing: unknown is never shown as healthy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import (
    GPU_STATE,
    GPU_TIME,
    NOW,
    REQUESTS,
    SCENES,
    STEP,
    bare,
    contended,
    contention_incident,
    dark,
    dim,
    healthy_world,
    service,
    snapshot,
    without,
)

from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.verdict.reading import SloStatus
from foreshock_dashboard.model.world import Target, World
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.pages.now.verdict import verdict
from foreshock_dashboard.web.state import conditions
from foreshock_dashboard.web.state.freshness import fresh_seconds, freshness, is_stale, why_unknown

UNREACHABLE = "prometheus http://127.0.0.1:9090 refuses connections: start it"


def _p95_gone(world: World) -> World:
    p95 = world.red.p95.copy()
    p95[:, -30:] = np.nan
    return replace(world, red=replace(world.red, p95=p95))


@pytest.mark.parametrize(
    ("world", "whom"),
    [
        (
            lambda: _p95_gone(without(healthy_world(), ("busy", "gpu_wait", "utilization", "contended"))),
            "GPU or service",
        ),
        (lambda: without(healthy_world(), GPU_TIME), "GPU"),
        (lambda: without(healthy_world(), GPU_TIME + GPU_STATE), "GPU"),
        (lambda: without(healthy_world(), REQUESTS), "service"),
        (lambda: _p95_gone(healthy_world()), "service"),
        (dark, "GPU or service"),
    ],
)
def test_blind_is_never_healthy(world: Callable[[], World], whom: str) -> None:
    """Without data on GPU time or on requests, the absence of contention is unknown."""
    said = verdict(snapshot(world()))
    assert said.state == "unknown"
    assert joined_text(said.clauses) == f"No data: no fresh samples from any {whom} since 09:55:00 UTC."
    assert said.since == NOW - 300
    assert "within SLO" not in joined_text(said.clauses)


@pytest.mark.parametrize(
    ("points", "state"), [(1, "healthy"), (5, "healthy"), (6, "unknown"), (90, "unknown"), (91, "unknown")]
)
def test_a_minute_without_data_is_blind(points: int, state: str) -> None:
    """Fewer missing points are a late scrape; also a whole window without any is blind."""
    assert verdict(snapshot(without(healthy_world(), GPU_TIME, points))).state == state


@pytest.mark.parametrize(("step", "seconds"), [(5.0, 60.0), (10.0, 60.0), (15.0, 60.0), (20.0, 60.0), (30.0, 90.0)])
def test_fresh_is_a_minute_or_three_points(step: float, seconds: float) -> None:
    """A coarse grid has no three points in a minute."""
    assert fresh_seconds(step) == seconds


def test_what_is_watched_is_what_has_data() -> None:
    """Silent GPUs, services and targets are named, not counted, and the sentence claims no more than is seen."""
    said = verdict(snapshot(dim()))
    assert (said.state, joined_text(said.clauses)) == ("healthy", "No incidents: 11 services on 24 GPUs")
    assert tuple(map(joined_text, said.notes)) == (
        "No fresh data from 1 of 4 scrape targets: host-3:10877.",
        "No fresh data from 8 of 32 GPUs: host-3/gpu-0, host-3/gpu-1, host-3/gpu-2 and 5 more.",
        "No fresh data from 1 of 12 services: auth.",
    )


@pytest.mark.parametrize(
    ("up", "age", "expected"),
    [
        (True, 4.0, False),
        (True, 60.0, False),
        (True, 61.0, True),
        (True, None, True),
        (False, 4.0, True),
        (None, None, True),
    ],
)
def test_a_target_that_was_up_two_hours_ago_is_silent(up: bool | None, age: float | None, expected: bool) -> None:
    """Its last word counts for a minute."""
    assert is_stale(Target("host-0:10877", "foreshock", up, age), STEP) is expected


def test_a_batch_job_without_requests_is_seen_on_its_gpus() -> None:
    """It never sent spans, so their absence says nothing."""
    world = healthy_world()
    row = world.services.index(service("train-llm"))
    rate = world.red.rate.copy()
    rate[row] = np.nan
    quiet = replace(world, red=replace(world.red, rate=rate))
    assert freshness(quiet).stale_services == ()
    assert conditions.conditions(snapshot(quiet))[service("train-llm")].word == "No inbound requests; uses 10 GPUs"
    unused = replace(quiet, busy=np.zeros_like(quiet.busy))
    assert conditions.conditions(snapshot(unused))[service("train-llm")].word == "No inbound requests; idle on 10 GPUs"
    unknown = replace(quiet, busy=np.full_like(quiet.busy, np.nan))
    assert conditions.conditions(snapshot(unknown))[service("train-llm")].gpus is None
    gone = without(quiet, ("busy", "gpu_wait", "memory"))
    assert service("train-llm") in freshness(gone).stale_services
    assert conditions.conditions(snapshot(gone))[service("train-llm")][:2] == ("unknown", "no_data")


def test_an_open_incident_stays_and_says_that_nothing_new_is_known() -> None:
    """Missing data ends no incident; it may have ended all the same."""
    world = without(contended(), GPU_TIME + REQUESTS)
    said = verdict(snapshot(world, contention_incident(world)))
    assert said.state == "critical"
    assert joined_text(said.notes[0]) == (
        "The state may have changed. No data: no fresh samples from any GPU or service since 09:55:00 UTC."
    )
    assert (
        conditions.conditions(snapshot(world, contention_incident(world)))[service("embedder")].word
        == "Affected, no data"
    )


@pytest.mark.parametrize(
    ("late", "state"), [(13.0, "healthy"), (60.0, "healthy"), (61.0, "unknown"), (7200.0, "unknown")]
)
def test_a_source_out_of_reach_makes_blind_after_a_minute(late: float, state: str) -> None:
    """One look that fails is no blindness; figures of the past are no healthy."""
    said = verdict(snapshot(healthy_world(), error=UNREACHABLE), NOW + late)
    assert said.state == state
    assert f"Stale, last updated 10:00:00 UTC: {UNREACHABLE}." in map(joined_text, said.notes)
    if state == "unknown":
        assert joined_text(said.clauses) == "No data: no fresh samples from any target since 10:00:00 UTC."


def test_blind_does_not_turn_into_learning() -> None:
    """Half an hour without durations and the history is short again; what is wrong is still that nothing comes."""
    assert verdict(snapshot(dark(), learning=Learning(600.0, 1800.0))).state == "unknown"


def test_a_first_look_is_learning_not_blind() -> None:
    """GPUs are known one scrape before their rates are."""
    world = without(healthy_world(), GPU_TIME, points=91)
    assert verdict(snapshot(world, learning=Learning(0.0, 1800.0))).state == "learning"


def test_nothing_but_targets_that_do_not_answer_is_blind() -> None:
    """It is not the same as a hub without configured targets."""
    world = replace(bare(), targets=(Target("host-0:10877", "foreshock", False, 4.0),))
    said = verdict(snapshot(world))
    said_text = joined_text(said.clauses)
    assert (said.state, said_text) == ("unknown", "No data: no samples from any GPU or service yet.")
    assert "No fresh data from 1 of 1 scrape target: host-0:10877." in map(joined_text, said.notes)


def test_rows_without_data_say_so() -> None:
    """On the map and in the table: not idle, not healthy."""
    rows = {row.id: row for row in data.now(snapshot(dim()), "x")["services"]}
    assert (rows["auth"].health, rows["auth"].word, rows["auth"].rate) == ("unknown", "No data", None)
    assert rows["gateway"].word == "Healthy"
    assert {row.health for row in data.now(SCENES["blind"](), "x")["services"]} == {"unknown"}


OWN_SLO = Forecast(slos=(ServiceSlo(service("gateway"), 9.0, 0.1, learned=False),))


@pytest.mark.parametrize(
    ("scene", "word"), [("learning", "No baseline yet; expected in 18 min"), ("preview", "No baseline yet")]
)
def test_no_service_is_healthy_before_there_is_an_slo_to_judge_by(scene: str, word: str) -> None:
    """Neither while the baseline is built nor while the history is read; a configured SLO needs no baseline."""
    seen = replace(SCENES[scene](), forecast=Forecast())
    assert conditions.conditions(seen)[service("gateway")].word == word
    assert conditions.conditions(replace(seen, forecast=OWN_SLO))[service("gateway")].word == "Healthy"


@pytest.mark.parametrize(
    ("minutes", "word"),
    [
        (1, "No baseline yet; expected in 7 min"),
        (5, "No baseline yet; expected in 3 min"),
        (6.5, "No baseline yet; expected in 1 min"),
        (9, "Healthy"),
    ],
)
def test_a_service_deployed_after_learning_is_not_healthy_before_it_has_a_baseline(minutes: float, word: str) -> None:
    """It says when it has one. A configured SLO needs none."""
    world = healthy_world()
    row, p95 = world.services.index(service("gateway")), world.red.p95.copy()
    p95[row, : len(world.times) - round(minutes * 60 / world.step)] = np.nan
    seen = snapshot(replace(world, red=replace(world.red, p95=p95)))

    assert conditions.conditions(seen)[service("gateway")].word == word
    assert conditions.conditions(seen)[service("auth")].word == "Healthy"
    assert conditions.conditions(replace(seen, forecast=OWN_SLO))[service("gateway")].word == "Healthy"


def test_blind_figures_are_unknown_not_zero() -> None:
    """No `SLO met` without data, and services without an SLO meet none."""
    tiles = {item.name: item for item in data.now(SCENES["blind"](), "x")["tiles"]}
    assert {(item.value, item.status) for item in tiles.values()} == {(None, "unknown")}
    without_slo = {item.name: item for item in data.now(snapshot(dim()), "x")["tiles"]}
    assert without_slo["SLO status"].value is None
    slos = tuple(ServiceSlo(service(name), 9.0, 0.1, learned=False) for name in ("gateway", "embedder"))
    result = {
        item.name: item for item in data.now(replace(snapshot(dim()), forecast=Forecast(slos=slos)), "x")["tiles"]
    }
    assert result["SLO status"].slo == SloStatus(breached=0, degraded=0, at_risk=0, within=2, without=10)


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("healthy", ""),
        ("contended", ""),
        ("half-blind", ""),
        ("learning", "Building baseline: 12 of 30 min. Incidents are not detected until then."),
        ("empty", EMPTY["services"]),
        ("error", EMPTY["first_evaluation"]),
        ("blind", "No data: no fresh samples from any service."),
    ],
)
def test_all_within_baseline_is_said_only_where_it_is_known(scene: str, words: str) -> None:
    """Where nothing is known, nothing is healthy either."""
    assert why_unknown(SCENES[scene]()) == words
