"""What pages without urgency: harm to users, a breach that is near, and a service that becomes slower and slower."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.analysis.platforms import Course, Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.paging import FINDING_STRENGTH, is_worth_a_page
from foreshock_dashboard.model.incident import SuspectedCause

STORE = service("store")
BREACHED = ServiceRisk(
    breached=True, score=1.0, probability=1.0, seconds=(0.0,) * 5, overloaded=False, utilization=None
)


def doubling(seconds: float, minutes: float) -> Callable[[int], float]:
    """p95 that doubles every minute from `Platform.at` on, for some minutes."""
    return lambda i: seconds * 2 ** min(max(0, i - Platform.at) / 6, minutes)


@pytest.mark.parametrize(
    ("p95", "minutes", "is_page"),
    [
        pytest.param(doubling(0.03, math.inf), 5, True, id="ten times as slow, and still growing"),
        pytest.param(doubling(0.03, math.inf), 2, False, id="four times as slow"),
        pytest.param(doubling(0.03, 5), 9, False, id="no longer growing: its callers are patient"),
        pytest.param(step(0.03, 1.0), 1, False, id="a step: its callers have not answered yet"),
        pytest.param(step(0.03, 1.0), 9, False, id="a step that they endure"),
        pytest.param(doubling(0.001, math.inf), 5, False, id="too short to be felt"),
        pytest.param(0.03, 5, False, id="as before"),
    ],
)
def test_a_service_that_becomes_slower_and_slower_pages_before_its_callers(
    p95: Course, minutes: int, *, is_page: bool
) -> None:
    store = Served(p95=p95)
    platform = Platform({"front": Served(), "store": store}, {("user", "front"): Served(), ("front", "store"): store})
    assert is_worth_a_page(platform.point(6 * minutes), {STORE: BREACHED}, STORE, (), None) == is_page


@pytest.mark.parametrize(
    ("p95", "is_stated"), [(0.1, False), (1.0, True)], ids=["three times slower", "30 times slower"]
)
def test_a_callee_that_is_slower_by_far_is_a_stated_cause_before_its_callers_show_it(
    p95: float, *, is_stated: bool
) -> None:
    store = Served(p95=step(0.03, p95))
    platform = Platform({"front": Served(), "store": store}, {("user", "front"): Served(), ("front", "store"): store})
    (finding,) = (item for item in dependency(platform.point()) if item.service == STORE)
    assert (finding.strength >= FINDING_STRENGTH) == is_stated


NEIGHBOR = Finding(service("front"), "gpu_contention", SuspectedCause(service("batch")), 0.9, 1.0, 0.0, (), ())


@pytest.mark.parametrize(
    ("p95", "cause", "is_page"),
    [
        pytest.param(0.66, None, False, id="a little slower than the SLO"),
        pytest.param(0.66, NEIGHBOR, True, id="a little slower than the SLO, because of a noisy neighbor"),
        pytest.param(0.66, replace(NEIGHBOR, cause="dependency"), False, id="a little slower, because of a dependency"),
        pytest.param(4.0, None, True, id="half of the requests are late"),
    ],
)
def test_a_breach_that_no_paging_cause_explains_pages_once_users_have_felt_it(
    p95: float, cause: Finding | None, *, is_page: bool
) -> None:
    front = Served(p95=step(0.4, p95), p99=step(0.5, 1.4 * p95))
    point = Platform({"front": front}, {("user", "front"): front}).point()
    risk = replace(BREACHED, slo=Slo(0.64, 0.01))
    assert is_worth_a_page(point, {service("front"): risk}, service("front"), (), cause) == is_page


@pytest.mark.parametrize(("p95", "is_page"), [(0.66, False), (4.0, True)])
def test_the_harm_of_a_caller_counts_for_an_origin_that_explains_it(p95: float, *, is_page: bool) -> None:
    front = Served(p95=step(0.4, p95), p99=step(0.5, 1.4 * p95))
    store = Served(p95=step(0.1, p95 - 0.3))
    platform = Platform({"front": front, "store": store}, {("user", "front"): front, ("front", "store"): store})
    breached = replace(BREACHED, slo=Slo(0.64, 0.01))
    risks = {service("front"): breached, STORE: replace(breached, breached=False, score=0.0)}
    assert is_worth_a_page(platform.point(), risks, STORE, (service("front"),), None) == is_page
