"""Selection of the cause and the origin of an incident candidate."""

from __future__ import annotations

import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    ASK,
    FRONT,
    GATEWAY,
    LLM,
    QUERY,
    STORE,
    Changes,
    learned_point,
    point,
    since,
)

from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.triage import incident_candidates
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, SuspectedCause
from foreshock_dashboard.model.service import Service


def finding(cause: Cause, strength: float, suspect: Service = FRONT, *, urgent: bool = False) -> Finding:
    """A finding for the language model."""
    return Finding(LLM, cause, SuspectedCause(suspect), strength, 1.5, 0.0, (), (Action("restart"),), urgent)


OWN_FAULT = finding("dependency", 0.9, LLM, urgent=True)


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        pytest.param([OWN_FAULT], OWN_FAULT, id="slow by itself, where nothing explains it"),
        pytest.param([OWN_FAULT, finding("overload", 0.6)], finding("overload", 0.6), id="more load"),
        pytest.param([OWN_FAULT, finding("overload", 0.4)], OWN_FAULT, id="hardly more load"),
        pytest.param(
            [finding("overload", 0.9), finding("scale_up_lag", 0.6)],
            finding("scale_up_lag", 0.6),
            id="help is late",
        ),
        pytest.param(
            [finding("overload", 0.9), finding("scale_up_lag", 0.4)], finding("overload", 0.9), id="help is there"
        ),
        pytest.param(
            [finding("kv_cache_pressure", 0.9), finding("gpu_contention", 0.6, urgent=True)],
            finding("gpu_contention", 0.6, urgent=True),
            id="what takes it down first",
        ),
    ],
)
def test_the_explaining_cause_is_selected(causes: list[Finding], expected: Finding) -> None:
    (candidate,) = incident_candidates(point(), {}, causes, {})
    assert candidate.cause == expected


@pytest.mark.parametrize(
    ("model", "store", "origin"),
    [(60.0, 0.09, LLM), (60.0, 20.0, STORE), (8.0, 20.0, STORE)],
    ids=["load makes the store a little slower as well", "both are slow", "only the store is slow"],
)
def test_the_origin_explains_the_slowdown_of_its_callers(model: float, store: float, origin: Service) -> None:
    """The store's finding is stronger, but the front is a minute slower."""
    changes: Changes = {
        ("p95", LLM): since(290, 8, model),
        ("edge_server", ANSWER): since(290, 8, model),
        ("edge_p95", ANSWER): since(290, 8.1, model),
        ("p95", GATEWAY): since(290, 8.5, model + 0.5),
        ("edge_p95", ASK): since(290, 8.6, model + 0.6),
        ("p95", STORE): since(290, 0.03, store),
        ("edge_p95", QUERY): since(290, 0.03, store),
        ("edge_server", QUERY): since(290, 0.03, store),
        ("p95", FRONT): since(290, 9, 69),
    }
    now = learned_point(changes)
    causes = [
        Finding(service, "overload", SuspectedCause(FRONT), strength, 2.0, 0.0, (), (Action("restart"),))
        for service, strength in ((STORE, 1.0), (LLM, 0.9))
    ]
    assert incident_candidates(now, service_risks(now, slos(now, {})), causes, {})[0].origin == origin
