"""Faults outside the built-in scenarios: paged service, cause and root cause ten minutes after the page."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.replay.replay import ReplayResult, replay_folder
from foreshock_evaluation.scores.truth import read_truth

LATER = 600.0
"""Seconds after the page."""


class Fault(NamedTuple):
    """What is done, the author's word on it, and what the analysis is to name.

    At the first page it is seldom clear: a burst of users may come at the same moment, and slowness of a service that
    retries may keep down is incident_at as what it may leave behind.
    """

    name: str
    faults: str
    expects: str
    cause: str
    root_cause: str
    also: tuple[str, ...] = ()
    """Causes that are as good."""


FAULTS = (
    Fault(
        "a deploy makes a model three times as slow per token",
        "slower_work: {service: llm-chat, at: 35m, factor: 3}",
        "cause: dependency, root_cause: llm-chat, origin: llm-chat",
        "dependency", "llm-chat",
    ),
    Fault(
        "a gateway's timeout is cut to 3 s, and it tries five times",
        "policy_change: {caller: gateway, callee: llm-chat, at: 35m, timeout: 3s, attempts: 5}",
        "cause: retry_storm, root_cause: gateway, origin: llm-chat",
        "retry_storm", "gateway",
    ),
    Fault(
        "one of two replicas dies, and nothing is left to replace it",
        "replicas_fail: {service: llm-chat, at: 35m, replicas: 1, xid: 79}",
        "cause: hardware, root_cause: llm-chat, origin: llm-chat",
        "hardware", "llm-chat",
    ),
    Fault(
        "GPUs are throttled for good",
        "throttle: {service: llm-chat, at: 35m, ratio: 35%}",
        "cause: hardware, root_cause: llm-chat, origin: llm-chat",
        "hardware", "llm-chat",
    ),
    Fault(
        "the smaller of two flows grows fourfold",
        "surge: {flow: chat, at: 35m, factor: 4, ramp: 6m}",
        "cause: overload, root_cause: chat, origin: llm-chat",
        "overload", "gateway", ("scale_up_lag",),
    ),
    Fault(
        "an embedder answers a third of its requests with 500",
        "failing_work: {service: embedder, at: 35m, ratio: 30%}",
        "cause: dependency, root_cause: embedder, origin: embedder",
        "dependency", "embedder",
    ),
)  # fmt: skip
SCENARIO = """\
description: A fault.
duration: 52m
topology: {{load: 0.45, spare: {spare}}}
faults:
  - {faults}
expects: {{cascade: true, {expects}}}
"""


def replay_fault(folder: Path, fault: Fault, seed: int) -> ReplayResult:
    """Replay a run of the fault on a small platform."""
    scenario = folder / "fault.yaml"
    scenario.write_text(SCENARIO.format(spare=0 if "replicas_fail" in fault.faults else 1, **fault._asdict()))
    out = folder / "recording"
    assert (
        main(["dev", "simulate", str(scenario), "--size", "small", "--seed", str(seed), "--output-dir", str(out)]) == 0
    )
    truth = read_truth(out)
    assert truth.onset is not None
    return replay_folder(out)


def incident_at(run: ReplayResult, incident: str, time: float) -> Incident:
    """An incident in its state at a time."""
    states = (state for at, incidents in run.history if at <= time for state in incidents)
    return [state for state in states if state.id == incident][-1]


@pytest.mark.soak
@pytest.mark.parametrize("seed", [31, 32])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_outside_the_scenarios_has_the_right_cause_and_root_cause(
    tmp_path: Path, fault: Fault, seed: int
) -> None:
    run = replay_fault(tmp_path, fault, seed)
    (first, *_) = sorted(run.paged.values(), key=lambda incident: incident.paged or 0.0)
    assert first.paged is not None
    assert first.paged >= run.times[0] + 35 * 60
    assert str(first.service) == str(read_truth(tmp_path / "recording").origin)
    later = incident_at(run, first.id, first.paged + LATER)
    assert later.cause in (fault.cause, *fault.also)
    assert later.suspect.service
    assert later.suspect.service.name == fault.root_cause
