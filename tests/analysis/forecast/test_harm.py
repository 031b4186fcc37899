"""An SLO breach is worth a page once users have felt it: a burn rate beyond 1 adds up over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.forecast.harm import is_harmed
from foreshock_dashboard.analysis.forecast.service_risk import service_risks

FRONT = service("front")


@pytest.mark.parametrize(
    ("front", "seconds", "expected"),
    [
        pytest.param(Served(p95=step(0.4, 0.66), p99=step(0.5, 0.9)), 300, False, id="p95 just above its target"),
        pytest.param(Served(p95=step(0.4, 1.0), p99=step(0.5, 1.5)), 40, False, id="twice the budget for 40 s"),
        pytest.param(Served(p95=step(0.4, 1.0), p99=step(0.5, 1.5)), 70, True, id="twice the budget for 70 s"),
        pytest.param(Served(p95=step(0.4, 4.0)), 20, True, id="half of the requests, within seconds"),
        pytest.param(Served(failed=step(0.0, 0.02)), 40, False, id="errors of twice the budget for half a minute"),
        pytest.param(Served(failed=step(0.0, 0.3)), 20, True, id="a third of the requests fail, within seconds"),
        pytest.param(Served(rate=0.3, p95=step(0.4, 4.0)), 300, False, id="too few requests for a p95"),
        pytest.param(Served(), 300, False, id="as before"),
    ],
)
def test_a_breach_is_felt_by_its_burn_rate_and_its_duration(front: Served, seconds: int, *, expected: bool) -> None:
    point = Platform({"front": front}, {("user", "front"): front}).point(seconds // 10)
    risks = service_risks(point, slos(point, {}))
    assert is_harmed(point, FRONT, risks[FRONT]) == expected


def shop(front: Served, operations: Mapping[str, Served]) -> Platform:
    """A service called from outside, with its operations."""
    kinds = {("front", name): served for name, served in operations.items()}
    return Platform({"front": front}, {("user", "front"): front}, kinds)


CHECKOUT = Served(rate=0.8, failed=step(0.0, 1.0))
SLOW = Served(rate=20.0, p95=step(0.4, 0.67), p99=step(0.5, 0.9))
REST = Served(rate=79.2)


@pytest.mark.parametrize(
    ("operations", "worst"),
    [
        pytest.param({"POST /ask": Served(rate=1.0, p95=step(0.4, 4.0)), "GET /": REST}, "POST /ask", id="a slow one"),
        pytest.param({"POST /checkout": CHECKOUT, "GET /": REST}, "POST /checkout", id="one that fails"),
        pytest.param({"GET /a": SLOW, "POST /z": CHECKOUT, "GET /": REST}, "POST /z", id="after a slower one by name"),
        pytest.param({"GET /a": CHECKOUT, "POST /z": SLOW, "GET /": REST}, "GET /a", id="before a slower one by name"),
    ],
)
def test_the_operation_that_breaches_most_is_the_one_that_harms(operations: dict[str, Served], worst: str) -> None:
    point = shop(Served(rate=100.0, failed=step(0.0, 0.008)), operations).point(6)
    risk = service_risks(point, slos(point, {}))[FRONT]
    assert risk.operation is not None
    assert risk.operation[0].name == worst
    assert is_harmed(point, FRONT, risk)


def test_an_operation_that_breaches_a_little_does_not_harm() -> None:
    point = shop(Served(rate=100.0), {"GET /a": SLOW, "GET /": REST}).point(6)
    risk = service_risks(point, slos(point, {}))[FRONT]
    assert risk.breached
    assert not is_harmed(point, FRONT, risk)


@pytest.mark.parametrize("share", [0.045, 0.056], ids=["within the SLO of the service", "beyond it"])
def test_an_operation_that_fails_harms_whatever_its_share_of_the_service_is(share: float) -> None:
    """The service itself, 0.6 points beyond its SLO, does not within the half minute."""
    checkout = Served(rate=20.0 * share, failed=step(0.0, 1.0))
    platform = shop(
        Served(rate=20.0, failed=step(0.0, share)),
        {"POST /checkout": checkout, "GET /": Served(rate=20.0 * (1 - share))},
    )
    point = platform.point(3)
    risk = service_risks(point, slos(point, {FRONT: Slo(1.0, 0.05)}))[FRONT]
    assert (risk.operation is None) == (share > 0.05)
    assert is_harmed(point, FRONT, risk)


@pytest.mark.parametrize(
    ("front", "slo", "expected"),
    [
        pytest.param(Served(20.0, failed=step(0.0, 0.0118)), Slo(1.0, 0.01), True, id="errors at a burn rate of 1.18"),
        pytest.param(Served(20.0, step(0.9, 1.15), 0.0, 1.0, 0.4, step(1.2, 2.0)), Slo(1.0, 0.05), True, id="p95 +15%"),
        pytest.param(Served(20.0, failed=step(0.0, 0.0118)), Slo(1.0, 0.01, learned=True), False, id="a learned SLO"),
        pytest.param(
            Served(20.0, failed=lambda i: 0.0118 * (i >= Platform.at and i % 2)), Slo(1.0, 0.01), False, id="in turns"
        ),
    ],
)
def test_a_configured_slo_breached_over_five_minutes_is_harm(front: Served, slo: Slo, *, expected: bool) -> None:
    """A learned one is a guess: a little more than it allows stays an early warning."""
    platform = Platform({"front": front}, {("user", "front"): front})
    harmed = []
    for later in (15, 45):
        point = platform.point(later)
        risk = replace(service_risks(point, {FRONT: slo})[FRONT], breached=True)
        harmed.append(is_harmed(point, FRONT, risk))
    assert harmed == [False, expected]


def test_failures_that_the_slo_does_not_allow_at_all_harm_at_once() -> None:
    front = Served(failed=step(0.0, 0.05))
    point = Platform({"front": front}, {("user", "front"): front}).point(2)
    risk = service_risks(point, {FRONT: Slo(20.0, 0.0)})[FRONT]
    assert is_harmed(point, FRONT, risk)


def test_too_few_known_points_are_no_five_minutes() -> None:
    """A service that is new, or was not reported: what happened before is not known."""
    front = Served(rate=lambda i: 20.0 if i >= Platform.at + 20 else math.nan, failed=0.0118)
    point = Platform({"front": front}, {("user", "front"): front}).point(28)
    risk = service_risks(point, {FRONT: Slo(1.0, 0.01)})[FRONT]
    assert risk.breached
    assert not is_harmed(point, FRONT, risk)


@pytest.mark.parametrize(
    ("front", "seconds"),
    [
        pytest.param(Served(20.0, step(10.0, 30.0), tailless=8.0, p99=step(15.0, 30.0)), 25.0, id="a timeout of 30 s"),
        pytest.param(Served(20.0, step(2.0, 10.0), tailless=0.8, p99=step(3.0, 10.0)), 8.0, id="the last bucket, 10 s"),
    ],
)
def test_requests_that_hang_harm_within_half_a_minute_although_p50_is_short(front: Served, seconds: float) -> None:
    point = Platform({"front": front}, {("user", "front"): front}).point(2)
    risk = service_risks(point, {FRONT: Slo(seconds, 0.05)})[FRONT]
    assert is_harmed(point, FRONT, risk)


def test_the_minutes_before_a_gap_count_at_once_after_it() -> None:
    """Rates after a gap are of a few seconds, those before it of whole minutes: 48 requests each."""
    rate = [math.nan if 16 <= i - Platform.at < 20 else 0.8 for i in range(Platform.points)]
    front = Served(rate=lambda i: rate[i], p95=step(0.4, 4.0))
    point = Platform({"front": front}, {("user", "front"): front}).point(21)
    risk = replace(service_risks(point, {FRONT: Slo(0.64, 0.01)})[FRONT], breached=True)
    assert is_harmed(point, FRONT, risk)
