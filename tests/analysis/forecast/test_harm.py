"""An SLO breach is worth a page once users have felt it: a burn rate beyond 1 adds up over time."""

from __future__ import annotations

import pytest
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.forecast.harm import is_harmed
from foreshock_dashboard.analysis.forecast.service_risk import service_risks

FRONT = service("front")


@pytest.mark.parametrize(
    ("front", "seconds", "expected"),
    [
        pytest.param(Served(p95=step(0.4, 0.66)), 300, False, id="p95 just above its target for five minutes"),
        pytest.param(Served(p95=step(0.4, 1.0)), 40, False, id="twice the budget for half a minute"),
        pytest.param(Served(p95=step(0.4, 1.0)), 70, True, id="twice the budget for a minute"),
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


def test_the_harm_of_a_slow_operation_is_its_own() -> None:
    rare = Served(rate=1.0, p95=step(0.4, 4.0))
    platform = Platform(
        {"front": Served(rate=40.0)},
        {("user", "front"): Served(rate=40.0)},
        {("front", "POST /ask"): rare, ("front", "GET /"): Served(rate=39.0)},
    )
    point = platform.point(6)
    risk = service_risks(point, slos(point, {}))[FRONT]
    assert risk.operation is not None
    assert is_harmed(point, FRONT, risk)
