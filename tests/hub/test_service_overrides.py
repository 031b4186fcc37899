"""Tiers and SLOs for services that were never seen are reported until the service appears."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.web.worlds import STEP, healthy_world

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.hub.service_overrides import WARN_AFTER_SECONDS, ServiceOverrides, closest_service
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.settings.settings import Settings

GATEWAY, EMBEDDER, WRONG = Service("", "gateway"), Service("", "embedder"), Service("servng", "llm")


def world_with(seconds: float, *services: Service) -> World:
    """A World with this many seconds of data of these services."""
    world = healthy_world()
    points = round(seconds / STEP)
    rates = np.full((len(services), 2 * points), np.nan)
    rates[:, points:] = 1.0
    times = world.times[-1] + STEP * np.arange(1 - 2 * points, 1)
    return replace(
        world, times=times, services=services, red=replace(world.red, rate=rates), busy=np.empty((0, len(times)))
    )


def test_only_services_that_were_never_seen_are_unmatched() -> None:
    """A service that was seen once stays matched, also when it disappears."""
    given = {GATEWAY: "gold", EMBEDDER: "silver", WRONG: "bronze"}
    tiers = ServiceOverrides("--tiers", given)
    assert {each.service: each.value for each in tiers.unmatched} == given
    tiers.observe(world_with(60.0, GATEWAY))
    assert {each.service: each.value for each in tiers.unmatched} == {EMBEDDER: "silver", WRONG: "bronze"}
    tiers.observe(world_with(60.0, EMBEDDER))
    assert {each.service: each.value for each in tiers.unmatched} == {WRONG: "bronze"}
    assert tiers.values == given


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("gateway", "web/gateway"),  # the namespace is forgotten
        ("servng/llm", "serving/llm"),
        ("serving/lmm", "serving/llm"),
        ("staging/llm", "serving/llm"),  # of two that have this name, the one whose namespace is more alike
        ("web/gatewy", "web/gateway"),
        ("billing", None),
    ],
)
def test_the_closest_service_has_the_same_name_or_a_similar_spelling(named: str, meant: str | None) -> None:
    """None if no name is similar."""
    there = [Service.parse(text) for text in ("web/gateway", "serving/llm", "x/llm", "serving/embedder")]
    found = closest_service(Service.parse(named), there)
    assert found == (Service.parse(meant) if meant else None)


@pytest.mark.parametrize("flag", ["--slo", "--tiers"])
def test_unmatched_services_are_logged_once_after_half_an_hour_of_data(
    caplog: pytest.LogCaptureFixture, flag: str
) -> None:
    """Not at the start of a hub, which has seen no service."""
    named = ServiceOverrides(flag, {GATEWAY: 1, WRONG: 2, Service("", "gatewya"): 3})
    named.observe(world_with(0.0))
    named.observe(world_with(WARN_AFTER_SECONDS - STEP, GATEWAY))
    assert caplog.messages == []
    named.observe(world_with(WARN_AFTER_SECONDS, GATEWAY))
    named.observe(world_with(WARN_AFTER_SECONDS, GATEWAY))
    assert caplog.messages == [
        f"{flag} servng/llm: no service of this name has been seen; check its spelling",
        f"{flag} gatewya: no service of this name has been seen; did you mean gateway?",
    ]


@pytest.fixture(name="hub")
def _hub(tmp_path: Path) -> Iterator[Hub]:
    settings = Settings(
        port=0,
        otlp_grpc_port=0,
        otlp_http_port=0,
        store_path=tmp_path,
        evaluation_interval=1.0,
        tiers=(("gateway", "gold"), ("servng/llm", "bronze")),
        slo=(("servng/llm", 20.0, 0.01),),
    )
    hub = Hub(settings, Clock())
    yield hub
    hub.close()


def test_the_hubs_metrics_contain_the_unmatched_services(hub: Hub) -> None:
    """One series per service."""
    hub.evaluate()
    assert [line for line in hub.metrics_text().splitlines() if "_unmatched_service{" in line] == [
        'foreshock_config_unmatched_service{option="slo",service_name="llm",service_namespace="servng"} 1.0',
        'foreshock_config_unmatched_service{option="tiers",service_name="gateway",service_namespace=""} 1.0',
        'foreshock_config_unmatched_service{option="tiers",service_name="llm",service_namespace="servng"} 1.0',
    ]


def test_the_hubs_status_contains_the_unmatched_services(hub: Hub) -> None:
    """With the option that names them."""
    assert [(row["option"], row["service"]) for row in hub.status()["unmatched"]] == [
        ("slo", "servng/llm"),
        ("tiers", "gateway"),
        ("tiers", "servng/llm"),
    ]
