"""When the suspected causes of an incident are ranked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.analysis.detectors.platform import FRONT, GATEWAY, point

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import CauseRanker
from foreshock_dashboard.model.incident import Candidate, SuspectedCause
from foreshock_dashboard.model.service import Service

RANKED = (Candidate(GATEWAY, 1.0, (), "low"),)
HOST = Finding(FRONT, "hardware", SuspectedCause(host="h-1"), 0.8, 1.5, 0.0, (), ())


class RecordedRanker(CauseRanker):
    """Returns the same candidates at each evaluation, and keeps the ages of the incident then."""

    def __init__(self, now: EvaluationPoint, ranking: tuple[Candidate, ...], ages: list[float]) -> None:
        super().__init__(GraphWalk(now))
        self._ranking_to_return, self._ages, self._now = ranking, ages, now.time

    def candidates(self, affected: Sequence[Service], opened: float) -> tuple[Candidate, ...]:
        """The same candidates, if a service that is affected is named."""
        self._ages.append(self._now - opened)
        return self._ranking_to_return if affected else ()


@pytest.mark.parametrize(
    ("ranking", "cause", "expected"),
    [
        pytest.param(RANKED, None, [0, 60, 120], id="ranked"),
        pytest.param((), None, [0, 60, 120], id="the origin itself is suspected"),
        pytest.param((), HOST, [0, 10, 20, 30, 40, 50, 60, 120], id="no service is suspected"),
    ],
)
@pytest.mark.parametrize("opened_at", [16, 14])
def test_causes_are_ranked_each_minute_of_an_incident_and_at_first_until_a_service_is_suspected(
    ranking: tuple[Candidate, ...], cause: Finding | None, expected: list[float], opened_at: int
) -> None:
    """Whichever second of the clock it opened at: incidents are not all ranked at once."""
    newest, ages = point({}), list[float]()
    points = [
        EvaluationPoint(newest.world, newest.column - back, newest.baselines) for back in range(opened_at, -1, -1)
    ]
    candidate = IncidentCandidate(FRONT, (FRONT,), (), (FRONT,), cause, True, True, False, False, 0.8)
    incident = opened_incident(candidate, points[0])
    for now in points[:15]:
        evaluation = Evaluation(now, {}, ())
        evaluation.__dict__["ranker"] = RecordedRanker(now, ranking, ages)
        incident = updated_incident(incident, candidate, evaluation, page=False)
    assert ages == expected
