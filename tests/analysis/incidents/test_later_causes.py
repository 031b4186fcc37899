"""A cause that began after the page did not cause what was paged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.analysis.conftest import last_state
from tests.analysis.platforms import START

from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.content import lasting_confidence
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.lifecycle import State, TrackedIncident, cause_onset, reported_group, states
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Cause, Evidence, Incident, LaterCause, SuspectedCause
from foreshock_dashboard.model.service import Service

Platforms = Any
CHAT, SEARCH, OTHER = (Service("serving", name) for name in ("chat", "search", "other"))
LLM = Service("", "llm")
PAGED = Incident("i", "critical", "firing", "gpu_contention", CHAT, 0.0, opened=60.0, paged=100.0)


LAG = Finding(CHAT, "scale_up_lag", SuspectedCause(SEARCH), 0.9, 2.0, 160.0, (), ())
DEPLOY = Change(130.0, "deployment", CHAT, before="1.1", after="1.2")


@pytest.mark.parametrize(
    ("suspect", "findings", "began"),
    [
        pytest.param(LAG.suspect, [LAG, replace(LAG, since=200.0)], 160.0, id="its first sign counts"),
        pytest.param(LAG.suspect, [replace(LAG, service=SEARCH)], 160.0, id="found at another member"),
        pytest.param(LAG.suspect, [replace(LAG, service=OTHER)], math.nan, id="found at no member"),
        pytest.param(LAG.suspect, [replace(LAG, cause="overload")], math.nan, id="another cause"),
        pytest.param(SuspectedCause(), [LAG], math.nan, id="another suspected cause"),
        pytest.param(LAG.suspect, [replace(LAG, since=math.nan)], math.nan, id="unknown since when"),
        pytest.param(SuspectedCause(CHAT, change=DEPLOY), [LAG], 130.0, id="with the change"),
    ],
)
def test_a_cause_begins_with_the_first_finding_of_it_about_a_member(
    suspect: SuspectedCause, findings: list[Finding], began: float
) -> None:
    """The symptoms that it shares with an older cause say nothing about its beginning."""
    slow = Evidence("p95 latency", 9.0, 1.0, "s", 40.0, "chat")
    after = replace(PAGED, cause="scale_up_lag", service=SEARCH, suspect=suspect, evidence=(slow,))
    assert cause_onset(after, frozenset({CHAT, SEARCH}), findings) == pytest.approx(began, nan_ok=True)


@pytest.mark.parametrize(
    ("paged", "cause", "confidence"),
    [
        pytest.param(100.0, "gpu_contention", 0.95, id="the neighbor was stopped: it was the cause all the same"),
        pytest.param(None, "gpu_contention", 0.25, id="not paged yet: still in doubt"),
        pytest.param(100.0, "scale_up_lag", 0.25, id="another cause"),
    ],
)
def test_the_confidence_in_what_was_paged_does_not_fall_when_the_cause_ends(
    paged: float | None, cause: Cause, confidence: float
) -> None:
    before = replace(PAGED, paged=paged, confidence=0.95)
    assert lasting_confidence(before, (CHAT, cause, before.suspect.service), 0.25) == confidence


@pytest.mark.parametrize(
    ("throttled", "neighbor", "later"),
    [
        pytest.param(range(305, 420), range(240, 300), "hardware", id="the neighbor has gone, the trouble goes on"),
        pytest.param(range(305, 330), range(240, 300), None, id="its tail only"),
        pytest.param(range(305, 420), range(240, 420), None, id="the neighbor is still there"),
    ],
)
def test_a_cause_that_began_after_the_page_is_named_beside_what_was_paged_once_nothing_supports_that(
    platforms: Platforms, throttled: range, neighbor: range, later: Cause | None
) -> None:
    """A batch job takes GPU time, then the GPU of the same service is throttled."""

    def course(before: float, after: float) -> Callable[[int], float]:
        return lambda i: after if i in neighbor else before

    platform = platforms.Platform(
        points=420,
        services={"llm": platforms.Served(p95=lambda i: 1.5 if i in neighbor or i in throttled else 0.5)},
        busy={(1, "llm"): course(0.6, 0.3), (1, "batch"): course(0.2, 0.7)},
        gpu_wait={(1, "llm", "batch"): course(0.02, 0.6)},
        clock={1: lambda i: 0.4 if i in throttled else 1.0},
    )
    (incident,) = last_state(platform.world()).incidents
    assert incident.paged is not None
    assert incident.paged < START + 10 * throttled[0]
    assert (incident.cause, incident.suspect.service) == ("gpu_contention", Service("", "batch"))
    assert (incident.later and incident.later.cause) == later
    if incident.later:
        assert incident.later.since == pytest.approx(START + 10 * throttled[0], abs=30)
        assert not any(action.service == incident.suspect.service for action in incident.actions)


def test_a_later_cause_at_a_caller_does_not_replace_what_was_paged(platforms: Platforms) -> None:
    """The paged service is healthy again; the GPU of its caller is throttled since after the page."""

    def course(before: float, after: float) -> Callable[[int], float]:
        return lambda i: after if i in range(240, 300) else before

    platform = platforms.Platform(
        points=420,
        services={
            "llm": platforms.Served(p95=course(0.5, 1.5)),
            "rag": platforms.Served(p95=lambda i: 1.8 if i >= 240 else 0.6),
        },
        calls={("rag", "llm"): platforms.Served(p95=course(0.5, 1.5))},
        busy={(1, "llm"): course(0.6, 0.3), (1, "batch"): course(0.2, 0.7), (2, "rag"): 0.5},
        gpu_wait={(1, "llm", "batch"): course(0.02, 0.6)},
        clock={1: 1.0, 2: lambda i: 0.4 if i >= 290 else 1.0},
    )
    (incident,) = last_state(platform.world()).incidents
    assert incident.paged is not None
    assert (incident.service, incident.cause) == (Service("", "llm"), "gpu_contention")
    assert incident.later is not None
    assert (incident.later.service, incident.later.cause) == (Service("", "rag"), "hardware")


def test_a_later_cause_is_stable_until_what_was_paged_is_found_again(platforms: Platforms) -> None:
    """The GPU is throttled after the page; another job takes its time for a minute; the first one starts again."""

    def course(normal: float, batch: float, crawler: float) -> Callable[[int], float]:
        return lambda i: batch if i in range(240, 300) or i >= 382 else crawler if i in range(370, 376) else normal

    platform = platforms.Platform(
        points=388,
        services={"llm": platforms.Served(p95=lambda i: 1.5 if i in range(240, 300) or i >= 305 else 0.5)},
        busy={
            (1, "llm"): course(0.6, 0.3, 0.3),
            (1, "batch"): course(0.2, 0.7, 0.2),
            (1, "crawler"): course(0.1, 0.1, 0.7),
        },
        gpu_wait={
            (1, "llm", "batch"): course(0.02, 0.6, 0.02),
            (1, "llm", "crawler"): course(0.02, 0.02, 0.6),
        },
        clock={1: lambda i: 0.4 if i >= 305 else 1.0},
    )
    shown: list[object] = []
    for state in states(State(), platform.world()):
        for incident in state.incidents:
            later = incident.later and (incident.later.cause, incident.later.suspect.service)
            now = later, {action.service.name for action in incident.actions if action.service}
            if incident.paged is not None and now not in shown[-1:]:
                shown.append(now)
    assert shown == [(None, {"batch"}), (("hardware", LLM), {"llm"}), (None, {"batch"})]


def test_a_cause_that_replaces_what_was_paged_has_no_later_cause_beside_it(platforms: Platforms) -> None:
    """The one beside what was paged may have been this one."""
    point = platforms.Platform(services={"llm": platforms.Served()}).point()
    before = replace(PAGED, confidence=0.95, later=LaterCause(CHAT, "hardware", SuspectedCause(CHAT), 130.0))
    group = TrackedIncident(frozenset({CHAT}), 9, 9, 0.0, 900.0, disagreeing_points=60, incident=before)
    after = replace(before, cause="dependency", suspect=SuspectedCause(OTHER))
    assert reported_group(group, before, after, Evaluation(point, {}, ())).incident == replace(after, later=None)


@pytest.mark.parametrize(("confidence", "later"), [(0.49, None), (0.5, "change")])
def test_a_later_cause_is_stated_from_medium_confidence(
    confidence: float, later: Cause | None, platforms: Platforms
) -> None:
    """Until then what was paged stands alone."""
    point = platforms.Platform(services={"llm": platforms.Served()}).point()
    before = replace(PAGED, service=LLM, confidence=0.95, suspect=SuspectedCause(OTHER))
    group = TrackedIncident(frozenset({LLM}), 9, 9, 0.0, 900.0, disagreeing_points=200, incident=before)
    after = replace(before, cause="change", suspect=SuspectedCause(LLM, change=DEPLOY), confidence=confidence)
    incident = reported_group(group, before, after, Evaluation(point, {}, ())).incident
    assert incident is not None
    assert incident.cause == "gpu_contention"
    assert (incident.later and incident.later.cause) == later
