"""Ground truth: SLO breaches, cascades, and scenarios without their root cause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.scenarios.load import load, parse
from foreshock_simulator.scenarios.truth import MIN_REQUESTS, SloWatch, StepCounts, breaches, evaluate
from foreshock_simulator.spec.queries import without_root_cause
from foreshock_simulator.spec.scenario import ScenarioSpec
from foreshock_simulator.spec.services import Slo

WELL = StepCounts(20, 0, 0)
SLOW = StepCounts(20, 20, 0)
FAILING = StepCounts(20, 0, 1)
QUIET = StepCounts(1, 1, 1)

CONTENDED = """\
description: A tenant grows.
faults:
  - tenant_grows: {tenant: batch-embed, at: 200, workers: 2, onto: [llm-chat]}
  - surge: {flow: assistant, at: 300, factor: 2}
expects: {cascade: true, cause: gpu_contention, root_cause: batch-embed, origin: llm-chat}
"""


def contended() -> ScenarioSpec:
    """A scenario with a root cause."""
    return parse(CONTENDED, "contended.yaml")


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
def test_a_breach_needs_a_missed_slo_at_three_scrapes_in_a_row(answered: list[StepCounts], begun: list[float]) -> None:
    """A breach begins with the first of these scrapes; a continued one is the same breach."""
    assert breaches(answered, 0.95) == begun


@given(
    st.lists(st.builds(lambda bad, well: StepCounts(bad + well, bad, bad // 2), *[st.integers(0, 40)] * 2), max_size=60)
)
def test_worse_answers_never_breach_later(answered: list[StepCounts]) -> None:
    """With more bad requests, the first breach is at the same time or earlier."""
    worse = [StepCounts(step.requests, min(step.requests, step.bad + 1), step.failed) for step in answered]

    first, sooner = breaches(answered, 0.95), breaches(worse, 0.95)

    assert not first or sooner[0] <= first[0]


def test_the_watch_counts_slow_and_failed_requests_by_step() -> None:
    """A failed request is bad at any latency."""
    watch = SloWatch(Slo(2.0))
    assert watch.steps() == ()

    watch.observe(3.0, 1.9, True)
    watch.observe(9.99, 2.1, True)
    watch.observe(25.0, 0.1, False)

    assert watch.steps() == (StepCounts(2, 1, 0), StepCounts(), StepCounts(1, 1, 1))


def test_a_cascade_is_a_breach_of_another_service_after_the_onset() -> None:
    """The truth names the origin, the victims in order of their breaches, and the pool."""
    late = [WELL] * 24 + [SLOW] * 12
    later = [WELL] * 30 + [SLOW] * 12

    truth = evaluate(contended(), 3, 1000.0, 2000.0, {"llm-chat": late, "assistant-feature": later, "gateway": late})

    assert truth.cascaded
    assert [name.name for name in truth.victims] == ["gateway", "assistant-feature"]
    assert truth.breached == {"gateway": 1250.0, "llm-chat": 1250.0, "assistant-feature": 1310.0}
    assert (truth.onset, truth.pool, truth.root_cause, truth.cause) == (1200.0, "chat", "batch-embed", "gpu_contention")
    assert truth.origin is not None
    assert truth.origin.name == "llm-chat"


def test_breaches_of_the_origin_alone_or_before_the_onset_are_no_cascade() -> None:
    """The expectation of the scenario does not matter."""
    late = [WELL] * 24 + [SLOW] * 12
    early = [SLOW] * 12 + [WELL] * 30

    truth = evaluate(contended(), 3, 1000.0, 2000.0, {"llm-chat": late, "gateway": early})

    assert not truth.cascaded
    assert truth.victims == ()
    assert truth.breached == {"gateway": 1060.0, "llm-chat": 1250.0}


def test_without_faults_there_is_no_onset() -> None:
    """A calm scenario has none."""
    truth = evaluate(load("calm"), 1, 0.0, 3600.0, {})

    assert (truth.onset, truth.origin, truth.cause, truth.root_cause, truth.pool) == (None, None, None, "", "")


def test_the_counterfactual_removes_the_root_cause_only() -> None:
    """A tenant is removed with its faults; the surge stays."""
    spec = contended()
    other = without_root_cause(spec, spec.expects.root_cause)

    assert [type(fault).__name__ for fault in other.faults] == ["Surge"]
    assert {tenant.name.name for tenant in spec.platform.tenants} == {"batch-embed"}
    assert other.platform.tenants == ()
    assert other.platform.services == spec.platform.services


def test_a_flow_without_its_surge_remains() -> None:
    """The growth is the root cause, not the users."""
    spec = contended()
    other = without_root_cause(spec, "assistant")

    assert [type(fault).__name__ for fault in other.faults] == ["TenantGrows"]
    assert other.platform == spec.platform


def test_an_unknown_root_cause_is_rejected() -> None:
    """The message lists the subjects of the faults."""
    with pytest.raises(ValueError, match="nothing in 'contended' is about 'gateway'; its faults are about batch-embed"):
        without_root_cause(contended(), "gateway")


def test_a_minute_with_few_requests_is_no_breach() -> None:
    """One slow request at night is no outage."""
    few = MIN_REQUESTS // 6 - 1

    assert breaches([StepCounts(few, few, few)] * 30, 0.95) == []
    assert breaches([StepCounts(few + 1, few + 1, few + 1)] * 30, 0.95) == [60.0]
