"""A p95 that rises because more requests are of the slow kind, and none is slower."""

from __future__ import annotations

import pytest
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.forecast.service_risk import service_risks

FRONT = service("front")


def rising(before: float, by_point: float, noise: float = 0.0) -> Served:
    """Requests that take longer from point to point."""
    return Served(3.0, lambda i: before + noise * (i // 6 % 3 - 1) * (i < 235) + max(0, i - 235) * by_point)


STEADY = Served(3.0, lambda i: 8.0 + 0.1 * (i % 3))
FAST = Served(step(6.0, 3.0), 0.05)
SLOWER = Served(step(6.0, 3.0), step(0.05, 5.0))
NOISY = rising(8.0, 0.35, noise=1.5)


@pytest.mark.parametrize(
    ("kinds", "limit", "is_at_risk"),
    [
        pytest.param({"chat": STEADY, "embed": FAST}, 10.0, False, id="more of the slow kind"),
        pytest.param({"chat": rising(8.0, 0.3), "embed": FAST}, 10.0, True, id="the slow kind is slower"),
        pytest.param({"chat": STEADY, "embed": SLOWER}, 10.0, True, id="the fast kind is slower"),
        pytest.param({"chat": STEADY, "embed": FAST}, 8.05, True, id="the slow kind is above the SLO"),
        pytest.param({"chat": STEADY}, 10.0, True, id="the other kind is unknown"),
        pytest.param({"chat": STEADY, "embed": Served(step(5.7, 2.7), 0.05)}, 10.0, True, id="4% are of no known kind"),
        pytest.param({"chat": NOISY, "embed": FAST}, 12.0, True, id="the slow kind is slower, within its noise"),
        pytest.param({"chat": Served(step(8.8, 5.9), STEADY.p95)}, 10.0, True, id="one kind of requests"),
        pytest.param({}, 10.0, True, id="kinds unknown"),
    ],
)
def test_a_change_of_the_mix_forecasts_no_breach_that_it_cannot_reach(
    kinds: dict[str, Served], limit: float, *, is_at_risk: bool
) -> None:
    """No mix of requests has a larger p95 than their slowest kind."""
    front = Served(step(9.0, 6.0), lambda i: 5.0 + 0.1 * (i % 3) + max(0, i - 235) * 0.25)
    platform = Platform(services={"front": front}, kinds={("front", name): kind for name, kind in kinds.items()})
    point = platform.point(later=6)
    risk = service_risks(point, slos(point, {FRONT: Slo(limit, 0.01)}))[FRONT]
    assert not risk.breached
    assert (risk.score > 0.3) is is_at_risk
