"""That a service is slow by itself is told only where nothing else may be the reason, however unsure that is."""

from __future__ import annotations

import pytest
from tests.analysis.causes.made import ANSWER, ASK, DIRECT, FRONT, GATEWAY, IN, LLM, Bent, point, since

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.content import Evaluation, opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, SuspectedCause
from foreshock_dashboard.model.service import Service

SLOW: Bent = {
    ("p95", FRONT): since(290, 9, 40),
    ("p50", FRONT): since(290, 2.5, 12),
    ("p95", GATEWAY): since(290, 8.5, 40),
    ("p50", GATEWAY): since(290, 2.2, 12),
    ("edge_server", ASK): since(290, 8.5, 40),
    ("edge_p95", ASK): since(290, 8.6, 40),
}
"""The gateway is slow, and those who call it."""


def found(service: Service, cause: Cause, strength: float, culprit: Service | None = None) -> Finding:
    """Somebody's own doing where nobody else is named."""
    return Finding(service, cause, SuspectedCause(culprit or service), strength, 1.5, 0.0, (), Action("restart"))


def told(origin: Service, cause: Finding | None, *findings: Finding) -> tuple[Cause, Service | None]:
    """What is told of a candidate, and how much: the cause and the culprit."""
    here = point(SLOW)
    candidate = IncidentCandidate(origin, (origin,), (), (origin,), cause, True, True, False, False, 0.8)
    incident = updated_incident(opened_incident(candidate, here), candidate, Evaluation(here, {}, findings), page=True)
    return incident.cause, incident.suspect.service


@pytest.mark.parametrize(
    ("own", "other", "cause"),
    [
        pytest.param(0.55, 0.3, "pool contention", id="more than half as sure"),
        pytest.param(0.55, 0.2, "dependency", id="less than half as sure"),
        pytest.param(0.95, 0.3, "dependency", id="its own doing is nearly certain"),
    ],
)
def test_its_own_doing_gives_way_to_what_may_be(own: float, other: float, cause: Cause) -> None:
    suspicion = found(LLM, "pool contention", other, GATEWAY)
    assert told(LLM, found(LLM, "dependency", own), suspicion)[0] == cause


def test_a_cause_that_names_another_does_not_give_way() -> None:
    demand = found(LLM, "demand", 0.5, FRONT)
    assert told(LLM, demand, found(LLM, "pool contention", 0.9, GATEWAY)) == ("demand", FRONT)


def test_where_nothing_is_known_what_may_be_wrong_with_the_network_of_the_one_who_is_blamed_is_told() -> None:
    """Another cause would be told as if it were the origin's: one replica of it, or its GPUs."""
    assert told(FRONT, None, found(GATEWAY, "network", 0.4)) == ("network", GATEWAY)
    assert told(FRONT, None, found(GATEWAY, "imbalance", 0.4)) == ("dependency", GATEWAY)
    assert told(FRONT, None, found(LLM, "network", 0.4)) == ("dependency", GATEWAY)
    assert told(FRONT, None, found(GATEWAY, "network", 0.2)) == ("dependency", GATEWAY)


def test_it_is_told_until_it_is_not_found_any_more_or_somebody_else_is_blamed() -> None:
    """Who is to blame is asked once a minute; the culprit of a network is not always the one who was blamed."""
    network = found(GATEWAY, "network", 0.4, LLM)
    candidate = IncidentCandidate(FRONT, (FRONT,), (), (FRONT,), None, True, True, False, False, 0.8)
    minute = point(SLOW)
    later = EvaluationPoint(minute.world, minute.at - 1, minute.base)
    assert minute.time % 60 != 0
    assert later.time % 60 != 0
    first = updated_incident(
        opened_incident(candidate, minute), candidate, Evaluation(minute, {}, (network,)), page=True
    )
    second = updated_incident(first, candidate, Evaluation(later, {}, (network,)), page=True)
    third = updated_incident(second, candidate, Evaluation(later, {}, ()), page=True)
    assert [(each.cause, each.suspect.service) for each in (first, second)] == [("network", LLM)] * 2
    assert third.cause == "dependency"
    asked = EvaluationPoint(minute.world, minute.at - 5, minute.base)
    assert asked.time % 60 == 0
    another = found(LLM, "network", 0.4)  # with the culprit that was told, but of one who is not blamed
    assert updated_incident(second, candidate, Evaluation(asked, {}, (another,)), page=True).cause == "dependency"


def test_what_is_surely_slow_by_itself_is_not_told_of_anybody_else() -> None:
    own = found(FRONT, "dependency", 0.6)
    assert told(FRONT, own, found(GATEWAY, "network", 0.4)) == ("dependency", FRONT)


@pytest.mark.parametrize(
    ("calls", "median", "others", "failed", "itself"),
    [
        pytest.param(5.0, 2.5, 20, 0.0, True, id="it calls once a request"),
        pytest.param(10.0, 2.5, 20, 0.0, False, id="it calls twice a request, and others find that one slow"),
        pytest.param(10.0, 2.5, 8.5, 0.0, True, id="nobody else finds that one slow"),
        pytest.param(10.0, 9.0, 20, 0.0, True, id="all of its requests are slow"),
        pytest.param(10.0, 2.5, 20, 0.3, True, id="it fails, which is no matter of tails"),
    ],
)
def test_a_tail_may_be_of_what_is_called_several_times_a_request(
    calls: float, median: float, others: float, failed: float, itself: bool
) -> None:
    here = point(
        {
            ("p95", FRONT): since(290, 9, 40),
            ("p50", FRONT): since(290, 2.5, median),
            ("failed", FRONT): since(290, 0, failed),
            ("edge_server", IN): since(290, 9, 40),
            ("edge_failed", IN): since(290, 0, failed),
            ("edge_rate", ASK): calls,
            ("edge_rate", ANSWER): calls,
            ("edge_server", DIRECT): since(290, 8.5, others),
        }
    )
    own = [each for each in dependency(here) if each.service == FRONT and each.by_itself]
    assert bool(own and own[0].strength >= 0.5) == itself
