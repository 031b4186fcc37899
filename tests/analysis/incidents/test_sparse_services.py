"""Services of about one request a minute: chance alone sends no page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.platforms import START, Platform, Served

from foreshock_dashboard.analysis.incidents.lifecycle import State, states
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

DAY_POINTS, STEP = 1440, 60.0
SERVICES = 10


def sparse_day(seed: int, per_minute: float) -> World:
    """A day of model servers behind a gateway, each on its own GPU: Poisson arrivals, log-normal durations.

    Each grid point shows the requests of its minute, as a rate window of a minute does.
    """
    rng = np.random.default_rng(seed)
    services, calls, busy, kinds = {}, {}, {}, {}
    for index in range(SERVICES):
        name = f"pod-{index}"
        counts = rng.poisson(per_minute, DAY_POINTS)
        durations = [rng.lognormal(1.0, 1.0, count) for count in counts]
        failed = np.array([rng.binomial(count, 0.02) / count if count else np.nan for count in counts])
        p95 = np.array([item.max() if len(item) else np.nan for item in durations])
        work = np.array([item.sum() for item in durations]) / STEP
        served = Served(course(counts / STEP), course(p95), course(failed))
        services[name] = calls["gateway", name] = served
        busy[index, name] = course(np.minimum(work * rng.uniform(0.3, 1.0), 1.0))
        kinds[name, "generate"] = course(counts / STEP)
    total = rng.poisson(per_minute * SERVICES, DAY_POINTS)
    services["gateway"] = calls["user", "gateway"] = Served(
        course(total / STEP), course(rng.lognormal(1, 0.4, DAY_POINTS))
    )
    world = Platform(services, calls, kinds, busy, points=DAY_POINTS).world()
    return replace(world, times=START + STEP * np.arange(DAY_POINTS, dtype=np.float64), step=STEP)


def course(values: Floats) -> Callable[[int], float]:
    """Values by grid index."""
    return lambda index: float(values[index])


@pytest.mark.soak
@pytest.mark.parametrize(("seed", "per_minute"), [(1, 1.0), (2, 1.0), (4, 3.0)])
def test_a_day_of_chance_never_pages(seed: int, per_minute: float) -> None:
    paged: dict[str, tuple[str, str]] = {}
    for state in states(State(), sparse_day(seed, per_minute)):
        paged |= {item.id: (item.cause, str(item.service)) for item in state.incidents if item.paged is not None}
    assert paged == {}
