"""A database that only its clients tell of: whoever calls it has the objectives, and tells since when."""

from __future__ import annotations

import math

import pytest
from tests.analysis.causes.made import FEED, FRONT, IN, LLM, QUERY, STORE, Bent, point, since, world

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.content import Evaluation, opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate, incident_candidates
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations

SILENT: Bent = {
    **{(name, STORE): math.nan for name in ("rate", "failed", "p50", "p95")},
    **{("edge_server", edge): math.nan for edge in (QUERY, FEED)},
}
FAILS: Bent = {
    **SILENT,
    ("edge_failed", QUERY): since(290, 0, 0.4),
    ("edge_failed", FEED): since(290, 0, 0.4),
    ("attempts", QUERY): since(290, 1, 1.4),
}


def moment(bent: Bent) -> tuple[Evaluation, tuple[IncidentCandidate, ...]]:
    """All that is known, and every candidate."""
    made = point(bent)
    now = EvaluationPoint(
        made.world,
        made.at,
        made.base,
        utilizations=utilizations(made.world, made.at, fit_batching_laws(made.world, made.at)),
    )
    own, found = service_risks(now, slos(now, {})), tuple(dependency(now))
    return Evaluation(now, own, found), incident_candidates(now, own, found, {})


@pytest.mark.parametrize(("lost", "page"), [(0.16, True), (0.0, False)], ids=["it fails as well", "it is covered"])
def test_a_failing_database_that_tells_nothing_pages_where_a_caller_misses_its_objective(
    lost: float, page: bool
) -> None:
    _, found = moment({**FAILS, ("failed", FRONT): since(290, 0, lost), ("edge_failed", IN): since(290, 0, lost)})
    assert [each.origin for each in found] in ([STORE], [STORE] if page else [])
    assert [each.page for each in found] == [page] * len(found)


def test_who_tells_nothing_is_not_said_to_miss_an_objective_soon() -> None:
    known, (candidate,) = moment({**FAILS, ("failed", FRONT): since(290, 0, 0.16)})
    told = updated_incident(opened_incident(candidate, known.point), candidate, known, page=True)
    assert told.service == STORE
    assert STORE not in {each.service for each in told.at_risk}
    assert told.since == known.point.world.times[290]


@pytest.mark.parametrize(
    ("first", "began"),
    [(300, 299), (0, 0), (200, 200), (290, 290)],
    ids=["nobody tells it", "all along", "from where it is told", "within before"],
)
def test_an_excursion_began_no_earlier_than_anybody_told_of_it(first: int, began: int) -> None:
    usual = baselines_at(world(), 299)
    told = world({("p95", LLM): lambda i: math.nan if i < first and first != 290 else 8.0 if i < first else 40.0})
    now = EvaluationPoint(told, 299, usual)
    assert now.since("p95", LLM) == told.times[began]
