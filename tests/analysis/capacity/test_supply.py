"""What a service can carry follows from its batching law, its autoscaler, and the free GPUs of its pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.replica_capacity import ServerFigure, ServerKey, replica_capacity
from foreshock_dashboard.analysis.capacity.supply import RECENT_ERROR, Supply, supplies
from foreshock_dashboard.model.capacity.load import LoadKind, Subject
from foreshock_dashboard.model.forecast import BatchingLaw, Forecast, Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, Tenant, World
from foreshock_dashboard.model.world_sections import Capacity, ModelServers, Replica

Scenes = Any
LLM, POINTS, MAX_SEQUENCES = Service("serving", "llm"), 300, 35.0
LAW = BatchingLaw(0.014, 0.0007, 0.05, 0.3, 0.5)
SHARE = 0.9
"""Tokens that the servers generate over what the law says."""
FULL = SHARE * MAX_SEQUENCES / (LAW.base + LAW.per_sequence * MAX_SEQUENCES)
"""Tokens per second of a full replica."""


def platform(scenes: Scenes, max_replicas: float, quota: float, generating: float = 1.0) -> World:
    """Two replicas on one GPU each, in a pool whose quota has two GPUs assigned. generating: as in `week`."""
    n = 12 + 6 * np.sin(np.arange(POINTS) / 7)
    none, row = np.full((1, POINTS), np.nan), np.ones((1, POINTS))
    tokens = (SHARE * 2 * generating * n / (LAW.base + LAW.per_sequence * generating * n))[None]
    servers = ModelServers(
        (LLM,), 2 * n[None], none * 0, n[None] / MAX_SEQUENCES, none, none, none, none, none, none, tokens,
        (Replica(LLM, "a"), Replica(LLM, "b")), np.stack([n, n]), np.stack([n, n]), np.stack([n, n]),
    )  # fmt: skip
    capacity = Capacity((LLM,), 2 * row, 2 * row, max_replicas * row, 0 * row, ("h100",), quota * row, 2 * row)
    gpus = tuple(Gpu("host-1", str(index), f"GPU-{index}") for index in range(2))
    world: World = scenes.world(scenes.calm)
    return replace(
        world,
        times=world.times[0] + 10.0 * np.arange(POINTS, dtype=np.float64),
        model_servers=servers,
        capacity=capacity,
        gpus=gpus,
        pool=("h100", "h100"),
        tenants=tuple(Tenant(gpu, LLM) for gpu in gpus),
        busy=np.ones((2, POINTS)),
    )


def supply(
    world: World, law: BatchingLaw | None = LAW, history: Mapping[ServerKey, Floats] = MappingProxyType({})
) -> Supply:
    """That of the service, whose bursts have a higher safe limit than hourly means."""
    return supplies(world, Forecast(loads=(Load(LLM, "h100", 0.3, 0.91, law),)), history)[Subject(LLM, "")]


def week(faster: float = 1.0, larger: float = 1.0, generating: float = 1.0) -> Mapping[ServerKey, Floats]:
    """Figures of a replica in the last week: seconds per token, and sequences at a full KV cache, over the present.

    generating: share of the running sequences that generate tokens; the others compute their prompt.
    """
    n = np.tile(12 + 6 * np.sin(np.arange(144) / 7), 7)
    pace = (LAW.base + LAW.per_sequence * generating * n) / SHARE * faster
    return {
        (LLM, ServerFigure.TOKENS): generating * n / pace,
        (LLM, ServerFigure.PACE): pace,
        (LLM, ServerFigure.RUNNING): n,
        (LLM, ServerFigure.KV_CACHE): n / MAX_SEQUENCES / larger,
    }


@pytest.mark.parametrize(
    ("max_replicas", "quota", "replicas", "room"),
    [
        pytest.param(math.nan, 8, 2, 6, id="without an autoscaler, those ready"),
        pytest.param(4, 8, 4, 6, id="the most of the autoscaler"),
        pytest.param(8, 5, 5, 3, id="as many as the pool has GPUs for"),
        pytest.param(4, math.nan, 4, math.nan, id="a pool of unknown room"),
    ],
)
def test_tokens_of_all_replicas_that_may_run(
    scenes: Scenes, max_replicas: float, quota: float, replicas: float, room: float
) -> None:
    """The law is corrected by the tokens that were measured."""
    found = supply(platform(scenes, max_replicas, quota))
    assert found.subject == Subject(LLM, "h100")
    assert (found.replicas, found.ready) == (replicas, 2)
    assert found.room == pytest.approx(room, nan_ok=True)
    assert found.capacity[LoadKind.TOKENS] == pytest.approx(replicas * FULL, rel=0.01)
    assert found.safe_ratio[LoadKind.TOKENS] == 0.76


@pytest.mark.parametrize(
    ("faster", "larger", "generating", "counts"),
    [
        pytest.param(1.1, 1.2, 1.0, True, id="differences within the noise of hours"),
        pytest.param(1.5, 1.0, 1.0, False, id="a replica of another speed"),
        pytest.param(1.0, 2.0, 1.0, False, id="a KV cache of another size"),
        pytest.param(1.0, 1.0, 0.65, True, id="no difference, with long prompts"),
    ],
)
def test_the_last_week_decides_unless_the_last_hours_contradict_it(
    scenes: Scenes, faster: float, larger: float, generating: float, counts: bool
) -> None:
    """After a change of the model, the last hours alone count, with a larger error."""
    history = week(faster, larger, generating)
    learned = replica_capacity(history, LLM)
    assert learned
    found = supply(platform(scenes, math.nan, 8, generating), history=history)
    expected = (learned.tokens, learned.error) if counts else (FULL, RECENT_ERROR)
    assert (found.capacity[LoadKind.TOKENS] / 2, found.error) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("loads", [(), (Load(LLM, "h100", math.nan, 0.91, None),)])
def test_the_last_week_decides_while_the_service_is_idle(scenes: Scenes, loads: tuple[Load, ...]) -> None:
    """At night there is neither a load nor a law of the last hours."""
    world = platform(scenes, math.nan, 8)
    assert world.model_servers
    nothing = np.zeros((1, POINTS))
    idle = replace(world.model_servers, running=nothing, cache=nothing, generated_tokens=nothing)
    found = supplies(replace(world, model_servers=idle), Forecast(loads=loads), week())[Subject(LLM, "")]
    assert found.capacity == {LoadKind.TOKENS: pytest.approx(2 * FULL, rel=0.01)}


def test_a_rolling_update_is_no_loss_of_capacity(scenes: Scenes) -> None:
    """The median of the ready replicas over an hour counts, not the last value."""
    world = platform(scenes, math.nan, 8)
    assert world.capacity
    ready = world.capacity.ready.copy()
    ready[:, -1] = 1
    during = supply(replace(world, capacity=replace(world.capacity, ready=ready)))
    assert (during.ready, during.room) == (2, 6)
    assert during.capacity == supply(world).capacity


def test_without_a_law_there_is_no_limit(scenes: Scenes) -> None:
    """Nothing is guessed."""
    assert supply(platform(scenes, 4, 8), law=None).capacity == {}


def test_a_pool_has_its_quota_and_its_gpus(scenes: Scenes) -> None:
    """And the free ones as room."""
    found = supplies(platform(scenes, 4, 8), Forecast(), {})[Subject(None, "h100")]
    assert found.capacity == {LoadKind.GPU_QUOTA: 8.0, LoadKind.GPU_BUSY: 2.0}
    assert found.room == 6.0
