"""Which XID errors are evidence of an incident, and what they recommend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.platforms import START, STEP, Platform, service

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.xids import with_xid_reason, xid_evidence
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Evidence
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import XidCounter

POINTS, AT = 100, 80
ONSET = START + AT * STEP
LLM, BATCH, ALONE = service("llm"), service("batch"), service("alone")
SHARED, OWN = "host-0/gpu-0", "host-1/gpu-0"
PLATFORM = Platform(busy={(0, "llm"): 0.4, (0, "batch"): 0.3, (1, "alone"): 0.5}, points=POINTS, at=AT)


def counts(first: int, *values: float) -> Floats:
    """A counter without a sample before column `first`, then with these values, the last of which lasts."""
    row = np.full(POINTS, np.nan)
    row[first:] = values[-1]
    row[first : first + len(values)] = values
    return row


def point(counters: dict[XidCounter, Floats]) -> EvaluationPoint:
    """The last point of the platform with these counters."""
    world = PLATFORM.world()
    assert world.hardware
    errors = np.array(list(counters.values())).reshape(len(counters), POINTS)
    hardware = replace(world.hardware, xids=tuple(counters), xid_errors=errors)
    return EvaluationPoint(replace(world, hardware=hardware), POINTS - 1, baselines_at(world, AT))


def found(counters: dict[XidCounter, Floats], *services: object) -> list[tuple[int, str, float]]:
    """XID, GPU, and number of errors in the evidence of an incident of the services."""
    evidence = xid_evidence(point(counters), {each for each in (LLM, BATCH, ALONE) if each in services}, ONSET)
    return [(item.xid.number if item.xid else 0, item.entity, item.value) for item in evidence]


@pytest.mark.parametrize(
    ("counters", "affected", "expected"),
    [
        ({XidCounter(SHARED, 79): counts(AT, 1)}, LLM, [(79, SHARED, 1.0)]),
        ({XidCounter(SHARED, 79): counts(AT, 1)}, ALONE, []),
        ({XidCounter(SHARED, 79): counts(AT - 20, 1)}, LLM, [(79, SHARED, 1.0)]),
        ({XidCounter(SHARED, 79): counts(AT - 40, 1)}, LLM, []),
        ({XidCounter(SHARED, 79): counts(0, 3)}, LLM, []),
        ({XidCounter(SHARED, 48): counts(0, *[2] * AT, 5)}, LLM, [(48, SHARED, 3.0)]),
        ({XidCounter(SHARED, 63): counts(AT, 1)}, LLM, []),
        ({XidCounter(SHARED, 31): counts(AT, 1)}, LLM, []),
        ({XidCounter(OWN, 31): counts(AT, 1)}, ALONE, [(31, OWN, 1.0)]),
        ({XidCounter(SHARED, 31): counts(AT, 2), XidCounter(SHARED, 31, LLM): counts(AT, 2)}, LLM, [(31, SHARED, 2.0)]),
        ({XidCounter(SHARED, 31): counts(AT, 2), XidCounter(SHARED, 31, LLM): counts(AT, 2)}, BATCH, []),
        ({XidCounter(SHARED, 4242): counts(AT, 1)}, LLM, [(4242, SHARED, 1.0)]),
        (
            {
                XidCounter(OWN, 31): counts(AT, 1),
                XidCounter(OWN, 74): counts(AT, 1),
                XidCounter(OWN, 79): counts(AT, 1),
            },
            ALONE,
            [(79, OWN, 1.0), (74, OWN, 1.0), (31, OWN, 1.0)],
        ),
    ],
    ids=[
        "a fatal error affects each service on the GPU",
        "and none on another GPU",
        "it may precede the first anomaly",
        "by five minutes at most",
        "a count from before the first data is no new error",
        "only the increase counts",
        "an informational XID is no fault",
        "an error of an unknown application on a shared GPU may be a neighbor's",
        "on a GPU with one service it is that service's",
        "the kernel log attributes it to the service",
        "or to its neighbor",
        "an unlisted XID counts as a fault",
        "the most severe is first",
    ],
)
def test_errors_that_can_have_affected_the_service_are_evidence(
    counters: dict[XidCounter, Floats], affected: object, expected: list[tuple[int, str, float]]
) -> None:
    """Others are not."""
    assert found(counters, affected) == expected


def test_errors_while_the_exporter_is_away_are_counted_once() -> None:
    """A counter that continues after a gap has no new errors; one that restarts has those since."""
    gap, restart = counts(0, *[2] * AT, 2), counts(0, *[2] * AT, 1)
    gap[AT : AT + 3] = np.nan
    world = PLATFORM.world()
    world.utilization[:, AT : AT + 3] = np.nan
    assert world.hardware
    hardware = replace(
        world.hardware, xids=(XidCounter(OWN, 79), XidCounter(OWN, 48)), xid_errors=np.array([gap, restart])
    )
    at = EvaluationPoint(replace(world, hardware=hardware), POINTS - 1, baselines_at(world, AT))

    assert [(item.xid.number, item.value) for item in xid_evidence(at, {ALONE}, ONSET) if item.xid] == [(48, 1.0)]


def test_actions_on_a_gpu_have_the_first_step_against_its_most_severe_error() -> None:
    """An XID for which NVIDIA recommends no step gives none, nor does one of another GPU."""
    gpu, other = PLATFORM.world().gpus
    evidence: tuple[Evidence, ...] = xid_evidence(
        point({XidCounter(SHARED, 154): counts(AT, 1), XidCounter(SHARED, 79): counts(AT, 1)}), {LLM}, ONSET
    )
    actions = (
        Action("drain_gpus", LLM, gpus=(gpu,)),
        Action("inspect_gpus", LLM, gpus=(gpu,)),
        Action("inspect_gpus", LLM, gpus=(other,)),
        Action("add_replicas", LLM, gpus=(gpu,)),
    )

    reasons = [action.reason for action in with_xid_reason(actions, evidence)]

    assert [(reason.name, reason.value) if reason else None for reason in reasons] == [
        ("reboot the host", 79.0),
        ("reboot the host", 79.0),
        None,
        None,
    ]
    only_154 = [item for item in evidence if item.xid and item.xid.number == 154]
    assert with_xid_reason(actions, only_154) == actions
