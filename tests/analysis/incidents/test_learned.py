"""Baselines of affected services, and of the GPUs and hosts below them, stay as before the incident."""

from __future__ import annotations

import math

import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    BATCH,
    CODER,
    GPU_WAIT_PAIRS,
    GPUS,
    LLM,
    TENANTS,
    Changes,
    since,
    world,
)

from foreshock_dashboard.analysis.incidents.learned import Learned, relearned
from foreshock_dashboard.analysis.saturation.batching_model import utilizations
from foreshock_dashboard.analysis.saturation.safe_limits import SAFE_LIMITS, SHOWN_LIMIT, safe_limit
from foreshock_dashboard.model.service import Service

BEFORE, LATER = 150, 299
"""Grid points at which is learned: before everything changed for good, and long after."""
CHANGED = world(
    {
        ("p95", LLM): since(160, 8, 30),
        ("edge_p95", ANSWER): since(160, 8.1, 31),
        ("busy", TENANTS[0]): since(160, 0.2, 0.6),
        ("busy", TENANTS[1]): since(160, 0.6, 0.2),
        ("gpu_wait_by", GPU_WAIT_PAIRS[0]): since(160, 0.02, 0.6),
        ("clock", GPUS[0]): since(160, 1, 0.6),
        ("nic", "host-1"): since(160, 0.1, 0.8),
        ("p95", CODER): since(160, 2, 3),
        ("nic", "host-3"): since(160, 0.1, 0.8),
    }
)
OF_IT = [
    ("p95", LLM), ("edge_p95", ANSWER), ("busy", TENANTS[1]), ("busy", TENANTS[0]), ("gpu_wait_by", GPU_WAIT_PAIRS[0]),
    ("clock", GPUS[0]), ("nic", "host-1"),
]  # fmt: skip
OF_OTHERS = [("p95", CODER), ("nic", "host-3")]


@pytest.mark.parametrize(("name", "key"), OF_IT, ids=[f"{name} of {key}" for name, key in OF_IT])
def test_the_state_during_an_incident_does_not_become_the_baseline(name: str, key: object) -> None:
    """A GPU that is throttled for an hour stays anomalous."""
    known = relearned(Learned(), CHANGED, BEFORE, frozenset())
    baseline, kept = (
        relearned(known, CHANGED, LATER, frozen).baselines.of(name).get(key)  # type: ignore[arg-type] # of any kind
        for frozen in (frozenset[object](), frozenset((LLM,)))
    )
    assert kept == known.baselines.of(name).get(key)
    assert baseline != kept


@pytest.mark.parametrize(("name", "key"), OF_OTHERS, ids=[str(key) for _, key in OF_OTHERS])
def test_baselines_of_other_entities_are_learned_again(name: str, key: object) -> None:
    known = relearned(Learned(), CHANGED, BEFORE, frozenset())
    later = relearned(known, CHANGED, LATER, frozenset((LLM, BATCH)))
    assert later.baselines.of(name).get(key) != known.baselines.of(name).get(key)


def test_the_safe_limit_of_a_service_does_not_move_during_its_incident() -> None:
    """Load that stays high raises it once the incident is over."""

    def load(i: int) -> float:
        return (12 if i < 160 else 44) + 6 * math.sin(i / 7)

    running: Changes = {("running", LLM): load, ("cache", LLM): lambda i: load(i) / 60}
    token: Changes = {("per_token", LLM): lambda i: 0.014 + 0.0007 * load(i) / 2}
    busy = world({**running, **token})
    known = relearned(Learned(), busy, BEFORE, frozenset())
    moved, kept = (
        safe_limit(utilizations(busy, LATER, relearned(known, busy, LATER, frozen).laws)[LLM])
        for frozen in (frozenset[Service](), frozenset((LLM,)))
    )
    assert kept == safe_limit(utilizations(busy, BEFORE, known.laws)[LLM]) == SAFE_LIMITS[SHOWN_LIMIT]
    assert moved > kept
