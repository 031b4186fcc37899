"""The longest loss of capacity that a service survives with the retries of its callers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.stats.metastability import (
    MAX_OUTAGE_SECONDS,
    RetryLoop,
    attempts_per_call,
    can_stay_down,
    outage_margin_seconds,
    stays_down,
    timeout_probability,
)


@pytest.mark.parametrize(
    ("failing", "attempts", "expected"), [(0, 4, 1), (1, 4, 4), (0.5, 2, 1.5), (0.5, 3, 1.75), (1, 1, 1)]
)
def test_attempts_per_call_grow_with_the_failures(failing: float, attempts: float, expected: float) -> None:
    assert attempts_per_call(failing, attempts) == pytest.approx(expected)


def test_half_of_the_requests_time_out_at_a_mean_wait_of_the_slack() -> None:
    assert timeout_probability(9.0, 9.0) == pytest.approx(0.5)
    assert timeout_probability(0.0, 9.0) < 0.01 < 0.99 < timeout_probability(18.0, 9.0)


def test_without_retries_every_loss_is_survived() -> None:
    assert outage_margin_seconds(RetryLoop(0.9, 1.0, 9.0, 18.0)) == math.inf


def test_where_all_retries_together_fit_every_loss_is_survived() -> None:
    assert not can_stay_down(RetryLoop(0.3, 3.0, 9.0, 18.0))
    assert outage_margin_seconds(RetryLoop(0.3, 3.0, 9.0, 18.0)) == math.inf


def test_a_third_of_the_load_is_lost_for_good_after_a_minute_with_four_attempts() -> None:
    """The reference scenario: timeout 18 s, four attempts, a trigger of less than a minute."""
    loop = RetryLoop(0.33, 4.0, 9.6, 18.0)
    assert 30 < outage_margin_seconds(loop) < 60
    assert stays_down(loop, 60.0)
    assert not stays_down(loop, 20.0)


def test_a_service_over_its_capacity_has_no_margin() -> None:
    assert outage_margin_seconds(RetryLoop(1.2, 2.0, 9.0, 18.0)) == 0.0


LOOPS = st.builds(RetryLoop, st.floats(0.05, 1.5), st.floats(1.0, 9.0), st.floats(0.2, 30.0), st.floats(1.0, 60.0))


@given(LOOPS)
def test_the_margin_is_where_it_begins_to_stay_down(loop: RetryLoop) -> None:
    seconds = outage_margin_seconds(loop)
    assert seconds == math.inf or 0 <= seconds <= MAX_OUTAGE_SECONDS
    if 0 < seconds < math.inf:
        assert stays_down(loop, seconds)
        assert not stays_down(loop, seconds - MAX_OUTAGE_SECONDS / 64)


@given(st.floats(0.2, 0.8), st.floats(2.0, 6.0))
def test_more_load_leaves_less_margin(load: float, attempts: float) -> None:
    less, more = (outage_margin_seconds(RetryLoop(one, attempts, 9.0, 18.0)) for one in (load, load + 0.15))
    assert more <= less + MAX_OUTAGE_SECONDS / 64


@given(LOOPS)
def test_cancelling_what_clients_abandoned_leaves_no_less_margin(loop: RetryLoop) -> None:
    cancelling = outage_margin_seconds(loop._replace(cancels=True))
    assert cancelling >= outage_margin_seconds(loop) - MAX_OUTAGE_SECONDS / 64


@pytest.mark.parametrize(
    ("attempts", "cancels", "survives"),
    [(5.4, False, False), (1.9, False, False), (5.4, True, False), (1.9, True, True)],
)
def test_a_retry_budget_and_cancellation_together_survive_what_neither_does(
    attempts: float, cancels: bool, survives: bool
) -> None:
    assert stays_down(RetryLoop(0.6, attempts, 7.0, 30.0, cancels), 60.0) is not survives


@pytest.mark.parametrize("values", [(math.nan, 3.0, 9.0, 18.0), (0.9, 3.0, math.nan, 18.0), (0.9, 3.0, 9.0, math.nan)])
def test_an_incomplete_loop_is_not_vulnerable(values: tuple[float, float, float, float]) -> None:
    assert outage_margin_seconds(RetryLoop(*values)) == math.inf
