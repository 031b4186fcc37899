"""What the pages of services and of the hub's health say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web.caller import Caller
from tests.web.worlds import (
    HOSTILE,
    LEARNED,
    NOW,
    POINTS,
    SCENES,
    FakeHub,
    FakeTraces,
    bare,
    contended,
    contention_incident,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.forecast import Forecast, Load, Risk, ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Learning
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World, slice_world
from foreshock_dashboard.model.world_sections import Capacity, ModelServers, Replica, UnjoinedServer
from foreshock_dashboard.store import StoreLimits
from foreshock_dashboard.web.app import PAGES, create_app
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.theme import LIGHT
from foreshock_dashboard.web.pages.cascade.data import breaches
from foreshock_dashboard.web.pages.services.data import service as service_page
from foreshock_dashboard.web.pages.services.data import services as services_page
from foreshock_dashboard.web.pages.status.data import data_health, newest_trace, signals, status
from foreshock_dashboard.web.panels import service_charts as figures
from foreshock_dashboard.web.panels.at_risk import at_risk_next
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents
from foreshock_dashboard.web.state.conditions import breach_probability, conditions
from foreshock_dashboard.web.state.freshness import serving_services
from foreshock_dashboard.web.state.parameters import View

EMBEDDER, GATEWAY, TRAIN, MODEL = (service(name) for name in ("embedder", "gateway", "train-llm", "vllm-8b"))
LOOK = Look(LIGHT)
SERVING = (
    "running", "waiting", "cache", "preempted", "finished", "queued", "first_token", "per_token", "prompt_tokens",
    "generated_tokens",
)  # fmt: skip
HUB: Json = {
    "store": {"dropped_samples": 0},
    "receiver": {"refused_spans": {}},
    "spans": {"warning": ""},
    "scrapes": [],
}


def about(seen: Snapshot, who: Service) -> Json:
    """The payload of one service, as JSON has it."""
    page: Json = json.loads(json.dumps(service_page(seen, who), default=vars))
    return page


def services(seen: Snapshot) -> Json:
    """The payload of all services, as JSON has it."""
    page: Json = json.loads(json.dumps(services_page(seen), default=vars))
    return page


def serving(world: World) -> World:
    """The same with a model server of two replicas, of which one has no data, and replicas of its deployment."""
    one, two = np.full((1, POINTS), 3.0), np.vstack([np.full(POINTS, 40.0), np.full(POINTS, np.nan)])
    named = (Replica(MODEL, "a:8000"), Replica(MODEL, "b:8000"))
    inference = replace(
        ModelServers.empty(POINTS),
        services=(MODEL,),
        **{name: one * i for i, name in enumerate(SERVING, 1)},
        replicas=named,
        **dict.fromkeys(("replica_busy", "replica_finished", "replica_seconds"), two),
    )
    capacity = replace(
        Capacity.empty(POINTS), services=(MODEL,), wanted=one * 2, ready=one, max_replicas=one * math.nan, pending=one
    )
    return replace(world, model_servers=inference, capacity=capacity)


def expecting(**more: object) -> Snapshot:
    """GPU contention, with forecasts of two services."""
    expected = Forecast(
        risks=(
            Risk(EMBEDDER, 0.9, 0.0, 0.0, 0.0, 60.0, 60.0),
            Risk(GATEWAY, 0.6, 60.0, 60.0, 180.0, math.inf, math.inf),
        ),
        loads=(Load(MODEL, "", 1.2, 0.7),),
        slos=(ServiceSlo(EMBEDDER, 0.2, 0.01, True), ServiceSlo(GATEWAY, 9.0, 0.01, False)),
    )
    return replace(snapshot(w := contended(), contention_incident(w)), forecast=expected, **more)  # type: ignore[arg-type]


def overloaded() -> Snapshot:
    """gateway within its SLO, but above its safe limit."""
    expected = Forecast(loads=(Load(GATEWAY, "", 0.82, 0.55),), slos=(ServiceSlo(GATEWAY, 9.0, 0.5, False),))
    return replace(snapshot(healthy_world()), forecast=expected)


def seldom() -> Snapshot:
    """gateway with few requests since some minutes, which are slower than its SLO."""
    world = healthy_world()
    row, rate, p95 = world.services.index(GATEWAY), world.red.rate.copy(), world.red.p95.copy()
    rate[row, -40:], p95[row, :-40] = 0.25, 0.01
    few = replace(world, red=replace(world.red, rate=rate, p95=p95))
    return replace(snapshot(few), forecast=Forecast(slos=(ServiceSlo(GATEWAY, 0.02, 0.5, learned=False),)))


def test_a_sparkline_says_where_low_traffic_is_not_judged() -> None:
    """A line above the SLO there is no breach."""
    (row,) = (row for row in services(seldom())["services"] if row["id"] == "gateway")
    assert (row["condition"], row["word"]) == ("low_traffic", "Low traffic")
    assert {value for value in row["judged"] if value is not None} == {0.01}
    assert None not in row["spark"]
    assert max(row["spark"]) > row["slo"]["p95"]


def test_errors_of_few_requests_are_not_judged() -> None:
    """One failed request of three per minute is a third of them."""
    found = seldom()
    assert found.world
    world, row = found.world, found.world.services.index(GATEWAY)
    for rate, expected in ((0.05, ("idle", "low_traffic")), (5.0, ("critical", "errors"))):
        rates, failed = world.red.rate.copy(), world.red.error_rate.copy()
        rates[row, -40:], failed[row, -40:] = rate, 0.33
        failing = replace(world, red=replace(world.red, rate=rates, error_rate=failed))
        assert conditions(replace(found, world=failing))[GATEWAY][:2] == expected


@pytest.mark.parametrize(("points", "kind"), [(3, "low_traffic"), (40, "no_traffic")])
def test_a_service_has_low_traffic_until_minutes_after_its_last_request(points: int, kind: str) -> None:
    """Then its GPUs are named."""
    found = seldom()
    assert found.world
    world, row = found.world, found.world.services.index(GATEWAY)
    rates = world.red.rate.copy()
    rates[row, -points:] = 0.0
    idle = replace(found, world=replace(world, red=replace(world.red, rate=rates)))
    assert conditions(idle)[GATEWAY].kind == kind


def test_a_row_has_the_slo_usage_of_its_service() -> None:
    """The larger of latency and errors; None without an SLO, never zero."""
    rows = {row["id"]: row for row in services(expecting())["services"]}
    assert rows["embedder"]["slo_usage"] == pytest.approx(max(rows["embedder"]["p95"] / 0.2, 3.4), rel=1e-5)
    assert rows["embedder"]["slo"] == {"p95": 0.2, "error_rate": 0.01, "learned": True}
    auth = rows["auth"]
    assert (auth["slo_usage"], auth["breach_probability"], auth["load"]) == (None, None, None)
    assert (rows["gateway"]["gpus"], rows["gateway"]["wait"]) == (0, None)
    assert (rows["vllm-8b"]["load"], rows["vllm-8b"]["safe_load"]) == (1.2, 0.7)
    assert services(snapshot(None))["ready"] is False


def test_the_services_with_requests_are_those_that_status_counts() -> None:
    """Also while the newest values are missing."""
    world = contended()
    rates, p95 = world.red.rate.copy(), world.red.p95.copy()
    rates[:, -3:] = p95[:, -3:] = float("nan")
    for seen in (world, replace(world, red=replace(world.red, rate=rates, p95=p95))):
        listed = {row["id"] for row in services_page(snapshot(seen))["services"] if row["serving"]}
        assert listed == set(map(str, serving_services(seen)))
        assert 0 < len(listed) < len(seen.services)


def test_a_healthy_service_with_a_likely_slo_breach_is_at_risk() -> None:
    """In the table and on its page alike, so that neither contradicts its forecast."""
    seen = expecting(incidents=())
    row = next(row for row in services(seen)["services"] if row["id"] == "gateway")
    page = about(seen, GATEWAY)
    assert (row["breach_probability"], row["health"], row["word"]) == (0.6, "warning", "At risk")
    assert (page["health"], page["word"]) == ("warning", "At risk")


def test_the_forecast_of_an_slo_breach_is_that_of_the_open_incident() -> None:
    """As on every other page, with its probability; without an open incident, that of the service."""
    world = contended()
    item = replace(contention_incident(world), at_risk=(AtRisk(GATEWAY, 30.0, 40.0, 90.0),))
    near, over = (about(expecting(incidents=(each,)), GATEWAY) for each in (item, replace(item, state="resolved")))
    assert (near["breach_seconds"]["p50"], near["breach_probability"]) == (40.0, 0.8)
    assert (over["breach_seconds"]["p50"], over["breach_probability"]) == (180.0, 0.6)


def test_every_page_has_one_forecast_of_a_service_with_its_interval() -> None:
    """The nearest of the open incidents: in the list, on its page, in its sentence, on Now, and on Cascade."""
    world = contended()
    first, sooner = (AtRisk(GATEWAY, p50 / 2, p50, p50 * 2, p50 / 4, p50 * 3) for p50 in (900.0, 400.0))
    item = replace(contention_incident(world), affected=(EMBEDDER, GATEWAY), at_risk=(first,))
    second = replace(item, id="second", service=service("auth"), at_risk=(sooner,))
    seen = expecting(incidents=(item, second))
    chosen = chosen_incidents(seen)
    (listed,) = (row["breach_seconds"] for row in services(seen)["services"] if row["id"] == "gateway")
    page = about(seen, GATEWAY)
    (on_now,) = (row for row in at_risk_next(chosen, {}) if row.service == "gateway")
    (on_cascade,) = (row for row in breaches(seen, chosen) if row.service == "gateway")
    assert listed == page["breach_seconds"] == vars(on_now.breach_seconds) == vars(on_cascade.seconds)
    assert listed["p90"] == 1200.0
    assert page["summary"].endswith("SLO breach forecast: median < 15 min, 80% interval: 2 to 20 min.")


def test_a_service_that_an_incident_forecasts_to_breach_its_slo_is_never_unlikely_to() -> None:
    """Though its probability within ten minutes is low; without an incident, an unlikely breach is no forecast."""
    item = replace(contention_incident(contended()), at_risk=(AtRisk(GATEWAY, 700.0, 900.0, 1200.0),))
    unlikely = Forecast(risks=(Risk(GATEWAY, 0.1, 700.0, 800.0, 900.0, 1200.0, 1500.0),))
    shown = [about(replace(expecting(incidents=each), forecast=unlikely), GATEWAY) for each in ((item,), ())]
    assert [(page["breach_seconds"] or {}).get("p50") for page in shown] == [900.0, None]
    assert shown[0]["word"] == "At risk"


def test_an_early_warning_has_no_probability_of_a_breach() -> None:
    """Few end in a breach, whatever their times are; after a page, the times count."""
    world = contended()
    page = replace(contention_incident(world), service=GATEWAY, at_risk=(AtRisk(GATEWAY, 30.0, 40.0, 90.0),))
    warning = replace(page, severity="warning")
    shown = [about(expecting(incidents=(item,)), GATEWAY)["breach_probability"] for item in (page, warning)]
    assert shown == [0.8, None]
    early = about(expecting(incidents=(replace(warning, at_risk=(AtRisk(GATEWAY, 60.0, 240.0, 400.0),)),)), GATEWAY)
    assert early["summary"].startswith("gateway is at risk: ")
    assert early["summary"].endswith("SLO breach forecast: median < 5 min.")


@given(st.lists(st.floats(0.1, 1500) | st.just(math.inf), min_size=5, max_size=5).map(sorted))
def test_the_probability_within_ten_minutes_agrees_with_the_median_time(seconds: list[float]) -> None:
    p10, p20, p50, p80, p90 = seconds
    probability = breach_probability(AtRisk(GATEWAY, p20, p50, p80, p10, p90), 600.0)
    assert 0 <= probability <= 1
    assert (probability >= 0.5 - 1e-9) == (p50 <= 600)


def test_a_service_page_has_its_gpu_neighbors_with_the_wait_in_both_directions() -> None:
    """embedder shares two GPUs with train-llm, and waits there nearly half the time."""
    body = about(expecting(), EMBEDDER)
    (neighbor,) = body["neighbors"]
    assert (neighbor["id"], neighbor["gpus"]) == ("train-llm", ["host-0/gpu-0", "host-0/gpu-1"])
    assert neighbor["wait"] == pytest.approx(0.46)
    assert neighbor["caused_wait"] == pytest.approx(0.01)
    assert [row["id"] for row in body["callers"]] == ["rag-api"]
    assert body["callers"][0]["attempts"] == 1.31
    assert [row["id"] for row in body["incidents"]] == ["20251125T095730Z-embedder"]
    assert body["incidents"] == about(expecting(), TRAIN)["incidents"]
    assert len(body["gpu_list"]) == 4
    assert (body["inference"], body["capacity"]) == (None, None)


def test_a_service_page_has_model_servers_and_replicas_where_there_are_any() -> None:
    """A replica without fresh data is counted, not shown as idle."""
    body = about(snapshot(serving(healthy_world())), MODEL)
    assert [row["instance"] for row in body["inference"]["replicas"]] == ["a:8000"]
    assert body["inference"]["stale"] == 1
    assert body["capacity"] == {"desired": 6.0, "ready": 3.0, "max": None, "pending": 3.0}


@pytest.mark.parametrize(
    ("snapshot_", "who", "words"),
    [
        (expecting(), EMBEDDER, "embedder breaches its SLO: p95 "),
        (expecting(incidents=()), EMBEDDER, "embedder breaches its SLO: p95 "),
        (
            expecting(incidents=()),
            GATEWAY,
            "gateway is at risk: p95 40 ms (SLO 9.00 s)",
        ),
        (
            replace(expecting(incidents=()), forecast=Forecast()),
            GATEWAY,
            "No SLO configured and not enough data",
        ),
        (
            snapshot(healthy_world(), learning=Learning(720.0, 1800.0)),
            GATEWAY,
            "Building baseline: 12 of 30 min. Incidents are not detected until then. Set",
        ),
        (SCENES["blind"](), GATEWAY, "gateway: no fresh data."),
        (snapshot(healthy_world()), TRAIN, "train-llm has no traffic. It runs on 10 GPUs."),
        (overloaded(), GATEWAY, "gateway is within its SLO: p95 40 ms (SLO 9.00 s)"),
        (seldom(), GATEWAY, "gateway has low traffic and is not judged: p95 40 ms (SLO 20 ms)"),
    ],
)
def test_the_sentence_of_a_service_leads_with_its_state(snapshot_: Snapshot, who: Service, words: str) -> None:
    """Its state against its SLO, or why it has no SLO."""
    summary = about(snapshot_, who)["summary"]
    assert words in summary
    assert summary.startswith(str(who))


@pytest.mark.parametrize(
    ("snapshot_", "who", "expected"),
    [
        (expecting(), EMBEDDER, "Suspected cause: train-llm (high confidence)."),
        (expecting(), TRAIN, "It is the suspected cause of the incident on embedder (high confidence)."),
        (expecting(), GATEWAY, ""),
        (overloaded(), GATEWAY, "Load 82% (safe limit 55%)."),
    ],
)
def test_the_detail_of_a_service_has_its_overload_and_the_suspected_cause(
    snapshot_: Snapshot, who: Service, expected: str
) -> None:
    """Of the open incident with the service."""
    assert "".join(clause["text"] for clause in about(snapshot_, who)["detail_clauses"]) == expected


def test_the_actions_of_an_incident_are_on_the_pages_of_its_services() -> None:
    """Of the affected service and the suspected cause alike, and on no other."""
    actions = [[action["text"] for action in about(expecting(), who)["actions"]] for who in (EMBEDDER, TRAIN, GATEWAY)]
    assert actions == [["Move train-llm off host-0/gpu-0 and host-0/gpu-1"]] * 2 + [[]]


def test_a_chart_of_a_name_in_several_namespaces_lists_the_full_names() -> None:
    """Not that the name is unknown, of which there are two."""
    world = healthy_world()
    chat, batch = Service("shop", "api"), Service("batch", "api")
    seen = snapshot(replace(world, services=(chat, batch, *world.services[2:])))
    page = next(page for page in PAGES if any(chart.id == "service-durations" for chart in page.charts))
    chart = next(chart for chart in page.charts if chart.id == "service-durations")
    drawn = chart.draw(FakeHub(seen), View(NOW - 900, NOW, True, {}, "api"), Look(LIGHT))
    text = drawn["layout"]["annotations"][0]["text"]
    assert text == "api: ambiguous name. Use one of batch/api, shop/api."


def test_an_unknown_service_is_reported_with_names_like_it(hub: FakeHub, caller: Caller) -> None:
    """404, and the way back; several of one name are distinguished."""
    answer = caller.get("/api/pages/services/embeder")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Unknown service 'embeder'. Did you mean embedder? The Services page lists all."
    assert caller.get("/api/pages/services/embedder").json()["service"] == "embedder"
    assert caller.get("/api/pages/services/embedder?at=now-5m").json()["seq"] != hub.snapshot.seq
    assert caller.get("/api/pages/services/").status_code == 400
    hostile = Caller(create_app(FakeHub(SCENES["hostile"]()), version="0"))
    assert hostile.get(f"/api/pages/services/{HOSTILE.replace(' ', '%20')}").json()["service"] == HOSTILE


def test_golden_charts_of_a_service(golden: Callable[[str, str], None]) -> None:
    """Every chart of a service that has all, of its last five points."""
    world = slice_world(serving(contended()), NOW - 40, NOW)
    span = (NOW - 40, NOW)
    began = replace(contention_incident(world), since=NOW - 20)
    marks = figures.marks_of([began, replace(began, affected=())])
    drawn = {
        "requests": figures.requests(world, EMBEDDER, LOOK, span),
        "durations": figures.durations(world, EMBEDDER, LOOK, span, ServiceSlo(EMBEDDER, 0.2, 0.01, True), marks),
        "gpu": figures.gpu_time(world, EMBEDDER, LOOK, span),
        "queue": figures.queue(world, MODEL, LOOK, span),
        "first token": figures.first_token(world, MODEL, LOOK, span),
        "replicas": figures.replicas(world, MODEL, LOOK, span),
    }
    answer = {
        name: {"data": figure["data"], "annotations": figure["layout"]["annotations"]} for name, figure in drawn.items()
    }
    golden("web-service.json", json.dumps(answer, indent=1) + "\n")


@pytest.mark.parametrize(
    "draw", [figures.queue, figures.cache, figures.first_token, figures.per_token, figures.replicas]
)
def test_a_chart_says_why_it_is_empty(draw: Callable[..., Json]) -> None:
    """A service that has no model server."""
    figure = draw(healthy_world(), GATEWAY, LOOK, (NOW - 60, NOW))
    assert figure["data"] == []
    assert "gateway" in figure["layout"]["annotations"][0]["text"]


DROPPED = HUB | {"receiver": {"refused_spans": {"bad_id": 7}}}


@pytest.mark.parametrize(
    ("snapshot_", "hub", "now", "state", "words"),
    [
        (
            snapshot(healthy_world()),
            HUB,
            NOW + 3,
            "healthy",
            "No data loss: 32 GPUs and 12 services (10 with requests) reporting.",
        ),
        (
            replace(snapshot(healthy_world()), bounds=(0.0, NOW)),
            HUB,
            NOW,
            "healthy",
            "No data loss at 10:00:00 UTC: 32 GPUs",
        ),
        (snapshot(healthy_world()), DROPPED, NOW + 3, "warning", "Degraded: 7 spans refused."),
        (SCENES["half-blind"](), HUB, NOW + 3, "warning", "Degraded: 1 of 4 targets down or stale: host-3:10877."),
        (
            SCENES["learning"](),
            HUB,
            NOW + 3,
            "learning",
            "Building baseline: 12 of 30 min. Incidents are not detected until then.",
        ),
        (
            SCENES["blind"](),
            HUB,
            NOW + 3,
            "unknown",
            "No data: no fresh samples from any GPU or service since 09:55:00",
        ),
        (snapshot(bare()), HUB, NOW + 3, "unknown", "No data: no samples from any GPU or service yet."),
        (SCENES["stale"](), HUB, NOW + 3, "critical", "Stale, last updated 10:00:00 UTC: prometheus"),
        (snapshot(healthy_world()), HUB, NOW + 200, "critical", "Lagging: the newest data is 200 s old."),
        (SCENES["error"](), HUB, NOW + 3, "critical", "Cannot read the source: prometheus"),
        (snapshot(None), HUB, NOW + 3, "empty", "Waiting for the first evaluation."),
    ],
)
def test_the_headline_of_data_health_names_the_worst_problem(
    snapshot_: Snapshot, hub: Json, now: float, state: str, words: str
) -> None:
    """Healthy data comes with the number of objects that report."""
    found = data_health(snapshot_, hub, (True, ""), now)
    assert found["state"] == state
    assert words in found["headline"]


def test_every_page_can_be_looked_at_as_it_was() -> None:
    """What a page's values come from takes the time that the slider of the past chooses."""
    caller = Caller(create_app(FakeHub(snapshot(healthy_world())), version="0"))
    for page in PAGES:
        props = vars(page.layout())
        feed = str(props["data-feed"]).replace("{rest}", "embedder")
        asked = f"{feed}{'&' if '?' in feed else '?'}at={NOW - 300:.0f}"
        assert caller.get(asked).status_code == 200, asked


