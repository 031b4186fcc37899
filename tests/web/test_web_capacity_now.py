"""The Capacity page without a forecast: ready and needed replicas of each service, and the room of its pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.web.forecasts import FORECAST, NONE_SHORT, YOUNG
from tests.web.worlds import NOW, POINTS, healthy_world, service, snapshot

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.forecast import BatchingLaw, Forecast, Load
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import Capacity, ModelServers, Replica
from foreshock_dashboard.web.pages.capacity.data import capacity

LLM, EMBEDDER = service("vllm-70b"), service("embedder")
LAW = BatchingLaw(0.02, 0.001, 0.05, 0.43, 0.5)
"""A replica with 40 sequences at a full KV cache has a load of 43% with 8, and of 90% with 30."""
QUIET, BUSY = 8.0, 30.0


def sequences(busy_points: int) -> Floats:
    """Running sequences per replica: a peak of some points, five minutes ago."""
    values = np.full(POINTS, QUIET)
    values[60 : 60 + busy_points] = BUSY
    return values


def seen(running: Floats, waiting: float = 0.0, free: float = 8.0, load: float = 0.43) -> Snapshot:
    """Two replicas of a service on four GPUs of host-1 each; of embedder, with four GPUs on host-0, nothing is learned.

    running: per replica. free: GPUs of the pool that are not assigned.
    """
    none, ones = np.full(POINTS, math.nan), np.ones(POINTS)
    both = np.stack([2 * running, none])
    servers = ModelServers(
        (LLM, EMBEDDER), both, np.stack([2 * waiting * (running == BUSY), none]), np.stack([running / 40, none]),
        both * none, both * none, both * none, both * none, both * none, both * none, both * none,
        (Replica(LLM, "a"), Replica(LLM, "b")), np.stack([running] * 2), np.stack([none] * 2), np.stack([none] * 2),
    )  # fmt: skip
    wanted, most, pending = (np.stack([count * ones, 4 * ones]) for count in (2, 6, 0))
    quota, used = (8 + free) * ones[None], 8 * ones[None]
    state = Capacity((LLM, EMBEDDER), wanted, wanted, most, pending, ("chat",), quota, used)
    world = healthy_world()
    pools = tuple("chat" if gpu.host == "host-1" else "other" for gpu in world.gpus)
    found = snapshot(replace(world, model_servers=servers, capacity=state, pool=pools))
    return replace(found, forecast=Forecast(loads=(Load(LLM, "chat", load, 0.76, LAW),)))


def page(found: Snapshot, forecast: CapacityForecast = YOUNG) -> Mapping[str, Any]:
    """The payload of the page."""
    return capacity(found, forecast, NOW, past=False)


def words(clauses: list[Any]) -> str:
    """Clauses as one sentence."""
    return "".join(clause.text for clause in clauses)


def test_ready_and_needed_replicas_are_named_before_there_is_a_forecast() -> None:
    """At the peak, at more traffic, and without the host of both replicas; and when the forecast comes."""
    found = page(seen(sequences(30)))
    assert words(found["clauses"]) == "vllm-70b has the least headroom, 43%: load 43% (safe limit 76%)."
    assert words(found["action"]) == (
        "Replicas: 2 ready. Needed: 3 at the peak of the last 15 min, 4 at traffic x 1.3, 5 with one host lost. "
        "Pool chat has room for 2 more."
    )
    assert words(found["notes"][0]) == (
        "No forecast yet: 5 h of history, 24 h needed. It is expected tomorrow at 05:00 UTC."
    )
    row = found["current"][0]
    assert (row.service, row.pool, row.ready, row.room) == ("vllm-70b", "chat", 2.0, 2.0)
    assert (row.need.peak, row.need.more_traffic, row.need.host_lost, row.need.is_lower_bound) == (3.0, 4.0, 5.0, False)


def test_a_service_without_a_learned_limit_is_listed_with_its_replicas_alone() -> None:
    """Its need is unknown, not zero."""
    found = page(seen(sequences(0)))
    row = found["current"][1]
    assert (row.service, row.load, row.safe, row.headroom, row.ready) == ("embedder", None, None, None, 4.0)
    assert (row.need.peak, row.need.more_traffic, row.need.host_lost) == (None, None, None)
    assert not {"vllm-70b", "embedder"} & set(found["unlimited"])
    assert "gateway" in found["unlimited"]


@pytest.mark.parametrize(
    ("running", "load", "needed"),
    [(sequences(0), 0.43, 2.0), (sequences(1), 0.43, 2.0), (sequences(30), 0.43, 3.0), (sequences(0), 0.9, 3.0)],
)
def test_a_burst_of_seconds_is_no_peak_but_the_load_of_now_is(running: Floats, load: float, needed: float) -> None:
    """The safe limit is of the mean of two minutes; no peak is below the load beside it."""
    assert page(seen(running, load=load))["current"][0].need.peak == needed


def test_beyond_capacity_the_need_is_a_lower_bound() -> None:
    """Queues exaggerate the load, so it counts as that of full replicas."""
    found = page(seen(sequences(30), waiting=400.0))
    assert found["current"][0].need.is_lower_bound
    assert "Needed: ≥ 3 at the peak of the last 15 min, ≥ 4 at traffic x 1.3" in words(found["action"])


@pytest.mark.parametrize(
    ("free", "room"), [(3.0, "Pool chat has no room."), (math.nan, "Room in pool chat is unknown.")]
)
def test_the_room_of_the_pool_is_named(free: float, room: str) -> None:
    """A replica has four GPUs."""
    assert words(page(seen(sequences(0), free=free))["action"]).endswith(room)


def test_with_a_forecast_every_service_has_its_need_too() -> None:
    """That of a shortage is the number that its sentence says; a pool has none."""
    rows = {row.service: row for row in page(seen(sequences(0)), FORECAST)["rows"]}
    short = FORECAST.shortages[0]
    assert rows["vllm-70b"].need.peak == short.ready + short.replicas
    assert rows["vllm-70b"].need.host_lost == short.ready + short.replicas + short.ready
    assert rows["vllm-8b"].need.peak == 3.0  # 4 replicas at a peak of 9 with a limit of 15
    assert rows[None].need.peak is None
    assert words(page(seen(sequences(0)), NONE_SHORT)["action"]).startswith(
        "embedder comes closest: peak 90% of its hourly safe limit, today at 14:00 UTC. Replicas: 4 ready. Needed: 4 at"
    )
