"""How long a service has is told by what is ahead: its own trend, or how full its model servers are by now."""

from __future__ import annotations

import math

import pytest
from tests.analysis.causes.made import LLM, point

from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.content import Evaluation, opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.batching_law import Utilization

TREND, NONE = (100.0, 150.0, 300.0, 500.0, 700.0), (math.inf,) * 5


@pytest.mark.parametrize(
    ("trend", "now", "heavy", "told"),
    [
        pytest.param(TREND, None, False, 0.28 * 300, id="a part of the trend's median, once somebody is woken"),
        pytest.param(NONE, None, False, 70.0, id="no trend"),
        pytest.param(TREND, 0.75, False, 70.0, id="servers fill up, ahead of p95"),
        pytest.param(TREND, 0.95, False, 20.0, id="servers have more than they carry by now"),
        pytest.param(TREND, None, True, 20.0, id="what takes it down by itself"),
    ],
)
def test_the_time_that_is_left_goes_by_what_is_ahead(
    trend: tuple[float, ...], now: float | None, heavy: bool, told: float
) -> None:
    crowded = now is not None
    strain = Utilization(1.0, 0.0, 0.5, 0.0, 35.0, 0.7, (now or 0.5, 0.7, 0.6), 0.5, 0.7)
    own = ServiceRisk(False, 0.8, trend, crowded, strain)
    candidate = IncidentCandidate(LLM, (LLM,), (), (), None, True, True, crowded, heavy, 0.8)
    here = point()
    incident = updated_incident(
        opened_incident(candidate, here), candidate, Evaluation(here, {LLM: own}, ()), page=True
    )
    (origin,) = [each for each in incident.at_risk if each.service == LLM]
    assert origin.p50 == pytest.approx(told)