def test_status_of_the_past_is_that_of_then() -> None:
    """Nothing is old or silent for being past."""
    caller = Caller(create_app(FakeHub(snapshot(healthy_world())), version="0"))
    answer = caller.get(f"/api/pages/status?at={NOW - 300:.0f}").json()
    assert (answer["past"], answer["data_age"]) == (True, None)
    assert answer["health"]["headline"].startswith("No data loss at 09:55:00 UTC: ")
    assert not any(row["stale"] for row in answer["targets"])


def test_no_newest_trace_is_apart_from_an_unknown_one() -> None:
    traces = FakeTraces()
    newest = max(row.start for row in traces.search(TraceQuery(0.0, NOW)))
    assert newest_trace(traces, NOW) == {"age": NOW - newest, "note": ""}
    assert newest_trace(FakeTraces(0), NOW) == {"age": None, "note": "none in 5 min"}
    assert newest_trace(FakeTraces(error="down"), NOW) == {"age": None, "note": "unknown"}


def test_the_status_page_does_not_search_a_remote_trace_store() -> None:
    """A slow one would delay the page that reports it."""
    hub = FakeHub(snapshot(healthy_world()), remote_traces="Tempo")
    answer = Caller(create_app(hub, version="0")).get("/api/pages/status").json()
    assert answer["newest_trace"] == {"age": None, "note": "not measured with Tempo"}
    assert hub.traces.asked == []


