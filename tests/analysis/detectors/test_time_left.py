"""Time to the SLO breach of the origin: from its trend, or from the load of its model servers."""

from __future__ import annotations

import math

import pytest
from tests.analysis.detectors.platform import LLM, point

from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.forecast import Utilization

TREND, NONE = (100.0, 150.0, 300.0, 500.0, 700.0), (math.inf,) * 5


@pytest.mark.parametrize(
    ("trend", "load", "urgent", "expected"),
    [
        pytest.param(TREND, None, False, 0.28 * 300, id="a part of the trend's median, once it is paged"),
        pytest.param(NONE, None, False, 70.0, id="no trend"),
        pytest.param(TREND, 0.75, False, 70.0, id="servers fill up, ahead of p95"),
        pytest.param(TREND, 0.95, False, 20.0, id="servers have more than they carry by now"),
        pytest.param(TREND, None, True, 20.0, id="what takes it down by itself"),
    ],
)
def test_time_to_breach_follows_the_trend_or_the_load(
    trend: tuple[float, ...], load: float | None, urgent: bool, expected: float
) -> None:
    overloaded = load is not None
    utilization = Utilization(1.0, 0.0, 0.5, 0.0, 35.0, 0.7, (load or 0.5, 0.7, 0.6), 0.5, 0.7)
    risk_ = ServiceRisk(False, 0.8, 0.8, trend, overloaded, utilization)
    candidate = IncidentCandidate(LLM, (LLM,), (), (), None, True, True, overloaded, urgent, 0.8)
    now_ = point()
    incident = updated_incident(
        opened_incident(candidate, now_), candidate, Evaluation(now_, {LLM: risk_}, ()), page=True
    )
    (origin,) = [risk for risk in incident.at_risk if risk.service == LLM]
    assert origin.p50 == pytest.approx(expected)
