"""Tiers and objectives that are given for a service that there is not are told, until it comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.web.worlds import STEP, calm

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.hub.unmatched_services import WARN_AFTER_SECONDS, ServiceOverrides, closest_service
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.settings.settings import Settings

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


def test_only_services_that_were_never_seen_are_named_in_vain() -> None:
    """A service that was seen once may go again; one that comes late is no longer told."""
    given = {GATEWAY: "gold", EMBEDDER: "silver", WRONG: "bronze"}
    tiers = ServiceOverrides("--tiers", given)
    assert {each.service: each.value for each in tiers.unmatched} == given
    tiers.observe(heard(60.0, GATEWAY))
    assert {each.service: each.value for each in tiers.unmatched} == {EMBEDDER: "silver", WRONG: "bronze"}
    tiers.observe(heard(60.0, EMBEDDER))
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
def test_who_may_be_meant_has_the_same_name_elsewhere_or_one_spelt_much_alike(named: str, meant: str | None) -> None:
    """Nobody, where nobody is called like it."""
    there = [Service.parse(text) for text in ("web/gateway", "serving/llm", "x/llm", "serving/embedder")]
    found = closest_service(Service.parse(named), there)
    assert found == (Service.parse(meant) if meant else None)


@pytest.mark.parametrize("flag", ["--objectives", "--tiers"])
def test_the_log_names_them_once_when_there_was_time_to_see_them(caplog: pytest.LogCaptureFixture, flag: str) -> None:
    """Not at the start of a hub that has seen nobody."""
    named = ServiceOverrides(flag, {GATEWAY: 1, WRONG: 2, Service("", "gatewya"): 3})
    named.observe(heard(0.0))
    named.observe(heard(WARN_AFTER_SECONDS - STEP, GATEWAY))
    assert caplog.messages == []
    named.observe(heard(WARN_AFTER_SECONDS, GATEWAY))
    named.observe(heard(WARN_AFTER_SECONDS, GATEWAY))
    assert caplog.messages == [
        f"{flag} servng/llm: no service of this name has been seen so far; is it misspelt?",
        f"{flag} gatewya: no service of this name has been seen so far; is gateway meant?",
    ]


@pytest.fixture(name="hub")
def _hub(tmp_path: Path) -> Iterator[Hub]:
    settings = Settings(
        port=0,
        otlp_grpc_port=0,
        otlp_http_port=0,
        store=tmp_path,
        step=1.0,
        tiers=(("gateway", "gold"), ("servng/llm", "bronze")),
        objectives=(("servng/llm", 20.0, 0.01),),
    )
    hub = Hub(settings, Clock())
    yield hub
    hub.close()


def test_the_hubs_own_metrics_tell_of_them(hub: Hub) -> None:
    """One series for each."""
    hub.evaluate()
    assert [line for line in hub.metrics_text().splitlines() if "_in_vain{" in line] == [
        'foreshock_objective_in_vain{service_name="llm",service_namespace="servng"} 1.0',
        'foreshock_tier_in_vain{service_name="gateway",service_namespace="",tier="gold"} 1.0',
        'foreshock_tier_in_vain{service_name="llm",service_namespace="servng",tier="bronze"} 1.0',
    ]


def test_the_hubs_status_tells_of_them(hub: Hub) -> None:
    """By the option that names them."""
    assert [(row["flag"], row["service"]) for row in hub.status()["in_vain"]] == [
        ("--objectives", "servng/llm"),
        ("--tiers", "gateway"),
        ("--tiers", "servng/llm"),
    ]
