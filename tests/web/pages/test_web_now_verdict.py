"""The verdict of Now: what is wrong, or on which data a healthy platform rests."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import (
    NOW,
    SCENES,
    contended,
    contention_incident,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.analysis.incidents.lifecycle import RESOLVE_AFTER_SECONDS
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.forecast import Forecast, Risk, ServiceSlo
from foreshock_dashboard.model.incident import (
    AtRisk,
    Evidence,
    Incident,
    Summary,
    SuspectedCause,
    Symptom,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.verdict.course import Breach
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.model.world import Target
from foreshock_dashboard.render.clause import Clause, joined_text
from foreshock_dashboard.render.incident_summary import summary_clauses
from foreshock_dashboard.web.pages.cascade.data import cascade
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.pages.now.course import breach, recovery
from foreshock_dashboard.web.pages.now.verdict import breached_row, by_impact, verdict, with_reason
from foreshock_dashboard.web.panels.at_risk import AtRiskRow
from foreshock_dashboard.web.state import conditions, lists
from foreshock_dashboard.web.state.incident_json import breach_seconds
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import STAGES


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
        "If embedder is down for a short time, it does not recover on its own: retries keep its load at 2.71x capacity."
    )
    assert seen.payload()["risks"]


def test_a_healthy_verdict_recommends_what_reduces_a_latent_risk() -> None:
    """Beside the risk, not as an action now."""
    weak = replace(
        contention_incident(contended()),
        affected=(),
        actions=(Action("set_retry_budget", service("rag-api"), callee=service("embedder"), amount=0.1),),
    )
    page = data.now(snapshot(healthy_world(), weak), "x")["verdict"]
    remedy = "".join(clause.text for clause in page["remedy"])
    assert remedy == "Set a retry budget from rag-api to embedder (10% of calls)"
    assert remedy not in {"".join(clause.text for clause in fact.clauses) for fact in page["facts"]}
    assert data.now(snapshot(healthy_world()), "x")["verdict"]["remedy"] == []


def test_a_healthy_verdict_names_the_data_on_which_it_rests() -> None:
    """What reports, which services have too little traffic to be judged, where SLOs come from. Pages add its age."""
    world, seldom = healthy_world(), service("vector-store")
    rate = world.red.rate.copy()
    rate[world.services.index(seldom)] = 0.2
    world = replace(world, red=replace(world.red, rate=rate))
    slos = (ServiceSlo(seldom, 1.0, 0.01, learned=True), ServiceSlo(service("auth"), 1.0, 0.01, learned=False))
    seen = verdict(replace(snapshot(world), forecast=Forecast(slos=slos)), NOW + 4)
    assert joined_text(seen.coverage) == (
        f"Data from {len(world.targets)} of {len(world.targets)} scrape targets and 32 of 32 GPUs. "
        "Low traffic, not judged: vector-store. SLOs: 1 of 2 learned (at least 1.6x baseline p95)."
    )


def test_each_service_at_risk_says_why() -> None:
    """The service of the incident that it calls; one that calls none, its metric beside its SLO.

    That it is the suspected cause stands before.
    """
    world = contended()
    risks = tuple(AtRisk(service(name), 60.0, 120.0, 400.0) for name in ("rag-api", "vllm-8b"))
    slos = (ServiceSlo(service("vllm-8b"), 9.0, 0.5, learned=False),)
    item = replace(contention_incident(world), at_risk=risks)

    def reasons(item: Incident) -> list[str]:
        situation = verdict(replace(snapshot(world, item), forecast=Forecast(slos=slos))).payload()["situation"]
        assert situation
        return [row.state for row in situation["at_risk"]]

    suspected = replace(item, suspect=item.suspect._replace(service=service("rag-api")))
    assert reasons(suspected)[0] == "suspected cause; calls embedder"
    calls, metric = reasons(item)
    assert calls == "calls embedder"
    assert re.fullmatch(r"(p95|error rate) .*, SLO .*", metric)


@pytest.mark.parametrize(
    ("p50", "p10", "interval"),
    [(120.0, 40.0, ", 80% interval: 40 s to 10 min"), (120.0, math.nan, ""), (9000.0, 40.0, "")],
)
def test_the_forecast_of_a_headline_has_its_interval_on_now_and_on_cascade(
    p50: float, p10: float, interval: str
) -> None:
    """Unless it is unknown, or the headline has no forecast: a breach that is not soon."""
    world = contended()
    own = AtRisk(service("embedder"), 60.0, p50, 400.0, p10, 600.0)
    item = replace(contention_incident(world), stage=None, at_risk=(own,))
    seen = replace(snapshot(world, item), forecast=Forecast(slos=(ServiceSlo(service("embedder"), 9.0, 0.5, True),)))
    situation = verdict(seen).payload()["situation"]
    assert situation
    assert situation["interval"] == interval
    headline = "".join(clause.text for clause in cascade(seen, NOW - 900)["headline"])
    assert headline.endswith(interval)
    assert ("interval" in headline) == bool(interval)


def test_a_degraded_service_at_risk_without_values_stays_degraded() -> None:
    """It calls the service of the incident, but that is no reason to hide its state."""
    world = contended()
    row = AtRiskRow("rag-api", "degraded", breach_seconds(AtRisk(service("rag-api"), 60.0, 120.0, 400.0)))
    assert with_reason(row, world, contention_incident(world), []).state == "degraded"
    assert with_reason(replace(row, state=""), world, contention_incident(world), []).state == "calls embedder"


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


def test_an_incident_without_an_aggressor_is_described_by_its_cause() -> None:
    """Not every incident has a noisy neighbor; none is suspected then."""
    alone = replace(contention_incident(contended()), suspect=SuspectedCause(), cause="scale_up_lag")
    seen = snapshot(contended(), alone)
    said = verdict(seen)
    assert joined_text(said.clauses) == "embedder is degraded"
    assert said.clauses[0] == Clause("embedder", "service", ("embedder",))
    assert lists.incidents(seen, "open")["incidents"][0]["suspect"].service is None


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
    assert breach(history, [caller], item.since) == Breach(str(caller), float(history.times[-9]), None)
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

    before = rate[world.services.index(origin), world.times < item.since]
    (fallen,) = recovery(fell, item)
    assert (fallen.service, fallen.signal, fallen.worst, fallen.now) == ("embedder", "request rate", 50.0, 5.0)
    assert fallen.baseline == pytest.approx(np.median(before[-world.points(900) :]), rel=1e-5)
    seen = snapshot(fell, item)
    situation = verdict(seen, history=HistoryCache().get(seen, fell, item.since, NOW - 900)).situation
    assert situation
    assert [clause.at for clause in situation["action_text"] if clause.at] == [NOW - 60 + RESOLVE_AFTER_SECONDS]
    assert recovery(world, item) == []
    idle = np.where(np.arange(len(world.services))[:, None] == world.services.index(origin), 0.0, rate)
    assert recovery(replace(world, red=replace(world.red, rate=idle)), item) == []
    assert recovery(fell, replace(item, state="firing")) == []


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
    assert "No fresh data from 1 of 1 scrape target: host-9:10877." in map(joined_text, verdict(snapshot(world)).notes)


def test_healthy_does_not_hide_services_that_fail() -> None:
    """No service waits for a GPU, and yet not all is healthy."""
    world = healthy_world()
    failed = world.red.error_rate.copy()
    failed[world.services.index(service("auth"))] = 0.2
    said = verdict(snapshot(replace(world, red=replace(world.red, error_rate=failed))))
    assert (said.state, joined_text(said.clauses)) == ("warning", "Elevated errors in 1 service: auth")


def test_services_that_fail_most_requests_stand_before_those_further_beyond_their_slo() -> None:
    found = [
        Reading("slow", "p95", 12.0, 0.1, "SLO", "s", 120.0, "critical"),
        Reading("down", "error rate", 0.9, 0.016, "SLO", "ratio", 56.0, "critical"),
        Reading("down", "p95", 99.0, 1.0, "SLO", "s", 99.0, "critical"),
    ]
    rows = sorted((breached_row(Service("", name), found) for name in ("slow", "down")), key=by_impact)
    assert [(row.service, row.fails, row.figure, row.limit) for row in rows] == [
        ("down", True, "error rate 90%", "SLO 1.6%"),
        ("slow", False, "p95 12.0 s", "SLO 100 ms"),
    ]
