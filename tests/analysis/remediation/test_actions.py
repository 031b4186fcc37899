"""Actions reach the limit that they name, or say that they do not, and come in order of their time to effect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis import platforms
from tests.analysis.detectors.platform import (
    ANSWER,
    BATCH,
    FRONT,
    GATEWAY,
    LLM,
    POINTS,
    Changes,
    last_point,
    point,
    ramp,
    since,
    world,
)

from foreshock_dashboard.analysis.baseline.replicas import max_replicas, wanted_replicas
from foreshock_dashboard.analysis.baseline.scale_up import DEFAULT_DELAY_SECONDS
from foreshock_dashboard.analysis.incidents.actions import as_of_now, with_actions
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.summary import with_summary
from foreshock_dashboard.analysis.remediation.actions import against_growth, roll_back, whole_rate
from foreshock_dashboard.analysis.remediation.ranking import (
    LIMIT_SECONDS,
    MAX_ACTIONS,
    RESTART_SECONDS,
    durable,
    ranked,
    with_relief,
)
from foreshock_dashboard.analysis.saturation.safe_limits import safe_limit
from foreshock_dashboard.model.action import ARRIVING_LOAD, Action, ActionKind, Effect
from foreshock_dashboard.model.forecast import BatchingLaw, Utilization
from foreshock_dashboard.model.incident import Candidate, Incident, Summary
from foreshock_dashboard.model.service import Service


def utilization(load: float, baseline: float = 0.5, peak: float = 0.7) -> Utilization:
    """Utilization with one load over all windows."""
    return Utilization(1.0, 0.0, 0.5, 0.0, 60.0, load, (load,) * 3, baseline, peak)


@given(st.floats(0.05, 9.0), st.floats(0.1, 0.8), st.floats(1.0, 3.0), st.floats(1.01, 5.0), st.floats(0.5, 40.0))
@settings(deadline=None, max_examples=60)
def test_an_action_against_load_reaches_the_safe_limit_or_another_does(
    load: float, baseline: float, burstiness: float, growth: float, rate: float
) -> None:
    strained = utilization(load, baseline, baseline * burstiness)
    now = point({("rate", FRONT): since(282, 5, rate)}, utilization=strained)
    actions = against_growth(now, LLM, FRONT, growth)
    assert actions[0].kind == "limit_rate"
    assert actions[-1].kind == "add_replicas"
    for action in actions:
        if action.effect is None or action.effect.limit_kind is None:
            continue
        assert action.effect.limit == safe_limit(strained)
        if action.kind in ("shed_load", "add_replicas"):
            assert action.effect.is_enough
    if actions[0].effect is not None and actions[0].effect.is_enough is False:
        assert actions[1].kind == "shed_load"
        assert actions[1].effect is not None
        assert actions[1].effect.is_enough


@pytest.mark.parametrize(
    ("load", "rate", "amount"),
    [
        (1.0, 10.0, 10 - 0.28 / (0.5 / 5)),
        (0.9, 20.0, math.floor(20 - 0.18 / (0.4 / 15))),
        (0.9, 8.0, 8 - 0.18 / (0.9 / 8)),
    ],
)
def test_a_rate_limit_takes_away_what_exceeds_the_limit_of_the_longest_mean(
    load: float, rate: float, amount: float
) -> None:
    """By the load that each of the caller's further requests added, at most that of all load over all of them.

    The rate is a whole one, of a second or a minute as gateways take it, and the effect that of this rate.
    """
    now = point({("rate", FRONT): since(282, 5, rate)}, utilization=utilization(load))
    limit = against_growth(now, LLM, FRONT, load / 0.5)[0]
    assert limit.amount == pytest.approx(amount)
    assert limit.current == pytest.approx(rate)
    assert limit.effect is not None
    per_request = min((load - 0.5) / (rate - 5), load / rate)
    assert limit.effect.projected == pytest.approx(load - per_request * (rate - amount))
    assert limit.effect.projected <= 0.72 + 1e-9


@pytest.mark.parametrize(("overloaded", "gateway", "rate"), [("cart", None, 10.0), ("model", "litellm", 30.0)])
def test_a_limit_is_at_the_litellm_proxy_only_where_the_load_passes_it(
    overloaded: str, gateway: str | None, rate: float
) -> None:
    """And is of its calls, three for each request, which grew threefold."""
    served = {name: platforms.Served(rate=platforms.step(10.0, 30.0)) for name in ("assistant", "cart", "model")}
    calls = {("assistant", "cart"): 1.0, ("assistant", "litellm"): 3.0, ("litellm", "model"): 3.0}
    edges = {pair: platforms.Served(rate=platforms.step(10 * each, 30 * each)) for pair, each in calls.items()}
    served["litellm"] = platforms.Served(rate=platforms.step(30.0, 90.0))
    now = platforms.Platform(services=served, calls=edges).point()
    action = against_growth(now, platforms.service(overloaded), platforms.service("assistant"), 3.0)[0]
    assert (action.kind, action.callee) == ("limit_rate", gateway and platforms.service(gateway))
    assert (action.amount, action.current) == pytest.approx((rate, 3 * rate))
    assert as_of_now(action, now).current == pytest.approx(3 * rate)


def test_a_rate_is_not_limited_below_its_baseline() -> None:
    """Its baseline load is above the safe limit here, so load is shed as well."""
    now = point({("rate", FRONT): since(282, 5, 6.5)}, utilization=utilization(0.95, baseline=0.85, peak=0.8))
    limit, shed, _ = against_growth(now, LLM, FRONT, 1.1)
    assert limit.amount == pytest.approx(5)
    assert limit.effect is not None
    assert limit.effect.is_enough is False
    assert shed.kind == "shed_load"


ACTIONS = (
    Action("add_replicas", LLM),
    Action("inspect_replicas", LLM),
    Action("roll_back", LLM),
    Action("shed_load", LLM),
    Action("limit_rate", FRONT),
)


@given(st.permutations(ACTIONS), st.sampled_from([0.0, 30.0, 120.0, 400.0, math.inf, math.nan]))
def test_actions_are_in_order_of_their_time_to_effect(actions: list[Action], breach_seconds: float) -> None:
    """Those of one time stay in the order given; what takes effect after the breach is marked, but not during one."""
    ordered = ranked(point(), actions, {LLM: breach_seconds})
    assert len(ordered) == MAX_ACTIONS
    seconds = [action.effective_seconds for action in ordered]
    assert seconds == [LIMIT_SECONDS, LIMIT_SECONDS, RESTART_SECONDS, DEFAULT_DELAY_SECONDS]
    assert [action.kind for action in ordered[:2]] == [a.kind for a in actions if a.kind in ("shed_load", "limit_rate")]
    late = [0 < breach_seconds < action.effective_seconds for action in ordered]
    assert [action.too_late for action in ordered] == late
    assert all(first <= second for first, second in pairwise(seconds))


def test_replicas_are_added_up_to_the_maximum_of_the_autoscaler_or_beyond_it() -> None:
    """The newest maximum is known to the action, which says so where it needs more."""
    now = point({("max_replicas", LLM): since(200, 8, 6)}, utilization=utilization(1.4))
    action = against_growth(now, LLM, FRONT, 2.0)[-1]
    assert (action.kind, action.maximum) == ("add_replicas", 6)
    assert action.exceeds_maximum == (action.total > 6)
    assert math.isnan(max_replicas(now, FRONT))


@pytest.mark.parametrize(
    ("pools", "used", "needed", "free", "exceeds"),
    [
        (("chat", "chat"), 3, 3.0, 1.0, True),
        (("chat", "chat"), 1, 3.0, 3.0, False),
        (("chat", "chat"), math.nan, math.nan, math.nan, False),
        (("chat", "embed"), 3, math.nan, math.nan, False),
    ],
    ids=["one GPU is left", "three are left", "no quota is reported", "its GPUs are of two pools"],
)
def test_replicas_beyond_the_gpu_quota_of_their_pool_exceed_it(
    pools: tuple[str, str], used: float, needed: float, free: float, *, exceeds: bool
) -> None:
    """Two replicas on two GPUs serve; three more are to be added. Each evaluation reads the quota again."""
    now = last_point(replace(world({("used", "chat"): used}), pool=pools), utilization(1.4))
    earlier = Action("add_replicas", LLM, amount=3.0, current=2.0, needed_gpus=9.0, free_gpus=0.0)
    action = as_of_now(earlier, now)
    assert (action.needed_gpus, action.free_gpus) == pytest.approx((needed, free), nan_ok=True)
    assert action.exceeds_quota == exceeds


def test_replicas_are_added_to_the_desired_ones_of_which_not_all_are_ready() -> None:
    """A command that scales to fewer than are desired would remove some; those that come may suffice."""
    desired = ("wanted", LLM)
    ready = against_growth(point(utilization=utilization(1.4)), LLM, FRONT, 2.0)[-1]
    total = round(ready.total)
    now = point({desired: since(282, ready.current, total - 1)}, utilization=utilization(1.4))
    action = against_growth(now, LLM, FRONT, 2.0)[-1]
    if total - 1 > ready.current:
        assert (action.current, action.ready, action.total) == (total - 1, ready.current, total)
        assert action.effect == ready.effect
    now = point({desired: since(282, ready.current, total)}, utilization=utilization(1.4))
    assert against_growth(now, LLM, FRONT, 2.0)[-1].kind == "inspect_replicas"


def test_the_replicas_before_a_pause_are_known_during_it() -> None:
    assert wanted_replicas(point({("wanted", LLM): since(282, 3, 0)}), LLM) == 3


def test_the_rollback_of_a_change_is_second_at_the_latest_after_what_relieves_at_once() -> None:
    actions = [Action(kind, LLM) for kind in ("cap_retries", "limit_length", "shed_load", "limit_rate", "roll_back")]
    assert [action.kind for action in ranked(point(), actions, {})] == [
        "cap_retries", "limit_length", "shed_load", "limit_rate",
    ]  # fmt: skip
    assert [action.kind for action in ranked(point(), actions, {}, "roll_back")] == [
        "cap_retries", "roll_back", "limit_length", "shed_load",
    ]  # fmt: skip
    assert [action.kind for action in ranked(point(), actions[-1:], {}, "roll_back")] == ["roll_back"]


def test_replicas_take_as_long_as_earlier_ones() -> None:
    now = point({("wanted", LLM): since(100, 2, 3), ("ready", LLM): since(118, 2, 3)})
    (action,) = ranked(now, [Action("add_replicas", LLM)], {})
    assert action.effective_seconds == 180


FAILING: Changes = {("error_rate", LLM): since(282, 0, 0.79), ("attempts", ANSWER): since(282, 1, 2.0)}


@pytest.mark.parametrize(
    ("changes", "load", "kinds"),
    [
        (FAILING, 12.0, ["cap_retries", "shed_load", "move_off_gpus"]),
        ({("error_rate", LLM): since(282, 0, 0.79)}, 12.0, ["shed_load", "move_off_gpus"]),
        ({}, 1.4, ["shed_load", "move_off_gpus"]),
        ({}, 0.6, ["move_off_gpus"]),
        (FAILING, math.nan, ["cap_retries", "shed_load", "move_off_gpus"]),
    ],
    ids=["retries amplify failures", "requests fail", "requests wait", "there is room", "load is unknown"],
)
def test_relief_comes_before_the_cause_is_removed(changes: Changes, load: float, kinds: list[str]) -> None:
    now = point(changes, utilization=utilization(load))
    actions = ranked(now, with_relief(now, LLM, [Action("move_off_gpus", FRONT)]), {LLM: 0.0})
    assert [action.kind for action in actions] == kinds
    assert all(action.service == GATEWAY for action in actions if action.kind == "cap_retries")


def test_relief_is_not_repeated() -> None:
    """Actions of the detector come first, and stay where relief is added again."""
    now = point(FAILING, utilization=utilization(12.0))
    once = with_relief(now, LLM, [Action("shed_load", LLM, amount=0.1)])
    assert [(action.kind, action.amount) for action in once] == [("cap_retries", 0.1), ("shed_load", 0.1)]
    assert with_relief(now, LLM, once) == once


LAW = BatchingLaw(base=0.013, per_sequence=0.0007, scale=0.05, load=0.5, peak=0.6)
QUEUED: Changes = {
    ("waiting", LLM): ramp(240, POINTS - 1, 0, 600),
    ("p95", LLM): since(240, 8, 80),
    ("finished", LLM): 5.0,
}
"""A queue that grows by 600 requests in 590 s, hence by 1.02 requests a second, beside 5 that finish."""


@pytest.mark.parametrize(
    ("first", "growth", "kinds", "kept"),
    [
        ("pause", 1.0, ["pause"], None),
        ("pause", 1.5, ["pause", "shed_load"], 0.72),
        ("inspect_gpus", 1.0, ["shed_load", "inspect_gpus"], 0.72),
    ],
    ids=["the capacity that returns is enough", "it is not", "none returns"],
)
def test_what_is_shed_is_what_arrives_beyond_the_capacity_that_the_steps_before_leave(
    first: ActionKind, growth: float, kinds: list[str], kept: float | None
) -> None:
    tokens: Changes = {("generated_tokens", LLM): since(200, 1000, 1000 * growth)}
    full = replace(utilization(11.0), law=LAW)
    now = point({**QUEUED, **tokens}, utilization=full)
    effect = Effect("p95", LLM, "s", 80.0, 8.0)
    steps = ranked(now, with_relief(now, LLM, [Action(first, BATCH, effect=effect)]), {LLM: 0.0})
    assert [step.kind for step in steps] == kinds
    arriving = 1 + 600 / 590 / 5
    loads = [step.effect and (step.effect.now, step.effect.projected) for step in steps if step.kind != first]
    before = 0.5 * growth * arriving if first == "pause" else arriving
    if kept is not None:
        assert loads == [pytest.approx((before, kept), rel=0.02)]
    if first == "pause":
        assert steps[0].effect is not None
        assert steps[0].effect.signal == ARRIVING_LOAD
        assert (steps[0].effect.now, steps[0].effect.projected) == pytest.approx((arriving, before), rel=0.02)
        end = steps[-1]
        assert end.outcome is not None
        assert 8.0 < end.outcome.projected < 16.0
        left = kept or before
        assert end.drain_seconds == pytest.approx(600 / (5 * arriving / before * (1 - left)), rel=0.05)


def test_load_is_not_shed_where_a_limit_is_enough() -> None:
    now = point({("rate", FRONT): since(282, 5, 10)}, utilization=utilization(1.0))
    actions = against_growth(now, LLM, FRONT, 2.0)
    assert [action.kind for action in with_relief(now, LLM, actions)] == ["limit_rate", "add_replicas"]


def test_after_the_symptoms_no_relief_is_left() -> None:
    now = point(FAILING, utilization=utilization(12.0))
    actions = ranked(
        now, with_relief(now, LLM, [Action("move_off_gpus", FRONT), Action("inspect_links", FRONT)]), {LLM: 5.0}
    )
    assert [(action.kind, action.effect, action.too_late) for action in durable(actions, now)] == [
        ("move_off_gpus", None, False),
        ("inspect_links", None, False),
    ]


def test_an_action_of_an_earlier_evaluation_shows_the_present_load_and_rate() -> None:
    """Pages show the same load beside it; an effect that is reached is not announced."""
    rates: Changes = {("rate", FRONT): since(282, 5, 11.3)}
    limit, *_ = against_growth(point(rates, utilization=utilization(0.87)), LLM, FRONT, 1.9)
    assert limit.effect is not None
    risen = as_of_now(limit, point({("rate", FRONT): since(282, 5, 14.0)}, utilization=utilization(1.58)))
    assert risen.effect is not None
    assert (risen.effect.now, risen.effect.projected) == (1.58, limit.effect.projected)
    assert risen.current == pytest.approx(14.0)
    assert as_of_now(limit, point(rates, utilization=utilization(limit.effect.projected))).effect is None


CHECK_FRONT = Action("check_first", FRONT, candidates=(FRONT,))
CHECK_BOTH = Action("check_first", FRONT, candidates=(LLM, FRONT))


@pytest.mark.parametrize(
    ("changes", "actions"),
    [
        ({"confidence": 0.3}, (CHECK_FRONT,)),
        ({"confidence": 0.3, "candidates": (Candidate(LLM, 0.6), Candidate(FRONT, 0.3))}, (CHECK_BOTH,)),
        ({"confidence": 0.5}, roll_back(LLM, (FRONT,), None)),
        ({"confidence": 0.3, "summary": Summary(latent=True)}, roll_back(LLM, (FRONT,), None)),
    ],
    ids=["no candidate but itself", "candidates", "medium confidence", "a latent risk is its own cause"],
)
def test_without_a_stated_cause_the_candidates_are_checked_and_nothing_is_done_against_them(
    changes: dict[str, Any], actions: Sequence[Action]
) -> None:
    """It may hit a bystander. Evaluated again, the actions stay the same."""
    incident = replace(Incident("1", "warning", "firing", "dependency", FRONT, since=0.0, opened=0.0), **changes)
    evaluation = Evaluation(point(), {}, ())
    found = with_actions(incident, roll_back(LLM, (FRONT,), None), evaluation)
    assert {(item.kind, item.candidates) for item in found.actions} == {
        (item.kind, item.candidates) for item in actions
    }
    assert with_actions(found, found.actions, evaluation).actions == found.actions


@pytest.mark.parametrize(
    ("affected", "is_stated"), [((FRONT,), False), ((), True)], ids=["an early warning", "a latent risk"]
)
def test_an_early_warning_of_a_retry_storm_states_its_cause_as_others_do(
    affected: tuple[Service, ...], *, is_stated: bool
) -> None:
    """Of the causes of low confidence, only a latent risk, which affects no service, is stated."""
    incident = Incident("1", "warning", "firing", "retry_storm", FRONT, 0.0, opened=0.0, affected=affected)
    found = with_summary(replace(incident, confidence=0.3), Evaluation(point(), {}, ()))
    assert (found.summary.latent, found.is_cause_stated) == (is_stated, is_stated)


@pytest.mark.parametrize(
    ("rate", "least", "whole"),
    [(10.4, 0.0, 10.0), (10.4, 10.4, 11.0), (10.4, 10.0, 10.0), (7.009, 7.009, 421 / 60), (0.01, 0.01, 0.01)],
)
def test_a_rate_limit_is_rounded_down_but_not_below_the_baseline(rate: float, least: float, whole: float) -> None:
    assert whole_rate(Action("limit_rate", FRONT), rate, 1.0, least) == pytest.approx(whole)
