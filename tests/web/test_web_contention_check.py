"""Whether GPU contention is ruled out as the cause of an incident that has another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import NOW, POINTS, contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.model.incident import Incident, LaterCause, Learning, SuspectedCause
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.pages.now import data

NORMAL = (
    "Not the cause: GPU wait on train-llm is 1.0% (baseline 1.0%) and has stayed within its normal range "
    "since the first anomaly"
)


def _hours() -> World:
    """The healthy World at a point per minute: long enough for a baseline of the wait."""
    return replace(healthy_world(), step=60.0, times=NOW - 60.0 * np.arange(POINTS - 1, -1, -1.0))


def _overload(world: World) -> Incident:
    suspect = SuspectedCause(service("rag-api"))
    return replace(contention_incident(world), cause="overload", suspect=suspect, evidence=())


def _shown(seen: Snapshot) -> str:
    situation = data.now(seen, "x")["verdict"]["situation"]
    assert situation
    return "".join(clause.text for clause in situation["gpu_wait"])


def _steady(world: World) -> World:
    return world


def _risen(world: World) -> World:
    waits = world.gpu_wait_by.copy()
    waits[:, world.times >= _overload(world).since] = 0.35
    return replace(world, gpu_wait_by=waits)


def _over(world: World) -> World:
    """A wait that rose at the first anomaly, and is normal again."""
    risen = _risen(world)
    waits = risen.gpu_wait_by.copy()
    waits[:, -3:] = 0.01
    return replace(risen, gpu_wait_by=waits)


def _unknown(world: World) -> World:
    waits = world.gpu_wait_by.copy()
    waits[:, -10:] = np.nan
    return replace(world, gpu_wait_by=waits)


RISEN = "May contribute: GPU wait on train-llm peaked at 35% (baseline 1.0%), above its normal range"


@pytest.mark.parametrize(
    ("wait", "words"),
    [(_steady, NORMAL), (_risen, RISEN), (_over, RISEN), (_unknown, "No GPU wait data")],
    ids=["normal", "risen", "risen and normal again", "no data"],
)
def test_an_incident_with_another_cause_says_whether_gpu_contention_is_ruled_out(
    wait: Callable[[World], World], words: str
) -> None:
    """Only a wait that stayed in its normal range since the first anomaly is."""
    world = wait(_hours())
    assert _shown(snapshot(world, _overload(world))) == words


def test_without_a_baseline_no_wait_is_normal() -> None:
    world = _hours()
    seen = snapshot(world, _overload(world), learning=Learning(720.0, 1800.0))
    assert _shown(seen) == "GPU wait on train-llm is 1.0% (no baseline yet)"


def test_the_wait_has_the_value_and_the_baseline_of_its_tile() -> None:
    """One page, one number."""
    world = _hours()
    (tile,) = [tile for tile in data.now(snapshot(world, _overload(world)), "x")["tiles"] if "wait" in tile.name]
    assert [tile.value, tile.limit] == pytest.approx([0.01, 0.01])


def test_gpu_contention_is_not_ruled_out_where_it_is_the_cause_or_no_gpu_is_shared() -> None:
    world = contended()
    assert _shown(snapshot(world, contention_incident(world))) == ""
    item = _overload(world)
    later = LaterCause(item.service, "gpu_contention", SuspectedCause(service("train-llm")), item.since)
    assert _shown(snapshot(world, replace(item, later=later))) == ""
    alone = replace(item, service=service("auth"), affected=(service("auth"),))
    assert _shown(snapshot(world, alone)) == ""