def test_every_problem_is_listed() -> None:
    """With its number; none is listed for a count of zero."""
    hub: Json = {
        "store": {
            "last_error": "disk full", "expiry_paused": "the clock jumped", "corrupt": 1,
            "dropped_spans": 2, "dropped_samples": 3, "series_limit": 31_000,
        },
        "receiver": {"refused_spans": {"bad_id": 7, "future": 1}},
        "spans": {"warning": "too many series", "counts": {"foreshock_spans_uncounted_total": 5.0}},
    }  # fmt: skip
    assert data_health(snapshot(healthy_world()), hub, (False, "the store is full"), NOW)["problems"] == [
        "the store is full", "store failing: disk full", "the clock jumped", "8 spans refused",
        "3 samples dropped (limit 31,000 series). Raise --memory-limit, or scrape fewer series",
        "2 spans dropped: invalid times", "1 corrupt store block quarantined",
        "too many series", "5 spans stored but not counted in span metrics",
    ]  # fmt: skip


def test_at_the_largest_limit_of_series_more_memory_is_no_remedy() -> None:
    hub: Json = {"store": {"dropped_samples": 3, "series_limit": StoreLimits().max_series}}
    assert data_health(snapshot(healthy_world()), hub, (True, ""), NOW)["problems"] == [
        "3 samples dropped (limit 500,000 series). Scrape fewer series"
    ]


