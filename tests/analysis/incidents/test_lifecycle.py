"""Lifecycle of incidents: opening, updating, and resolving, as a pure fold."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import last_state
from tests.analysis.platforms import START, Platform, Served
from tests.conftest import soak

from foreshock_dashboard.analysis.baseline.slos import LEARNED_ERROR_RATE_MARGIN, LEARNED_SLO_FACTORS, Slo
from foreshock_dashboard.analysis.incidents.lifecycle import KEEP_RESOLVED_SECONDS, State, advance, learning, states
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.incident_summary import incident_sentence

pytestmark = pytest.mark.slow

Scenes = Any


class Contended(NamedTuple):
    """The World of the scene `contended`, and the incidents that it leads to in one go."""

    world: World
    incidents: tuple[Incident, ...]


@pytest.fixture(scope="module")
def contended(scenes: Scenes) -> Contended:
    """Folded once for all."""
    world = scenes.world(scenes.contended)
    return Contended(world, last_state(world).incidents)


def test_an_incident_names_the_noisy_neighbor_and_the_gpus(scenes: Scenes, contended: Contended) -> None:
    """Within three grid points of the evidence."""
    world, (incident,) = contended

    assert (incident.service, incident.suspect.service) == (scenes.victim, scenes.aggressor)
    assert (incident.first_service, incident.paged_service) == (scenes.victim, scenes.victim)
    assert incident.suspect.gpus == scenes.gpus
    assert incident.since == world.times[240]
    assert incident.opened - incident.since <= 4 * scenes.step
    assert (incident.severity, incident.cascading) == ("critical", False)
    assert incident.resolved is None
    assert "noisy neighbor ml/batch on host-1/gpu-0 and host-1/gpu-1" in incident_sentence(incident)
    evidence = {(item.name, item.entity): (round(item.value, 3), round(item.baseline, 3)) for item in incident.evidence}
    assert evidence["p95", "serving/llm"] == (1.5, 0.5)
    assert incident.candidates[0].service == scenes.aggressor
    assert all(action.service == scenes.aggressor for action in incident.actions)
    assert incident.at_risk[0].service == scenes.victim


LOOKALIKES: dict[str, Callable[[Scenes], dict[str, Any]]] = {
    "the service is as fast as ever": lambda s: {"victim_p95": lambda _: 0.5},
    "the two have always shared the GPUs like this": lambda s: {
        "wait_by_aggressor": lambda _: 0.5,
        "aggressor_busy": lambda _: 0.7,
    },
    "it lasts for two grid points only": lambda s: {"victim_p95": lambda i: 1.5 if i in (240, 241) else 0.5},
    "there are no requests at all": lambda s: {"victim_p95": lambda _: np.nan},
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_look_alikes_do_not_page(scenes: Scenes, name: str) -> None:
    """At most an early warning says that the service is slow."""
    incidents = last_state(scenes.world(scenes.contended, **LOOKALIKES[name](scenes))).incidents
    assert [item for item in incidents if item.paged is not None] == []


@pytest.mark.parametrize(("excursion", "opened"), [(3, None), (20, 245)])
def test_after_a_gap_nothing_opens_until_the_rate_window_is_full(
    scenes: Scenes, excursion: int, opened: int | None
) -> None:
    """The gap ends at grid point 240. Rates are of a few seconds at first, and of a minute from 245 on."""

    def p95(level: float, worse: float) -> Callable[[int], float]:
        return lambda i: math.nan if 232 <= i < 240 else worse if 240 <= i < 240 + excursion else level

    world = scenes.world(scenes.contended, victim_p95=p95(0.5, 1.5), caller_p95=p95(0.8, 2.4))
    at = [round((item.opened - world.times[0]) / scenes.step) for item in last_state(world).incidents]
    assert at == ([] if opened is None else [opened])


def test_the_neighbor_that_grew_is_suspected(scenes: Scenes) -> None:
    """Not one that always had a larger share."""
    world = scenes.world(scenes.contended, wait_by_bystander=lambda _: 0.6)

    (incident,) = last_state(world).incidents

    assert incident.suspect.service == scenes.aggressor
    assert incident.confidence > 0.9


def test_a_slow_caller_makes_an_incident_cascading(scenes: Scenes) -> None:
    """The phase and the sentence say so."""
    world = scenes.world(scenes.contended, caller_p95=scenes.rising(250, 0.8, 2.4))

    (incident,) = last_state(world).incidents

    assert incident.cascading
    assert incident.other_affected == (scenes.caller,)
    assert "Affected: product/assistant" in incident_sentence(incident)


def test_one_signal_alone_gives_no_high_confidence(platforms: Scenes) -> None:
    """Only p95 of a service without callers is worse, far beyond its baseline."""
    platform = Platform(services={"lone": Served(p95=platforms.step(0.5, 3.0), tailless=0.5)}, points=250)
    (incident,) = last_state(platform.world()).incidents
    assert [item.name for item in incident.evidence] == ["p95"]
    assert (incident.severity, incident.confidence_level) == ("critical", "medium")


def test_an_incident_resolves_after_five_minutes_and_is_listed_for_an_hour(scenes: Scenes) -> None:
    """A pause of a minute does not resolve it."""
    points = 720

    def on(low: float, high: float) -> Callable[[int], float]:
        return lambda i: high if 240 <= i < 270 or 276 <= i < 290 else low

    scene = replace(
        scenes.contended,
        points=points,
        victim_p95=on(0.5, 1.5),
        aggressor_busy=on(0.2, 0.7),
        wait_by_aggressor=on(0.02, 0.5),
    )
    world = scenes.world(scene)

    state, reported, listed = State(), [], []
    for at in range(points):
        state = last_state(_until(world, at), state)
        reported.append(state.incidents[0].state if state.incidents else "")
        listed.append(len(state.incidents))

    assert max(listed) == 1
    ended = reported.index("resolved")
    assert 290 + 28 <= ended <= 290 + 34
    assert reported[ended:].count("resolved") == pytest.approx(KEEP_RESOLVED_SECONDS / scenes.step, abs=2)
    assert reported[-1] == ""


def test_a_recovering_incident_says_so_and_a_resolved_one_keeps_its_worst_state(scenes: Scenes) -> None:
    """While it recovers no service is at risk."""
    scene = replace(
        scenes.contended,
        points=300,
        victim_p95=lambda i: 1.5 if 240 <= i < 260 else 0.5,
        caller_p95=lambda i: 2.4 if 245 <= i < 260 else 0.8,
        aggressor_busy=lambda i: 0.7 if 240 <= i < 260 else 0.2,
        wait_by_aggressor=lambda i: 0.5 if 240 <= i < 260 else 0.02,
    )
    world = scenes.world(scene)

    during, after, over = (last_state(_until(world, at)).incidents[0] for at in (258, 275, 299))

    assert [item.state for item in (during, after, over)] == ["firing", "recovering", "resolved"]
    assert all(item.severity == "critical" and item.cascading for item in (during, after, over))
    assert [item.stage for item in (during, after, over)] == ["breached", None, None]
    assert during.recovering_since is None
    assert after.recovering_since is not None
    assert world.times[260] <= after.recovering_since <= world.times[275]
    assert during.evidence_at == world.times[258]
    assert after.evidence_at == over.evidence_at  # they keep its values of that time
    assert over.evidence_at is not None
    assert world.times[258] < over.evidence_at <= after.recovering_since
    assert "serving/llm is breaching its SLO: p95 1.50 s (learned SLO " in incident_sentence(during)
    assert incident_sentence(after).startswith("serving/llm is recovering: p95 500 ms (")
    assert (bool(during.at_risk), after.at_risk) == (True, ())
    assert incident_sentence(over).startswith("serving/llm has recovered from GPU contention.")
    assert "Affected: product/assistant" in incident_sentence(over)
    assert over.at_risk


def test_a_long_incident_does_not_become_the_baseline(scenes: Scenes) -> None:
    """After an hour it is still compared with the time before it."""
    world = scenes.world(replace(scenes.contended, points=240 + 360))

    (incident,) = last_state(world).incidents

    assert (incident.severity, incident.cascading) == ("critical", False)
    assert {item.baseline for item in incident.evidence if item.name == "p95" and item.entity == "serving/llm"} == {0.5}


@pytest.mark.parametrize(("seconds", "points"), [(1.0, 9), (5.0, 1), (10.0, 0), (15.0, 0), (30.0, 1), (300.0, 1)])
def test_slow_requests_open_an_early_warning_within_ten_seconds_or_two_evaluations(seconds: float, points: int) -> None:
    """At any evaluation interval: at the first one where values are medians of three points."""
    at = max(60, round(3600 / seconds))
    served = Served(5.0, p99=lambda i: 3.0 if i >= at else 0.5)
    world = Platform(services={"front": served}, points=at + points + 1).world()
    world = replace(world, times=START + seconds * np.arange(at + points + 1, dtype=np.float64), step=seconds)
    (opened,) = last_state(world, State(time=float(world.times[at - 5]))).incidents
    assert opened.opened == world.time


def test_with_too_little_history_no_incident_opens(scenes: Scenes) -> None:
    """Half an hour of latencies is needed; `learning` says how much there is."""
    scene = replace(scenes.contended, points=120, victim_p95=scenes.rising(60, 0.5, 5.0))
    world = scenes.world(scene)

    assert last_state(world).incidents == ()
    assert learning(world).have == pytest.approx(119 * scenes.step)
    assert not learning(world).done


@settings(max_examples=settings().max_examples // 12)
@given(cuts=st.lists(st.integers(1, 299), max_size=6))
def test_incidents_do_not_depend_on_how_evaluations_are_grouped(contended: Contended, cuts: list[int]) -> None:
    """A replay in one go equals the live run."""
    state = State()
    for at in [*sorted(cuts), 299]:
        state = last_state(_until(contended.world, at), state)

    assert state.incidents == contended.incidents


def test_a_hub_started_later_reports_the_same_incidents(scenes: Scenes) -> None:
    """Where it has enough history before them."""
    whole = scenes.world(
        replace(
            scenes.contended,
            points=600,
            victim_p95=scenes.rising(500, 0.5, 1.5),
            aggressor_busy=scenes.rising(500, 0.2, 0.7),
            wait_by_aggressor=scenes.rising(500, 0.02, 0.5),
        )
    )

    assert last_state(_since(whole, 250)).incidents == last_state(whole).incidents


_ROWS = (
    "utilization",
    "contended",
    "memory_used",
    "memory_total",
    "power",
    "temperature",
    "busy",
    "gpu_wait",
    "memory",
    "gpu_wait_by",
    "server_p95",
    "attempts",
)


def _cut(world: World, part: slice) -> World:
    red = {name: getattr(world.red, name)[:, part] for name in ("rate", "error_rate", "p50", "p95", "p99")}
    calls = {name: getattr(world.calls, name)[:, part] for name in red}
    arrays = {name: getattr(world, name)[:, part] for name in _ROWS}
    return replace(
        world, times=world.times[part], red=replace(world.red, **red), calls=replace(world.calls, **calls), **arrays
    )


def _until(world: World, at: int) -> World:
    return _cut(world, slice(0, at + 1))


def _since(world: World, at: int) -> World:
    return _cut(world, slice(at, None))


def gone(at: int, before: Callable[[int], float]) -> Callable[[int], float]:
    """As before until grid index `at`, then no data."""
    return lambda i: before(i) if i < at else np.nan


@pytest.mark.parametrize("what", ["victim_p95", *soak("wait_by_aggressor")])
def test_missing_data_does_not_resolve_an_incident(scenes: Scenes, what: str) -> None:
    """Without latencies it stays open for an hour, marked as inferred; without GPU data the service is still slow."""
    scene = replace(scenes.contended, points=240 + 20 + 400)
    scene = replace(scene, **{what: gone(260, getattr(scene, what))}, wait_by_bystander=lambda _: np.nan)
    after = [*states(State(), scenes.world(scene))]

    (half_an_hour_later,) = after[260 + 180].incidents
    (two_hours_later,) = after[-1].incidents

    quality = "inferred" if what == "victim_p95" else "sampled"
    assert (half_an_hour_later.state, half_an_hour_later.quality) == ("firing", quality)
    assert two_hours_later.state == ("resolved" if what == "victim_p95" else "firing")


def test_a_gap_of_minutes_does_not_stop_the_analysis(scenes: Scenes) -> None:
    """The history of the last hour counts, not one moment half an hour ago."""
    world = scenes.world(
        replace(scenes.contended, points=400),
        victim_p95=lambda i: np.nan if 120 <= i < 150 else 1.5 if i >= 330 else 0.5,
        caller_p95=lambda i: np.nan if 120 <= i < 150 else 0.8,
        aggressor_busy=scenes.rising(330, 0.2, 0.7),
        wait_by_aggressor=scenes.rising(330, 0.02, 0.5),
    )

    (incident,) = last_state(world).incidents

    assert incident.since == world.times[330]


def test_baseline_failures_do_not_page(scenes: Scenes) -> None:
    """A baseline of 7% is normal; 20% is an early warning, and its caller with a fallback does not page."""
    normal = scenes.world(scenes.calm, failed=lambda _: 0.07)
    more = scenes.world(scenes.calm, failed=scenes.rising(240, 0.07, 0.2))

    assert last_state(normal).incidents == ()
    assert [item.severity for item in last_state(more).incidents] == ["warning"]


def test_a_page_precedes_the_cascade(scenes: Scenes) -> None:
    """It pages while only the affected service is slow; a breach of the caller's SLO is a cascade."""

    def ramp(low: float, rate: float) -> Callable[[int], float]:
        return lambda i: low * (1 + rate * max(0, i - 240))

    world = scenes.world(scenes.contended, victim_p95=ramp(0.5, 0.12), caller_p95=ramp(0.8, 0.06))
    reported: list[bool] = []
    state = State()
    for at in range(240, 290):
        state = last_state(_until(world, at), state)
        paged = [incident.cascading for incident in state.incidents if incident.severity == "critical"]
        reported += [cascading for cascading in paged if cascading not in reported]

    assert reported == [False, True]


