"""Incidents of one component merge into one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from foreshock_dashboard.analysis.incidents.content import opened_incident
from foreshock_dashboard.analysis.incidents.lifecycle import RESOLVE_AFTER_SECONDS, LatentRiskWarning, State, states
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.render.incident_summary import incident_sentence

Kit = Any


def joining(kit: Kit) -> Kit:
    """The ends of a chain fail first, each by itself; then the service between them, which joins them."""
    return kit.Platform(
        services={
            "front": kit.Served(p95=kit.step(0.5, 3.0), failed=kit.step(0.0, 0.5)),
            "middle": kit.Served(p95=kit.step(0.4, 2.5, 262), failed=kit.step(0.0, 0.5, 262)),
            "back": kit.Served(p95=kit.step(0.2, 2.0, 246), failed=kit.step(0.0, 0.5, 246)),
        },
        calls={
            ("user", "front"): kit.Served(p95=kit.step(0.5, 3.0)),
            ("front", "middle"): kit.Served(p95=kit.step(0.4, 2.5, 262), failed=kit.step(0.0, 0.5, 262)),
            ("middle", "back"): kit.Served(p95=kit.step(0.2, 2.0, 246), failed=kit.step(0.0, 0.5, 246)),
        },
    )


def test_incidents_of_one_candidate_merge(platforms: Kit) -> None:
    """The other resolves at once; none is reported as recovering."""
    world = joining(platforms).world()
    reported: list[tuple[Incident, ...]] = [state.incidents for state in states(State(), world)]
    open_ = [[incident for incident in incidents if incident.is_open] for incidents in reported]

    assert len(open_[261]) == 2
    assert [len(incident) for incident in open_[280:]] == [1] * len(open_[280:])
    assert {incident.state for incident in reported[-1]} == {"firing", "resolved"}
    assert any(incident.cascading for incident in reported[-1])
    assert [
        incident_sentence(incident)
        for incidents in open_
        for incident in incidents
        if "is recovering" in incident_sentence(incident)
    ] == []
    (going,) = open_[-1]
    assert going.opened == min(incident.opened for incident in reported[-1])


@pytest.mark.parametrize(
    ("again", "opened"),
    [("back", 1), ("front", 2), ("front first", 2)],
    ids=["the same service fails again", "a caller fails by itself", "the same service follows a caller"],
)
def test_trouble_of_another_origin_during_a_recovery_is_a_new_incident(platforms: Kit, again: str, opened: int) -> None:
    """The back fails, its caller with it, and recovers for two minutes."""

    def fails(name: str) -> Callable[[int], float]:
        later = {"back": 266, "front": 266 if name == "front" else 999, "front first": 266 if name == "front" else 272}
        return lambda i: 0.5 if 240 <= i < 252 or i >= later[again] else 0.0

    platform = platforms.Platform(
        services={"front": platforms.Served(failed=fails("front")), "back": platforms.Served(failed=fails("back"))},
        calls={
            ("user", "front"): platforms.Served(failed=fails("front")),
            ("front", "back"): platforms.Served(failed=fails("back")),
        },
    )
    reported = [state.incidents for state in states(State(), platform.world())]
    paged = {item.id: item for incidents in reported for item in incidents if item.paged is not None}
    assert [item.first_service for item in paged.values()] == [
        platforms.service("back"),
        platforms.service("front"),
    ][:opened]
    assert all(
        item.recovering_since is None or item.recovering_since > item.opened
        for incidents in reported
        for item in incidents
    )


def test_an_early_warning_of_a_latent_risk_resolves(platforms: Kit) -> None:
    """`RESOLVE_AFTER_SECONDS` after it was last observed."""
    platform = platforms.Platform(services={"front": platforms.Served(), "back": platforms.Served()})
    state = list(states(State(), platform.world()))[240]
    back = platforms.service("back")
    weak = opened_incident(
        IncidentCandidate(back, (back,), (), (), None, False, False, False, False, 0.0), platform.point(0)
    )
    later = states(replace(state, latent_risk_warnings=(LatentRiskWarning(weak, state.time),)), platform.world())
    reported = [[(incident.state, incident.resolved) for incident in one.incidents] for one in later]

    over = state.time + RESOLVE_AFTER_SECONDS + platform.world().step
    assert reported[0] == [("firing", None)]
    assert reported[-1] == [("resolved", over)]
