"""What an incident costs in requests."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from tests.web.worlds import (
    NOW,
    STEP,
    contended,
    healthy_world,
    service,
)

from foreshock_dashboard.analysis.incidents.request_impact import request_impacts
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.web.pages.now.impact import impact


def test_what_an_incident_has_cost_is_integrated_over_its_requests() -> None:
    """Failed requests are not counted as slow again; the share that is slower comes from the quantiles."""
    world = contended()
    row = world.services.index(service("embedder"))
    who = service("embedder")
    result = impact(world, (who,), {who: ServiceSlo(who, 0.001, 0.01, learned=False)}, NOW - 100 + STEP)
    assert result
    requests = float(world.red.rate[row, -10:].sum()) * STEP
    assert result.requests == pytest.approx(requests, rel=0.01)
    assert result.failed + result.slow == pytest.approx(requests, rel=0.02)
    assert impact(world, (service("absent"),), {}, NOW - 100) is None


def test_a_request_that_passes_through_several_services_counts_where_it_came_in() -> None:
    """The embedder is called by rag-api alone, the model server by chat-api, too."""
    world, entry, inner, shared = contended(), *map(service, ("rag-api", "embedder", "vllm-70b"))
    cost = {
        services: impact(world, services, {}, NOW - 100) for services in ((entry,), (entry, inner), (entry, shared))
    }
    alone, nested, both = cost[(entry,)], cost[entry, inner], cost[entry, shared]
    assert alone
    assert both
    assert nested == alone._replace(behind=(inner,))
    assert set(both.services) == {entry, shared}
    assert both.requests > alone.requests


def test_each_service_of_an_impact_counts_requests_or_is_named_behind_those_that_do() -> None:
    world = contended()
    for size in range(1, 5):
        for services in combinations(world.services, size):
            found = impact(world, services, {}, NOW - 100)
            assert found is None or {*found.services, *found.behind} == {*services}
            assert found is None or not {*found.services} & {*found.behind}


def test_now_and_the_postmortem_count_the_same_slow_requests() -> None:
    """Those to a service that is called from outside, of one range and one SLO."""
    world, slow, since = healthy_world(), service("gateway"), NOW - 205
    is_row = np.arange(len(world.services)) == world.services.index(slow)
    factor = np.where(is_row[:, None] & (world.times > since), 3.0, 1.0)
    red = replace(world.red, **{name: getattr(world.red, name) * factor for name in ("p50", "p95", "p99")})
    red = replace(red, error_rate=np.where(factor > 1.0, 0.1, 0.0))
    world = replace(world, red=red, calls=replace(world.calls, rate=world.calls.rate * 0.0))  # only services report
    (cost,) = request_impacts(world, since, NOW, None)
    found = impact(world, (slow,), {slow: ServiceSlo(slow, cost.slo_seconds, 0.01, learned=True)}, since)
    assert found
    assert 0 < found.slow < found.requests - found.failed
    assert (found.requests, found.slow) == pytest.approx((cost.requests, cost.slowed), abs=0.1)
