"""A next step ends with a figure that it would make better, as far as that is known; and it is never told as worse."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.causes.made import (
    ANSWER,
    ASK,
    CODE,
    FRONT,
    GATEWAY,
    GPUS,
    LLM,
    QUERY,
    STORE,
    Bent,
    point,
    ramp,
    since,
)
from tests.analysis.causes.test_causes import (
    CASES,
    DETECTORS,
    GROWS,
    LOSES,
    NOW,
    SLOW_STORE,
    WAITS,
    Case,
    every_week,
    slow,
)
from tests.analysis.causes.test_causes_hold import bents

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.incidents.fallback_action import fallback_action
from foreshock_dashboard.analysis.remediation.effect import at_baseline, best, improvement, reduced
from foreshock_dashboard.model.action import Action, Effect, Unit
from foreshock_dashboard.model.batching_law import Utilization
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.action import action_text

BENT: Mapping[str, Bent] = {case.name: case.bent for case in CASES}
HOT, GONE = BENT["a GPU is too hot"], BENT["a GPU is gone and its replica with it"]
ODD, UNEVEN = BENT["one replica is slow"], BENT["one replica gets nearly all"]
SHORT = BENT["the quota is used up"]
NEVER = math.nan
TOLD = re.compile(r"would be about (?P<then>\S+)(?P<of> ms| s| %|) instead of (?P<now>\S+)(?P<unit> ms| s| %|)$")
PART = re.compile(r"would be <?(?P<part>\S+) % of what it is$")


def full(load: float) -> Utilization:
    """Model servers that are asked for so much of what they give."""
    return Utilization(1.0, 0.0, 0.6, 0.0, 60.0, load, (load,) * 3, 0.5, 0.7)


def steps(now: EvaluationPoint, cause: str, service: Service) -> list[str]:
    """What findings of a cause about a service say is to be done."""
    return [
        action_text(each.action)
        for detect in DETECTORS
        for each in detect(now)
        if (each.cause, each.service) == (cause, service) and each.strength > 0.1
    ]


@pytest.mark.parametrize(
    ("bent", "cause", "service", "told"),
    [
        pytest.param(
            SLOW_STORE, "dependency", FRONT,
            "with data/store as usual, failed requests of product/front would be about 0 % instead of 15 %",
            id="a caller fails less where its callee does not",
        ),
        pytest.param(
            {**SLOW_STORE, ("failed", FRONT): 0.0, ("edge_failed", QUERY): 0.0}, "dependency", FRONT,
            "with data/store as usual, p95 of product/front would be about 12.0 s instead of 13.0 s",
            id="a caller is faster by what its calls take less, and no more",
        ),
        pytest.param(
            {**SLOW_STORE, ("failed", FRONT): 0.0, ("edge_failed", QUERY): since(NOW, 0, 0.07), **slow(FRONT, 9, 9.5)},
            "dependency", FRONT,
            "with data/store as usual, p95 of product/front would be about 9.00 s instead of 9.50 s",
            id="no caller is said to become faster than it usually is",
        ),
        pytest.param(
            SLOW_STORE, "dependency", STORE,
            "with data/store as usual, failed requests of product/front would be about 0 % instead of 15 %",
            id="of a callee it is told what its callers would gain",
        ),
        pytest.param(
            {**SLOW_STORE, ("failed", FRONT): 0.0, **slow(FRONT, 9, 9)}, "dependency", STORE,
            "with data/store as usual, p95 of data/store would be about 30 ms instead of 2.00 s",
            id="where no caller is worse yet it is the callee's own",
        ),
        pytest.param(
            HOT, "hardware", LLM, "at their usual clock, p95 of serving/llm would be about 9.94 s instead of 14.0 s",
            id="of two GPUs one at 55 % of its clock takes 1.4 times as long on the whole",
        ),
        pytest.param(
            {**GONE, ("ready", LLM): 2}, "hardware", LLM,
            "with as many GPUs as before, load of serving/llm would be 50 % of what it is",
            id="half of the GPUs are gone",
        ),
        pytest.param(
            {("errors", GPUS[0]): since(NOW, 0, 0.02), **slow(LLM, 8, 14)}, "hardware", LLM,
            "on GPUs that are well, p95 of serving/llm would be about 8.00 s instead of 14.0 s",
            id="a GPU counts errors at full clock",
        ),
        pytest.param(
            {("ready", LLM): since(NOW, 2, 1), **slow(LLM, 8, 30)}, "hardware", LLM,
            "50 % of its capacity is gone: with all of them, load of serving/llm would be 50 % of what it is",
            id="half of the replicas are gone",
        ),
        pytest.param(
            ODD, "hardware", LLM,
            "drain replica llm-2.host-2:8000: as fast as on the others, mean duration of serving/llm would be about"
            " 4.00 s instead of 9.00 s",
            id="one replica is slow",
        ),
        pytest.param(
            UNEVEN, "imbalance", LLM,
            "spread evenly, requests on llm-1.host-1:8000 would be about 30 instead of 60",
            id="one replica has nearly all requests",
        ),
        pytest.param(
            LOSES, "network", GATEWAY,
            "as fast as the server answers, p95 of calls from serving/gateway to serving/llm would be about 8.10 s"
            " instead of 16.0 s",
            id="packets are lost on a path",
        ),
        pytest.param(
            {("retransmitted", "host-1"): since(NOW, 0, 0.3), **slow(LLM, 8, 20), ("edge_p95", ANSWER): NEVER},
            "network", LLM,
            "without its losses, p95 of serving/llm would be about 8.00 s instead of 20.0 s",
            id="a host loses packets, and no call tells of it",
        ),
        pytest.param(
            SHORT, "provisioning lag", LLM, "with them, load of serving/llm would be 50 % of what it is",
            id="three replicas serve and three are on their way",
        ),
        pytest.param(
            {**WAITS, ("wanted", LLM): since(285, 2, 6), ("ready", LLM): since(285, 2, 6)}, "provisioning lag", LLM,
            "with one more, load of serving/llm would be 86 % of what it is",
            id="the autoscaler's bound is reached",
        ),
    ],
)  # fmt: skip
def test_a_next_step_ends_with_what_would_be_better(bent: Bent, cause: str, service: Service, told: str) -> None:
    found = steps(point(bent), cause, service)
    assert found
    assert all(step.endswith(told) for step in found), found


def test_for_load_that_comes_every_week_it_is_told_what_it_would_be_with_the_replicas_that_it_takes() -> None:
    """In time for the hour, of the usual load: not of what is asked at the moment."""
    now = point({**WAITS, **GROWS})
    weekly = replace(now.world, season=every_week(now, 1.6))
    (step,) = steps(EvaluationPoint(weekly, now.at, now.base, utilizations={LLM: full(1.4)}), "demand", LLM)
    assert step.startswith("add 1 replica of serving/llm (it has 2), from now on before")
    assert step.endswith("; with them, load of serving/llm at that time would be about 53 % instead of 80 %")


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (1.4, "with them, load of serving/llm would be about 70 % instead of 140 %"),
        (40.0, "with them, load of serving/llm would be 50 % of what it is"),
        (NEVER, "with them, load of serving/llm would be 50 % of what it is"),
    ],
    ids=["what servers are asked is known", "most of it is a backlog", "it is not known"],
)
def test_replicas_that_are_on_their_way_take_their_part_of_the_load(load: float, told: str) -> None:
    now = point(SHORT)
    (step,) = steps(
        EvaluationPoint(now.world, now.at, now.base, utilizations={LLM: full(load)}), "provisioning lag", LLM
    )
    assert step.endswith(told)


GUESS = "(time-out, breaker, cached answer)"


@pytest.mark.parametrize(
    ("bent", "cause", "service", "ends"),
    [
        pytest.param(
            {**{each: shape for each, shape in SLOW_STORE.items() if each[0].startswith("edge")}, ("p95", FRONT): NEVER,
             ("failed", FRONT): NEVER, ("p95", STORE): NEVER, ("failed", STORE): NEVER},
            "dependency", STORE, GUESS, id="nobody tells of durations or failures",
        ),
        pytest.param(
            {**HOT, ("clock", GPUS[0]): NEVER, ("clock", GPUS[1]): NEVER, ("p95", LLM): NEVER,
             ("per_token", LLM): NEVER, ("first_token", LLM): NEVER, ("failed", LLM): NEVER},
            "hardware", LLM, "run elsewhere", id="a GPU is throttled, and nothing is told of its service",
        ),
        pytest.param(
            {**GONE, ("lost", GPUS[0]): since(NOW, 0, 1), ("p95", LLM): NEVER, ("ready", LLM): 2},
            "hardware", LLM, "run elsewhere", id="all GPUs are gone: of no capacity there is no part",
        ),
        pytest.param(
            {("retransmitted", "host-1"): since(NOW, 0, 0.3), ("edge_p95", ANSWER): NEVER, ("p95", LLM): NEVER},
            "network", LLM, "look at its link", id="a host loses packets, and nobody tells of durations",
        ),
        pytest.param(
            {**SHORT, ("ready", LLM): 0}, "provisioning lag", LLM, "until then",
            id="no replica has ever served",
        ),
        pytest.param(
            {**WAITS, ("cache", LLM): lambda i: NEVER if i >= 297 else ramp(220, 290, 0.3, 0.96)(i),
             ("running", LLM): ramp(220, 290, 20, 32)},
            "memory pressure", LLM, "shorter maximum length)", id="three scrapes of the cache are lost",
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_out(bent: Bent, cause: str, service: Service, ends: str) -> None:
    found = steps(point(bent), cause, service)
    assert found
    assert all(step.endswith(ends) for step in found), found


@pytest.mark.parametrize(
    ("cause", "guilty", "bent", "ends"),
    [
        ("demand", FRONT, {}, "without the growth, load of serving/llm would be 36 % of what it is"),
        ("dependency", None, WAITS, "; as before, p95 of serving/llm would be about 8.00 s instead of 30.0 s"),
        ("dependency", CODE.server, WAITS, "usual, p95 of serving/llm would be about 8.00 s instead of 30.0 s"),
        ("dependency", None, {("p95", LLM): NEVER}, "nothing around it explains its trouble"),
    ],
    ids=["more is asked", "it is slow by itself", "another is blamed", "nothing is known"],
)  # fmt: skip
def test_so_does_what_is_to_be_done_where_nothing_is_found(
    cause: Cause, guilty: Service | None, bent: Bent, ends: str
) -> None:
    now = point(bent)
    strained = EvaluationPoint(now.world, now.at, now.base, utilizations={LLM: full(1.4)})
    assert action_text(fallback_action(strained, cause, LLM, guilty)).endswith(ends)


def test_where_a_caller_blames_whom_it_calls_it_gains_what_these_calls_take_more() -> None:
    bent: Bent = {**slow(FRONT, 9, 40), ("edge_p95", ASK): since(NOW, 8.6, 20)}
    step = fallback_action(point(bent), "dependency", FRONT, GATEWAY)
    assert action_text(step).endswith("p95 of product/front would be about 28.6 s instead of 40.0 s")


@pytest.mark.parametrize(
    ("now", "then", "unit", "told"),
    [
        (14.0, 8.0, "s", "p95 of serving/llm would be about 8.00 s instead of 14.0 s"),
        (0.15, 0.0, "ratio", "p95 of serving/llm would be about 0 % instead of 15 %"),
        (60.0, 30.0, "", "p95 of serving/llm would be about 30 instead of 60"),
        (8.0, 14.0, "s", ""),
        (8.0, 8.0, "s", ""),
        (14.04, 14.01, "s", ""),
        (1.0, 0.9996, "s", ""),
        (0.101, 0.09999, "ratio", ""),
        (0.001, 0.0005, "ratio", ""),
        (9.4, 8.6, "", ""),
        (NEVER, 8.0, "s", ""),
        (8.0, NEVER, "s", ""),
        (math.inf, 8.0, "s", ""),
        (8.0, -1.0, "s", ""),
    ],
)
def test_a_figure_is_told_where_it_is_better_and_reads_so(now: float, then: float, unit: Unit, told: str) -> None:
    effect = improvement("p95", LLM, unit, now, then, "as_before")
    assert effect_text(effect) == told


def effect_text(effect: Effect | None) -> str:
    """How an effect reads at the end of an action."""
    return action_text(Action("restart", effect=effect)).removeprefix("restart it").removeprefix(": as before, ")


@pytest.mark.parametrize("part", [NEVER, math.inf, -0.1, 0.0, 0.996, 1.0, 3.0])
def test_no_part_is_told_that_is_not_known_or_none(part: float) -> None:
    assert reduced("load", LLM, part, "as_before") is None


def test_the_best_of_what_is_known_is_told() -> None:
    slower = improvement("a", LLM, "s", 12, 11, "as_before")
    failing, hardly = (improvement("b", LLM, "ratio", now, 0.0, "as_before") for now in (0.5, 0.002))
    unknown = improvement("c", LLM, "s", NEVER, 0.1, "as_before")
    assert best([slower, failing, unknown]) == failing
    assert best([slower, hardly]) == slower
    assert best([unknown]) is best([]) is None


def assert_better(step: str) -> None:
    """No figure that is not known, and none that is no better."""
    assert not re.search(r"\b(nan|inf)\b", step), step
    if "would be about" in step:
        told = TOLD.search(step)
        assert told, step
        then, now = (
            float(told[value].lstrip("<")) * {" ms": 1e-3}.get(told[unit], 1.0)
            for value, unit in (("then", "of"), ("now", "unit"))
        )
        assert 0 <= then < now < math.inf, step
    elif "of what it is" in step:
        part = PART.search(step)
        assert part, step
        assert 0 < float(part["part"]) < 100, step


values = st.floats(0, 1e6) | st.floats(allow_nan=True, allow_infinity=True)


@given(values, values | st.floats(0.9, 1.0), st.sampled_from(["s", "ratio", ""]), st.booleans())
def test_whatever_is_told_is_finite_and_better(now: float, then: float, unit: Unit, times: bool) -> None:
    assert_better(effect_text(improvement("x", LLM, unit, now, now * then if times else then, "as_before")))
    assert_better(effect_text(reduced("load", LLM, then, "as_before")))


@given(bents(), st.sampled_from(CASES), st.floats(0, 20) | st.just(NEVER))
@settings(deadline=None, max_examples=100)
def test_whatever_a_platform_tells_no_next_step_promises_what_is_no_better(bent: Bent, case: Case, load: float) -> None:
    now = point({**case.bent, **bent})
    strained = EvaluationPoint(now.world, now.at, now.base, utilizations={LLM: full(load)})
    for detect in DETECTORS:
        for each in detect(strained):
            assert_better(action_text(each.action))
    causes: tuple[Cause, ...] = ("demand", "dependency")
    for cause in causes:
        assert_better(action_text(fallback_action(strained, cause, FRONT, GATEWAY)))
        assert_better(action_text(fallback_action(strained, cause, LLM, None)))


def test_nothing_is_promised_of_a_platform_that_is_as_usual() -> None:
    now = point()
    assert [at_baseline(now, who, "as_before") for who in now.world.services] == [None] * len(now.world.services)


def test_without_a_baseline_nothing_is_promised() -> None:
    made = replace(point(WAITS).world)
    nothing = baselines_at(made, 1)
    assert np.isnan(EvaluationPoint(made, 299, nothing).level("p95", LLM))
    assert at_baseline(EvaluationPoint(made, 299, nothing), LLM, "as_before") is None
