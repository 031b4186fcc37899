"""The Cascade page: propagation, forecast SLO breaches, capacity, and the downloadable postmortem."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from tests.web.caller import Caller
from tests.web.worlds import (
    NOW,
    POINTS,
    SCENES,
    FakeHub,
    contended,
    contention_incident,
    draw,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.forecast import BatchingLaw, Forecast, Load, Risk
from foreshock_dashboard.model.incident import AtRisk, Evidence, Incident, SuspectedCause
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Capacity, ModelServers, Replica
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.cascade.data import (
    QuotaRow,
    anomalous_signals,
    breaches,
    capacity_service,
    cascade,
    forecast_steps,
    propagation,
    quota,
)
from foreshock_dashboard.web.pages.cascade.layout import PAGE, first_anomaly
from foreshock_dashboard.web.pages.services.data import services
from foreshock_dashboard.web.panels import topology
from foreshock_dashboard.web.panels.chosen_incidents import ChosenIncidents, chosen_incidents
from foreshock_dashboard.web.panels.impact_order import causes_first
from foreshock_dashboard.web.state.stages import Sign

LLM, EMBEDDER, GATEWAY = map(service, ("vllm-70b", "embedder", "gateway"))


def serving(world: World) -> World:
    """vllm-70b with two ready of four desired replicas, on a pool whose quota is used up, with growing load."""
    points = len(world.times)

    def row(start: float, end: float) -> Floats:
        return np.linspace(start, end, points)[None]

    nothing = np.full((1, points), np.nan)
    running = row(4.0, 12.0) + np.random.default_rng(5).normal(0, 1.0, (1, points))
    result = ModelServers(
        (LLM,), running, row(0.0, 0.0), running / 40, nothing, nothing, nothing, nothing, 0.02 + 0.001 * running / 2,
        nothing, nothing, (Replica(LLM, "a"), Replica(LLM, "b")), np.vstack([running / 2] * 2),
        np.vstack([nothing] * 2), np.vstack([nothing] * 2),
    )  # fmt: skip
    wanted = np.where(np.arange(points) < points - 20, 2.0, 4.0)[None]
    room = Capacity(
        (LLM,), wanted, row(2, 2), row(6, 6), np.maximum(wanted - 2, 0), ("chat",), row(8, 8), row(8, 8)
    )  # fmt: skip
    pools = tuple("chat" if gpu.host == "host-1" else "other" for gpu in world.gpus)
    return replace(world, model_servers=result, capacity=room, pool=pools)


def _chosen(*incidents: Incident) -> ChosenIncidents:
    return ChosenIncidents(incidents, NOW - 190, {})


def _asked(world: World, source: str, origin: str) -> Incident:
    item = replace(contention_incident(world), cause="overload", suspect=SuspectedCause(service(source)))
    return replace(item, service=service(origin), affected=(service(origin),))


def test_a_cascade_propagates_over_shared_gpus_and_up_the_calls() -> None:
    """From the noisy neighbor to the affected service, from there to its callers that were affected later."""
    world = contended()
    steps = propagation(world, _chosen(contention_incident(world)), ["embedder", "rag-api", "gateway"])
    assert [(step["from"], step["to"], step["via"]) for step in steps] == [
        ("train-llm", "embedder", "gpu"),
        ("embedder", "rag-api", "call"),
        ("rag-api", "gateway", "call"),
    ]


CALLS = {("gateway", "rag-api"), ("gateway", "auth"), ("rag-api", "embedder"), ("embedder", "rag-api")}


@pytest.mark.parametrize(
    ("onsets", "order"),
    [
        pytest.param({"rag-api": 0.0, "embedder": 60.0}, ["embedder", "rag-api"], id="within the uncertainty"),
        pytest.param({"rag-api": 0.0, "embedder": 70.0}, ["rag-api", "embedder"], id="later"),
        pytest.param({"gateway": 0.0, "answers": 5.0, "auth": 20.0}, ["auth", "gateway", "answers"], id="unrelated"),
        pytest.param({"auth": 0.0, "gateway": 70.0, "rag-api": 80.0}, ["auth", "gateway", "rag-api"], id="explained"),
        pytest.param(
            {"gateway": 0.0, "rag-api": 50.0, "embedder": 99.0}, ["embedder", "rag-api", "gateway"], id="chain"
        ),
    ],
)
def test_no_effect_stands_before_its_cause_unless_it_began_before(onsets: dict[str, float], order: list[str]) -> None:
    """Rates look back a minute: of two services that differ less, the dependency is first."""
    assert list(causes_first(onsets, CALLS)) == order


def test_the_steps_of_one_incident_stay_together_the_oldest_first() -> None:
    """Whatever its urgency; a service that recovers propagates no SLO breach."""
    world = contended()
    risks = tuple(AtRisk(service(name), 60.0, 120.0, 400.0) for name in ("rag-api", "gateway"))
    newer = replace(contention_incident(world), at_risk=risks)
    older = replace(
        _asked(world, "gateway", "vllm-70b"), id="older", state="recovering", since=newer.since - 300.0,
        evidence=(), at_risk=(),
    )  # fmt: skip
    chosen = chosen_incidents(snapshot(world, newer, older))
    assert [item.id for item in chosen.incidents] == [newer.id, "older"]
    order = ["embedder", "rag-api"]
    steps = propagation(world, chosen, order)
    assert [(step["incident"], step["from"], step["to"]) for step in steps] == [
        ("older", "gateway", "rag-api"),
        ("older", "rag-api", "vllm-70b"),
        (newer.id, "train-llm", "embedder"),
        (newer.id, "embedder", "rag-api"),
    ]
    expected = forecast_steps(world, chosen, order, steps)
    assert [(step["incident"], step["from"], step["to"]) for step in expected] == [(newer.id, "rag-api", "gateway")]


@pytest.mark.parametrize(("measured", "shown"), [((), ["flight", "p95"]), (("embedder",), ["p95"])])
def test_requests_in_flight_are_not_estimated_beside_measured_ones(measured: Sequence[str], shown: list[str]) -> None:
    """Neither as a signal nor as evidence: two numbers of one quantity contradict each other."""
    signs = [Sign(EMBEDDER, name, "embedder", NOW - 90.0, 46.0, 28.0, np.nan, 4.0) for name in ("flight", "p95")]
    names = {sign.text: sign.signal for sign in signs}
    evidence = tuple(Evidence(sign.text, 46.0, 28.0, "", NOW - 90.0, "embedder", sign.signal) for sign in signs)
    item = replace(contention_incident(contended()), evidence=evidence)

    rows = anomalous_signals(signs, (item,), NOW, measured)

    assert sorted(names[row.signal] for row in rows) == shown


def test_a_value_of_a_recovering_incident_has_its_time_and_no_flag_stands_for_its_cause() -> None:
    """Its evidence is that of its last anomaly; a signal that is still anomalous has the present value."""
    world = contended()
    item = contention_incident(world)
    past = replace(item, state="recovering", evidence_at=NOW - 120.0, recovering_since=NOW - 60.0)
    first = past.evidence[0]
    (row,) = anomalous_signals((), (replace(past, evidence=(first,)),), NOW)
    assert (row.value, row.at) == (first.value, NOW - 120.0)
    (row,) = anomalous_signals((), (replace(item, evidence=(first,), evidence_at=NOW),), NOW)
    assert row.at is None
    sign = Sign(EMBEDDER, "p95", "embedder", NOW - 90.0, 0.2, 0.105, 0.15, 4.0)
    known = Evidence(sign.text, 0.412, 0.105, "s", NOW - 190.0, "embedder", "p95")
    (row,) = anomalous_signals((sign,), (replace(past, evidence=(known,)),), NOW)
    assert (row.value, row.since, row.at) == (0.2, NOW - 190.0, None)
    assert [node.id for node in cascade(snapshot(world, past), NOW - 900)["services"] if node.suspect] == []
    chosen = cascade(snapshot(world, past), NOW - 900, past.id)["services"]
    assert [node.id for node in chosen if node.suspect] == ["train-llm"], "in the view of that incident alone"


@pytest.mark.parametrize(
    ("shown", "ago"), [("embedder", 190.0), ("vllm-70b", 490.0), ("auth", None)], ids=["newer", "older", "neither"]
)
def test_the_first_anomaly_of_a_chart_is_that_of_the_incident_of_its_service(shown: str, ago: float | None) -> None:
    world = contended()
    newer = replace(contention_incident(world), since=NOW - 190.0, opened=NOW - 150.0, affected=(EMBEDDER,), at_risk=())
    older = replace(_asked(world, "gateway", "vllm-70b"), id="older", since=NOW - 490.0, opened=NOW - 400.0, at_risk=())
    expected = None if ago is None else NOW - ago
    assert first_anomaly(chosen_incidents(snapshot(world, newer, older)), service(shown)) == expected
    assert first_anomaly(chosen_incidents(snapshot(world, newer)), service("auth")) == NOW - 190.0, "the only one"


def test_a_breach_is_expected_at_callers_of_what_breaches_before_them() -> None:
    """Not at a caller that breaches first, nor again where the propagation has the step already."""
    world = contended()
    risks = tuple(
        AtRisk(service(name), 60.0, seconds, 400.0) for name, seconds in (("rag-api", 120.0), ("gateway", 240.0))
    )
    chosen = chosen_incidents(snapshot(world, replace(contention_incident(world), at_risk=risks)))
    steps = [(step["from"], step["to"]) for step in forecast_steps(world, chosen, [], [])]
    assert ("embedder", "rag-api") in steps
    assert ("rag-api", "gateway") in steps
    assert all(source != "gateway" for source, _ in steps)
    order = ["embedder", "rag-api"]
    taken = propagation(world, chosen, order)
    left = [(step["from"], step["to"]) for step in forecast_steps(world, chosen, order, taken)]
    assert ("embedder", "rag-api") not in left


@pytest.mark.parametrize(
    ("source", "origin", "steps"),
    [
        ("gateway", "vllm-70b", [("gateway", "rag-api"), ("rag-api", "vllm-70b")]),
        ("auth", "vllm-70b", []),
        ("vllm-70b", "vllm-70b", []),
    ],
)
def test_load_propagates_along_the_calls_that_carry_it(source: str, origin: str, steps: list[tuple[str, str]]) -> None:
    """The shortest path; none without calls, or where the service itself is the suspect."""
    found = propagation(healthy_world(), _chosen(_asked(healthy_world(), source, origin)), [])
    assert [(step["from"], step["to"]) for step in found] == steps
    assert {step["via"] for step in found} <= {"load"}


@pytest.mark.parametrize(("metric", "lanes"), [("rag-api -> vllm-70b", ["rag-api"]), ("vllm-70b", [])])
def test_a_service_that_passes_the_load_on_has_a_lane_from_the_time_its_calls_are_anomalous(
    metric: str, lanes: list[str]
) -> None:
    """Its own signals may be normal; without such calls in the evidence it has none."""
    world = healthy_world()
    calls = Evidence("call rate", 14.2, 7.8, "req/s", NOW - 100, metric)
    page = cascade(snapshot(world, replace(_asked(world, "gateway", "vllm-70b"), evidence=(calls,))), NOW - 900)
    found = [lane for lane in page["timeline"].lanes if lane.service == "rag-api"]
    assert [lane.service for lane in found] == lanes
    assert [(lane.first, lane.intervals, lane.sign and (lane.sign.text, lane.sign.value)) for lane in found] == [
        (NOW - 100, [[NOW - 100, NOW, 1]], ("calls to vllm-70b", 14.2))
    ] * len(lanes)


def test_forecast_breaches_are_those_of_the_incident_and_of_other_likely_services() -> None:
    """The soonest first, as on Now; a distant breach, or one that is not likely, is left out."""
    world = contended()
    far = AtRisk(GATEWAY, 4000.0, 9000.0, float("inf"), 3000.0, float("inf"))
    item = replace(contention_incident(world), at_risk=(AtRisk(EMBEDDER, 0, 0, 0, 0, 0), far))
    risks = (
        Risk(LLM, 0.6, 200.0, 200.0, 700.0, float("inf"), float("inf")),
        Risk(service("auth"), 0.4, 50.0, 50.0, 900.0, 1200.0, 1200.0),
    )
    seen = replace(snapshot(world, item), forecast=Forecast(risks=risks))
    rows = breaches(seen, chosen_incidents(seen))
    assert [row.service for row in rows] == ["embedder", "vllm-70b"]
    assert [row.probability for row in rows] == [1.0, 0.6], "the incident's quantiles; else the forecast's own"
    assert vars(rows[1].seconds) == {"p10": 200.0, "p20": 200.0, "p50": 700.0, "p80": None, "p90": None}


def test_capacity_is_that_of_the_chosen_service_else_of_the_incident_else_of_the_most_loaded() -> None:
    """None without data on replicas or load."""
    world = serving(contended())
    seen = snapshot(world)
    assert capacity_service(seen, _chosen(), "vllm-70b") == LLM
    assert capacity_service(seen, _chosen(), "absent") is None
    assert capacity_service(seen, _chosen(_asked(world, "gateway", "vllm-70b"))) == LLM
    assert capacity_service(replace(seen, forecast=Forecast(loads=(Load(LLM, "", 0.5, 0.7),))), _chosen()) == LLM
    assert capacity_service(snapshot(contended()), _chosen()) is None


def test_replicas_and_load_are_drawn_with_their_limits() -> None:
    """Ready, desired, maximum, and pending replicas; load and its safe limit. A full quota allows no more."""
    world = serving(contended())
    drawn = {line["name"]: line["y"][-1] for line in draw(PAGE, "cascade-replicas", snapshot(world))["data"]}
    assert list(drawn) == ["ready", "desired", "quota limit", "pending"]
    assert drawn["quota limit"] == drawn["ready"] == 2
    assert world.capacity is not None
    roomy = replace(world, capacity=replace(world.capacity, quota=world.capacity.quota * 9))
    assert "maximum" in [line["name"] for line in draw(PAGE, "cascade-replicas", snapshot(roomy))["data"]]
    over = replace(world, capacity=replace(world.capacity, used=world.capacity.quota + 8))
    drawn = {line["name"]: line["y"] for line in draw(PAGE, "cascade-replicas", snapshot(over))["data"]}
    assert drawn["quota limit"][-1] == drawn["ready"][-1], "more than the quota in use is no room, and takes none away"
    used = np.where(np.arange(world.capacity.used.shape[1]) < POINTS // 2, 0.0, world.capacity.quota)
    then = replace(world, capacity=replace(world.capacity, used=used))
    limits = {line["name"]: line["y"] for line in draw(PAGE, "cascade-replicas", snapshot(then))["data"]}["quota limit"]
    assert limits[0] > limits[-1] == 2, "the quota of each time, not that of now"
    analyzed = Load(LLM, "", 0.5, 0.6)
    drawn = draw(PAGE, "cascade-load", replace(snapshot(world), forecast=Forecast(loads=(analyzed,))))
    (line,) = drawn["data"]
    assert line["name"] == "load"
    assert line["y"][-1] > line["y"][0] > 0
    assert [(note["text"], note["y"]) for note in drawn["layout"]["annotations"]] == [("safe limit 60%", 0.6)]
    assert quota(world, LLM) == QuotaRow("chat", 8.0, 8.0)
    assert quota(contended(), LLM) is None


def test_the_load_chart_ends_with_the_load_of_the_headline() -> None:
    """Both are averages of the same time; at the time of the analysis they are one figure."""
    world = serving(contended())
    law = BatchingLaw(0.02, 0.001, 0.05, 0.3, 0.5)
    before, after = (
        draw(PAGE, "cascade-load", replace(snapshot(world), forecast=Forecast(loads=(Load(LLM, "", ratio, 0.6, law),))))
        for ratio in (0.81, 0.79)
    )
    assert (before["data"][0]["y"][-1], after["data"][0]["y"][-1]) == (0.81, 0.79)
    assert before["data"][0]["y"][:-1] == after["data"][0]["y"][:-1]


def test_load_is_drawn_up_to_three_times_the_capacity() -> None:
    """Beyond that more digits mean nothing, and the safe limit would be a line at the bottom."""
    world = serving(contended())
    assert world.model_servers is not None
    servers = world.model_servers
    crowded = replace(world, model_servers=replace(servers, waiting=servers.running * 40))
    analyzed = Load(LLM, "", 9.0, 0.6, BatchingLaw(0.02, 0.001, 0.05, 0.3, 0.5))
    drawn = draw(PAGE, "cascade-load", replace(snapshot(crowded), forecast=Forecast(loads=(analyzed,))))
    line = drawn["data"][0]
    assert line["name"] == "load (clipped at 3x capacity)"
    assert max(line["y"]) == 3.0
    assert drawn["layout"]["showlegend"]


def test_load_is_drawn_by_the_law_of_the_analysis_and_has_a_reason_without_one() -> None:
    """An incident that fills the range, with full caches all along, allows no fit."""
    world = serving(contended())
    assert world.model_servers is not None
    full = replace(
        world, model_servers=replace(world.model_servers, cache=np.full_like(world.model_servers.cache, 0.99))
    )
    unknown = draw(PAGE, "cascade-load", snapshot(full))
    assert unknown["data"] == []
    assert unknown["layout"]["annotations"][0]["text"].startswith("Load of vllm-70b is unknown")
    analyzed = Load(LLM, "", 1.2, 0.6, BatchingLaw(0.02, 0.001, 0.05, 0.3, 0.5))
    drawn = draw(PAGE, "cascade-load", replace(snapshot(full), forecast=Forecast(loads=(analyzed,))))
    line = drawn["data"][0]["y"]
    assert line[-1] > line[0] > 0
    assert [note["text"] for note in drawn["layout"]["annotations"]] == ["safe limit 60%"]


@pytest.mark.parametrize(
    ("chart", "without", "words"),
    [
        ("cascade-replicas", ("capacity",), "No replica data for vllm-70b: add kube-state-metrics as a scrape target."),
        (
            "cascade-replicas",
            ("capacity", "model_servers"),
            "No replica data: add kube-state-metrics as a scrape target.",
        ),
        ("cascade-load", ("model_servers",), "vllm-70b has no model servers."),
        ("cascade-load", ("capacity", "model_servers"), "No model servers: add their metrics endpoints to"),
    ],
)
def test_a_chart_without_data_has_a_reason(chart: str, without: Sequence[str], words: str) -> None:
    """Not an empty frame."""
    absent: dict[str, Any] = dict.fromkeys(without)
    world = replace(serving(contended()), pool=(), **absent)
    assert words in _reason(draw(PAGE, chart, snapshot(world)))
    assert _reason(draw(PAGE, chart, snapshot(world), service="gone")) == "No data for this service in this time range."
    assert _reason(draw(PAGE, chart, snapshot(None))) == "No data in this time range."


def _reason(figure: dict[str, Any]) -> str:
    """The text of a chart without data."""
    return str(figure["layout"]["annotations"][0]["text"])


def test_the_map_has_the_state_of_each_service_that_the_services_page_has() -> None:
    world = contended()
    item = replace(
        contention_incident(world), at_risk=(AtRisk(GATEWAY, 100.0, 240.0, 500.0), AtRisk(EMBEDDER, 0, 0, 0))
    )
    page = cascade(snapshot(world, item), NOW - 900)
    words = {node.id: node.word for node in page["services"]}
    listed = {row["id"]: row["word"] for row in services(snapshot(world, item))["services"]}
    assert words["gateway"] == "At risk"
    assert words == {name: listed[name] for name in words}
    assert [node.id for node in page["services"] if node.suspect] == ["train-llm"]


def test_the_page_says_since_when_signals_that_recovered_were_anomalous() -> None:
    """The first anomaly of an incident is older than all listed signals once its own signal is at its baseline."""
    world = contended()
    item = contention_incident(world)
    assert cascade(snapshot(world, item), NOW - 900)["recovered_since"] is None
    first, *rest = item.evidence
    earlier = replace(item, evidence=(first._replace(since=first.since - 100.0), *rest))
    listed = {(row.signal, row.entity): row.since for row in cascade(snapshot(world, earlier), NOW - 900)["signals"]}
    assert listed[first.name, first.entity] == first.since - 100.0
    older = replace(item, since=item.since - 300.0)
    assert cascade(snapshot(world, older), NOW - 900)["recovered_since"] == older.since


def test_lanes_end_now_because_the_forecast_has_a_table() -> None:
    """The same forecast is not shown twice."""
    world = contended()
    item = replace(contention_incident(world), at_risk=(AtRisk(GATEWAY, 100.0, 240.0, 500.0),))
    page = cascade(snapshot(world, item), NOW - 900)
    assert [row.service for row in page["breaches"]] == ["gateway"]
    assert page["timeline"].end == page["timeline"].now
    assert [lane.forecast for lane in page["timeline"].lanes] == [None] * len(page["timeline"].lanes)


def test_golden_capacity(golden: Callable[[str, str], None]) -> None:
    """Both charts."""
    world = serving(healthy_world())
    drawn = [draw(PAGE, chart, snapshot(world)) for chart in ("cascade-replicas", "cascade-load")]
    golden("web-capacity.json", json.dumps(drawn, indent=1) + "\n")


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_every_scene_gives_json(scene: str) -> None:
    """Also before the first evaluation."""
    json.dumps(cascade(SCENES[scene](), NOW - 1800), allow_nan=False, default=vars)


def test_lanes_begin_with_the_first_data_of_the_range() -> None:
    """Where the data are later than the range; a wider World begins earlier."""
    seen = SCENES["contended"]()
    assert cascade(seen, NOW - 7200)["timeline"].start == NOW - (POINTS - 1) * 10
    assert cascade(seen, NOW - 600)["timeline"].start == NOW - 600
    assert seen.world
    early = replace(seen.world, times=seen.world.times - 4000)
    assert cascade(seen, NOW - 4500, wide=early)["timeline"].start == NOW - 4500


@pytest.mark.parametrize("ago", [1800, 300, 60])
def test_the_order_of_impact_is_the_same_over_every_range(ago: int) -> None:
    """On the map, in the lanes, and in the propagation, also where the incident began before the range."""
    world = contended({"rag-api": "answers"})
    result = cascade(snapshot(world, contention_incident(world)), NOW - ago)
    assert {row.id: row.order for row in result["services"] if row.order} == {"embedder": 1, "answers": 2}
    lanes = [(lane.service, lane.order) for lane in result["timeline"].lanes]
    assert lanes == [("train-llm", None), ("embedder", 1), ("answers", 2)]
    assert [(step["from"], step["to"]) for step in result["propagation"]] == [
        ("train-llm", "embedder"),
        ("embedder", "answers"),
    ]


def test_the_page_is_read_of_a_range_an_incident_and_an_instant() -> None:
    """As its address says; an unknown parameter is refused."""
    world = contended()
    known = contention_incident(world)
    caller = Caller(create_app(FakeHub(snapshot(world, known)), version="0"))
    result = caller.get(f"/api/pages/cascade?from={NOW - 600:.0f}&incident={known.id}").json()
    assert result["timeline"]["start"] == NOW - 600
    assert [item["id"] for item in result["selected"]] == [known.id]
    assert {row["service"] for row in result["signals"]} >= {"embedder", "rag-api"}
    past = caller.get(f"/api/pages/cascade?at={NOW - 300:.0f}").json()
    assert (past["selected"], past["timeline"]["lanes"], past["signals"]) == ([], [], [])
    assert caller.get("/api/pages/cascade?since=1").status_code == 400


def test_a_postmortem_is_one_file() -> None:
    """An archive of Markdown and its plots; its name is safe whatever the name of the service."""
    world = contended()
    known = replace(contention_incident(world), id='x"\r\n../é')
    caller = Caller(create_app(FakeHub(snapshot(world, known)), version="0"))
    answer = caller.get("/api/report/latest?as=zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="foreshock-x___..__.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        text = archive.read(next(name for name in names if name.endswith("report.md"))).decode()
    plots = [name.rpartition("/")[2] for name in names if name.endswith(".svg")]
    assert plots
    assert all(f"({plot})" in text for plot in plots)
    assert caller.get("/api/report/latest?as=pdf").status_code == 400


def test_the_page_has_values_of_the_services_on_the_map_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a large platform, the rest would be most of a refresh and not visible."""
    monkeypatch.setattr(topology, "MAX_NODES", 6)
    world = contended()
    drawn = {node.id for node in topology.service_map(world).nodes}
    result = cascade(snapshot(world), NOW - 900)
    assert len(drawn) == 6
    assert {row.id for row in result["services"]} == drawn & {str(who) for who in world.services}
    assert {end for row in result["edges"] for end in row[:2]} <= drawn
    assert result["edges"]
    assert len(result["edges"]) == sum({str(edge.client), str(edge.server)} <= drawn for edge in world.edges)


def test_a_service_has_its_current_stage_over_a_range_without_it() -> None:
    """The World of a wide range may be older than the newest evaluation; the stage is that of all pages."""
    world = contended()
    some = [row for row, who in enumerate(world.services) if who != GATEWAY]
    red = replace(world.red, **{one.name: getattr(world.red, one.name)[some] for one in fields(world.red)})
    wide = replace(world, services=tuple(world.services[row] for row in some), red=red)
    over_wide, now = (cascade(snapshot(world), NOW - 900, wide=each)["services"] for each in (wide, None))
    assert {row.id: row.stage for row in over_wide} == {row.id: row.stage for row in now}
    assert "breached" in {row.stage for row in over_wide}
