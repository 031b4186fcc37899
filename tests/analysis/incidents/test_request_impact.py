"""Impact of an incident: failed and slowed requests by ingress service, in total and after the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.conftest import CALLER, STEP, VICTIM, Scene, world_of_scene

from foreshock_dashboard.analysis.incidents.request_impact import (
    REACTION_SECONDS,
    ingress_services,
    request_impacts,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Red, World

ONSET = 200


def platform(slow: float = 1.0, failed: float = 0.0) -> World:
    """A caller, 5 requests a second, that is so many times as slow, and fails in part, from `ONSET` on."""
    world = world_of_scene(Scene())
    row = world.services.index(CALLER)
    late_on = np.arange(len(world.times)) >= ONSET
    red = world.red
    p50, p95, p99 = (np.full(red.p50.shape, value) for value in (0.4, 0.8, 1.2))
    for values in (p50, p95, p99):
        values[row, late_on] *= slow
    failing = np.zeros(red.error_rate.shape)
    failing[row, late_on] = failed
    return replace(world, red=replace(red, p50=p50, p95=p95, p99=p99, error_rate=failing))


def test_ingress_services_are_called_from_outside_or_by_no_known_service() -> None:
    """A batch job without requests is none."""
    world = platform()
    assert ingress_services(world) == (CALLER,)
    outside = replace(world, edges=(*world.edges, Edge(Service("", "user"), VICTIM, "virtual_node")))
    assert ingress_services(outside) == (VICTIM,)


def test_failed_requests_above_the_baseline_are_counted_also_after_the_page() -> None:
    """100 points of 10 s, 5 requests per second, half of them fail; an action takes `REACTION_SECONDS`."""
    world = platform(failed=0.5)
    since, until = world.times[ONSET], world.times[-1]
    (impact,) = request_impacts(world, since, until, world.times[ONSET + 8])
    assert impact.service == CALLER
    assert impact.requests == pytest.approx(100 * STEP * 5)
    assert impact.failed == pytest.approx(0.5 * impact.requests)
    assert impact.failed_after == pytest.approx((100 - 8 - REACTION_SECONDS / STEP) * STEP * 5 * 0.5)
    assert impact.slowed == 0.0


def test_requests_from_other_services_are_counted_where_they_entered() -> None:
    """Of 5 requests a second 2 come from outside, a tenth of which fail; the others are the same people's.

    Only the service itself reports how long they take.
    """
    world = platform(slow=10.0, failed=0.5)
    user = Edge(Service("", "user"), CALLER, "virtual_node")
    calls = {
        name: np.vstack([getattr(world.calls, name), np.full((1, len(world.times)), value)])
        for name, value in (("rate", 2.0), ("error_rate", 0.0), *((name, np.nan) for name in ("p50", "p95", "p99")))
    }
    calls["error_rate"][-1, ONSET:] = 0.1
    outside = replace(world, edges=(*world.edges, user), calls=Red(**calls))

    (impact,) = request_impacts(outside, world.times[ONSET], world.times[-1], None)

    assert impact.requests == pytest.approx(100 * STEP * 2)
    assert impact.failed == pytest.approx(0.1 * impact.requests)
    assert 0.5 * impact.requests < impact.slowed < 0.9 * impact.requests


def test_baseline_failures_are_no_cost() -> None:
    world = platform()
    always = replace(world, red=replace(world.red, error_rate=np.full(world.red.error_rate.shape, 0.1)))
    (impact,) = request_impacts(always, world.times[ONSET], world.times[-1], None)
    assert (impact.failed, impact.failed_after, impact.slowed_after) == (0.0, 0.0, 0.0)


def test_requests_answered_later_than_the_slo_are_slowed() -> None:
    """Ten times as slow: the median exceeds the SLO, so most requests are late."""
    world = platform(slow=10.0)
    (impact,) = request_impacts(world, world.times[ONSET], world.times[-1], world.times[ONSET])
    assert impact.slo_seconds == pytest.approx(1.6 * 0.8, rel=0.05)
    assert 0.5 * impact.requests < impact.slowed < impact.requests
    assert 0 < impact.slowed_after < impact.slowed
    (well,) = request_impacts(platform(slow=1.1), world.times[ONSET], world.times[-1], None)
    assert well.slowed < 0.05 * well.requests


def test_a_failed_request_is_not_also_slowed() -> None:
    world = platform(slow=100.0, failed=0.9)
    (impact,) = request_impacts(world, world.times[ONSET], world.times[-1], None)
    assert impact.failed + impact.slowed <= impact.requests * (1 + 1e-9)
