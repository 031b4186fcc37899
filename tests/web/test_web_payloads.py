"""What a snapshot becomes in JSON: figures with their names, and absent never as zero."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.web.worlds import (
    NOW,
    SCENES,
    STEP,
    bare,
    contended,
    contention_incident,
    healthy_world,
    request,
    service,
    snapshot,
    span,
)

from foreshock_dashboard.analysis.incidents.lifecycle import RESOLVE_AFTER_SECONDS
from foreshock_dashboard.analysis.incidents.request_impact import request_impacts
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.forecast import Forecast, Risk, ServiceSlo
from foreshock_dashboard.model.incident import (
    AtRisk,
    Evidence,
    LaterCause,
    Learning,
    Summary,
    SuspectedCause,
    Symptom,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Edge, Target
from foreshock_dashboard.render.clause import Clause, joined_text
from foreshock_dashboard.render.incident_summary import summary_clauses
from foreshock_dashboard.web.api.list_routes import services as listed_services
from foreshock_dashboard.web.charts.theme import SERVICE_COLORS, service_color
from foreshock_dashboard.web.http.responses import envelope
from foreshock_dashboard.web.pages.cascade.data import cascade
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.pages.now.course import Breach, Recovery, breach, recovery
from foreshock_dashboard.web.pages.now.impact import impact
from foreshock_dashboard.web.pages.now.verdict import verdict
from foreshock_dashboard.web.pages.services.data import services
from foreshock_dashboard.web.pages.traces import trace_json as traces_json
from foreshock_dashboard.web.panels import vitals
from foreshock_dashboard.web.panels.topology import topology
from foreshock_dashboard.web.state import conditions, lists, numbers
from foreshock_dashboard.web.state.incident_json import incident as incident_json
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, pairs
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import STAGES

Golden = Callable[[str, str], None]


def test_what_is_not_wrong_yet_makes_no_headline() -> None:
    """A service that retries would keep down is named beside the verdict; no service is affected so far."""
    weak = replace(
        contention_incident(contended()),
        affected=(),
        severity="warning",
        cause="retry_storm",
        summary=Summary(latent=True),
        evidence=(Evidence("load with all retries", 2.71, 1.0, "ratio", NOW - 190, "embedder"),),
    )
    seen = verdict(snapshot(healthy_world(), weak))
    assert seen.state == "healthy"
    assert "".join(joined_text(risk) for risk in seen.risks) == (
        "If embedder is down for a short time, retries keep it overloaded (2.71x capacity)."
    )
    assert seen.payload()["risks"]


def test_a_healthy_verdict_names_the_data_on_which_it_rests() -> None:
    """Its age, what reports, which services have too little traffic to be judged, and where SLOs come from."""
    world, seldom = healthy_world(), service("vector-store")
    rate = world.red.rate.copy()
    rate[world.services.index(seldom)] = 0.2
    world = replace(world, red=replace(world.red, rate=rate))
    slos = (ServiceSlo(seldom, 1.0, 0.01, learned=True), ServiceSlo(service("auth"), 1.0, 0.01, learned=False))
    seen = verdict(replace(snapshot(world), forecast=Forecast(slos=slos)), NOW + 4)
    assert joined_text(seen.coverage) == (
        f"Data 4 s old, from {len(world.targets)} of {len(world.targets)} targets and 32 of 32 GPUs. "
        "Low traffic, not judged: vector-store. SLOs: 1 of 2 learned."
    )


def test_each_service_at_risk_says_why() -> None:
    """The service of the incident that it calls; one that calls none, its metric beside its SLO."""
    world = contended()
    risks = tuple(AtRisk(service(name), 60.0, 120.0, 400.0) for name in ("rag-api", "vllm-8b"))
    slos = (ServiceSlo(service("vllm-8b"), 9.0, 0.5, learned=False),)
    seen = snapshot(world, replace(contention_incident(world), at_risk=risks))
    situation = verdict(replace(seen, forecast=Forecast(slos=slos))).payload()["situation"]
    assert situation
    calls, metric = (row.state for row in situation["at_risk"])
    assert calls == "calls embedder"
    assert re.fullmatch(r"(p95|error rate) .*, SLO .*", metric)


def test_changes_before_the_first_anomaly_are_listed_the_newest_first() -> None:
    """Services of which no version is known are named, as a change of them would not be."""
    item = contention_incident(contended())
    changes = tuple(
        Change(item.since - before, "deployment", service("embedder"), before=f"1.{4 - i}", after=f"1.{5 - i}")
        for i, before in enumerate((1860, 1200, 900, 180, 0))
    )

    def gap(*tracked: Service) -> str:
        world = replace(contended(), change_tracked=frozenset(tracked))
        situation = verdict(snapshot(world, item)).payload()["situation"]
        assert situation
        return situation["no_changes"]

    def listed(*changes: Change) -> list[str]:
        world = replace(contended(), changes=changes)
        situation = verdict(snapshot(world, item)).payload()["situation"]
        assert situation
        return ["".join(clause.text for clause in change) for change in situation["changes"]]

    assert gap() == "Unknown: deploys of train-llm and embedder are not tracked (check their deploy logs)"
    assert item.suspect.service
    others = (
        "None in the 30 min before the first anomaly, but deploys of embedder are not tracked (check its deploy log)"
    )
    assert gap(item.suspect.service) == others
    assert listed() == listed(changes[0]) == []
    assert listed(*changes) == [
        "embedder 1.0 → 1.1, at the first anomaly",
        "embedder 1.1 → 1.2, 3 min before the first anomaly",
        "embedder 1.2 → 1.3, 15 min before the first anomaly",
        "embedder 1.3 → 1.4, 20 min before the first anomaly",
    ]
    many = tuple(Change(item.since - before, "deployment", service("embedder")) for before in range(60, 0, -2))
    found = verdict(snapshot(replace(contended(), changes=many), item)).payload()["situation"]
    assert found
    assert (len(found["changes"]), found["change_count"]) == (20, 30)


def test_the_change_that_is_the_cause_is_in_the_incident() -> None:
    item = contention_incident(contended())
    change = Change(item.since - 180, "deployment", service("embedder"), before="1.4.1", after="1.4.2", source="traces")
    assert incident_json(item)["suspect"].change is None
    reported = incident_json(replace(item, suspect=item.suspect._replace(change=change)))
    shown = reported["suspect"].change
    assert shown
    assert (shown.at, shown.before, shown.after) == (item.since - 180, "1.4.1", "1.4.2")
    assert shown.text == "embedder 1.4.1 → 1.4.2"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_null(value: float) -> None:
    """JSON has no NaN, and zero would be a lie."""
    assert number(value) is None


def test_a_service_without_requests_has_null_durations_and_a_zero_rate() -> None:
    """Zero requests were seen; how long they took cannot be said."""
    rows = {row.service: row for row in listed_services(HistoryCache(), snapshot(healthy_world()))["services"]}
    idle = rows["train-llm"]
    assert idle.requests_per_second == 0
    assert [getattr(idle, key) for key in ("error_rate", "p50_seconds", "p95_seconds", "p99_seconds")] == [None] * 4
    assert idle.condition == "no_traffic"


def test_an_affected_caller_is_shown_as_a_warning() -> None:
    """On the map and in the table it is not healthy."""
    hit = service("gateway")
    incident = replace(contention_incident(contended()), affected=(service("embedder"), hit))

    assert conditions.condition(hit, (incident,), rate=5.0, error_rate=0.0) == conditions.Condition(
        "warning", "affected"
    )
    assert conditions.condition(service("auth"), (incident,), rate=5.0, error_rate=0.0).word == "Healthy"


def test_contention_names_victim_aggressor_share_and_gpus() -> None:
    """The worst pair comes first, with every GPU that the two share."""
    worst = lists.contention(snapshot(contended()))["pairs"][0]
    assert (worst.victim, worst.aggressor) == ("embedder", "train-llm")
    assert worst.gpu_wait_ratio == pytest.approx(0.46)
    assert [gpu.gpu for gpu in worst.gpus] == ["host-0/gpu-0", "host-0/gpu-1"]


def test_a_later_cause_has_its_service_apart_from_its_words() -> None:
    """*Now* and *Cascade* put a link there."""
    item = contention_incident(contended())
    assert incident_json(item)["later"] is None
    lag = LaterCause(service("rag-api"), "scale_up_lag", SuspectedCause(service("gateway")), NOW - 100)
    later = incident_json(replace(item, later=lag))["later"]
    assert later is not None
    assert (later.service, later.cause, later.suspect, later.since) == ("rag-api", "scale_up_lag", "gateway", NOW - 100)
    assert later.text == "scale-up lag: new replicas are not ready, since 09:58:20 UTC"
    assert "".join(clause.text for clause in later.clauses) == later.text


def test_a_pair_of_an_incident_has_the_gpu_wait_on_its_gpus() -> None:
    """The figure of the pages: other GPUs that the two share do not pull it down."""
    world = contended()
    incident = contention_incident(world)
    incident = replace(incident, suspect=incident.suspect._replace(gpus=world.gpus[:1]))
    worst = lists.contention(snapshot(world, incident))["pairs"][0]
    assert [gpu.gpu for gpu in worst.gpus] == ["host-0/gpu-0"]
    assert worst.gpu_wait_ratio == worst.gpus[0].gpu_wait_ratio


def test_a_gpu_without_a_sample_does_not_pull_the_pair_down() -> None:
    """The mean is over the GPUs that have a reading; without any there is no figure."""
    world = contended()
    values = world.gpu_wait_by.copy()
    rows = [i for i, s in enumerate(world.gpu_wait_pairs) if s.affected == service("embedder")]
    values[rows[0], -1] = np.nan
    pair = next(p for p in pairs(replace(world, gpu_wait_by=values)) if p.victim == service("embedder"))
    assert pair.ratio == pytest.approx(0.46)
    values[rows, -1] = np.nan
    pair = next(p for p in pairs(replace(world, gpu_wait_by=values)) if p.victim == service("embedder"))
    assert pair.ratio is None


def test_a_gpu_lists_its_services() -> None:
    """Who runs where, with busy and waiting shares."""
    first = lists.gpus(snapshot(contended()))["gpus"][0]
    assert first.gpu == "host-0/gpu-0"
    assert {row.service for row in first.services} == {"embedder", "train-llm"}
    assert first.contended_ratio == pytest.approx(0.83)


def test_pools_have_what_each_tier_needs_and_where_they_meet() -> None:
    """By namespace, where no target reports tiers: here everything is of the one without a name."""
    result = lists.pools(healthy_world())
    assert [(row.tier, row.by) for row in result["tiers"]] == [("", "load")]
    assert result["tiers"][0].gpus == len({tenant.gpu for tenant in healthy_world().tenants})
    assert result["mixed"] == []
    gold = replace(
        healthy_world(), tier=tuple("gold" if who == service("embedder") else "" for who in healthy_world().services)
    )
    assert [row.gpu for row in lists.pools(gold)["mixed"]] == ["host-0/gpu-0", "host-0/gpu-1"]
    assert lists.pools(gold)["mixed"][0].tiers == {"": ["train-llm"], "gold": ["embedder"]}
    assert lists.pools(None) == {"tiers": [], "mixed": []}


def test_warnings_are_open_incidents_and_incidents_are_all() -> None:
    """One that is over is remembered but warns no more; the worst open one comes first."""
    world = contended()
    over = contention_incident(world, state="resolved")
    mild = replace(contention_incident(world, "reranker", "batch-eval", "warning"), since=NOW - 900)
    seen = snapshot(world, over, mild, replace(contention_incident(world), cascading=True))
    assert [w["severity"] for w in lists.incidents(seen, "open")["incidents"]] == ["critical", "warning"]
    assert [w["severity"] for w in lists.incidents(seen)["incidents"]] == ["critical", "warning", "critical"]
    assert [w["state"] for w in lists.incidents(seen)["incidents"]] == ["firing", "firing", "resolved"]
    first = lists.incidents(seen, "open")["incidents"][0]
    wanted = {"id", "severity", "state", "service", "suspect", "cause", "since", "summary", "evidence"}
    assert wanted | {"confidence", "quality"} <= first.keys()
    assert first["suspect"].gpus == ["host-0/gpu-0", "host-0/gpu-1"]


def test_an_incident_without_an_aggressor_is_described_by_its_cause() -> None:
    """Not every incident has a noisy neighbor; none is suspected then."""
    alone = replace(contention_incident(contended()), suspect=SuspectedCause(), cause="scale_up_lag")
    seen = snapshot(contended(), alone)
    said = verdict(seen)
    assert joined_text(said.clauses) == "embedder is degraded"
    assert said.clauses[0] == Clause("embedder", "service", ("embedder",))
    assert lists.incidents(seen, "open")["incidents"][0]["suspect"].service is None


@pytest.mark.parametrize(
    ("failed", "rate", "expected"),
    [
        (0.0, 5.0, ("ok", "healthy")),
        (0.02, 5.0, ("warning", "errors")),
        (0.05, 5.0, ("critical", "errors")),
        (None, 0.0, ("idle", "no_traffic")),
        (None, None, ("idle", "no_traffic")),
    ],
)
def test_the_condition_of_a_service_follows_its_errors(
    failed: float | None, rate: float | None, expected: tuple[str, str]
) -> None:
    """State and word for each level of errors."""
    assert conditions.condition(service("api"), (), rate, failed)[:2] == expected


def test_a_service_in_slo_breach_is_not_healthy() -> None:
    """A service within its SLO, or without one, is."""
    world = healthy_world()
    limits = {"auth": 0.02, "gateway": 100.0}
    slos = tuple(ServiceSlo(service(name), seconds, 0.01, learned=True) for name, seconds in limits.items())
    seen = replace(snapshot(world), forecast=Forecast(slos=slos))
    rows: dict[str, Json] = {row["id"]: dict(row) for row in services(seen)["services"]}
    assert rows["auth"]["slo_usage"] > 1
    assert (rows["auth"]["health"], rows["auth"]["word"]) == ("warning", "SLO breach")
    assert (rows["gateway"]["word"], rows["embedder"]["word"]) == ("Healthy", "Healthy")
    assert conditions.condition(service("auth"), (), 5.0, 0.06, slo_usage=6.0)[:2] == ("critical", "errors")


def test_the_affected_service_and_the_suspected_cause_have_words_of_their_own() -> None:
    """The condition of any other service follows its own values."""
    state = conditions.conditions(SCENES["contended"]())
    assert state[service("embedder")][:2] == ("critical", "affected")
    assert state[service("train-llm")][:2] == ("warning", "suspected_cause")
    assert state[service("auth")][:2] == ("ok", "healthy")


def test_a_suspected_cause_that_is_at_risk_itself_counts_as_at_risk() -> None:
    """As in the tile of the SLOs; the table has a chip for its part."""
    soon = AtRisk(service("train-llm"), 100.0, 200.0, 300.0)
    seen = snapshot(w := contended(), replace(contention_incident(w), at_risk=(soon,)))
    assert conditions.conditions(seen)[service("train-llm")][:2] == ("warning", "at_risk")


def test_the_timeline_says_which_incident_a_further_cause_belongs_to() -> None:
    """The reason of the cause in the headline needs no such note."""
    world = contended()
    further = replace(
        contention_incident(world, "auth", "rag-api", severity="warning"), id="further", cause="overload", paged=None
    )
    lanes = cascade(snapshot(world, contention_incident(world), further), NOW - 900)["timeline"].lanes
    why = {lane.service: lane.why for lane in lanes if lane.part == "suspect"}
    assert why["rag-api"] == "cause of the incident of auth"
    assert "incident" not in why["train-llm"]


def test_without_a_baseline_no_anomaly_is_drawn_and_no_wait_is_normal() -> None:
    """There is nothing to compare with yet."""
    learning = Learning(720.0, 1800.0)
    payload = data.now(snapshot(contended(), learning=learning), "x")
    assert data.now(snapshot(contended()), "x")["timeline"].lanes
    assert payload["timeline"].lanes == []
    assert payload["no_stages"].startswith("Baseline in progress")
    (wait,) = [tile for tile in payload["tiles"] if "wait" in tile.name]
    assert wait.value is not None
    assert (wait.limit, wait.status) == (None, "ok")


@pytest.mark.parametrize(
    ("scene", "state", "words"),
    [
        ("healthy", "healthy", "No incidents: 12 services on 32 GPUs"),
        ("contended", "critical", "embedder is degraded"),
        ("learning", "learning", "Building baseline: 12 of 30 min"),
        ("empty", "empty", "No services and no GPUs yet"),
        ("error", "error", "Cannot read the source: prometheus http://127.0.0.1:9090 refuses connections"),
    ],
)
def test_the_verdict_says_how_it_is_in_one_sentence(scene: str, state: str, words: str) -> None:
    """Each scene has its own first sentence."""
    said = verdict(SCENES[scene]())
    assert said.state == state
    assert joined_text(said.clauses).startswith(words)


def test_the_headline_stays_while_only_figures_change() -> None:
    """It is read aloud when it changes, so it must not change with every tick."""
    world = contended()
    worse = replace(
        contention_incident(world), confidence=0.5, summary=Summary(Symptom("p95", 0.999, 0.105)), evidence=()
    )
    assert verdict(snapshot(world, worse)).clauses == verdict(SCENES["contended"]()).clauses


def test_a_summary_links_to_its_evidence() -> None:
    """The affected service, the noisy neighbor, and the GPUs."""
    kinds = [
        (clause.kind, clause.services or clause.gpus) for clause in summary_clauses(contention_incident(contended()))
    ]
    assert [kind for kind in kinds if kind[0] in ("service", "gpus")] == [
        ("service", ("embedder",)),
        ("service", ("train-llm",)),
        ("gpus", ("host-0/gpu-0", "host-0/gpu-1")),
    ]


def test_the_headline_has_the_metric_that_uses_most_of_the_slo() -> None:
    """And healthy says how many services are within theirs, and which is the closest to its limit."""
    slos = (ServiceSlo(service("embedder"), 0.2, 0.5, learned=False), ServiceSlo(service("gateway"), 9.0, 0.1, False))
    seen = replace(SCENES["contended"](), forecast=Forecast(slos=slos))
    situation = verdict(seen).payload()["situation"]
    assert situation
    assert situation["reading"]
    assert (situation["reading"].metric, situation["reading"].limit) == ("p95", 0.2)
    quiet = replace(snapshot(healthy_world()), forecast=Forecast(slos=slos))
    history = HistoryCache().get(quiet, healthy_world(), None, NOW - 900)
    said = verdict(quiet, history=replace(history, stages=np.zeros_like(history.stages)))
    assert (said.state, joined_text(said.clauses)) == ("healthy", "No service is breaching its SLO")
    assert said.lead == "2 of 12 services within SLO, 10 without an SLO"
    assert said.closest[0].service == "embedder"


def test_while_the_service_of_an_incident_is_within_its_slo_the_breaching_caller_leads() -> None:
    """Its metric, and since when; the service at which it starts is named as the origin."""
    world, origin, caller = contended(), service("embedder"), service("rag-api")
    slos = (ServiceSlo(origin, 9.0, 0.5, learned=False), ServiceSlo(caller, 0.001, 0.5, learned=False))
    item = replace(contention_incident(world), affected=(origin, caller))
    seen = replace(snapshot(world, item), forecast=Forecast(slos=slos))
    history = HistoryCache().get(seen, world, item.since, NOW - 900)
    stages = np.zeros_like(history.stages)
    stages[history.services.index(caller), -9:] = STAGES.index("breached")
    history = replace(history, stages=stages)
    said = verdict(seen, history=history)
    assert joined_text(said.clauses) == "rag-api is breaching its SLO"
    situation = said.situation
    assert situation
    assert situation["reading"]
    assert situation["origin"]
    assert (situation["reading"].service, situation["origin"].service) == ("rag-api", "embedder")
    assert breach(history, caller, item.since) == Breach(str(caller), float(history.times[-9]), None, earlier=False)
    recovering = verdict(replace(seen, incidents=(replace(item, state="recovering"),)), history=history)
    assert joined_text(recovering.clauses) == "embedder is recovering"


def test_a_recovering_incident_says_why_it_recovers_and_when_it_resolves() -> None:
    """The request rate at its highest and now; nothing while it fires, or where the rate stays or is zero."""
    world, origin = contended(), service("embedder")
    rate = world.red.rate.copy()
    rate[world.services.index(origin), -20:] = np.linspace(50.0, 5.0, 20)
    fell = replace(world, red=replace(world.red, rate=rate))
    item = replace(contention_incident(world), state="recovering", recovering_since=NOW - 60, since=NOW - 200)
    item = replace(item, suspect=item.suspect._replace(service=origin))

    assert recovery(fell, item) == [Recovery("embedder", "request rate", 50.0, 5.0)]
    seen = snapshot(fell, item)
    situation = verdict(seen, history=HistoryCache().get(seen, fell, item.since, NOW - 900)).situation
    assert situation
    assert [clause.at for clause in situation["action_text"] if clause.at] == [NOW - 60 + RESOLVE_AFTER_SECONDS]
    assert recovery(world, item) == []
    idle = np.where(np.arange(len(world.services))[:, None] == world.services.index(origin), 0.0, rate)
    assert recovery(replace(world, red=replace(world.red, rate=idle)), item) == []
    assert recovery(fell, replace(item, state="firing")) == []


def test_what_an_incident_has_cost_is_integrated_over_its_requests() -> None:
    """Failed requests are not counted as slow again; the share that is slower comes from the quantiles."""
    world = contended()
    row = world.services.index(service("embedder"))
    who = service("embedder")
    result = impact(world, (who,), {who: ServiceSlo(who, 0.001, 0.01, learned=False)}, NOW - 100 + STEP)
    assert result
    requests = float(world.red.rate[row, -10:].sum()) * STEP
    assert result.requests == pytest.approx(requests, rel=0.01)
    assert result.failed + result.slow == pytest.approx(requests, rel=0.02)
    assert impact(world, (service("absent"),), {}, NOW - 100) is None


def test_a_request_that_passes_through_several_services_counts_where_it_came_in() -> None:
    """The embedder is called by rag-api alone, the model server by chat-api, too."""
    world, entry, inner, shared = contended(), *map(service, ("rag-api", "embedder", "vllm-70b"))
    cost = {
        services: impact(world, services, {}, NOW - 100) for services in ((entry,), (entry, inner), (entry, shared))
    }
    assert cost[entry, inner] == cost[(entry,)]
    alone, both = cost[(entry,)], cost[entry, shared]
    assert alone
    assert both
    assert set(both.services) == {entry, shared}
    assert both.requests > alone.requests


def test_now_and_the_postmortem_count_the_same_slow_requests() -> None:
    """Those to a service that is called from outside, of one range and one SLO."""
    world, slow, since = healthy_world(), service("gateway"), NOW - 205
    is_row = np.arange(len(world.services)) == world.services.index(slow)
    factor = np.where(is_row[:, None] & (world.times > since), 3.0, 1.0)
    red = replace(world.red, **{name: getattr(world.red, name) * factor for name in ("p50", "p95", "p99")})
    red = replace(red, error_rate=np.where(factor > 1.0, 0.1, 0.0))
    world = replace(world, red=red, calls=replace(world.calls, rate=world.calls.rate * 0.0))  # only services report
    (cost,) = request_impacts(world, since, NOW, None)
    found = impact(world, (slow,), {slow: ServiceSlo(slow, cost.slo_seconds, 0.01, learned=True)}, since)
    assert found
    assert 0 < found.slow < found.requests - found.failed
    assert (found.requests, found.slow) == pytest.approx((cost.requests, cost.slowed), abs=0.1)


def test_the_reverse_pair_of_an_incident_is_not_in_the_matrix() -> None:
    """The wait of the noisy neighbor is no help."""
    item = replace(
        contention_incident(contended()), service=service("train-llm"), suspect=SuspectedCause(service("embedder"))
    )
    assert "embedder" in data.matrix(contended()).victims
    assert "embedder" not in data.matrix(contended(), (item,)).victims
    assert data.now(SCENES["healthy"](), "x")["matrix"] is None


def test_a_service_is_only_named_in_a_headline_as_a_whole() -> None:
    """`api` is not found within `rag-api`, nor a name in the middle of another."""
    item = replace(
        contention_incident(contended()),
        cause="overload",
        suspect=SuspectedCause(service("api")),
        service=service("rag-api"),
    )
    item = replace(item, affected=(service("rag-api"),), candidates=())
    named = [clause.text for clause in summary_clauses(item) if clause.kind == "service"]
    assert named == ["rag-api", "api"]


def test_the_verdict_says_who_is_hit_next_and_when() -> None:
    """With the 80% interval; a service that is in breach already is not at risk."""
    risks = (AtRisk(service("embedder"), 0, 0, 0, 0, 0), AtRisk(service("gateway"), 100.0, 240.0, 500.0, 60.0, 900.0))
    seen = replace(contention_incident(contended()), at_risk=risks)
    result = verdict(snapshot(contended(), seen)).payload()["situation"]
    assert result
    (row,) = result["at_risk"]
    assert (row.service, row.breach_seconds.p10, row.breach_seconds.p50, row.breach_seconds.p90) == (
        "gateway",
        60.0,
        240.0,
        900.0,
    )
    assert conditions.conditions(snapshot(contended(), seen))[service("gateway")][:2] == ("warning", "at_risk")
    alone = verdict(SCENES["contended"]()).payload()["situation"]
    assert alone
    assert alone["at_risk"] == []


def test_a_service_before_its_slo_breach_is_at_risk() -> None:
    """A page before the breach: no service is shown as affected, and the SLO is shown beside the time that is left."""
    world = contended()
    who = service("embedder")
    soon = AtRisk(who, 40.0, 70.0, 160.0, 20.0, 300.0)
    result = replace(
        contention_incident(world), cause="overload", suspect=SuspectedCause(service("rag-api")), at_risk=(soon,)
    )
    seen = replace(snapshot(world, result), forecast=Forecast(slos=(ServiceSlo(who, 0.25, 0.05, learned=True),)))
    assert conditions.conditions(seen)[who][:2] == ("warning", "at_risk")
    shown = verdict(seen).payload()["situation"]
    assert shown
    assert [(row.service, row.breach_seconds.p50) for row in shown["at_risk"]] == [("embedder", 70.0)]
    assert shown["reading"]
    assert shown["reading"].limit == 0.25


def test_a_likely_breach_counts_alike_in_the_tile_and_in_both_tables() -> None:
    """Also without an incident."""
    world, auth = healthy_world(), service("auth")
    forecast = Forecast(
        slos=(ServiceSlo(auth, 9.0, 0.5, learned=True),), risks=(Risk(auth, 0.9, 60.0, 60.0, 120.0, 400.0, 400.0),)
    )
    seen = replace(snapshot(world), forecast=forecast)
    page = data.now(seen, "t")
    assert page["tiles"][0].slo == vitals.SloStatus(0, 0, 1, 0, len(world.services) - 1, learned=1)
    assert next(row.condition for row in page["services"] if row.id == "auth") == "at_risk"
    assert next(row["word"] for row in services(seen)["services"] if row["id"] == "auth") == "At risk"


def test_a_likely_breach_is_listed_beside_those_of_the_incident() -> None:
    world, auth, near = contended(), service("auth"), AtRisk(service("gateway"), 100.0, 240.0, 500.0, 60.0, 540.0)
    forecast = Forecast(
        risks=(
            Risk(auth, 0.9, 60.0, 60.0, 120.0, 400.0, 400.0),
            Risk(service("reranker"), 0.1, 60.0, 60.0, 900.0, 1e4, 1e4),
        )
    )
    situation = verdict(
        replace(snapshot(world, replace(contention_incident(world), at_risk=(near,))), forecast=forecast)
    ).situation
    assert situation
    assert [row.service for row in situation["at_risk"]] == ["auth", "gateway"]


def test_healthy_says_what_it_cannot_see() -> None:
    """A silent exporter must not look like a quiet one."""
    world = replace(healthy_world(), targets=(Target("host-9:10877", "foreshock", False, 40.0),))
    assert "No fresh data from 1 of 1 target: host-9:10877." in map(joined_text, verdict(snapshot(world)).notes)


def test_healthy_does_not_hide_services_that_fail() -> None:
    """No service waits for a GPU, and yet not all is healthy."""
    world = healthy_world()
    failed = world.red.error_rate.copy()
    failed[world.services.index(service("auth"))] = 0.2
    said = verdict(snapshot(replace(world, red=replace(world.red, error_rate=failed))))
    assert (said.state, joined_text(said.clauses)) == ("warning", "Elevated errors in 1 service: auth")


def test_a_ratio_travels_as_one_byte_and_absent_as_its_own() -> None:
    """0, 1/2, 1 and nothing come back as they were."""
    packed = numbers.packed(np.array([0.0, 0.5, 1.0, np.nan, 1.7]))
    assert list(base64.b64decode(packed)) == [0, 125, 250, 255, 250]


def test_topology_keeps_its_name_while_only_values_change() -> None:
    """The browser requests identities again only when there are others."""
    world = healthy_world()
    assert topology(world)["id"] == topology(contended())["id"]
    assert topology(world)["id"] != topology(healthy_world(hosts=5))["id"]


def test_the_values_of_now_line_up_with_the_topology() -> None:
    """One byte for each GPU and each tenant, whose GPU follows from those of the tenants before."""
    world = contended()
    identities, values = topology(world), data.now(snapshot(world), "x")
    assert len(base64.b64decode(values["gpus"]["busy"])) == sum(len(host.gpus) for host in identities["hosts"])
    assert len(base64.b64decode(values["tenants"]["gpu_wait"])) == len(identities["tenants"])
    places = np.cumsum([step for step, _ in identities["tenants"]]).tolist()
    assert [world.gpus[place] for place in places] == [tenant.gpu for tenant in world.tenants]


def test_the_matrix_distinguishes_no_shared_gpu_from_no_waiting() -> None:
    """No cell where two services share nothing; a figure where they do."""
    matrix: Json = vars(data.matrix(contended()))
    row = matrix["cells"][matrix["victims"].index("embedder")]
    assert row[matrix["aggressors"].index("train-llm")].ratio == pytest.approx(0.46)
    assert row[matrix["aggressors"].index("batch-eval")] is None


def test_a_map_of_hundreds_keeps_those_that_share_gpus() -> None:
    """Those that neither call nor share are left out, never the ones that contend, and their number is shown."""
    world = healthy_world()
    many = tuple(Service("", f"extra-{i:03d}") for i in range(300))
    nothing = np.full((len(many), len(world.times)), np.nan)
    red = type(world.red)(
        *(np.vstack([getattr(world.red, f), nothing]) for f in ("rate", "error_rate", "p50", "p95", "p99"))
    )
    large = replace(world, services=(*world.services, *many), red=red)
    drawn = topology(large)["map"]
    names = {node.id for node in drawn.nodes}
    assert names == {node.id for node in topology(world)["map"].nodes}
    assert {"embedder", "train-llm", "reranker", "batch-eval"} <= names
    assert drawn.hidden == 300
    values = data.now(snapshot(large), "x")
    assert len(values["services"]) == data.MAX_ROWS
    assert len(values["services"]) + values["hidden"] == len(large.services)


def test_an_edge_to_a_name_that_is_no_service_is_still_drawn() -> None:
    """Callers from outside and databases stand on the map as what they are."""
    kinds = {node.id: node.kind for node in topology(healthy_world())["map"].nodes}
    assert kinds["user"] == "outside"
    assert kinds["postgres"] == "database"
    assert Edge(service("user"), service("gateway"), "virtual_node") in healthy_world().edges


def test_a_sparkline_keeps_peaks_and_gaps() -> None:
    """Downsampling must not hide a spike nor fill a hole."""
    world = healthy_world()
    row = np.ones(len(world.times))
    row[60] = 9.0
    row[10:20] = np.nan
    line = vitals.sparkline(world, row)
    assert len(line) <= vitals.SPARKLINE_POINTS
    assert max(v for v in line if v is not None) == 9.0
    assert None in line


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


def test_a_service_has_one_color_everywhere() -> None:
    """By its name alone, within the palette."""
    assert service_color("embedder") == service_color("embedder")
    assert {service_color(f"s{i}") for i in range(500)} == set(range(SERVICE_COLORS))


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


def test_golden_now_of_a_service_under_gpu_contention(golden: Golden) -> None:
    """The whole payload of the Now page, to see what a change changes."""
    seen = SCENES["contended"]()
    golden("web-now-contended.json", json.dumps(data.now(seen, "topology"), indent=1, default=vars) + "\n")


def test_golden_topology(golden: Golden) -> None:
    """Identities and the layout of the map."""
    golden("web-topology.json", json.dumps(topology(healthy_world()), indent=1, default=vars) + "\n")


def test_before_the_first_evaluation_there_is_nothing_but_a_reason() -> None:
    """No World: lists are empty, `ready` is false and the verdict says that the hub has not looked yet."""
    seen = Snapshot(0, None, (), Learning(0.0, 1800.0))
    assert data.now(seen, "x")["ready"] is False
    assert listed_services(HistoryCache(), seen) == {"services": [], "edges": []}
    assert verdict(seen).state == "empty"
    assert verdict(snapshot(bare())).state == "empty"


def test_batch_jobs_are_no_victims_in_the_matrix_however_long_they_wait() -> None:
    """A job that waits is how GPUs are shared; it is listed, as a job, only where no service with requests waits."""
    world = contended()
    waits = world.gpu_wait_by.copy()
    waits[[pair.affected.name == "train-llm" for pair in world.gpu_wait_pairs]] = 0.9
    matrix = data.matrix(replace(world, gpu_wait_by=waits))
    assert (matrix.victims, matrix.jobs) == (["embedder", "reranker"], [])
    nothing = replace(world.red, p95=np.full_like(world.red.p95, np.nan))
    idle = data.matrix(replace(world, gpu_wait_by=waits, red=nothing))
    assert {"train-llm", "batch-eval"} <= set(idle.jobs)


def test_the_pair_of_an_incident_has_one_wait_on_the_page() -> None:
    """Card and matrix have the GPUs of the incident, as its evidence has, and not all that the two share."""
    world = contended()
    waits = world.gpu_wait_by.copy()
    first = next(
        row for row, pair in enumerate(world.gpu_wait_pairs) if pair[1:] == (service("embedder"), service("train-llm"))
    )
    waits[first, -1] = 0.62
    world, item = replace(world, gpu_wait_by=waits), contention_incident(world)
    item = replace(item, suspect=item.suspect._replace(gpus=(world.gpu_wait_pairs[first].gpu,)))
    page = data.now(snapshot(world, item), "x")
    card = next(tile for tile in page["tiles"] if tile.name == "Highest GPU wait (serving)")
    assert card.value == pytest.approx(0.62)
    assert card.who == "embedder waiting on train-llm (1 GPU)"
    assert page["matrix"] is not None
    cell = page["matrix"].cells[page["matrix"].victims.index("embedder")][page["matrix"].aggressors.index("train-llm")]
    assert cell is not None
    assert cell.ratio == pytest.approx(0.62)
    assert len(cell.gpus) == 1


def test_the_services_of_an_incident_are_those_of_its_timeline() -> None:
    """While it recovers too, when they are healthy again."""
    world = contended()
    page = data.now(snapshot(world, contention_incident(world, state="recovering")), "x")
    assert {row.id for row in page["services"]} == {lane.service for lane in page["timeline"].lanes}


def test_where_a_service_waits_the_matrix_leaves_out_pairs_without_contention() -> None:
    """The one cell that matters is not lost among zeros; without any wait, the pairs are still listed."""
    world = contended()
    peaceful = replace(world, gpu_wait_by=np.zeros_like(world.gpu_wait_by))

    ratios = [cell.ratio or 0.0 for row in data.matrix(world).cells for cell in row if cell]
    assert ratios
    assert min(ratios) >= MIN_WAIT_RATIO
    assert len(data.matrix(peaceful).victims) >= 1


@pytest.mark.parametrize(
    ("counts", "summary"),
    [
        ((0, 0, 0, 14, 0), "All 14 services within SLO"),
        ((0, 0, 0, 5, 1), "5 of 6 services within SLO, 1 without an SLO"),
        ((0, 3, 1, 7, 3), "SLO status: 11 within SLO (3 degraded, 1 at risk), 3 without an SLO"),
        ((1, 0, 0, 1, 0), "SLO status: 1 breached, 1 within SLO"),
        ((1, 0, 0, 0, 2), "SLO status: 1 breached, 2 without an SLO"),
        (
            (0, 0, 0, 10, 3, 1, 2),
            "10 of 16 services within SLO, 1 with low traffic, 3 without an SLO, 2 without data",
        ),
        ((0, 0, 0, 0, 2), "2 services without an SLO"),
    ],
)
def test_the_services_are_summed_up_in_the_words_of_the_tile(counts: tuple[int, ...], summary: str) -> None:
    status = vitals.SloStatus(*counts)
    assert vitals.slo_summary(status) == summary
    assert status.is_all_within is (summary == "All 14 services within SLO")
