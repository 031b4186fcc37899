"""Actions end with their expected effect if it is known and better."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.detectors.platform import (
    ANSWER,
    ASK,
    CODE,
    FRONT,
    GATEWAY,
    GPUS,
    IN,
    LLM,
    QUERY,
    STORE,
    Changes,
    last_point,
    point,
    ramp,
    since,
    texts,
)
from tests.analysis.detectors.test_detectors import (
    CASES,
    DETECTORS,
    GROWS,
    LOSES,
    NOW,
    SLOW_STORE,
    WAITS,
    Case,
    seasonality,
    slow,
)
from tests.analysis.detectors.test_invariants import change_sets

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.overload import overload
from foreshock_dashboard.analysis.incidents.actions import fallback_actions
from foreshock_dashboard.analysis.remediation.effect import at_baseline, best, improvement, reduced
from foreshock_dashboard.model.action import Action, Effect, Unit
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.action import action_expected
from foreshock_dashboard.stats.rounding import displayed

CHANGES: Mapping[str, Changes] = {case.name: case.changes for case in CASES}
HOT, LOST_GPU = CHANGES["a GPU is throttled"], CHANGES["a GPU is lost with its replica"]
SLOW_REPLICA, UNEVEN = CHANGES["one replica is slow"], CHANGES["one replica has nearly all requests"]
SHORT = CHANGES["the quota is used up"]
UNKNOWN = math.nan


def utilization_at(load: float) -> Utilization:
    """Utilization of model servers at a load over capacity."""
    return Utilization(1.0, 0.0, 0.6, 0.0, 60.0, load, (load,) * 3, 0.5, 0.7)


def actions(now: EvaluationPoint, cause: str, service: Service) -> list[str]:
    """Texts of the actions of each finding for a cause and a service."""
    return [
        texts(finding.actions)
        for detect in DETECTORS
        for finding in detect(now)
        if (finding.cause, finding.service) == (cause, service) and finding.strength > 0.1
    ]


@pytest.mark.parametrize(
    ("changes", "cause", "service", "expected"),
    [
        pytest.param(
            SLOW_STORE, "dependency", FRONT,
            "Expected: product/front error rate 15% → 0% (baseline 0%).",
            id="a caller fails less where its callee does not",
        ),
        pytest.param(
            {**SLOW_STORE, ("error_rate", FRONT): 0.0, ("edge_error_rate", QUERY): 0.0}, "dependency", FRONT,
            "Expected: product/front p95 13.0 s → 12.0 s (baseline 9.00 s).",
            id="a caller is faster by what its calls take less, and no more",
        ),
        pytest.param(
            {**SLOW_STORE, ("error_rate", FRONT): 0.0, ("edge_error_rate", QUERY): since(NOW, 0, 0.07),
             **slow(FRONT, 9, 9.5)},
            "dependency", FRONT,
            "Expected: product/front p95 9.50 s → 9.00 s (baseline 9.00 s).",
            id="no caller is said to become faster than its baseline",
        ),
        pytest.param(
            SLOW_STORE, "dependency", STORE,
            "Expected: product/front error rate 15% → 0% (baseline 0%).",
            id="a callee has the effect on its callers",
        ),
        pytest.param(
            {**SLOW_STORE, ("error_rate", FRONT): 0.0, **slow(FRONT, 9, 9)}, "dependency", STORE,
            "Expected: data/store p95 2.00 s → 30 ms (baseline 30 ms).",
            id="where no caller is worse yet it is the callee's own",
        ),
        pytest.param(
            HOT, "hardware", LLM, "Expected: serving/llm p95 14.0 s → 9.94 s (baseline 8.00 s).",
            id="of two GPUs one at 55% of its clock takes 1.4 times as long on the whole",
        ),
        pytest.param(
            {**LOST_GPU, ("ready", LLM): 2}, "hardware", LLM,
            "Expected: serving/llm load 50% lower.",
            id="half of the GPUs are gone",
        ),
        pytest.param(
            {("errors", GPUS[0]): since(NOW, 0, 0.02), **slow(LLM, 8, 14)}, "hardware", LLM,
            "Expected: serving/llm p95 14.0 s → 8.00 s (baseline 8.00 s).",
            id="a GPU counts errors at full clock",
        ),
        pytest.param(
            {("ready", LLM): since(NOW, 2, 1), **slow(LLM, 8, 30)}, "hardware", LLM,
            "serving/llm has lost 50% of its capacity. Expected: serving/llm load 50% lower.",
            id="half of the replicas are gone",
        ),
        pytest.param(
            SLOW_REPLICA, "hardware", LLM,
            "Drain replica llm-2.host-2:8000. Expected: serving/llm mean duration 9.00 s → 4.00 s.",
            id="one replica is slow",
        ),
        pytest.param(
            UNEVEN, "load_imbalance", LLM,
            "Expected: requests on llm-1.host-1:8000 60 → 30.",
            id="one replica has nearly all requests",
        ),
        pytest.param(
            LOSES, "network", GATEWAY,
            "Expected: p95 of calls from serving/gateway to serving/llm 16.0 s → 8.10 s (baseline 8.10 s).",
            id="packets are lost on a path",
        ),
        pytest.param(
            {("retransmitted", "host-1"): since(NOW, 0, 0.3), **slow(LLM, 8, 20), ("edge_p95", ANSWER): UNKNOWN},
            "network", LLM,
            "Drain host host-1. Expected: serving/llm p95 20.0 s → 8.00 s (baseline 8.00 s).",
            id="a host loses packets, and no call reports it",
        ),
        pytest.param(
            SHORT, "scale_up_lag", LLM, "Shed 50% of requests to serving/llm with HTTP 503. Expected: serving/llm load "
            "50% lower.",
            id="three replicas serve and three are on their way",
        ),
        pytest.param(
            {**WAITS, ("wanted", LLM): since(285, 2, 6), ("ready", LLM): since(285, 2, 6)}, "scale_up_lag", LLM,
            "(now 6 replicas). Expected: serving/llm load 14% lower.",
            id="the autoscaler's bound is reached",
        ),
    ],
)  # fmt: skip
def test_an_action_has_its_expected_effect(changes: Changes, cause: str, service: Service, expected: str) -> None:
    findings = actions(point(changes), cause, service)
    assert findings
    assert all(expected in step for step in findings), findings


def test_recurring_load_names_the_load_with_more_replicas() -> None:
    """Of the baseline load at that time, not of the current load."""
    now = point({**WAITS, **GROWS})
    weekly = replace(now.world, season=seasonality(now, 1.6))
    (step,) = actions(last_point(weekly, utilization_at(1.4)), "overload", LLM)
    assert step.startswith("Scale serving/llm from 2 to 3 replicas before ")
    assert step.endswith("Expected: serving/llm load 80% → 53% (safe limit 76%).")


REJECTED = "of requests to serving/llm with HTTP 503, then roll back"


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (
            1.4,
            f"28% {REJECTED} when the remaining load is below 55%. Expected: ",
        ),
        (
            40.0,
            f"28% {REJECTED} when the remaining load is below 55%. Expected: ",
        ),
        (UNKNOWN, "50% of requests to serving/llm with HTTP 503. Expected: serving/llm load 50% lower."),
    ],
    ids=["known load", "mostly backlog", "unknown load"],
)
def test_load_is_shed_to_the_safe_limit_or_to_what_the_ready_replicas_carry(load: float, expected: str) -> None:
    (step,) = actions(point(SHORT, utilization=utilization_at(load)), "scale_up_lag", LLM)
    assert step.startswith(f"Shed {expected}")


@pytest.mark.parametrize(
    ("changes", "cause", "service"),
    [
        pytest.param(
            {**{key: shape for key, shape in SLOW_STORE.items() if key[0].startswith("edge")}, ("p95", FRONT): UNKNOWN,
             ("error_rate", FRONT): UNKNOWN, ("p95", STORE): UNKNOWN, ("error_rate", STORE): UNKNOWN},
            "dependency", STORE, id="unknown durations and failures",
        ),
        pytest.param(
            {**HOT, ("clock", GPUS[0]): UNKNOWN, ("clock", GPUS[1]): UNKNOWN, ("p95", LLM): UNKNOWN,
             ("per_token", LLM): UNKNOWN, ("first_token", LLM): UNKNOWN, ("error_rate", LLM): UNKNOWN},
            "hardware", LLM, id="a throttled GPU, and no data of its service",
        ),
        pytest.param(
            {**LOST_GPU, ("lost", GPUS[0]): since(NOW, 0, 1), ("p95", LLM): UNKNOWN, ("ready", LLM): 2},
            "hardware", LLM, id="all GPUs are gone: of no capacity there is no part",
        ),
        pytest.param(
            {("retransmitted", "host-1"): since(NOW, 0, 0.3), ("edge_p95", ANSWER): UNKNOWN, ("p95", LLM): UNKNOWN},
            "network", LLM, id="a lossy host, and unknown durations",
        ),
        pytest.param(
            {**SHORT, ("ready", LLM): 0}, "scale_up_lag", LLM, id="no replica has ever served",
        ),
    ],
)  # fmt: skip
def test_an_unknown_effect_is_left_out(changes: Changes, cause: str, service: Service) -> None:
    findings = actions(point(changes), cause, service)
    assert findings
    assert not any("Expected" in step for step in findings), findings


@pytest.mark.parametrize(
    ("cause", "suspect", "changes", "expected"),
    [
        (
            "overload", FRONT, {},
            "load > 100% → 50% once the queue drains (safe limit 76%). Scale serving/llm from 2 to 4 replicas. Expec",
        ),
        (
            "dependency", None, WAITS,
            "of serving/llm. No external cause found. Expected: serving/llm p95 30.0 s → 8.00 s (baseline 8.00 s).",
        ),
        ("dependency", CODE.server, WAITS, "Expected: serving/llm p95 30.0 s → 8.00 s (baseline 8.00 s)."),
        (
            "dependency", None, {("p95", LLM): UNKNOWN},
            "Roll back the last deploy of serving/llm. No external cause found. Restart serving/llm.",
        ),
    ],
    ids=["more load", "an own fault", "another suspect", "no data"],
)  # fmt: skip
def test_a_fallback_action_has_its_expected_effect(
    cause: Cause, suspect: Service | None, changes: Changes, expected: str
) -> None:
    now = point(changes, utilization=utilization_at(1.4))
    assert expected in texts(fallback_actions(now, cause, LLM, suspect))


def test_a_caller_gains_the_excess_of_its_calls() -> None:
    changes: Changes = {**slow(FRONT, 9, 40), ("edge_p95", ASK): since(NOW, 8.6, 20)}
    step = texts(fallback_actions(point(changes), "dependency", FRONT, GATEWAY))
    assert "Expected: product/front p95 40.0 s → 28.6 s (baseline 9.00 s)." in step


@pytest.mark.parametrize(
    ("now", "then", "unit", "expected"),
    [
        (14.0, 8.0, "s", "serving/llm p95 14.0 s → 8.00 s"),
        (0.15, 0.0, "ratio", "serving/llm p95 15% → 0%"),
        (60.0, 30.0, "", "serving/llm p95 60 → 30"),
        (8.0, 14.0, "s", ""),
        (8.0, 8.0, "s", ""),
        (14.04, 14.01, "s", ""),
        (1.0, 0.9996, "s", ""),
        (0.101, 0.09999, "ratio", ""),
        (0.001, 0.0005, "ratio", ""),
        (9.4, 8.6, "", ""),
        (UNKNOWN, 8.0, "s", ""),
        (8.0, UNKNOWN, "s", ""),
        (math.inf, 8.0, "s", ""),
        (8.0, -1.0, "s", ""),
    ],
)
def test_an_effect_is_shown_if_better_once_rounded(now: float, then: float, unit: Unit, expected: str) -> None:
    effect = improvement("p95", LLM, unit, now, then)
    assert effect_text(effect) == expected


def effect_text(effect: Effect | None) -> str:
    """The text of an effect after an action."""
    return action_expected(Action("restart", LLM, effect=effect))


@pytest.mark.parametrize("ratio", [UNKNOWN, math.inf, -0.1, 0.0, 0.996, 1.0, 3.0])
def test_an_unknown_or_empty_reduction_is_no_effect(ratio: float) -> None:
    assert reduced("load", LLM, ratio) is None


def test_the_best_known_effect_is_chosen() -> None:
    slower = improvement("a", LLM, "s", 12, 11)
    failing, hardly = (improvement("b", LLM, "ratio", now, 0.0) for now in (0.5, 0.002))
    unknown = improvement("c", LLM, "s", UNKNOWN, 0.1)
    assert best([slower, failing, unknown]) == failing
    assert best([slower, hardly]) == slower
    assert best([unknown]) is best([]) is None


def assert_better(effect: Effect | None) -> None:
    """Every value is known, and better than the current one."""
    if effect is None:
        return
    assert not re.search(r"\b(nan|inf)\b", effect_text(effect))
    if math.isnan(effect.now):
        assert 0 < effect.projected < 1
    else:
        assert 0 <= displayed(effect.projected, effect.unit) < displayed(effect.now, effect.unit)


values = st.floats(0, 1e6) | st.floats(allow_nan=True, allow_infinity=True)


@given(values, values | st.floats(0.9, 1.0), st.sampled_from(["s", "ratio", ""]), st.booleans())
def test_every_effect_is_finite_and_better(now: float, then: float, unit: Unit, times: bool) -> None:
    assert_better(improvement("x", LLM, unit, now, now * then if times else then))
    assert_better(reduced("load", LLM, then))


@given(change_sets(), st.sampled_from(CASES), st.floats(0, 20) | st.just(UNKNOWN))
def test_no_action_expects_a_worse_value(changes: Changes, case: Case, load: float) -> None:
    now = point({**case.changes, **changes}, utilization=utilization_at(load))
    for detect in DETECTORS:
        for finding in detect(now):
            for action in finding.actions:
                assert_better(action.effect)
    causes: tuple[Cause, ...] = ("overload", "dependency")
    for cause in causes:
        for action in (*fallback_actions(now, cause, FRONT, GATEWAY), *fallback_actions(now, cause, LLM, None)):
            assert_better(action.effect)


def test_a_healthy_platform_has_no_effect() -> None:
    now = point()
    assert [at_baseline(now, service) for service in now.world.services] == [None] * len(now.world.services)


def test_without_a_baseline_there_is_no_effect() -> None:
    made = replace(point(WAITS).world)
    nothing = baselines_at(made, 1)
    assert np.isnan(EvaluationPoint(made, 299, nothing).level("p95", LLM))
    assert at_baseline(EvaluationPoint(made, 299, nothing), LLM) is None


@pytest.mark.parametrize(
    ("rate", "limit"),
    [
        (8.0, f"Rate-limit {FRONT} to 5 req/s (now 8 req/s)."),
        (5.2, f"Rate-limit {FRONT}."),
        (4.0, f"Rate-limit {FRONT}."),
    ],
    ids=["its rate grew", "its requests became longer", "its rate fell"],
)
def test_the_baseline_rate_is_the_limit_if_it_grew(rate: float, limit: str) -> None:
    """The model generates 1.8 times as many tokens."""
    changes: Changes = {
        **WAITS,
        ("generated_tokens", LLM): ramp(200, 280, 1000, 1800),
        ("rate", FRONT): ramp(200, 280, 5, rate),
        **{("edge_rate", edge): ramp(200, 280, 5, max(rate, 5.2)) for edge in (IN, ASK, ANSWER)},
    }
    (finding,) = [finding for finding in overload(point(changes)) if finding.service == LLM]
    assert finding.suspect.service == FRONT
    assert texts(finding.actions).startswith(limit)
