"""The course of an incident, and since when a healthy platform is healthy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.incident import AtRisk
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.verdict.course import Breach, Recovery
from foreshock_dashboard.model.verdict.healthy import HealthySince
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Capacity
from foreshock_dashboard.render.units import clock
from foreshock_dashboard.web.pages.now.course import breach, lost_replicas, peak, recovery
from foreshock_dashboard.web.pages.now.data import now
from foreshock_dashboard.web.pages.now.healthy import exceedances, healthy_since, peaks
from foreshock_dashboard.web.pages.now.verdict import VerdictJson, verdict
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents
from foreshock_dashboard.web.panels.limits import judged
from foreshock_dashboard.web.panels.timeline import Lane, timeline
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import STAGES, ServiceHistory

EMBEDDER, CALLER = service("embedder"), service("rag-api")


Span = tuple[str, slice, Stage | None]


def staged(world: World, *spans: Span) -> ServiceHistory:
    """A history in which services are in some stages at some grid points, None for no data, and else healthy."""
    stages = np.zeros((len(world.services), len(world.times)), np.int8)
    for name, points, stage in spans:
        stages[world.services.index(service(name)), points] = -1 if stage is None else STAGES.index(stage)
    return ServiceHistory(world.times, world.services, stages, ())


def test_a_breach_with_a_pause_began_before_it() -> None:
    world = contended()
    times = world.times.tolist()
    history = staged(world, ("embedder", slice(10, 13), "breached"), ("embedder", slice(20, None), "breached"))
    assert breach(history, [EMBEDDER], times[5]) == Breach(
        "embedder", times[10], None, pauses=1, paused=times[20] - times[13]
    )


def test_the_breaches_of_an_incident_last_from_the_first_to_the_end_of_the_last_of_any_service() -> None:
    """A pause is a time in which none of them breached its SLO."""
    world = contended()
    times, both = world.times.tolist(), [EMBEDDER, CALLER]

    def found(*spans: Span) -> Breach | None:
        return breach(staged(world, *spans), both, times[5])

    first: Span = ("rag-api", slice(12, 14), "breached")
    second: Span = ("rag-api", slice(30, 32), "breached")
    assert found(first, ("embedder", slice(20, None), "breached")) == Breach(
        "rag-api", times[12], None, pauses=1, paused=times[20] - times[14]
    )
    assert found(first, ("embedder", slice(13, 25), "breached"), second) == Breach(
        "rag-api", times[12], times[32], pauses=1, paused=times[30] - times[25]
    )
    assert found(first, ("embedder", slice(14, 30), "breached"), second) == Breach("rag-api", times[12], times[32])
    assert found(("rag-api", slice(12, 14), "degraded")) is None


def test_a_time_without_data_interrupts_no_breach() -> None:
    """Nor where another service is known to be healthy meanwhile; one point of known health does."""
    world = contended()
    times = world.times.tolist()
    breached: Span = ("embedder", slice(10, None), "breached")

    def pauses(*spans: Span) -> int:
        found = breach(staged(world, breached, *spans), [EMBEDDER, CALLER], times[5])
        assert found is not None
        assert (found.since, found.until) == (times[10], None)
        return found.pauses

    gap: Span = ("embedder", slice(20, 29), None)
    assert pauses() == pauses(gap) == pauses(gap, ("rag-api", slice(20, 29), None)) == 0
    assert pauses(gap, ("rag-api", slice(26, 32), "breached")) == 0
    assert pauses(gap, ("embedder", slice(24, 25), "degraded")) == 1
    assert pauses(gap, ("embedder", slice(40, 45), "healthy")) == 1


def test_the_peak_of_a_symptom_is_what_it_rose_to_since_the_first_anomaly() -> None:
    """p95 of the embedder rises in the last 20 points, and its errors rise further above their SLO."""
    world = contended()
    item = replace(contention_incident(world), since=float(world.times[-20]))
    slow = peak(world, item, ServiceSlo(EMBEDDER, 0.2, 1.0, learned=False))
    assert slow is not None
    assert (slow.metric, slow.unit, slow.limit) == ("p95", "s", 0.2)
    assert slow.before is not None
    assert slow.before < 0.15 < slow.peak
    failing = peak(world, item, ServiceSlo(EMBEDDER, 60.0, 0.001, learned=False))
    assert failing is not None
    assert failing.metric == "error rate"


def test_what_is_over_has_the_worst_value_that_it_had() -> None:
    """p95 of the embedder rises in the last 20 points; before them it is lower."""
    world = contended()
    slo, times = ServiceSlo(EMBEDDER, 0.2, 1.0, learned=False), world.times

    def lane(*points: int) -> Lane:
        return Lane("embedder", "affected", 1, 0.0, "", [[*(float(times[point]) for point in points), 2]], None, None)

    (before,), (after,) = (peaks(world, (slo,), [lane(*points)]) for points in ((-40, -30), (-40, -1)))
    assert (after.metric, after.limit) == ("p95", 0.2)
    assert before.value < 0.15 < after.value
    assert peaks(world, (), [lane(-40, -1)]) == []


def test_a_platform_is_healthy_since_the_last_breach_or_incident() -> None:
    """Without either, at least since the first time that was looked at."""
    world = healthy_world()
    times = world.times.tolist()
    breached = staged(world, ("embedder", slice(10, 13), "breached"), ("rag-api", slice(20, 30), "degraded"))
    assert healthy_since(snapshot(world), staged(world)) == HealthySince(times[0], at_least=True, ended=None)
    assert healthy_since(snapshot(world), breached) == HealthySince(times[13], at_least=False, ended="breach")
    ended = replace(contention_incident(contended()), state="resolved", resolved=times[40])
    assert healthy_since(snapshot(world, ended), breached) == HealthySince(times[40], at_least=False, ended="incident")
    warned = replace(ended, severity="warning")
    assert healthy_since(snapshot(world, warned), breached) == HealthySince(
        times[40], at_least=False, ended="early_warning"
    )


def test_a_service_with_too_few_requests_is_not_the_one_closest_to_its_slo() -> None:
    """Unless its breach lasts."""
    world = healthy_world()
    rate = world.red.rate.copy()
    rate[world.services.index(EMBEDDER)] = 0.25
    seldom = replace(world, red=replace(world.red, rate=rate))
    reading = Reading("embedder", "p95", 0.9, 1.0, "SLO", "s", 0.9, "ok")
    assert judged(world, [reading]) == [reading]
    assert judged(seldom, [reading]) == []
    breached = Reading("embedder", "p95", 2.0, 1.0, "SLO", "s", 2.0, "critical")
    assert judged(seldom, [breached]) == [breached]


def test_a_p95_above_the_slo_that_few_requests_show_is_no_breach_and_says_so() -> None:
    world = healthy_world()
    row = world.services.index(EMBEDDER)
    p95, rate = world.red.p95.copy(), world.red.rate.copy()
    p95[row, -8:-5] = p95[row, -10] = 9.0
    slo = ServiceSlo(EMBEDDER, 1.0, 0.01, learned=False)
    seen = replace(world, red=replace(world.red, p95=p95, rate=rate))
    assert exceedances(seen, (slo,), 900.0) == []  # enough requests: a breach if it lasts
    rate[row, -10:] = 0.25
    # The longest run counts, not the sum of all.
    (found,) = exceedances(replace(world, red=replace(world.red, p95=p95, rate=rate)), (slo,), 900.0)
    assert (found.service, found.since, found.seconds) == ("embedder", world.times[-8], 3 * world.step)
    assert found.requests < found.needed


def test_what_is_said_of_an_incident_names_no_service_of_another_one() -> None:
    """One caller breaches its SLO in each; a service in breach that no incident has is named beside either."""
    world = contended()
    first = contention_incident(world)
    first = replace(first, affected=(EMBEDDER, CALLER))
    other = replace(
        contention_incident(world, "vllm-8b"),
        since=first.since + 60,
        opened=first.opened + 60,
        affected=(service("vllm-8b"), service("summarize")),
        at_risk=(AtRisk(service("chat-api"), 5.0, 60.0, 90.0),),
    )
    breaches: list[tuple[str, slice, Stage]] = [
        ("summarize", slice(-19, None), "breached"),
        ("rag-api", slice(-12, None), "breached"),
        ("auth", slice(-4, None), "breached"),
    ]
    history, seen = staged(world, *breaches), snapshot(world, first, other)
    situation = verdict(seen, history=history).situation
    assert situation is not None
    assert situation["incident"]["id"] == first.id
    assert {row.service for row in situation["breached"]} == {"rag-api", "auth"}
    assert situation["first_breach"] == Breach("rag-api", float(world.times[-12]), None)
    assert situation["at_risk"] == []
    lanes = {
        item.id: {lane.service for lane in timeline(world, first.since, history, chosen).lanes}
        for item in (first, other)
        for chosen in [chosen_incidents(seen, item.id)]
    }
    assert lanes[first.id] & {"rag-api", "summarize"} == {"rag-api"}
    assert lanes[other.id] & {"rag-api", "summarize", "chat-api"} == {"summarize", "chat-api"}


def test_a_degraded_service_at_risk_is_listed_once() -> None:
    """With its forecast, which has its metric as well."""
    world = contended()
    item = replace(contention_incident(world), at_risk=(AtRisk(service("gateway"), 100.0, 240.0, 500.0),))
    degraded: list[tuple[str, slice, Stage]] = [(name, slice(-9, None), "degraded") for name in ("gateway", "auth")]
    situation = verdict(snapshot(world, item), history=staged(world, *degraded)).situation
    assert situation is not None
    assert [row.service for row in situation["at_risk"]] == ["gateway"]
    assert [row.service for row in situation["degraded"]] == ["auth"]


def test_a_degraded_service_that_breached_its_slo_in_the_incident_says_so() -> None:
    """As its timeline shows it; a breach before the incident is none of it."""
    world = contended()
    item = replace(contention_incident(world), since=float(world.times[-20]), opened=float(world.times[-20]))
    spans: list[tuple[str, slice, Stage]] = [
        *((name, slice(-9, None), "degraded") for name in ("auth", "gateway", "rag-api")),
        ("auth", slice(-9, -5), "breached"),
        ("gateway", slice(-40, -30), "breached"),
    ]
    situation = verdict(snapshot(world, item), history=staged(world, *spans)).situation
    assert situation is not None
    assert {row.service for row in situation["degraded"] if "breached before" in row.limit} == {"auth"}
    assert {row.service for row in situation["degraded"]} == {"auth", "gateway", "rag-api"}


def test_a_breach_that_is_over_leads_no_forecast_while_its_incident_fires() -> None:
    """The signals of an incident are normal a little later than the SLO is met: no other breach is near."""
    world = contended()
    risk = AtRisk(EMBEDDER, 20.0, 70.0, 300.0, 10.0, 700.0)
    item = replace(contention_incident(world), at_risk=(risk,), stage="early_warning")
    slo = ServiceSlo(EMBEDDER, 60.0, 0.9, learned=False)
    seen = replace(snapshot(world, item), forecast=Forecast(slos=(slo,)))
    ahead = verdict(seen, history=staged(world)).payload()
    assert joined_clauses(ahead) == "embedder is forecast to breach its SLO (median < 5 min)"
    over = verdict(seen, history=staged(world, ("embedder", slice(-12, -5), "breached"))).payload()
    assert joined_clauses(over) == "embedder is within its SLO again"
    assert over["situation"]
    assert "peaked at" in over["situation"]["figure"]
    assert over["situation"]["at_risk"] == []


@pytest.mark.parametrize(
    ("ready", "firing", "recovering"),
    [
        ((4, 4, 4), None, None),
        ((4, 4, 6), None, (4.0, 6.0, 4.0)),  # only added: none was lost
        ((4, 2, 2), (2, 4), None),
        ((4, 2, 3), (3, 4), (2.0, 3.0, 4.0)),
        ((4, 2, 6), None, (2.0, 6.0, 4.0)),
    ],
)
def test_replicas_that_a_recovery_has_back_were_lost_while_the_incident_fired(
    ready: tuple[int, int, int], firing: tuple[int, int] | None, recovering: tuple[float, float, float] | None
) -> None:
    """ready: before the incident, during it, and now. recovering: the fewest, those now, and the most before."""
    world = contended()
    before, during, now = ready
    replicas = np.full((1, len(world.times)), float(before))
    replicas[0, -20:-3], replicas[0, -3:] = during, now
    nothing = np.full_like(replicas, np.nan)
    room = Capacity((EMBEDDER,), nothing, replicas, nothing, nothing, (), nothing[:0], nothing[:0])
    item = replace(contention_incident(world), since=float(world.times[-20]))
    seen = replace(world, capacity=room)
    assert lost_replicas(seen, item) == firing
    found = [row for row in recovery(seen, replace(item, state="recovering")) if row.signal == "ready replicas"]
    row = recovering and Recovery("embedder", "ready replicas", *recovering[:2], baseline=recovering[2])
    assert found == ([row] if row else [])


def joined_clauses(found: VerdictJson) -> str:
    """The headline as one text."""
    return "".join(clause.text for clause in found["clauses"])


class _Histories(HistoryCache):
    """One history for every time range."""

    def __init__(self, history: ServiceHistory) -> None:
        super().__init__()
        self._history = history

    def get(self, *_: object, **__: object) -> ServiceHistory:
        return self._history


@pytest.mark.parametrize(("end", "words"), [(-4, "SLO breached between {} and {} (40 s)"), (None, "")])
def test_a_service_that_breached_its_slo_and_is_quiet_now_says_both(end: int | None, words: str) -> None:
    """Its state is that of now, and below it stands when its SLO was breached, which counts in the impact."""
    world = contended()
    rates = world.red.rate.copy()
    rates[world.services.index(CALLER), -8:] = 0.1
    world = replace(world, red=replace(world.red, rate=rates))
    start = len(world.times) - 8
    stop = len(world.times) + end if end else None
    history = staged(world, ("rag-api", slice(start, stop), "breached"))
    page = now(snapshot(world, contention_incident(world)), "x", histories=_Histories(history))
    (row,) = [row for row in page["services"] if row.id == "rag-api"]
    times = [f"{clock(world.times[i])} UTC" for i in (start, stop or -1)]
    assert "".join(clause.text for clause in row.past_breach) == words.format(*times)
    assert (row.word == "Low traffic") is (end is not None)
