"""Tiers that are given for a service that there is not are told, until it comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.web.worlds import STEP, calm

from foreshock_dashboard.clock import Clock
from foreshock_dashboard.hub import Hub
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.settings import Settings
from foreshock_dashboard.tiers import ENOUGH, Tiers

GATEWAY, EMBEDDER, WRONG = Service("", "gateway"), Service("", "embedder"), Service("servng", "llm")


def heard(seconds: float, *services: Service) -> World:
    """A World of these services, that tells of them for so long."""
    world = calm()
    points = round(seconds / STEP)
    rates = np.full((len(services), 2 * points), np.nan)
    rates[:, points:] = 1.0
    times = world.times[-1] + STEP * np.arange(1 - 2 * points, 1)
    return replace(
        world, times=times, services=services, red=replace(world.red, rate=rates), busy=np.empty((0, len(times)))
    )


def test_only_tiers_of_services_that_were_never_seen_are_in_vain() -> None:
    """A service that was seen once may go again; one that comes late is no longer told."""
    tiers = Tiers({GATEWAY: "gold", EMBEDDER: "silver", WRONG: "bronze"})
    assert tiers.vain == tiers.given
    tiers.meet(heard(60.0, GATEWAY))
    assert tiers.vain == {EMBEDDER: "silver", WRONG: "bronze"}
    tiers.meet(heard(60.0, EMBEDDER))
    assert tiers.vain == {WRONG: "bronze"}
    assert tiers.given == {GATEWAY: "gold", EMBEDDER: "silver", WRONG: "bronze"}


def test_the_log_names_them_once_when_there_was_time_to_see_them(caplog: pytest.LogCaptureFixture) -> None:
    """Not at the start of a hub that has seen nobody."""
    tiers = Tiers({GATEWAY: "gold", WRONG: "bronze"})
    tiers.meet(heard(0.0))
    tiers.meet(heard(ENOUGH - STEP, GATEWAY))
    assert caplog.messages == []
    tiers.meet(heard(ENOUGH, GATEWAY))
    tiers.meet(heard(ENOUGH, GATEWAY))
    assert caplog.messages == [
        "--tiers servng/llm=bronze: no service of this name has been seen so far; is it misspelt?"
    ]


@pytest.fixture(name="hub")
def _hub(tmp_path: Path) -> Iterator[Hub]:
    tiers = (("gateway", "gold"), ("servng/llm", "bronze"))
    hub = Hub(Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, store=tmp_path, step=1.0, tiers=tiers), Clock())
    yield hub
    hub.close()


def test_the_hubs_own_metrics_tell_of_them(hub: Hub) -> None:
    """One series for each."""
    hub.tick()
    series = [line for line in hub.metrics_text().splitlines() if line.startswith("foreshock_tier_in_vain{")]
    assert series == [
        'foreshock_tier_in_vain{service_name="gateway",service_namespace="",tier="gold"} 1.0',
        'foreshock_tier_in_vain{service_name="llm",service_namespace="servng",tier="bronze"} 1.0',
    ]