def unmatched(option: str, **named: str | None) -> list[Json]:
    """The hub's status of an option with services that have no data: the most similar name, by name."""
    return [{"option": option, "service": name, "nearest": meant} for name, meant in named.items()]


def test_an_option_with_services_without_data_is_a_problem_with_the_most_similar_name() -> None:
    """An SLO or a tier of no service; all other problems come before it."""
    slos = unmatched("slo", gatway="gateway")
    tiers = unmatched("tiers", gatway="gateway", a=None, b=None, c=None)
    found = data_health(snapshot(healthy_world()), DROPPED | {"unmatched": [*slos, *tiers]}, (True, ""), NOW)
    assert (found["state"], found["problems"][0]) == ("warning", "7 spans refused")
    first = "gatway (did you mean gateway?)"
    assert found["problems"][1:] == [
        f"--slo names 1 service without data: {first}. Fix the spelling, or ignore this until it starts",
        (
            f"--tiers names 4 services without data: {first}, a, b and 1 more. "
            "Fix the spelling, or ignore this until they start"
        ),
    ]


@pytest.mark.parametrize(
    ("scrapes", "candidates", "remedy"),
    [
        ([{"instance": "gpu-1:8000"}], (), "on its target, or --targets SERVICE=gpu-1:8000."),
        ([], (), "Set the labels service_name and service_namespace on its target."),
        ([], (MODEL, GATEWAY), "Possibly part of "),
    ],
    ids=["scraped by the hub", "scraped by Prometheus", "ambiguous"],
)
def test_the_remedy_of_an_unjoined_model_server_is_where_its_target_is(
    scrapes: list[Json], candidates: tuple[Service, ...], remedy: str
) -> None:
    """An option of the hub has no effect on the targets of a Prometheus."""
    server = UnjoinedServer(Replica(Service("", "bed-7b"), "gpu-1:8000"), "vllm", "gpu-1:8000", "bed-7b", candidates)
    world = replace(healthy_world(), unjoined=(server,))
    page = status(snapshot(world), HUB | {"scrapes": scrapes}, (True, ""), NOW, "0")
    (row,) = page["unjoined"]
    assert (row.server, row.model, row.service) == ("gpu-1:8000", "bed-7b", "bed-7b")
    assert remedy in row.remedy
    assert ("--targets" in row.remedy) == bool(scrapes)


