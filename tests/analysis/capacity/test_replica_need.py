"""Replicas that a service needs, and what is known of those that it has."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.capacity.test_supply import LLM, Scenes, platform

from foreshock_dashboard.analysis.capacity.replica_need import current_need, needed_replicas
from foreshock_dashboard.analysis.capacity.replica_state import replica_states
from foreshock_dashboard.model.world import Gpu, Tenant
from foreshock_dashboard.model.world_sections import Replica

UNKNOWN = math.nan


@pytest.mark.parametrize(
    ("replicas", "peak", "safe", "needed"),
    [
        (4, 0.80, 0.76, 5),
        (4, 0.76, 0.76, 4),  # at the limit is within it, whatever floating point makes of it
        (4, 0.01, 0.76, 1),
        (10, 17.2, 15.0, 12),
        (4, UNKNOWN, 0.76, None),
        (UNKNOWN, 0.8, 0.76, None),
        (4, 0.8, UNKNOWN, None),
        (4, 0.8, 0.0, None),
    ],
)
def test_replicas_are_needed_in_proportion_to_the_peak(
    replicas: float, peak: float, safe: float, needed: int | None
) -> None:
    """At least one, and none where it is unknown."""
    found = needed_replicas(replicas, peak, safe)
    assert (None if math.isnan(found) else found) == needed


def test_a_lost_host_takes_its_replicas_from_those_needed() -> None:
    """A part of a replica is one; without known hosts the number is unknown."""
    need = current_need(3.0, 0.76, 1.5, is_saturated=False)
    assert (need.peak, need.more_traffic, need.host_lost) == (4.0, 6.0, 6.0)
    assert math.isnan(current_need(3.0, 0.76, UNKNOWN, is_saturated=False).host_lost)


def test_the_host_with_most_gpus_of_a_service_has_most_of_its_replicas(scenes: Scenes) -> None:
    """By its share of the GPUs; without GPUs it is unknown."""
    world = platform(scenes, 4, 8)
    assert replica_states(world)[LLM].on_one_host == 2.0
    gpus = tuple(Gpu(host, str(index), f"GPU-{index}") for index, host in enumerate(("host-1", "host-2")))
    apart = replace(world, gpus=gpus, tenants=tuple(Tenant(gpu, LLM) for gpu in gpus))
    assert replica_states(apart)[LLM].on_one_host == 1.0
    assert math.isnan(replica_states(replace(world, tenants=()))[LLM].on_one_host)


@pytest.mark.parametrize(("ready", "room"), [(4, 12), (1, 6)])
@pytest.mark.parametrize("has_deployment", [True, False])
def test_a_scale_up_and_a_crash_count_at_once(scenes: Scenes, ready: int, room: int, has_deployment: bool) -> None:
    """Of two replicas; for the forecast the median of the hour counts. GPUs of a crashed replica are still its own."""
    world = platform(scenes, 4, 8)
    capacity, servers = world.capacity, world.model_servers
    assert capacity
    assert servers
    counts = capacity.ready.copy()
    counts[:, -2:] = ready
    known = replace(capacity, ready=counts) if has_deployment else replace(capacity, services=())
    busy = np.tile(servers.replica_busy[:1], (4, 1))
    busy[2:, :-2] = busy[ready:, -2:] = np.nan
    replicas = tuple(Replica(LLM, name) for name in "abcd")
    changed = replace(world, capacity=known, model_servers=replace(servers, replicas=replicas, replica_busy=busy))
    state = replica_states(changed)[LLM]
    assert (state.ready, state.room) == (ready, room)
    assert replica_states(changed, is_typical=True)[LLM].ready == 2


def test_without_pools_of_gpus_the_quota_in_the_name_of_a_service_is_that_of_its_pool(scenes: Scenes) -> None:
    """As on Cascade, and in actions."""
    world = platform(scenes, 4, 8)
    assert world.capacity is not None
    named = replace(world, pool=(), capacity=replace(world.capacity, pools=("llm",)))
    assert (replica_states(named)[LLM].pool, replica_states(named)[LLM].room) == ("llm", 6.0)
    assert replica_states(replace(world, pool=()))[LLM].pool == ""
