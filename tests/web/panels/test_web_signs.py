"""Stages, signs, lanes and the five numbers: what of a World is anomalous, since when, and what comes next."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests.web.worlds import NOW, POINTS, STEP, contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.forecast import BatchingLaw, Forecast, Load, Risk, ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Candidate, Evidence, State, SuspectedCause, Xid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World, slice_world
from foreshock_dashboard.model.world_sections import ModelServers
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.verdict.incident_course import recovery_text
from foreshock_dashboard.stats.runs import long_runs, moving_median
from foreshock_dashboard.web.pages.now.course import recovery
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents, lanes_start
from foreshock_dashboard.web.panels.suspected_cause import suspected, suspicion
from foreshock_dashboard.web.panels.timeline import FORECAST_SECONDS, timeline
from foreshock_dashboard.web.panels.vitals import load_ratios, vitals
from foreshock_dashboard.web.state.service_history import HistoryCache, service_history
from foreshock_dashboard.web.state.stages import ServiceHistory

ONSET = NOW - 190
EMBEDDER, RAG, TRAIN, GATEWAY = map(service, ("embedder", "rag-api", "train-llm", "gateway"))


def _fared(**more: object) -> ServiceHistory:
    return service_history(contended(), NOW - 900, NOW, ONSET, **more)  # type: ignore[arg-type]  # tests name parameters


def _seen(*risks: AtRisk) -> Snapshot:
    world = contended()
    return snapshot(world, replace(contention_incident(world), at_risk=risks))


def _lanes(seen: Snapshot, most: int = 8) -> Json:
    assert seen.world
    chosen = chosen_incidents(seen)
    start = lanes_start(seen.world, chosen)
    history = HistoryCache().get(seen, seen.world, chosen.onset, start)
    lanes: Json = json.loads(json.dumps(timeline(seen.world, start, history, chosen, most), default=vars))
    return lanes


def _numbers(seen: Snapshot) -> dict[str, Json]:
    assert seen.world
    return {
        row.name: vars(row)
        for row in vitals(seen, HistoryCache().get(seen, seen.world, chosen_incidents(seen).onset, NOW - 900))
    }


def test_nothing_is_anomalous_in_healthy() -> None:
    """No sign, no spell, and everybody with data is healthy."""
    history = service_history(healthy_world(), NOW - 900, NOW)
    assert history.signs == ()
    assert set(history.now().values()) == {"healthy"}
    assert all(history.intervals(who) == () for who in history.services)


def test_a_wait_for_a_gpu_is_an_early_sign_and_an_slo_breach_the_last_stage() -> None:
    """The affected service goes through the stages; its callers are degraded or breached; no other service changes."""
    history = _fared()
    stages = history.now()
    assert stages[EMBEDDER] == "breached"
    assert stages[RAG] in ("degraded", "breached")
    assert stages[service("auth")] == "healthy"
    first = history.signs[0]
    assert (first.service, first.text) in {(EMBEDDER, "GPU wait"), (EMBEDDER, "attempts per call")}
    assert all(sign.baseline < sign.threshold < sign.value for sign in history.signs)
    assert all(abs(sign.since - (NOW - 190)) <= 3 * STEP for sign in history.signs if sign.service == EMBEDDER)


def test_slos_count_where_they_are_known() -> None:
    """With an hour to answer in, slow is no miss; who the analysis says misses it does."""
    patient = {EMBEDDER: Slo(3600.0, 0.5)}
    assert _fared(slo_by_service=patient).now()[EMBEDDER] == "degraded"
    assert _fared(slo_by_service=patient, known={EMBEDDER: "breached"}).now()[EMBEDDER] == "breached"


def test_a_moment_of_healthy_does_not_end_trouble() -> None:
    """A service that was slow until half a minute ago is shown as degraded; one that has been healthy longer is not."""
    world, row = contended(), contended().services.index(RAG)
    for healthy_points, stage in ((3, "degraded"), (round(100 / STEP), "healthy")):
        p95 = world.red.p95.copy()
        p95[row, -healthy_points:] = np.nanmedian(p95[row, : POINTS // 2])
        p95[row, -healthy_points - 3 : -healthy_points] = 1.2  # what is smoothed must not blur when it ended
        history = service_history(replace(world, red=replace(world.red, p95=p95)), NOW - 900, NOW, ONSET)
        assert history.now()[RAG] == stage


def test_what_is_not_known_is_no_stage() -> None:
    """Missing data is not healthy."""
    world = healthy_world()
    row = world.services.index(service("auth"))
    red = replace(world.red, **{name: getattr(world.red, name).copy() for name in ("rate", "p95", "error_rate", "p50")})
    for values in (red.rate, red.p95, red.error_rate, red.p50):
        values[row, -30:] = np.nan
    assert service_history(replace(world, red=red), NOW - 900, NOW).now()[service("auth")] is None


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("..#..####..", ".....####.."),
        ("###.###....", "#######...."),
        ("###....###.", "###....###."),
        ("#..........", "..........."),
        (".......####", ".......####"),
        ("##", ".."),
        ("", ""),
    ],
)
def test_a_sign_lasts_or_is_none(points: str, expected: str) -> None:
    """Runs shorter than three points go; holes of two points at most are filled."""
    found = long_runs(np.array([[point == "#" for point in points]], np.bool_), 3, 2)
    assert "".join("#" if point else "." for point in found[0]) == expected


@pytest.mark.parametrize("points", [1, 2, 5, 30])
def test_a_short_past_is_no_obstacle(points: int) -> None:
    """A hub that has just begun, or an instant right after the beginning of a recording."""
    world = slice_world(contended(), NOW - 900, NOW - 900 + (points - 1) * STEP)
    seen = snapshot(world)
    history = service_history(world, NOW - 900, NOW)
    assert len(history.times) == points
    assert vitals(seen, history)[0].value is None  # no SLO yet
    assert timeline(world, NOW - 900, history, chosen_incidents(seen)).lanes == []


def test_one_odd_point_moves_no_figure() -> None:
    """The median of three, of what there is."""
    rows = moving_median(np.array([[1.0, 9.0, 1.0, 1.0, np.nan, 3.0]]), 3)
    assert rows[0].tolist() == [1.0, 5.0, 1.0, 1.0, 1.0, 2.0]


def test_lanes_stand_in_the_order_of_the_first_sign_after_the_suspected_cause() -> None:
    """And those that are expected to be hit come last, with the seconds until then."""
    risks = (AtRisk(EMBEDDER, 0, 0, 0, 0, 0), AtRisk(GATEWAY, 100.0, 240.0, 500.0, 60.0, 900.0))
    result = _lanes(_seen(*risks))
    rows = [(lane["service"], lane["part"], lane["order"]) for lane in result["lanes"]]
    assert rows == [
        ("train-llm", "suspect", None),
        ("embedder", "affected", 1),
        ("rag-api", "affected", 2),
        ("gateway", "at_risk", None),
    ]
    suspect, victim, _, following = result["lanes"]
    assert suspect["why"] == ""
    assert victim["intervals"][-1][1:] == [NOW, 3]
    assert victim["forecast"] is None
    assert following["forecast"]["p50"] == 240.0
    assert result["end"] == NOW + FORECAST_SECONDS


@pytest.mark.parametrize(
    ("later", "rate_later", "starts"),
    [
        (30.0, 50.0, 50.0),  # than its effect, by less than an onset may be wrong
        (30.0, 20.0, 20.0),
        (30.0, -20.0, -20.0),
    ],
)
def test_a_cause_begins_with_its_evidence_and_more_requests_are_no_anomaly(
    later: float, rate_later: float, starts: float
) -> None:
    """Its lane and the table of evidence have one onset, also where that is later than the effect.

    In seconds from the first anomaly of the affected service: of the incident, the requests, and the cause's bar.
    """
    world = contended()
    first = _lanes(_seen())["lanes"][1]["first"]
    sent = Evidence("request rate", 14.0, 5.0, "req/s", first + rate_later, str(GATEWAY), "rate")
    item = replace(
        contention_incident(world),
        cause="overload",
        suspect=SuspectedCause(GATEWAY),
        affected=(EMBEDDER, GATEWAY),
        since=first + later,
        opened=first + later,
        evidence=(sent,),
    )
    suspect, victim = _lanes(snapshot(world, item))["lanes"][:2]
    assert (suspect["service"], suspect["first"], suspect["intervals"]) == ("gateway", first + starts, [])
    assert (victim["service"], victim["first"]) == ("embedder", first)


SHARE = Evidence("share of GPU time", 0.41, 0.18, "ratio", NOW - 300, "train-llm")

FALLEN = Evidence(
    *("XID 79 (GPU has fallen off the bus)", 1.0, 0.0, "", NOW - 300, "host-0/gpu-0"),
    xid=Xid(79, "GPU has fallen off the bus", "fatal", "reboot the host"),
)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"evidence": (SHARE,)}, "share of GPU time 18% → 41%"),
        ({"evidence": (SHARE,), "state": "recovering"}, "share of GPU time 18% → 41% during the incident"),
        ({"candidates": (Candidate(service("train-llm"), 0.9, (Reason("cause", name="gpu_contention"),)),)}, ""),
        (
            {"candidates": (Candidate(service("train-llm"), 0.9, (Reason("requests_grew", value=5.6),)),)},
            "request rate 5.6x baseline",
        ),
        (
            {
                "cause": "hardware",
                "suspect": SuspectedCause(service("train-llm"), (contended().gpus[0],)),
                "evidence": (SHARE, FALLEN),
            },
            "XID 79 (GPU has fallen off the bus)",
        ),
    ],
)
def test_a_suspicion_is_the_anomalous_signal_or_a_reason_with_a_figure(changes: dict[str, Any], why: str) -> None:
    """The cause class alone is beside it already."""
    world = contended()
    assert suspicion(replace(contention_incident(world), **changes), world) == why


def test_a_noisy_neighbor_has_its_gpus_among_those_of_the_service_and_its_growth_there() -> None:
    world = contended()
    item = replace(contention_incident(world), evidence=(SHARE,))
    rise = "GPU contention: train-llm rose from 18% to 41% of GPU time"
    gpus = "host-0/gpu-0 and host-0/gpu-1 (of embedder's 4 GPUs)"
    assert joined_text(suspected(item, world)) == f"{rise} on {gpus}"
    on_all = replace(item, suspect=item.suspect._replace(gpus=world.gpus[:4]), state="recovering")
    assert joined_text(suspected(on_all, world)) == (f"{rise} during the incident on 4 GPUs on 1 host")


@pytest.mark.parametrize(("share", "words"), [(0.2, "back to 20%"), (0.6, "still at 60%")])
def test_a_recovery_says_whether_the_noisy_neighbor_is_at_its_normal_share(share: float, words: str) -> None:
    """Not only that the service has more replicas."""
    world = contended()
    item = replace(contention_incident(world), state="recovering", evidence=(SHARE,))
    busy, columns = world.busy.copy(), world.times >= item.since
    rows = [row for row, (gpu, name) in enumerate(world.tenants) if name == TRAIN and gpu in item.suspect.gpus]
    busy[np.ix_(np.array(rows), columns)], busy[rows, -1] = 0.6, share
    found = recovery(replace(world, busy=busy), item)
    assert joined_text(recovery_text(found)).startswith(f"train-llm {words} of GPU time")
    assert found[0].since == (world.times[-1] if share < 0.5 else None)


def test_a_likely_breach_beside_an_incident_has_a_lane_with_its_forecast() -> None:
    """Everything that the verdict lists as next at risk is on the timeline."""
    seen = replace(_seen(), forecast=Forecast(risks=(Risk(GATEWAY, 0.9, 60.0, 60.0, 120.0, 400.0, 400.0),)))
    lane = next(lane for lane in _lanes(seen)["lanes"] if lane["service"] == "gateway")
    assert (lane["part"], lane["forecast"]["p50"]) == ("at_risk", 120.0)


def test_what_an_incident_rests_on_is_the_first_sign_of_its_lane() -> None:
    """Before a figure has lasted for a minute, the analysis has weighed it already."""
    world = contended()
    early = Evidence("GPU wait", 0.46, 0.01, "ratio", NOW - 300, "embedder waiting on train-llm")
    late = Evidence("p95", 0.4, 0.1, "s", NOW - 100, "rag-api")
    item = replace(contention_incident(world), evidence=(early, late))
    lanes = {lane["service"]: lane for lane in _lanes(snapshot(world, item))["lanes"]}
    assert (lanes["embedder"]["first"], lanes["embedder"]["sign"]["text"]) == (NOW - 300, "GPU wait")
    assert lanes["embedder"]["intervals"][0][2] == 1
    assert lanes["rag-api"]["first"] < NOW - 100


@pytest.mark.parametrize(("state", "is_ongoing"), [("firing", True), ("recovering", False)])
def test_a_lane_lasts_until_now_while_its_firing_incident_has_evidence(state: State, is_ongoing: bool) -> None:
    """A single signal may be normal for a moment: the page must not draw an end beside an incident that fires."""
    world = contended()
    row = Evidence("GPU wait", 0.4, 0.1, "ratio", NOW - 190, str(EMBEDDER))
    item = replace(contention_incident(world), evidence=(row,), state=state)
    seen = snapshot(world, item)
    chosen = chosen_incidents(seen)
    start = lanes_start(world, chosen)
    history = service_history(world, start, NOW, chosen.onset)
    history.stages[history.services.index(EMBEDDER), -7:] = 0
    lanes = timeline(world, start, history, chosen).lanes
    (lane,) = [lane for lane in lanes if lane.service == str(EMBEDDER)]
    assert (lane.intervals[-1][1] == NOW) is is_ongoing
    parts = [(start, end, stage) for start, end, stage in lane.intervals if start is not None and end is not None]
    touching = [one for one, other in pairwise(parts) if one[1] >= other[0] and one[2] == other[2]]
    assert touching == [], "a gap is drawn between them"


def test_an_incident_that_ended_has_a_lane() -> None:
    """The verdict names it beside a timeline of the same time, however short its anomaly was."""
    world = healthy_world()
    ended = replace(contention_incident(world, state="resolved"), recovering_since=NOW - 120)
    (lane,) = _lanes(snapshot(world, ended))["lanes"]
    assert (lane["service"], lane["part"], lane["intervals"]) == ("embedder", "affected", [[ONSET, NOW - 120, 1]])
    assert (
        _lanes(snapshot(world, replace(ended, since=NOW - 9000, opened=NOW - 9000, recovering_since=NOW - 8000)))[
            "lanes"
        ]
        == []
    )


def test_a_lane_of_what_has_recovered_has_its_present_p95() -> None:
    """What its evidence was is no value of now."""
    world = contended()
    row = Evidence("share of GPU time", 0.59, 0.79, "ratio", ONSET, "auth")
    item = replace(
        contention_incident(world, state="recovering"), evidence=(row,), affected=(EMBEDDER, service("auth"))
    )
    seen = snapshot(world, item)
    chosen = chosen_incidents(seen)
    history = service_history(world, NOW - 900, NOW, chosen.onset)
    history.stages[history.services.index(service("auth")), -20:-7] = 2
    figures = {("auth", "p95"): "p95 40 ms (SLO 90 ms)"}
    lanes = {lane.service: lane for lane in timeline(world, NOW - 900, history, chosen, figures=figures).lanes}
    assert lanes["auth"].slo == "p95 40 ms (SLO 90 ms)"


def test_a_lane_names_the_signal_that_fired_first() -> None:
    """Not the metric that is closest to its SLO, which was normal then."""
    seen = snapshot(world := contended(), contention_incident(world))
    chosen = chosen_incidents(seen)
    history = service_history(world, NOW - 900, NOW, chosen.onset)
    figures = {("embedder", "SLO"): "p95 90 ms (SLO 200 ms)"}
    lanes = {lane.service: lane for lane in timeline(world, NOW - 900, history, chosen, figures=figures).lanes}
    assert lanes["embedder"].sign
    assert (lanes["embedder"].sign.text, lanes["embedder"].slo) == (history.signs[0].text, "")


@pytest.mark.parametrize(("metric", "is_anomaly"), [("kv_cache", True), ("rate", False)])
def test_the_lane_of_a_cause_is_anomalous_since_its_first_symptom(metric: str, *, is_anomaly: bool) -> None:
    """Its own p95 rises minutes later. Requests that it sends begin the cause, and are no anomaly."""
    world = contended()
    row = Evidence("signal", 11.3, 5.6, "req/s", ONSET, "auth", metric)
    incident = contention_incident(world)
    item = replace(incident, evidence=(row,), suspect=incident.suspect._replace(service=service("auth")))
    chosen = chosen_incidents(snapshot(world, item))
    history = service_history(world, NOW - 900, NOW, chosen.onset)
    history.stages[history.services.index(service("auth")), -6:] = 2
    lanes = {lane.service: lane for lane in timeline(world, NOW - 900, history, chosen).lanes}
    (start, end, stage), *later = lanes["auth"].intervals
    assert (lanes["auth"].part, lanes["auth"].first) == ("suspect", round(ONSET, 3))
    assert start is not None
    assert end is not None
    if is_anomaly:
        assert (start, stage) == (lanes["auth"].first, 1)
        assert ONSET < end == later[0][0]
    else:
        assert (stage, later) == (2, [])
        assert start > ONSET


def test_a_latent_risk_is_no_lane_of_an_incident_at_the_same_time() -> None:
    """The page says of it that it is no part of the incident."""
    world = contended()
    risk = replace(contention_incident(world, "auth"), id="risk", severity="warning", affected=(), paged=None)
    for others, lanes in (((), True), ((risk,), False)):
        seen = snapshot(world, contention_incident(world), *others)
        chosen = chosen_incidents(seen)
        history = service_history(world, NOW - 900, NOW, chosen.onset)
        history.stages[history.services.index(service("auth")), -20:-7] = 2
        found = timeline(world, NOW - 900, history, chosen).lanes
        assert ("auth" in {lane.service for lane in found}) is lanes


def test_lanes_that_do_not_fit_are_counted() -> None:
    """The page leads to the rest."""
    result = _lanes(_seen(), most=1)
    assert (len(result["lanes"]), result["hidden"]) == (1, 2)
    assert result["end"] == NOW


def test_one_incident_can_be_picked_and_an_unknown_one_is_none() -> None:
    """By its id."""
    seen = _seen()
    assert chosen_incidents(seen, seen.incidents[0].id).incidents == seen.incidents
    assert chosen_incidents(seen, "absent").incidents == ()


def test_each_number_has_its_limit_and_its_evidence() -> None:
    """The wait is far above its baseline; nothing that is not known is zero."""
    slos = (ServiceSlo(EMBEDDER, 0.2, 0.01, learned=False), ServiceSlo(GATEWAY, 9.0, 0.1, learned=False))
    result = _numbers(replace(_seen(), forecast=Forecast(slos=slos)))
    wait = result["Highest GPU wait (serving)"]
    assert wait["value"] == pytest.approx(0.46)
    assert wait["who"] == "embedder waiting on train-llm (mean of 2 GPUs)"
    assert wait["href"] == "/contention?victim=embedder&aggressor=train-llm"
    assert wait["spark"][-1] == wait["value"]
    assert len(wait["spark"]) == 45
    assert result["Highest request load"]["value"] is None
    assert result["SLO status"]["slo"].breached == 1
    p95 = result["Worst p95 vs. SLO"]
    assert (p95["who"], p95["limit"], p95["limit_kind"], p95["status"]) == ("embedder", 0.2, "SLO", "critical")
    assert result["Worst error rate vs. SLO"]["limit"] == 0.01


def test_a_sparkline_shows_the_trouble_of_a_service_that_has_recovered() -> None:
    """Usage of the SLO of that service, on the scale of the one that is the worst now."""
    slos = (ServiceSlo(EMBEDDER, 0.2, 0.01, learned=False), ServiceSlo(GATEWAY, 9.0, 0.1, learned=False))
    failed = contended().red.error_rate.copy()
    failed[contended().services.index(GATEWAY), -40:-30] = 0.5
    seen = _seen()
    assert seen.world
    world = replace(seen.world, red=replace(seen.world.red, error_rate=failed))
    tile = _numbers(replace(seen, world=world, forecast=Forecast(slos=slos)))["Worst error rate vs. SLO"]
    assert (tile["who"], tile["spark"][-1]) == ("embedder", tile["value"])
    assert max(tile["spark"]) == pytest.approx(0.5 / 0.1 * 0.01)


def test_a_baseline_band_needs_history_before_the_sparkline() -> None:
    """Twice the World, the first half of it healthy: what is shown lies above the band."""
    early, late = healthy_world(), contended()
    shift = POINTS * STEP
    pairs: dict[str, Any] = {"times": np.concatenate([early.times - shift, late.times])}
    for name in ("gpu_wait_by", "attempts", "busy", "gpu_wait", "utilization", "contended"):
        pairs[name] = np.hstack([getattr(early, name), getattr(late, name)])
    red = {
        name: np.hstack([getattr(early.red, name), getattr(late.red, name)]) for name in ("rate", "error_rate", "p50")
    }
    red |= {
        name: np.hstack([getattr(early.red, name), getattr(late.red, name)]) for name in ("p95", "p99", "lower_bound")
    }
    world = replace(late, red=replace(late.red, **red), **pairs)
    rows: list[Json] = [vars(row) for row in vitals(snapshot(world), service_history(world, NOW - 900, NOW))]
    wait = next(row for row in rows if "wait" in row["name"])
    assert wait["limit_kind"] == "baseline"
    assert wait["limit"] < wait["value"]


def test_the_worst_load_is_that_of_the_outlook() -> None:
    """What scalers read and what the page shows are one number."""
    loads = (Load(RAG, "", 0.4, 0.7), Load(EMBEDDER, "", 1.31, 0.72))
    result = _numbers(replace(_seen(), forecast=Forecast(loads=loads)))["Highest request load"]
    assert (result["value"], result["who"], result["limit"], result["status"]) == (1.31, "embedder", 0.72, "critical")
    assert load_ratios(healthy_world(), np.arange(3), _seen()).shape == (0, 3)


def test_the_requests_of_one_evaluation_share_the_fit_of_the_batching_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next World is fitted again."""
    fitted: list[World] = []

    def fit(world: World, _: int) -> dict[Service, BatchingLaw]:
        fitted.append(world)
        return {}

    monkeypatch.setattr("foreshock_dashboard.web.panels.vitals.fit_batching_laws", fit)
    for count in (1, 2):
        world = replace(healthy_world(), model_servers=ModelServers.empty(POINTS))
        for _ in range(2):
            load_ratios(world, np.arange(3), _seen())
        assert len(fitted) == count


def test_the_peak_of_a_tile_is_a_past_value_of_its_service_beside_its_own_limit() -> None:
    """Not the present worst: the newest value is in the tile. Without any past error there is no peak."""
    world = healthy_world()
    errors = np.zeros_like(world.red.error_rate)
    seen = snapshot(replace(world, red=replace(world.red, error_rate=errors)))
    seen = replace(
        seen, forecast=Forecast(slos=(ServiceSlo(RAG, 1.0, 0.05, False), ServiceSlo(EMBEDDER, 1.0, 0.2, False)))
    )
    assert _numbers(seen)["Worst error rate vs. SLO"]["peak"] is None
    assert seen.world
    row = seen.world.services.index(RAG)
    errors[row, -60:-30] = 0.04
    errors[seen.world.services.index(EMBEDDER), -60:-30] = 0.06
    peak = _numbers(seen)["Worst error rate vs. SLO"]["peak"]
    assert (peak.service, peak.value, peak.limit) == (str(RAG), 0.04, 0.05)
    assert seen.world.times[-60] <= peak.at < seen.world.times[-30]
