"""Where several causes are found for one trouble, the one that somebody can act on is told."""

from __future__ import annotations

import pytest
from tests.analysis.causes.made import FRONT, GATEWAY, LLM, scan, since

from foreshock_dashboard.analysis.assessment import carries, troubles
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


@pytest.mark.parametrize(
    ("asked", "lost", "felt"),
    [(0.7, 0.02, True), (0.7, 0.003, False), (5.0, 0.02, False), (5.0, 0.05, True)],
    ids=[
        "few of its requests come that far",
        "hardly any of those fails",
        "all come that far, and few fail",
        "many fail",
    ],
)
def test_a_caller_feels_what_fails_behind_it_by_how_many_of_its_requests_come_that_far(
    asked: float, lost: float, felt: bool
) -> None:
    """A cache in front answers nine of ten; of the others, half fail."""
    failing = {("failed", LLM): since(290, 0, 0.5), ("failed", GATEWAY): since(290, 0, lost)}
    assert carries(scan({("rate", LLM): asked, **failing}), LLM, GATEWAY) == felt
