"""The Capacity page without a forecast: ready and needed replicas of each service, and the room of its pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.web.forecasts import FORECAST, NONE_SHORT, YOUNG
from tests.web.worlds import NOW, POINTS, contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.replicas import ReplicaNeed, ReplicaState
from foreshock_dashboard.model.forecast import BatchingLaw, Forecast, Load
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import Capacity, ModelServers, Replica
from foreshock_dashboard.render.capacity_text import need_text
from foreshock_dashboard.web.pages.capacity.current import Measured
from foreshock_dashboard.web.pages.capacity.data import capacity
from foreshock_dashboard.web.state.capacity_json import AddedRow

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
        "Add 1 replica (2 → 3) for the peak of the last 15 min: pool chat has room for 2. "
        "At traffic x 1.3: add 2. With one host lost at the peak: add 3 (pool is 1 short)."
    )
    assert words(found["notes"][0]) == (
        "No forecast yet: 5 h of history, 24 h needed. It is expected tomorrow at 05:00 UTC."
    )
    row = found["current"][0]
    assert (row.service, row.pool, row.ready, row.room) == ("vllm-70b", "chat", 2.0, 2.0)
    assert (row.need.peak, row.need.host_lost) == (AddedRow(3.0, 1.0, 0.0), AddedRow(5.0, 3.0, 1.0))
    assert (row.need.more_traffic.added, row.need.is_lower_bound, row.unlearned) == (2.0, False, "")
    assert row.peak_seconds == 910.0


def test_a_service_without_a_learned_limit_is_listed_with_its_replicas_alone() -> None:
    """Its need is unknown, not zero; which metrics are missing is named."""
    found = page(seen(sequences(0)))
    row = found["current"][1]
    assert (row.service, row.load, row.safe, row.headroom, row.ready) == ("embedder", None, None, None, 4.0)
    assert row.need.peak == row.need.more_traffic == row.need.host_lost == AddedRow(None, None, None)
    assert row.unlearned == "Missing from the model servers: running requests, time per output token, KV cache usage."
    assert not {"vllm-70b", "embedder"} & set(found["unlimited"])
    assert "gateway" in found["unlimited"]


@pytest.mark.parametrize(
    ("running", "load", "needed"),
    [(sequences(0), 0.43, 2.0), (sequences(1), 0.43, 2.0), (sequences(30), 0.43, 3.0), (sequences(0), 0.9, 3.0)],
)
def test_a_burst_of_seconds_is_no_peak_but_the_load_of_now_is(running: Floats, load: float, needed: float) -> None:
    """The safe limit is of the mean of two minutes; no peak is below the load beside it."""
    assert page(seen(running, load=load))["current"][0].need.peak.needed == needed


def test_beyond_capacity_the_need_is_a_lower_bound() -> None:
    """Queues exaggerate the load, so it counts as that of full replicas."""
    found = page(seen(sequences(30), waiting=400.0))
    assert found["current"][0].need.is_lower_bound
    assert words(found["action"]).startswith("Add at least 1 replica (2 → 3) for the peak of the last 15 min: pool")
    assert "At traffic x 1.3: add at least 2." in words(found["action"])


def test_full_replicas_make_the_need_a_lower_bound_also_when_more_carry_a_higher_load_later() -> None:
    """Two replicas that were full may have had more to do than four that are not."""
    at = np.arange(POINTS)
    found = seen(np.select([at < 30, at < 60], [BUSY, 1.0], 29.0), 400.0)
    servers = found.world.model_servers if found.world else None
    assert found.world
    assert servers
    late = np.where(at < 60, math.nan, 29.0)
    busy = np.concatenate([servers.replica_busy, np.stack([late] * 2)])
    running = servers.running * np.where(at < 60, 1, 2)
    cache = np.stack([np.full(POINTS, 29.0 / 40), servers.cache[1]])
    more = (*servers.replicas, Replica(LLM, "c"), Replica(LLM, "d"))
    servers = replace(servers, replicas=more, replica_busy=busy, running=running, cache=cache)
    need = page(replace(found, world=replace(found.world, model_servers=servers)))["current"][0].need
    assert need.peak.needed > 4
    assert need.is_lower_bound


@pytest.mark.parametrize(
    ("free", "busy", "said"),
    [
        (3.0, 0, "2 ready replicas are enough for the peak of the last 15 min. Pool chat has no room. At"),
        (math.nan, 0, "2 ready replicas are enough for the peak of the last 15 min. Room in pool chat is unknown. At"),
        (3.0, 30, "Add 1 replica (2 → 3) for the peak of the last 15 min: pool chat has no room. At"),
        (math.nan, 30, "Add 1 replica (2 → 3) for the peak of the last 15 min: room in pool chat is unknown. At"),
    ],
)
def test_the_room_of_the_pool_is_named(free: float, busy: int, said: str) -> None:
    """A replica has four GPUs."""
    assert words(page(seen(sequences(busy), free=free))["action"]).startswith(said)


def test_above_the_safe_limit_the_order_is_for_now_in_the_color_of_a_warning() -> None:
    """As on Services: red is above the capacity alone, also in a critical incident."""
    found = page(seen(sequences(0), load=0.9))
    assert words(found["action"]).startswith("Add 1 replica now (2 → 3) for the peak of the last 15 min: pool chat has")
    assert (found["state"], found["current"][0].status) == ("warning", "warning")
    assert page(seen(sequences(0), load=1.1))["state"] == "critical"


RATE_LIMIT = Action("limit_rate", service("front"), amount=5.0, effective_seconds=55.0)
SCALING = Action("add_replicas", LLM, amount=1.0, current=2.0, effective_seconds=400.0)


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (
            (RATE_LIMIT, SCALING),
            (
                "Until new replicas are ready (within 7 min), rate-limit front to 5 req/s, "
                "which takes effect within 1 min."
            ),
        ),
        ((RATE_LIMIT,), "Until new replicas are ready, rate-limit front to 5 req/s, which takes effect within 1 min."),
        ((SCALING, RATE_LIMIT), ""),
        ((RATE_LIMIT._replace(effective_seconds=math.nan), SCALING), ""),
        ((RATE_LIMIT._replace(effective_seconds=600.0), SCALING), ""),
        ((RATE_LIMIT._replace(too_late=True), SCALING), ""),
        ((), ""),
    ],
)
def test_the_action_of_the_incident_bridges_the_start_of_replicas(actions: tuple[Action, ...], said: str) -> None:
    """The line above the page names it, beside the order to add replicas: the page says how both go together."""
    found = seen(sequences(0), load=0.9)
    incident = replace(contention_incident(contended()), service=LLM, affected=(LLM,), actions=actions)
    action = words(page(replace(found, incidents=(incident,)))["action"])
    assert action.startswith("Add 1 replica now")
    assert action.removeprefix(words(page(found)["action"])).strip() == said
    recovering = replace(incident, state="recovering")
    assert page(replace(found, incidents=(recovering,)))["action"] == page(found)["action"]
    other = replace(incident, service=EMBEDDER, affected=(EMBEDDER,))
    assert page(replace(found, incidents=(other,)))["action"] == page(found)["action"]
    of_shortage = page(replace(found, incidents=(incident,)), FORECAST)["action"]
    assert (said in words(of_shortage), words(of_shortage).count("Until")) == (True, bool(said))


def test_a_peak_covers_the_data_that_its_service_has() -> None:
    """Another service may have a longer history."""
    states = {LLM: ReplicaState("chat", 2.0), EMBEDDER: ReplicaState("chat", 2.0)}
    needs = dict.fromkeys(states, ReplicaNeed(2.0))
    found = Measured(states, needs, covered={LLM: 300.0, EMBEDDER: 900.0}, window=900.0)
    assert "enough for the peak since the start of data (5 min)." in words(list(found.text(LLM, is_over=False)))
    assert "enough for the peak of the last 15 min." in words(list(found.text(EMBEDDER, is_over=False)))
    assert (found.seconds, found.is_since_start) == (900.0, False)


def test_a_time_of_the_first_forecast_that_has_passed_is_not_said() -> None:
    """A forecast is computed once an hour, and gaps in the data delay it."""
    notes = [
        words(capacity(seen(sequences(0)), YOUNG, NOW + 3600.0 * hours, past=False)["notes"][0]) for hours in (18, 20)
    ]
    assert ["It is expected" in note for note in notes] == [True, False]


def test_data_that_begins_after_the_world_is_named_as_the_reason_for_a_short_peak() -> None:
    """The peak covers what there is."""
    running = sequences(30)
    running[:30] = math.nan
    found = page(seen(running))
    assert found["is_since_start"]
    assert "for the peak since the start of data (10 min): pool" in words(found["action"])


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (3.0, "Add 1 replica (2 → 3) for this peak: pool chat has room for 4. At traffic x 1.3: 2 are enough."),
        (
            2.0,
            "Raise its autoscaler's maximum from 2 to 3 replicas for this peak: pool chat has room for 4. At traffic",
        ),
    ],
)
def test_replicas_beyond_the_maximum_of_an_autoscaler_need_a_higher_one(most: float, said: str) -> None:
    """It undoes those that are added beyond it. A need that is unknown is left out."""
    state = ReplicaState("chat", 2.0, 4.0, max_replicas=most)
    text = need_text(state, ReplicaNeed(3.0, 2.0), "this peak")
    assert "".join(clause.text for clause in text).startswith(said)
    assert "host" not in text[-1].text


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (6.0, "Its autoscaler may start 2 more replicas (4 → 6) for this peak: room in its pool is unknown."),
        (math.nan, "Add 2 replicas (4 → 6) for this peak: room in its pool is unknown."),
    ],
)
def test_replicas_that_the_autoscaler_may_start_until_the_peak_are_no_order(most: float, said: str) -> None:
    """They are why there is no shortage."""
    first = replace(NONE_SHORT.loads[1], replicas=6.0, max_replicas=most)
    found = page(seen(sequences(0)), replace(NONE_SHORT, loads=(first,)))
    assert words(found["clauses"]) == "No shortage in the next 7 days."
    assert said in words(found["action"])


def test_with_a_forecast_every_service_has_its_need_too() -> None:
    """That of a shortage is the number that its sentence says; a pool has none."""
    rows = {row.service: row for row in page(seen(sequences(0)), FORECAST)["rows"]}
    short = FORECAST.shortages[0]
    assert rows["vllm-70b"].need.peak == AddedRow(short.ready + short.replicas, short.replicas, 1.0)
    assert rows["vllm-70b"].need.host_lost.needed == short.ready + short.replicas + short.ready
    assert rows["vllm-8b"].need.peak.needed == 3.0  # 4 replicas at a peak of 9 with a limit of 15
    assert rows[None].need.peak.needed is None
    assert words(page(seen(sequences(0)), NONE_SHORT)["action"]).startswith(
        "embedder comes closest: peak 90% of its hourly safe limit, today at 14:00 UTC. 4 ready replicas are"
    )
