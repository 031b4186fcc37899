"""Weak findings that are reported instead of an own fault, or of no cause."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    ASK,
    CODE,
    DIRECT,
    FEED,
    FRONT,
    GATEWAY,
    HOSTS,
    IN,
    LLM,
    QUERY,
    STORE,
    Changes,
    point,
    since,
)
from tests.analysis.detectors.test_detectors import NOW, WAITS, slow

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import MIN_STRENGTH, Finding
from foreshock_dashboard.analysis.detectors.kv_cache_pressure import kv_cache_pressure
from foreshock_dashboard.analysis.detectors.network import network
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

SLOW: Changes = {
    ("p95", FRONT): since(290, 9, 40),
    ("p50", FRONT): since(290, 2.5, 12),
    ("p95", GATEWAY): since(290, 8.5, 40),
    ("p50", GATEWAY): since(290, 2.2, 12),
    ("edge_server", ASK): since(290, 8.5, 40),
    ("edge_p95", ASK): since(290, 8.6, 40),
}
"""The gateway is slow, and those who call it."""


def make_finding(service: Service, cause: Cause, strength: float, suspect: Service | None = None) -> Finding:
    """An own fault without a suspect."""
    return Finding(service, cause, SuspectedCause(suspect or service), strength, 1.5, 0.0, (), (Action("restart"),))


def reported(origin: Service, cause: Finding | None, *findings: Finding) -> tuple[Cause, Service | None]:
    """Cause and suspected cause of the incident of a candidate."""
    now = point(SLOW)
    candidate = IncidentCandidate(origin, (origin,), (), (origin,), cause, True, True, False, False, 0.8)
    incident = updated_incident(opened_incident(candidate, now), candidate, Evaluation(now, {}, findings), page=True)
    return incident.cause, incident.suspect.service


@pytest.mark.parametrize(
    ("own", "other", "cause"),
    [
        pytest.param(0.55, 0.3, "gpu_contention", id="more than half as sure"),
        pytest.param(0.55, 0.2, "dependency", id="less than half as sure"),
        pytest.param(0.95, 0.3, "dependency", id="the own fault is nearly certain"),
    ],
)
def test_an_own_fault_yields_to_a_possible_other_cause(own: float, other: float, cause: Cause) -> None:
    suspicion = make_finding(LLM, "gpu_contention", other, GATEWAY)
    assert reported(LLM, make_finding(LLM, "dependency", own), suspicion)[0] == cause


def test_a_cause_with_another_suspect_does_not_yield() -> None:
    overload = make_finding(LLM, "overload", 0.5, FRONT)
    assert reported(LLM, overload, make_finding(LLM, "gpu_contention", 0.9, GATEWAY)) == ("overload", FRONT)


def test_a_weak_network_finding_of_the_suspect_is_reported() -> None:
    """Other causes are of the service itself: a replica, or its GPUs."""
    assert reported(FRONT, None, make_finding(GATEWAY, "network", 0.4)) == ("network", GATEWAY)
    assert reported(FRONT, None, make_finding(GATEWAY, "load_imbalance", 0.4)) == ("dependency", GATEWAY)
    assert reported(FRONT, None, make_finding(LLM, "network", 0.4)) == ("dependency", GATEWAY)
    assert reported(FRONT, None, make_finding(GATEWAY, "network", 0.2)) == ("dependency", GATEWAY)


def test_a_weak_network_finding_is_reported_until_it_or_the_suspect_changes() -> None:
    """Suspects are ranked once a minute of the incident's age.

    The suspected cause of a network finding may differ from the suspect.
    """
    network = make_finding(GATEWAY, "network", 0.4, LLM)
    candidate = IncidentCandidate(FRONT, (FRONT,), (), (FRONT,), None, True, True, False, False, 0.8)
    ranked = point(SLOW)
    minute, later = (EvaluationPoint(ranked.world, ranked.column - age, ranked.baselines) for age in (6, 5))
    assert ranked.time - minute.time == 60
    first = updated_incident(
        opened_incident(candidate, minute), candidate, Evaluation(minute, {}, (network,)), page=True
    )
    second = updated_incident(first, candidate, Evaluation(later, {}, (network,)), page=True, is_ranked=False)
    third = updated_incident(second, candidate, Evaluation(later, {}, ()), page=True, is_ranked=False)
    assert [(incident.cause, incident.suspect.service) for incident in (first, second)] == [("network", LLM)] * 2
    assert third.cause == "dependency"
    another = make_finding(
        LLM, "network", 0.4
    )  # with the reported suspected cause, but for another service than the suspect
    assert updated_incident(second, candidate, Evaluation(ranked, {}, (another,)), page=True).cause == "dependency"


def test_a_sure_own_fault_is_reported() -> None:
    own = make_finding(FRONT, "dependency", 0.6)
    assert reported(FRONT, own, make_finding(GATEWAY, "network", 0.4)) == ("dependency", FRONT)


@pytest.mark.parametrize(
    ("calls", "median", "others", "failed", "is_own_fault"),
    [
        pytest.param(5.0, 2.5, 20, 0.0, True, id="it calls once a request"),
        pytest.param(10.0, 2.5, 20, 0.0, False, id="it calls twice a request, and others find that one slow"),
        pytest.param(10.0, 2.5, 8.5, 0.0, True, id="no other caller finds that one slow"),
        pytest.param(10.0, 9.0, 20, 0.0, True, id="all of its requests are slow"),
        pytest.param(10.0, 2.5, 20, 0.3, True, id="it fails, which is no matter of tails"),
    ],
)
def test_fan_out_to_a_slow_callee_explains_a_slow_tail(
    calls: float, median: float, others: float, failed: float, is_own_fault: bool
) -> None:
    now = point(
        {
            ("p95", FRONT): since(290, 9, 40),
            ("p50", FRONT): since(290, 2.5, median),
            ("error_rate", FRONT): since(290, 0, failed),
            ("edge_server", IN): since(290, 9, 40),
            ("edge_error_rate", IN): since(290, 0, failed),
            ("edge_rate", ASK): calls,
            ("edge_rate", ANSWER): calls,
            ("edge_server", DIRECT): since(290, 8.5, others),
        }
    )
    own = [finding for finding in dependency(now) if finding.service == FRONT and finding.by_itself]
    assert bool(own and own[0].strength >= 0.5) == is_own_fault


@pytest.mark.parametrize(
    ("lengths", "preempted", "is_found"),
    [((1.0,), 0.0, True), ((0.75, 1.0, 1.4), 0.0, False), ((0.75, 1.0, 1.4), 1.0, True)],
    ids=["many requests", "a handful", "a handful, of which some are preempted"],
)
def test_requests_are_longer_only_beyond_how_much_their_mean_length_varies(
    lengths: Sequence[float], preempted: float, is_found: bool
) -> None:
    """The mean of three requests that run moves by half with one long prompt, also on a model server that waits."""
    minutes = 6

    def cache(i: int) -> float:
        return 0.9 if i >= NOW else 0.6 * lengths[i // minutes % len(lengths)]

    found = kv_cache_pressure(point({**WAITS, ("cache", LLM): cache, ("preempted", LLM): since(NOW, 0, preempted)}))
    assert any(finding.strength >= 0.5 for finding in found) == is_found


def test_longer_requests_do_not_fill_a_kv_cache_that_is_used_no_more_than_before() -> None:
    """Requests that wait for a database elsewhere leave fewer on the model server, and more cache for each of them."""
    changes: Changes = {("running", LLM): since(NOW, 20, 12), **slow(LLM, 8, 30)}
    assert [finding for finding in kv_cache_pressure(point(changes)) if finding.strength > MIN_STRENGTH] == []


@pytest.mark.parametrize(
    ("slow_edges", "suspect"),
    [((ANSWER,), LLM), ((ANSWER, CODE), GATEWAY), ((ASK,), FRONT), ((QUERY, FEED), STORE)],
    ids=["one of a gateway's calls", "all of its calls", "one of many to a gateway", "all calls to a store"],
)
def test_a_network_delay_is_at_the_end_that_the_slow_calls_have_in_common(
    slow_edges: tuple[Edge, ...], suspect: Service
) -> None:
    """Without host counters."""
    seconds = {ASK: 8.6, ANSWER: 8.1, CODE: 2.1, QUERY: 0.03, FEED: 0.03}
    delayed: Changes = {("edge_p95", edge): since(NOW, seconds[edge], 4 * seconds[edge]) for edge in slow_edges}
    unknown: Changes = {("retransmitted", host): math.nan for host in HOSTS}
    found = [item for item in network(point({**delayed, **unknown})) if item.service == slow_edges[0].client]
    assert [item.suspect.service for item in found] == [suspect]