def test_a_long_problem_is_cut_in_the_headline_and_complete_below_it() -> None:
    """A phone has no room for more; a short one stays complete."""
    hub = HUB | {"unmatched": unmatched("tiers", gatway="gateway", a=None)}
    found = data_health(snapshot(healthy_world()), hub, (True, ""), NOW)
    assert found["headline"] == "Degraded: --tiers names 2 services without data."
    assert found["problems"][0].startswith("--tiers names 2 services without data: gatway (did you mean gateway?), a. ")
    assert data_health(snapshot(healthy_world()), DROPPED, (True, ""), NOW)["headline"] == "Degraded: 7 spans refused."


def test_without_any_service_no_option_is_a_problem() -> None:
    """Other problems say so already."""
    hub = HUB | {"unmatched": unmatched("tiers", gatway=None)}
    assert not any("--tiers" in problem for problem in data_health(snapshot(bare()), hub, (True, ""), NOW)["problems"])


def test_a_missing_signal_comes_with_its_features_and_a_remedy() -> None:
    """An available one has a count."""
    rows = {row.name: row for row in signals(serving(healthy_world()))}
    assert (rows["Model servers"].available, rows["Model servers"].count) == (True, 1)
    assert (rows["Quota"].available, rows["Network"].available) == (False, False)
    assert "kube-state-metrics" in rows["Quota"].remedy
    assert rows["Network"].features == "network root causes"


