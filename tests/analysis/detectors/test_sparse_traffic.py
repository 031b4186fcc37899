"""Services with few requests: tokens vary by chance, and few calls show few failures."""

from __future__ import annotations

import pytest
from tests.analysis.detectors.platform import ANSWER, FRONT, GATEWAY, LLM, QUERY, STORE, Changes, point, ramp, since
from tests.analysis.detectors.test_detectors import NOW, slow

from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import MAX_UNOBSERVED_STRENGTH
from foreshock_dashboard.analysis.detectors.overload import overload
from foreshock_dashboard.analysis.incidents.caller_impact import propagates
from foreshock_dashboard.analysis.incidents.paging import FINDING_STRENGTH


@pytest.mark.parametrize(
    ("rate", "is_overload"), [(5.0, True), (1.2, True), (0.1, False)], ids=["hundreds", "two hundred", "eighteen"]
)
def test_token_growth_of_few_requests_is_no_overload(rate: float, is_overload: bool) -> None:
    """Requests in three minutes."""
    changes: Changes = {
        ("generated_tokens", LLM): ramp(200, 280, 1000, 1500),
        ("rate", LLM): rate,
        ("edge_rate", ANSWER): rate,
        **slow(LLM, 8, 24),
        ("edge_server", ANSWER): since(NOW, 8, 24),
    }
    findings = [
        finding
        for finding in overload(point(changes))
        if finding.service == LLM and finding.strength >= FINDING_STRENGTH
    ]
    assert bool(findings) == is_overload


@pytest.mark.parametrize(
    ("rate", "failed", "affected"),
    [(0.7, 0.02, True), (0.7, 0.003, False), (5.0, 0.02, False), (5.0, 0.05, True)],
    ids=["few of its requests come that far", "hardly any of those fails", "most come that far, few fail", "many fail"],
)
def test_failures_propagate_by_the_share_of_requests_that_reach_them(
    rate: float, failed: float, affected: bool
) -> None:
    """A cache answers most requests; half of the others fail."""
    failing = {("error_rate", LLM): since(290, 0, 0.5), ("error_rate", GATEWAY): since(290, 0, failed)}
    assert propagates(point({("rate", LLM): rate, **failing}), LLM, GATEWAY) == affected


@pytest.mark.parametrize(("calls", "has_fallback"), [(5.0, True), (0.3, False)], ids=["each time", "seldom"])
def test_a_caller_has_a_fallback_if_failures_would_show(calls: float, has_fallback: bool) -> None:
    """A quarter of the calls fails twice, which shows at five calls per second and not at 0.3."""
    changes: Changes = {
        ("edge_rate", QUERY): calls,
        ("edge_error_rate", QUERY): since(NOW, 0, 0.5),
        ("error_rate", STORE): since(NOW, 0, 0.5),
        ("attempts", QUERY): since(NOW, 1, 1.5),
        ("edge_p95", QUERY): since(NOW, 0.03, 0.3),
        ("edge_server", QUERY): since(NOW, 0.03, 0.3),
    }
    strength = max(finding.strength for finding in dependency(point(changes)) if finding.service == FRONT)
    assert (strength <= MAX_UNOBSERVED_STRENGTH) == has_fallback
