"""Where several causes are found for one incident candidate, the one that somebody can act on is told."""

from __future__ import annotations

import pytest
from tests.analysis.causes.made import ANSWER, ASK, FRONT, GATEWAY, LLM, QUERY, STORE, Bent, point, since

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.triage import incident_candidates
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, SuspectedCause
from foreshock_dashboard.model.service import Service


def found(cause: Cause, strength: float, culprit: Service = FRONT, *, urgent: bool = False) -> Finding:
    """About the language model."""
    return Finding(LLM, cause, SuspectedCause(culprit), strength, 1.5, 0.0, (), Action("restart"), urgent)


OWN = found("dependency", 0.9, LLM, urgent=True)


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        pytest.param([OWN], OWN, id="slow by itself, where nothing explains it"),
        pytest.param([OWN, found("demand", 0.6)], found("demand", 0.6), id="more is asked of it"),
        pytest.param([OWN, found("demand", 0.4)], OWN, id="hardly more is asked of it"),
        pytest.param(
            [found("demand", 0.9), found("provisioning lag", 0.6)], found("provisioning lag", 0.6), id="help is late"
        ),
        pytest.param([found("demand", 0.9), found("provisioning lag", 0.4)], found("demand", 0.9), id="help is there"),
        pytest.param(
            [found("memory pressure", 0.9), found("pool contention", 0.6, urgent=True)],
            found("pool contention", 0.6, urgent=True),
            id="what takes it down first",
        ),
    ],
)
def test_the_cause_of_a_trouble_is_the_one_that_explains_it(causes: list[Finding], told: Finding) -> None:
    (candidate,) = incident_candidates(point(), {}, causes, {})
    assert candidate.cause == told


@pytest.mark.parametrize(
    ("model", "store", "origin"),
    [(60.0, 0.09, LLM), (60.0, 20.0, STORE), (8.0, 20.0, STORE)],
    ids=["a crowd makes the store a little slower besides", "both are to blame", "only the store is"],
)
def test_a_trouble_begins_at_whoever_may_be_why_callers_suffer(model: float, store: float, origin: Service) -> None:
    """The store is found more surely; a minute longer is what the front takes."""
    bent: Bent = {
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
    made = point(bent)
    now = EvaluationPoint(
        made.world,
        made.at,
        made.base,
        utilizations=utilizations(made.world, made.at, fit_batching_laws(made.world, made.at)),
    )
    causes = [
        Finding(who, "demand", SuspectedCause(FRONT), sure, 2.0, 0.0, (), Action("restart"))
        for who, sure in ((STORE, 1.0), (LLM, 0.9))
    ]
    assert incident_candidates(now, service_risks(now, slos(now, {})), causes, {})[0].origin == origin