def test_an_evaluation_leaves_no_reference_cycle(scenes: Scenes) -> None:
    """A point in a cycle would keep its World, megabytes of arrays, until the garbage collector runs."""
    world = _until(scenes.world(scenes.contended), 260)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        last_state(world)
        gc.collect()
        left = {type(item).__name__ for item in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left.isdisjoint({"Scan", "Sharing", "World", "State"})


def test_an_incident_starts_no_later_than_its_evidence(scenes: Scenes) -> None:
    """At each evaluation, and its start does not move forward."""
    start = math.inf
    for state in states(State(), scenes.world(scenes.contended)):
        for incident in state.incidents:
            assert incident.since <= min((item.since for item in incident.evidence), default=math.inf)
            assert incident.since <= start
            start = incident.since
    assert start < math.inf


def test_an_incident_keeps_the_slos_with_which_it_opened(scenes: Scenes, contended: Contended) -> None:
    """A learned one does not follow the baseline meanwhile; a configured one counts at once."""
    world, seconds = contended.world, 7.5
    *_, before, _ = states(State(), world)
    (group,) = before.tracked
    assert group.incident is not None
    other = next(
        service for service in world.services if service != scenes.victim and before.service_risks[service].slo
    )
    kept = ServiceSlo(other, seconds, 0.02, learned=True)
    tracked = (replace(group, incident=replace(group.incident, slos=(kept,))),)
    configured = {other: Slo(0.25, 0.01)}
    learned, set_meanwhile = (
        advance(replace(before, tracked=tracked), world, len(world.times) - 1, slos) for slos in ({}, configured)
    )
    assert learned.service_risks[other].slo == Slo(seconds, 0.02, learned=True)
    assert kept in learned.incidents[0].slos
    assert set_meanwhile.service_risks[other].slo == configured[other]
    opened = {slo.service: slo for slo in contended.incidents[0].slos}
    own = opened[scenes.victim]
    assert own.seconds / own.baseline_seconds >= LEARNED_SLO_FACTORS[0] * (1 - 1e-9)
    assert own.error_rate - own.baseline_error_rate >= LEARNED_ERROR_RATE_MARGIN * (1 - 1e-9)
