"""Faults one after another, each in a recording with its truth."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.lab.systems import START, Request, System

from foreshock_lab.campaign.breach import first_breach, latency_targets
from foreshock_lab.campaign.plan import HELD_OUT_SEED, PlannedFault, plan, split_of
from foreshock_lab.campaign.runner import LEARNED_SECONDS, Campaign, NotHealthyError
from foreshock_lab.campaign.truth import Times, truth_of
from foreshock_lab.faults.catalog import KINDS
from foreshock_lab.topology.draw import draw

HISTORY = 300.0
FIRST = START + LEARNED_SECONDS
"""Onset of the first fault."""


def planned(system: System, kind: str, strength: int = 2) -> PlannedFault:
    """A fault of the system's plan."""
    return next(fault for fault in plan(system.topology) if (fault.kind.name, fault.strength) == (kind, strength))


def test_a_fault_is_recorded_with_its_history_and_when_users_noticed(tmp_path: Path) -> None:
    """Users see 1 s instead of 20 ms from 100 s after the onset on."""
    system = System(tmp_path)
    system.seen = lambda time: 1.0 if FIRST + 100 <= time < FIRST + 230 else 0.02
    fault = planned(system, "slow-handler")

    assert Campaign(system, tmp_path / "out", HISTORY, system.clock).run([fault], START + 3600) == 1

    truth = orjson.loads((tmp_path / "out" / fault.name / "truth.json").read_bytes())
    assert (truth["start"], truth["onset"], truth["root_cause"]) == (START, FIRST, f"shop/{fault.service}")
    assert truth["fault_end"] == pytest.approx(FIRST + fault.kind.duration)
    assert FIRST + 100 < truth["noticed"] <= FIRST + 110
    assert truth["victims"] == [truth["asked"]] == [f"shop/{system.topology.front.name}"]
    assert system.behaviors[fault.service] == {}


def test_the_next_fault_waits_until_users_see_nothing_of_the_last_one(tmp_path: Path) -> None:
    """And its recording leaves the last one out."""
    system = System(tmp_path)
    first = planned(system, "exception")
    ended = FIRST + first.kind.duration
    system.seen = lambda time: 1.0 if FIRST <= time < ended + 100 else 0.02
    second = planned(system, "failing-handler")

    assert Campaign(system, tmp_path, HISTORY, system.clock).run([first, second], START + 7200) == 2

    truth = orjson.loads((tmp_path / second.name / "truth.json").read_bytes())
    ((left, until),) = truth["left out"]
    assert left == FIRST
    assert ended + 100 <= until <= truth["onset"] - HISTORY


def test_what_users_expect_is_set_by_their_healthy_requests(tmp_path: Path) -> None:
    """A fault with 1 s does not make 0.3 s acceptable, although it is within the half hour before the next one."""
    system = System(tmp_path)
    first, second = planned(system, "exception"), planned(system, "failing-handler")
    ended = FIRST + first.kind.duration
    system.seen = lambda time: 1.0 if FIRST <= time < ended else 0.3 if ended + 400 <= time < ended + 500 else 0.02

    assert Campaign(system, tmp_path, HISTORY, system.clock).run([first, second], START + 7200) == 2

    assert orjson.loads((tmp_path / second.name / "truth.json").read_bytes())["noticed"] is not None


def test_healthy_data_of_the_last_hour_suffice_for_the_analysis(tmp_path: Path) -> None:
    """After some faults, half of the hour before an onset may be left out, and no more."""
    system = System(tmp_path)
    faults = plan(system.topology, ["failing-handler", "slow-handler", "exception"])

    Campaign(system, tmp_path, HISTORY, system.clock).run(faults, START + 14_400)

    for path in tmp_path.glob("*/truth.json"):
        truth = orjson.loads(path.read_bytes())
        missing = sum(until - max(left, truth["start"]) for left, until in truth["left out"] if until > truth["start"])
        assert truth["onset"] - truth["start"] - missing >= LEARNED_SECONDS