def test_targets_come_with_what_the_scraper_knows_of_them() -> None:
    """The silent ones first; without a World those that are scraped."""
    scrapes = [
        {"instance": "host-3:10877", "job": "x", "up": False, "error": "refused", "duration_seconds": 0.1, "samples": 0}
    ]
    body = status(SCENES["half-blind"](), HUB | {"scrapes": scrapes}, (True, ""), NOW, "1")
    assert vars(body["targets"][0]) | {"age": 0} == {
        "instance": "host-3:10877", "job": "foreshock", "up": True, "age": 0, "stale": True, "scrape_seconds": 0.1,
        "samples": 0, "error": "refused",
    }  # fmt: skip
    early = status(snapshot(None, learning=LEARNED), HUB | {"scrapes": scrapes}, (False, ""), NOW, "1")
    assert [row.error for row in early["targets"]] == ["refused"]


def test_targets_without_gpus_are_listed_as_well() -> None:
    """Model servers, and an exporter that never answered, which no World has."""
    scrapes = [
        {"instance": "vllm:8000", "job": "vllm", "up": True, "error": "", "age_seconds": 3.0},
        {"instance": "gpu-9:9999", "job": "gpu-9", "up": False, "error": "refused", "age_seconds": 3.0},
    ]
    page = status(snapshot(healthy_world()), HUB | {"scrapes": scrapes}, (True, ""), NOW, "1")
    shown = {row.instance: (row.job, row.stale, row.error) for row in page["targets"]}
    assert (shown["vllm:8000"], shown["gpu-9:9999"]) == (("vllm", False, ""), ("gpu-9", True, "refused"))
    total = len(healthy_world().targets) + 2
    assert page["health"]["problems"] == [f"1 of {total} targets down or stale: gpu-9:9999"]
