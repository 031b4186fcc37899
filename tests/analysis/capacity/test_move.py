"""A model that moves to another pool: what both pools have left, and the services in them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.what_if import what_if
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_POINTS, LoadForecast, LoadKind, Subject
from foreshock_dashboard.model.capacity.move import Move
from foreshock_dashboard.model.service import Service

CHAT, CODE, BATCH = (Service("serving", name) for name in ("chat", "code", "batch"))


def load(who: Service | None, pool: str, kind: LoadKind, value: float, **fields: float) -> LoadForecast:
    """A flat load. Replicas of services have two GPUs."""
    flat = np.full(FORECAST_POINTS, value)
    given = {"gpus_per_replica": 2.0 if who else math.nan, "provisioning_seconds": 60.0} | fields
    return LoadForecast(Subject(who, pool), kind, 0.0, flat, flat, flat, flat, **given)


FORECAST = CapacityForecast(
    computed_at=0.0,
    history_hours=200.0,
    loads=(
        load(None, "a", LoadKind.GPU_QUOTA, 16.0, capacity=16.0, safe=16.0, room=0.0),
        load(None, "b", LoadKind.GPU_QUOTA, 4.0, capacity=10.0, safe=10.0, room=6.0),
        load(None, "a", LoadKind.GPU_BUSY, 10.0, capacity=16.0),
        load(None, "b", LoadKind.GPU_BUSY, 2.0, capacity=10.0),
        load(CHAT, "a", LoadKind.TOKENS, 300.0, capacity=800.0, safe=400.0, replicas=4.0, ready=4.0, room=0.0),
        load(CHAT, "a", LoadKind.GPU_BUSY, 6.0, replicas=4.0, ready=4.0, room=0.0),
        load(CODE, "a", LoadKind.TOKENS, 50.0, capacity=200.0, safe=100.0, replicas=2.0, ready=2.0, room=0.0),
        load(BATCH, "b", LoadKind.TOKENS, 90.0, capacity=400.0, safe=200.0, replicas=4.0, ready=2.0, room=3.0),
    ),
)


def after(replicas: float, pool: str = "b", who: Service = CHAT) -> CapacityForecast:
    """The forecast once so many replicas are moved."""
    return what_if(FORECAST, move=Move(who, pool, replicas))


def of(found: CapacityForecast, who: Service | None, pool: str, kind: LoadKind) -> LoadForecast:
    """One of its loads."""
    known = found.load(Subject(who, pool), kind)
    assert known is not None
    return known


def test_assigned_and_busy_gpus_follow() -> None:
    """Of four busy replicas, one has a quarter of the busy GPUs."""
    found = after(1.0)
    figures = {
        (pool, kind): float(of(found, None, pool, kind).p50[0])
        for pool in "ab"
        for kind in (LoadKind.GPU_QUOTA, LoadKind.GPU_BUSY)
    }
    assert figures == {
        ("a", LoadKind.GPU_QUOTA): 14.0,
        ("b", LoadKind.GPU_QUOTA): 6.0,
        ("a", LoadKind.GPU_BUSY): 8.5,
        ("b", LoadKind.GPU_BUSY): 3.5,
    }
    assert [of(found, None, pool, LoadKind.GPU_QUOTA).room for pool in "ab"] == [2.0, 4.0]


def test_a_part_stays_where_it_is_and_the_whole_gets_another_pool() -> None:
    """Its capacity is the same; its room is that of where it may grow."""
    part, whole = of(after(1.0), CHAT, "a", LoadKind.TOKENS), of(after(3.0), CHAT, "a", LoadKind.TOKENS)
    assert (part.room, whole.room, part.safe) == (1.0, 3.0, 400.0)
    smaller = replace(FORECAST, loads=tuple(replace(row, gpus_per_replica=1.0) for row in FORECAST.loads))
    for count in (4.0, 9.0, math.inf):
        found = of(what_if(smaller, move=Move(CHAT, "b", count)), CHAT, "b", LoadKind.TOKENS)
        assert (found.room, found.safe, found.ready) == (2.0, 400.0, 4.0)


def test_other_services_gain_and_lose_room() -> None:
    """What an autoscaler may start shrinks with the room, and does not grow with it if its maximum is not known."""
    found = after(2.0)
    code, batch = of(found, CODE, "a", LoadKind.TOKENS), of(found, BATCH, "b", LoadKind.TOKENS)
    assert (code.room, code.replicas, code.safe) == (2.0, 2.0, 100.0)
    assert (batch.room, batch.replicas, batch.safe, batch.capacity) == (1.0, 3.0, 150.0, 300.0)


def test_autoscalers_use_the_room_that_a_move_frees_up_to_their_maximum() -> None:
    """Four free GPUs are room for two more replicas; the maximum of the service that moves counts in its new pool."""
    for most, code_replicas, chat_replicas in ((3.0, 3.0, 4.0), (9.0, 4.0, 6.0)):
        known = replace(FORECAST, loads=tuple(replace(row, max_replicas=most) for row in FORECAST.loads))
        found = what_if(known, move=Move(CHAT, "b", 2.0))
        code, chat = (of(found, who, "a", LoadKind.TOKENS) for who in (CODE, CHAT))
        assert (code.room, code.replicas, code.safe) == (2.0, code_replicas, 50.0 * code_replicas)
        assert (chat.room, chat.replicas) == (2.0, chat_replicas)
    roomy = tuple(replace(row, max_replicas=6.0, gpus_per_replica=row.gpus_per_replica / 2) for row in FORECAST.loads)
    chat = of(what_if(replace(FORECAST, loads=roomy), move=Move(CHAT, "b")), CHAT, "b", LoadKind.TOKENS)
    assert (chat.ready, chat.room, chat.replicas, chat.safe) == (4.0, 2.0, 6.0, 600.0)


def test_room_of_larger_replicas_is_that_of_whole_free_gpus() -> None:
    """Six free GPUs are room for one of four GPUs; after two are taken it still fits, and free parts add up."""
    for pool, free, count, room in (
        ("b", 6.0, 1.0, 1.0),
        ("b", 6.0, 2.0, 0.0),
        ("a", 2.0, 1.0, 1.0),
        ("a", 1.0, 1.0, 0.0),
    ):
        large = load(CODE, pool, LoadKind.TOKENS, 50.0, replicas=1.0, ready=1.0, room=free // 4, gpus_per_replica=4.0)
        pools = [replace(row, room=free) if row.subject == Subject(None, pool) else row for row in FORECAST.loads[:6]]
        found = what_if(replace(FORECAST, loads=(*pools, large)), move=Move(CHAT, "b", count))
        assert of(found, CODE, pool, LoadKind.TOKENS).room == room


def test_history_stays_as_measured() -> None:
    """Also of the pools, whose assigned GPUs change from now on."""
    for row in after(1.0).loads:
        assert row.history is of(FORECAST, row.subject.service, row.subject.pool, row.kind).history


def test_a_pool_without_room_is_the_shortage() -> None:
    """Eight GPUs do not fit into six: two are missing, now."""
    assert after(1.0).shortages == ()
    found = [(item.subject, item.replicas, item.at) for item in after(4.0).shortages]
    assert found == [(Subject(None, "b"), 2, 0.0)]


@pytest.mark.parametrize(
    ("move", "problem"),
    [
        (Move(CHAT, "a"), "is in pool a already"),
        (Move(Service("", "gone"), "b"), "unknown"),
    ],
)
def test_an_impossible_move_is_refused(move: Move, problem: str) -> None:
    """It names the service."""
    with pytest.raises(ValueError, match=problem):
        what_if(FORECAST, move=move)
