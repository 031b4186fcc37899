"""When the suspected causes of an incident are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.analysis.detectors.platform import FRONT, GATEWAY, point

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import (
    POINTS_PER_RANKING,
    Evaluation,
    RankingRequest,
    ranked_incidents,
)
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import CauseRanker
from foreshock_dashboard.model.incident import Candidate, Incident, SuspectedCause
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


def _incident(opened: float, ranked_at: float | None = None, name: str = "incident") -> Incident:
    return Incident(name, "warning", "firing", "overload", FRONT, opened, opened, ranked_at=ranked_at)


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
    """Whichever second of the clock it opened at."""
    newest, ages = point({}), list[float]()
    points = [
        EvaluationPoint(newest.world, newest.column - back, newest.baselines) for back in range(opened_at, -1, -1)
    ]
    candidate = IncidentCandidate(FRONT, (FRONT,), (), (FRONT,), cause, True, True, False, False, 0.8)
    incident = opened_incident(candidate, points[0])
    for now in points[:15]:
        evaluation = Evaluation(now, {}, ())
        evaluation.__dict__["ranker"] = RecordedRanker(now, ranking, ages)
        is_ranked = bool(ranked_incidents([RankingRequest(incident, candidate.ranked_from, False)], evaluation))
        incident = updated_incident(incident, candidate, evaluation, page=False, is_ranked=is_ranked)
    assert ages == expected
    assert incident.ranked_at == points[12].time


@pytest.mark.parametrize(
    ("incident", "is_paging", "is_due"),
    [
        pytest.param(_incident(100.0), False, True, id="new"),
        pytest.param(_incident(100.0, 100.0), True, True, id="it pages"),
        pytest.param(_incident(100.0, 119.0), False, False, id="ranked a second ago"),
        pytest.param(_incident(100.0, 110.0), False, True, id="without a suspect in its first minute"),
        pytest.param(replace(_incident(100.0, 110.0), candidates=RANKED), False, False, id="with one"),
        pytest.param(_incident(0.0, 110.0), False, False, id="without one later"),
        pytest.param(replace(_incident(0.0, 60.0), candidates=RANKED), False, True, id="ranked a minute ago"),
    ],
)
def test_a_ranking_is_due_after_a_minute_and_without_a_suspect_after_ten_seconds(
    incident: Incident, is_paging: bool, is_due: bool
) -> None:
    """However short the evaluation interval is."""
    assert RankingRequest(incident, (FRONT,), is_paging).is_due(120.0) == is_due


def test_an_incident_that_paged_beyond_the_budget_is_due_before_all_others_until_it_is_ranked() -> None:
    """Not a minute after the ranking before its page."""
    paged = replace(_incident(0.0, ranked_at=100.0), paged=110.0)
    waiting = RankingRequest(paged, (FRONT,), False)
    assert waiting.is_due(120.0)
    assert waiting.priority < RankingRequest(_incident(0.0, ranked_at=0.0), (FRONT,), False).priority
    assert not RankingRequest(replace(paged, ranked_at=120.0), (FRONT,), False).is_due(130.0)


def test_incidents_beyond_the_budget_of_an_evaluation_take_turns() -> None:
    """New ones and pages first, then those that wait longest. The first is always ranked."""
    newest, turns = point({}), list[set[str]]()
    opened = {name: newest.time - 300.0 * (1 + i) for i, name in enumerate("abcd")}
    known = {name: _incident(at, newest.time - 120.0 - ord(name), name) for name, at in opened.items()}
    known["d"] = replace(known["d"], ranked_at=None)
    for _ in range(5):
        requests = [RankingRequest(item, (FRONT,), item.id == "a" and not turns) for item in known.values()]
        turns.append({*ranked_incidents(requests, Evaluation(newest, {}, ()), max_values=1)})
        known |= {name: replace(known[name], ranked_at=newest.time) for name in turns[-1]}
    assert turns == [{"d"}, {"c"}, {"b"}, {"a"}, set()]


def test_incidents_that_opened_together_share_the_budget_of_one() -> None:
    """What they have in common is compared once."""
    newest = point({})
    values = 6 * (len(newest.world.times) + 2 * POINTS_PER_RANKING)
    together = [_incident(newest.time - 300.0, name=name) for name in "ab"]
    apart = _incident(newest.time - 310.0, newest.time - 100.0, "c")
    requests = [
        RankingRequest(item, (where,), False)
        for item, where in zip([*together, apart], (FRONT, GATEWAY, FRONT), strict=True)
    ]
    assert ranked_incidents(requests, Evaluation(newest, {}, ()), values) == {"a", "b"}
