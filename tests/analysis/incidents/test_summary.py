"""The summary of an incident: its symptom, whether that counts, and callers that fail entirely."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.analysis.detectors.platform import ANSWER, FRONT, GATEWAY, LLM, Changes, point, since

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.content import recovering_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.summary import with_summary
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service

SLOS = {LLM: Slo(2.0, 0.05), FRONT: Slo(60.0, 0.05), GATEWAY: Slo(60.0, 0.05)}


def summarized(changes: Changes, affected: tuple[Service, ...] = (LLM,)) -> Incident:
    """An incident of the language model, summarized."""
    now = point(changes, utilization=Utilization(1.0, 0.0, 0.5, 0.0, 60.0, 0.5, (0.5,) * 3, 0.5, 0.7))
    item = Incident("1", "critical", "firing", "overload", LLM, now.time, opened=now.time, affected=affected)
    return with_summary(item, Evaluation(now, service_risks(now, SLOS), ()))


@pytest.mark.parametrize(("rate", "counts"), [(2.0, True), (0.2, False)])
def test_a_p95_beyond_the_slo_counts_from_thirty_requests_a_minute(rate: float, *, counts: bool) -> None:
    found = summarized({("p95", LLM): since(282, 0.5, 9.0), ("rate", LLM): rate, ("edge_rate", ANSWER): rate})
    assert found.summary.symptom is not None
    assert found.summary.symptom.counts is counts
    assert (found.stage == "breached") is counts


@pytest.mark.parametrize(("failed", "failing"), [(1.0, FRONT), (0.9, None)])
def test_a_caller_that_fails_entirely_is_named(failed: float, failing: Service | None) -> None:
    changes: Changes = {("p95", LLM): since(282, 0.5, 9.0), ("error_rate", FRONT): since(282, 0.0, failed)}
    assert summarized(changes, (LLM, GATEWAY, FRONT)).summary.failing == failing


def test_replicas_that_were_added_meanwhile_are_no_follow_up() -> None:
    """What is left starts from the present number."""
    now = point({("running", LLM): 4.0})
    evaluation = Evaluation(now, {}, ())
    found = []
    for wanted in (2.0, 3.0):
        action = Action("add_replicas", LLM, amount=wanted - 1, current=1.0, effective_seconds=400.0)
        item = Incident("1", "critical", "firing", "overload", LLM, now.time, opened=now.time, actions=(action,))
        found.append(recovering_incident(replace(item, affected=(LLM,)), now.time, evaluation).actions)
    (done, (left,)) = found
    assert done == ()
    assert (left.current, left.amount) == (2.0, 1.0)