def test_a_system_that_does_not_recover_is_given_up(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.seen = lambda time: 1.0 if time >= FIRST else 0.02

    with pytest.raises(NotHealthyError, match="still have a breach"):
        Campaign(system, tmp_path, HISTORY, system.clock).run([planned(system, "exception")], START + 7200)


def test_a_breach_before_a_growing_fault_has_an_effect_is_not_recorded_as_its_own(tmp_path: Path) -> None:
    """Something else disturbed users. The fault is tried again."""
    system = System(tmp_path)
    system.seen = lambda time: 1.0 if FIRST <= time < FIRST + 60 else 0.02
    fault = planned(system, "slow-handler")

    assert Campaign(system, tmp_path, HISTORY, system.clock).run([fault], START + 7200) == 1

    truth = orjson.loads((tmp_path / fault.name / "truth.json").read_bytes())
    assert truth["onset"] > FIRST + 60
    assert truth["noticed"] is None


def test_a_campaign_continues_where_it_ended_and_keeps_its_deadline(tmp_path: Path) -> None:
    system = System(tmp_path)
    faults = [planned(system, kind) for kind in ("exception", "failing-handler", "slow-handler")]
    (tmp_path / faults[0].name).mkdir()

    count = Campaign(system, tmp_path, HISTORY, system.clock).run(faults, FIRST + 300)

    assert count == 1
    assert (tmp_path / faults[1].name).exists()
    assert not (tmp_path / faults[2].name).exists()


def test_a_plan_is_balanced_and_repeatable() -> None:
    """Each kind comes once before any comes again, at all strengths; held-out systems have seeds of their own."""
    faults = plan(draw(7))
    kinds = [fault.kind.name for fault in faults]
    available = [kind.name for kind in KINDS.values() if not kind.unavailable()]

    assert [fault.name for fault in faults] == [fault.name for fault in plan(draw(7))]
    assert sorted(kinds[: len(available)]) == sorted(available)
    assert len({fault.scenario for fault in faults}) == len(faults) == 3 * len(available)
    assert {fault.name for fault in faults}.isdisjoint(fault.name for fault in plan(draw(HELD_OUT_SEED + 7)))
    assert (split_of(7), split_of(HELD_OUT_SEED + 7)) == ("dev", "heldout")


@pytest.mark.parametrize("seed", [1, 2, 3, 101, 102])
def test_every_fault_of_a_plan_has_a_truth_with_services_of_the_system(seed: int) -> None:
    topology = draw(seed)
    names = {f"shop/{service.name}" for service in topology.services} | {"postgres", "valkey"}

    for fault in plan(topology):
        truth = truth_of(fault, topology, Times(0.0, 240.0, 400.0, 415.0, None))
        right = {truth["root_cause"], *truth["also_right"]} - {None}
        assert right <= names
        assert bool(right) != fault.kind.lookalike


@pytest.mark.parametrize(
    ("seconds", "succeeded", "breached"),
    [
        (0.02, True, False),
        (0.09, True, False),
        (0.3, True, True),
        (30.0, True, True),
        (0.02, False, True),
    ],
    ids=["as before", "slower within the target", "too slow", "not answered in time", "failing"],
)
def test_a_breach_is_what_users_see(seconds: float, succeeded: bool, breached: bool) -> None:
    before = [Request(float(i), "home", 0.05 if i % 10 else 0.06, True) for i in range(240)]
    after = [Request(240.0 + i, "home", seconds, succeeded) for i in range(120)]

    found = first_breach([*before, *after], latency_targets(before), 240.0, 360.0)

    assert (found is not None and found <= 255.0) == breached


def test_few_requests_are_no_breach() -> None:
    before = [Request(float(i), "home", 0.05, True) for i in range(240)]
    after = [Request(240.0 + 10 * i, "home", 9.0, True) for i in range(12)]

    assert first_breach([*before[:200], *after], latency_targets(before), 260.0, 360.0) is None
