"""Where several causes are found for one trouble, the one that somebody can act on is told."""

from __future__ import annotations

import pytest
from tests.analysis.causes.made import FRONT, LLM, scan

from foreshock_dashboard.analysis.assessment import troubles
from foreshock_dashboard.analysis.finding import Finding
from foreshock_dashboard.model.incident import Cause, Culprit
from foreshock_dashboard.model.service import Service


def found(cause: Cause, strength: float, culprit: Service = FRONT, *, urgent: bool = False) -> Finding:
    """About the language model."""
    return Finding(LLM, cause, Culprit(culprit), strength, 1.5, 0.0, (), "", urgent)


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
    (trouble,) = troubles(scan(), {}, causes, {})
    assert trouble.cause == told
