"""The cause that an incident states without a finding about it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from tests.analysis.detectors.platform import FRONT, LLM, point

from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.action import Reason, ReasonKind
from foreshock_dashboard.model.incident import Candidate, Cause
from foreshock_dashboard.model.service import Service


@pytest.mark.parametrize(
    ("origin", "suspect", "reason", "cause"),
    [
        (LLM, FRONT, "requests_grew", "overload"),
        (LLM, FRONT, "calls_grew", "overload"),
        (LLM, FRONT, "slower", "dependency"),
        (FRONT, LLM, "requests_grew", "dependency"),
        (FRONT, LLM, "slower", "dependency"),
        (LLM, LLM, "requests_grew", "dependency"),
    ],
)
def test_a_caller_whose_requests_grew_is_no_failing_dependency(
    origin: Service, suspect: Service, reason: ReasonKind, cause: Cause
) -> None:
    """It sends load. A service that the origin calls is a dependency, whatever it is suspected for."""
    assert reason in get_args(ReasonKind)
    now = point()
    candidate = IncidentCandidate(origin, (origin,), (), (), None, True, True, False, False, 0.8)
    opened = replace(opened_incident(candidate, now), candidates=(Candidate(suspect, 1.0, (Reason(reason, suspect),)),))
    found = updated_incident(opened, candidate, Evaluation(now, {}, ()), page=False)
    assert (found.cause, found.suspect.service) == (cause, suspect)
