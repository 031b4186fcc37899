"""Whether GPU contention is ruled out as the cause of an incident that has another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import NOW, POINTS, contended, contention_incident, healthy_world, service, snapshot

from foreshock_dashboard.model.incident import Incident, LaterCause, Learning, Severity, SuspectedCause
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.pages.now import data

NORMAL = (
    "Not the cause: GPU wait of embedder on train-llm is 1.0% (baseline 1.0%) and has stayed within its normal range "
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


def _on_one_gpu(world: World) -> World:
    """A wait that rose on one of two shared GPUs, so that the mean stays in its normal range."""
    waits = world.gpu_wait_by.copy()
    row = next(i for i, pair in enumerate(world.gpu_wait_pairs) if str(pair.affected) == "embedder")
    waits[row, world.times >= _overload(world).since] = 0.15
    return replace(world, gpu_wait_by=waits)


RISEN = "May contribute: GPU wait of embedder on train-llm peaked at 35% (baseline 1.0%), above its normal range"
RISEN_ON_ONE = (
    "May contribute: GPU wait of embedder on train-llm peaked on one GPU at 15% (baseline 1.0%), above its normal range"
)


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        pytest.param(_steady, NORMAL, id="normal"),
        pytest.param(_risen, RISEN, id="risen"),
        pytest.param(_over, RISEN, id="risen and normal again"),
        pytest.param(_on_one_gpu, RISEN_ON_ONE, id="risen on one GPU"),
        pytest.param(_unknown, "No GPU wait data", id="no data"),
    ],
)
def test_an_incident_with_another_cause_says_whether_gpu_contention_is_ruled_out(
    wait: Callable[[World], World], words: str
) -> None:
    """Only a wait that stayed in its normal range since the first anomaly is."""
    world = wait(_hours())
    assert _shown(snapshot(world, _overload(world))) == words


@pytest.mark.parametrize("severity", ["warning", "critical"])
@pytest.mark.parametrize("age", [190.0, 1200.0, 4800.0])
@pytest.mark.parametrize(("wait", "words"), [(0.01, NORMAL), (0.35, RISEN)], ids=["normal", "risen"])
def test_the_baseline_of_the_wait_ends_at_the_first_anomaly(
    severity: Severity, age: float, wait: float, words: str
) -> None:
    """Of any severity and age: an incident in its own baseline would rule out what it shows."""
    world = _hours()
    waits = world.gpu_wait_by.copy()
    waits[:, world.times >= NOW - age] = wait
    world = replace(world, gpu_wait_by=waits)
    item = replace(_overload(world), severity=severity, since=NOW - age)
    assert _shown(snapshot(world, item)) == words


def test_an_incident_older_than_the_history_has_no_baseline_of_the_wait() -> None:
    world = _hours()
    item = replace(_overload(world), severity="warning", since=float(world.times[0]))
    assert (
        _shown(snapshot(world, item))
        == "GPU wait of embedder on train-llm is 1.0% (no baseline before the first anomaly)"
    )


def test_an_earlier_incident_of_the_service_is_not_part_of_the_baseline() -> None:
    world = _hours()
    waits = world.gpu_wait_by.copy()
    waits[:, world.times >= NOW - 4800] = 0.35
    world = replace(world, gpu_wait_by=waits)
    item = _overload(world)
    earlier = replace(item, id="earlier", severity="warning", since=NOW - 4800)
    assert _shown(snapshot(world, item, earlier)) == RISEN


@pytest.mark.parametrize("affected", ["embedder", "reranker"])
def test_any_neighbor_of_the_service_and_of_the_suspect_that_caused_a_peak_is_named(affected: str) -> None:
    """Also one that is quiet now, while the wait on another is longer, and normal."""
    world = _hours()
    waits = world.gpu_wait_by.copy()
    own = np.array([str(pair.affected) == affected for pair in world.gpu_wait_pairs])
    waits[~own] = 0.2
    waits[np.ix_(own, world.times >= NOW - 1200)] = 0.35
    waits[own, -5:] = 0.01
    world = replace(world, gpu_wait_by=waits)
    item = replace(_overload(world), suspect=SuspectedCause(service("reranker")), since=NOW - 1200)
    neighbor = {"embedder": "train-llm", "reranker": "batch-eval"}[affected]
    assert _shown(snapshot(world, item)).startswith(
        f"May contribute: GPU wait of {affected} on {neighbor} peaked at 35%"
    )


def test_an_unknown_wait_on_one_neighbor_rules_nothing_out() -> None:
    """Though the waits on all others are normal."""
    world = _hours()
    waits = world.gpu_wait_by.copy()
    waits[[str(pair.affected) == "reranker" for pair in world.gpu_wait_pairs]] = np.nan
    world = replace(world, gpu_wait_by=waits)
    item = replace(_overload(world), suspect=SuspectedCause(service("reranker")))
    assert _shown(snapshot(world, item)) == "No GPU wait data"


def test_without_a_baseline_no_wait_is_normal() -> None:
    world = _hours()
    seen = snapshot(world, _overload(world), learning=Learning(720.0, 1800.0))
    assert _shown(seen) == "GPU wait of embedder on train-llm is 1.0% (no baseline before the first anomaly)"


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
