"""What few requests tell: their tokens vary by chance, and who calls seldom shows failures only of those calls."""

from __future__ import annotations

import pytest
from tests.analysis.causes.made import ANSWER, FRONT, GATEWAY, LLM, QUERY, STORE, Bent, point, ramp, since
from tests.analysis.causes.test_causes import NOW, slow

from foreshock_dashboard.analysis.detectors.demand import demand
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import MAX_UNFELT_STRENGTH
from foreshock_dashboard.analysis.incidents.triage import FINDING_STRENGTH, propagates


@pytest.mark.parametrize(
    ("rate", "told"), [(5.0, True), (1.2, True), (0.1, False)], ids=["hundreds", "two hundred", "eighteen"]
)
def test_half_as_many_tokens_more_are_demand_unless_few_requests_had_them(rate: float, told: bool) -> None:
    """Of requests in three minutes."""
    bent: Bent = {
        ("generated_tokens", LLM): ramp(200, 280, 1000, 1500),
        ("rate", LLM): rate,
        ("edge_rate", ANSWER): rate,
        **slow(LLM, 8, 24),
        ("edge_server", ANSWER): since(NOW, 8, 24),
    }
    found = [each for each in demand(point(bent)) if each.service == LLM and each.strength >= FINDING_STRENGTH]
    assert bool(found) == told


@pytest.mark.parametrize(
    ("asked", "lost", "felt"),
    [(0.7, 0.02, True), (0.7, 0.003, False), (5.0, 0.02, False), (5.0, 0.05, True)],
    ids=["few of its requests come that far", "hardly any of those fails", "most come that far, few fail", "many fail"],
)
def test_a_caller_feels_what_fails_behind_it_by_how_many_of_its_requests_come_that_far(
    asked: float, lost: float, felt: bool
) -> None:
    """A cache in front answers nine of ten; of the others, half fail."""
    failing = {("failed", LLM): since(290, 0, 0.5), ("failed", GATEWAY): since(290, 0, lost)}
    assert propagates(point({("rate", LLM): asked, **failing}), LLM, GATEWAY) == felt


@pytest.mark.parametrize(("calls", "covered"), [(5.0, True), (0.3, False)], ids=["each time", "seldom"])
def test_a_caller_is_covered_where_what_fails_would_show(calls: float, covered: bool) -> None:
    """A quarter of the calls fails twice: of five a second that is seen, of one in three seconds it is not."""
    bent: Bent = {
        ("edge_rate", QUERY): calls,
        ("edge_failed", QUERY): since(NOW, 0, 0.5),
        ("failed", STORE): since(NOW, 0, 0.5),
        ("attempts", QUERY): since(NOW, 1, 1.5),
        ("edge_p95", QUERY): since(NOW, 0.03, 0.3),
        ("edge_server", QUERY): since(NOW, 0.03, 0.3),
    }
    strength = max(each.strength for each in dependency(point(bent)) if each.service == FRONT)
    assert (strength <= MAX_UNFELT_STRENGTH) == covered
