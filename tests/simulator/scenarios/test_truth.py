"""The truth of a run: when an objective counts as missed, what a cascade is, and the run without its culprit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.scenarios.load import load, names, parse
from foreshock_simulator.scenarios.truth import MIN_REQUESTS, SloWatch, StepCounts, breaches, evaluate
from foreshock_simulator.spec.queries import without_culprit
from foreshock_simulator.spec.scenario import ScenarioSpec
from foreshock_simulator.spec.services import Slo

WELL = StepCounts(20, 0, 0)
SLOW = StepCounts(20, 20, 0)
FAILING = StepCounts(20, 0, 1)
QUIET = StepCounts(1, 1, 1)

STARVED = """\
description: A tenant grows.
faults:
  - tenant_grows: {tenant: batch-embed, at: 200, workers: 2, onto: [llm-chat]}
  - surge: {flow: assistant, at: 300, factor: 2}
expects: {cascade: true, cause: pool_contention, culprit: batch-embed, origin: llm-chat}
"""


def starved() -> ScenarioSpec:
    """A scenario with a culprit."""
    return parse(STARVED, "starved.yaml")


@pytest.mark.parametrize(
    ("answered", "begun"),
    [
        ([WELL] * 30, []),
        ([WELL] * 12 + [SLOW] * 12, [130.0]),
        ([WELL] * 12 + [SLOW] * 2 + [WELL] * 12, [130.0]),
        ([WELL] * 12 + [StepCounts(20, 5, 0)] + [WELL] * 12, []),
        ([WELL] * 12 + [FAILING] * 12, [170.0]),
        ([WELL] * 12 + [FAILING] * 2 + [WELL] * 12, []),
        ([QUIET] * 30, []),
        ([SLOW] * 12, [60.0]),
        ([WELL] * 6 + [SLOW] * 6 + [WELL] * 12 + [SLOW] * 6, [70.0, 250.0]),
        ([], []),
    ],
    ids=[
        "well",
        "slow",
        "short",
        "few",
        "failing",
        "too few failed",
        "too few requests",
        "at once",
        "twice",
        "nothing",
    ],
)
def test_an_objective_is_missed_over_a_minute_at_three_scrapes_in_a_row(
    answered: list[StepCounts], begun: list[float]
) -> None:
    """A breach begins with the first of these scrapes; one that goes on is one."""
    assert breaches(answered, 0.95) == begun


@given(
    st.lists(st.builds(lambda bad, well: StepCounts(bad + well, bad, bad // 2), *[st.integers(0, 40)] * 2), max_size=60)
)
def test_worse_answers_never_breach_later(answered: list[StepCounts]) -> None:
    """Where some requests more go badly, the first breach comes as early or earlier."""
    worse = [StepCounts(step.requests, min(step.requests, step.bad + 1), step.failed) for step in answered]

    first, sooner = breaches(answered, 0.95), breaches(worse, 0.95)

    assert not first or sooner[0] <= first[0]


def test_the_watch_counts_by_step_what_was_slow_and_what_failed() -> None:
    """A request that failed is bad however fast it was."""
    watch = SloWatch(Slo(2.0))
    assert watch.steps() == ()

    watch.observe(3.0, 1.9, True)
    watch.observe(9.99, 2.1, True)
    watch.observe(25.0, 0.1, False)

    assert watch.steps() == (StepCounts(2, 1, 0), StepCounts(), StepCounts(1, 1, 1))


def test_a_cascade_is_a_breach_of_another_service_after_the_onset() -> None:
    """The truth names origin, victims in the order of their breaches, and the pool."""
    late = [WELL] * 24 + [SLOW] * 12
    later = [WELL] * 30 + [SLOW] * 12

    truth = evaluate(starved(), 3, 1000.0, 2000.0, {"llm-chat": late, "assistant-feature": later, "gateway": late})

    assert truth.cascaded
    assert [name.name for name in truth.victims] == ["gateway", "assistant-feature"]
    assert truth.breached == {"gateway": 1250.0, "llm-chat": 1250.0, "assistant-feature": 1310.0}
    assert (truth.onset, truth.pool, truth.culprit, truth.cause) == (1200.0, "chat", "batch-embed", "pool_contention")
    assert truth.origin is not None
    assert truth.origin.name == "llm-chat"


def test_where_only_the_origin_breaches_or_others_did_before_there_is_no_cascade() -> None:
    """What the scenario expects does not make it so."""
    late = [WELL] * 24 + [SLOW] * 12
    early = [SLOW] * 12 + [WELL] * 30

    truth = evaluate(starved(), 3, 1000.0, 2000.0, {"llm-chat": late, "gateway": early})

    assert not truth.cascaded
    assert truth.victims == ()
    assert truth.breached == {"gateway": 1060.0, "llm-chat": 1250.0}


def test_without_faults_there_is_no_onset() -> None:
    """A calm day has nothing to name."""
    truth = evaluate(load("calm"), 1, 0.0, 3600.0, {})

    assert (truth.onset, truth.origin, truth.cause, truth.culprit, truth.pool) == (None, None, None, "", "")


def test_the_counterfactual_leaves_the_culprit_out_and_everything_else_in() -> None:
    """A tenant goes with what it does; the surge stays."""
    spec = starved()
    other = without_culprit(spec, spec.expects.culprit)

    assert [type(fault).__name__ for fault in other.faults] == ["Surge"]
    assert {tenant.name.name for tenant in spec.platform.tenants} == {"batch-embed"}
    assert other.platform.tenants == ()
    assert other.platform.services == spec.platform.services


def test_a_flow_without_its_surge_still_asks() -> None:
    """The growth is the culprit, not the users."""
    spec = starved()
    other = without_culprit(spec, "assistant")

    assert [type(fault).__name__ for fault in other.faults] == ["TenantGrows"]
    assert other.platform == spec.platform


def test_a_culprit_that_no_fault_is_about_is_refused() -> None:
    """The message says who there is."""
    with pytest.raises(ValueError, match="nothing in 'starved' is about 'gateway'; its faults are about batch-embed"):
        without_culprit(starved(), "gateway")


@pytest.mark.parametrize("name", names())
def test_every_cascade_that_comes_along_has_a_counterfactual(name: str) -> None:
    """Which differs from it."""
    spec = load(name)

    if spec.expects.cascade:
        assert without_culprit(spec, spec.expects.culprit).faults != spec.faults


def test_a_minute_with_few_requests_says_nothing() -> None:
    """One slow request at night is no outage."""
    few = MIN_REQUESTS // 6 - 1

    assert breaches([StepCounts(few, few, few)] * 30, 0.95) == []
    assert breaches([StepCounts(few + 1, few + 1, few + 1)] * 30, 0.95) == [60.0]
