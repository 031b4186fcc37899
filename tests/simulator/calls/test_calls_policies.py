"""Circuit breaker, retry budget, cache, load balancing and deadlines, each by itself."""

from __future__ import annotations

from collections import Counter
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.calls.mesh_state import Deadlines
from foreshock_simulator.calls.policies import (
    BREAKER_WINDOW_ATTEMPTS,
    BUDGET_WINDOW_SECONDS,
    CircuitBreaker,
    RetryBudget,
)
from foreshock_simulator.calls.service import Balancer, balancer
from foreshock_simulator.calls.steps import Cache, TimeWeightedCount
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.spec.services import Balancing
from foreshock_simulator.tracing.spans import TIMED_OUT, scramble


def test_a_breaker_opens_allows_one_trial_and_closes_again() -> None:
    """Closed, open after enough failures, half-open for one trial, whose result decides."""
    breaker = CircuitBreaker(limit=3, seconds=10.0)
    for failed in (True, False, True, True):
        assert breaker.admit(0.0) == "yes"
        breaker.record(0.0, "yes", failed)
    assert breaker.state(0.0) == "open"
    assert breaker.admit(9.9) == "no"
    assert (breaker.state(10.0), breaker.admit(10.0), breaker.admit(10.0)) == ("half-open", "trial", "no")
    breaker.record(11.0, "trial", failed=True)
    assert (breaker.state(20.9), breaker.admit(21.0)) == ("open", "trial")
    breaker.record(21.5, "trial", failed=False)
    assert (breaker.state(21.5), breaker.admit(21.5)) == ("closed", "yes")


def test_a_breaker_considers_the_last_twenty_attempts() -> None:
    """Five failures among twenty-one attempts are four among the last twenty."""
    breaker = CircuitBreaker(limit=5, seconds=10.0)
    for failed in [True] * 4 + [False] * 16 + [True]:
        breaker.record(0.0, breaker.admit(0.0), failed)
    assert breaker.state(0.0) == "closed"


def test_a_cancelled_trial_allows_another() -> None:
    """Otherwise a breaker with a cancelled trial would stay open forever."""
    breaker = CircuitBreaker(limit=1, seconds=1.0)
    breaker.record(0.0, breaker.admit(0.0), failed=True)
    assert breaker.admit(2.0) == "trial"
    breaker.record(2.1, "trial", failed=None)
    assert breaker.admit(2.2) == "trial"


def test_results_from_before_a_breaker_opened_are_ignored() -> None:
    """Neither a late failure nor a late success counts as the trial's."""
    breaker = CircuitBreaker(limit=1, seconds=1.0)
    early = [breaker.admit(0.0), breaker.admit(0.0), breaker.admit(0.0)]
    breaker.record(0.5, early[0], failed=True)
    breaker.record(0.6, early[1], failed=False)
    assert breaker.state(0.6) == "open"
    assert breaker.admit(2.0) == "trial"
    breaker.record(2.1, early[2], failed=True)
    assert breaker.admit(2.1) == "no"
    breaker.record(2.2, "trial", failed=False)
    assert breaker.state(2.2) == "closed"


@given(outcomes=st.lists(st.booleans(), max_size=80), limit=st.integers(1, BREAKER_WINDOW_ATTEMPTS))
def test_a_breaker_is_closed_until_the_window_has_too_many_failures(outcomes: list[bool], limit: int) -> None:
    """Only the last twenty attempts count."""
    breaker = CircuitBreaker(limit, 10.0)
    for count, failed in enumerate(outcomes, 1):
        breaker.record(0.0, breaker.admit(0.0), failed)
        if sum(outcomes[max(0, count - BREAKER_WINDOW_ATTEMPTS) : count]) >= limit:
            assert breaker.state(0.0) == "open"
            break
        assert breaker.state(0.0) == "closed"


@given(
    ratio=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0]),
    steps=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 4.0, 11.0]), st.booleans()), max_size=80),
)
def test_a_budget_allows_exactly_its_ratio_of_retries(ratio: float, steps: list[tuple[float, bool]]) -> None:
    """Within any ten seconds; it rejects no retry below the ratio."""
    budget, now = RetryBudget(ratio), 0.0
    firsts: list[float] = []
    retries: list[float] = []
    for pause, retry in steps:
        now += pause
        if not retry:
            budget.count_first_attempt(now)
            firsts.append(now)
            continue
        lately = [sum(time > now - BUDGET_WINDOW_SECONDS for time in times) for times in (firsts, retries)]
        allowed = budget.take_retry(now)
        assert allowed == (lately[1] + 1 <= ratio * lately[0])
        if allowed:
            retries.append(now)


def test_a_flushed_cache_fills_with_its_misses() -> None:
    """After `refill` misses it is 1 − 1/e full."""
    cache = Cache()
    assert cache.fill_ratio == 1.0
    cache.fill_ratio = 0.0
    assert cache.fill_ratio == 0.0
    for _ in range(2000):
        cache.add_miss(2000.0)
    assert cache.fill_ratio == pytest.approx(1 - exp(-1), rel=1e-3)


class Loaded:
    """A replica as load balancing sees it."""

    def __init__(self, name: int, load: int) -> None:
        self.name, self.load = name, load


@pytest.mark.parametrize(
    ("policy", "loads", "shares"),
    [
        ("least-load", (2, 1, 1, 5), (0.0, 0.5, 0.5, 0.0)),
        ("least-load", (3, 3, 3, 3), (0.25, 0.25, 0.25, 0.25)),
        ("round-robin", (2, 1, 1, 5), (0.25, 0.25, 0.25, 0.25)),
        ("random", (2, 1, 1, 5), (0.25, 0.25, 0.25, 0.25)),
        ("two-choices", (0, 1, 2, 3), (7 / 16, 5 / 16, 3 / 16, 1 / 16)),
    ],
)
def test_replicas_are_chosen_by_the_policy(
    policy: Balancing, loads: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    """Each replica gets the policy's share of requests at these loads."""
    replicas = [Loaded(index, load) for index, load in enumerate(loads)]
    choose: Balancer[Loaded] = balancer(policy, Random(1))
    chosen = Counter(choose(replicas).name for _ in range(8000))
    for index, share in enumerate(shares):
        assert chosen[index] / 8000 == pytest.approx(share, abs=0.02)


def test_equally_loaded_replicas_take_turns() -> None:
    """Among equals, the choice rotates instead of falling on the first one."""
    replicas = [Loaded(index, load) for index, load in enumerate((0, 0, 0, 0, 0))]
    choose: Balancer[Loaded] = balancer("least-load", Random(1))
    assert Counter(choose(replicas).name for _ in range(100)) == dict.fromkeys(range(5), 20)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([0.5, 2.0]), st.sampled_from([None, 0.3, 1.9])),
        min_size=1,
        max_size=30,
    )
)
def test_deadlines_expire_on_time_unless_lifted(
    waits: list[tuple[float, float, float | None]],
) -> None:
    """A signal fires with TIMED_OUT exactly at its deadline, or earlier with the sent value. No entry is left over."""
    engine = Engine()
    deadlines = Deadlines(engine)
    seen: list[tuple[float, object]] = []
    expected: list[tuple[float, object]] = []

    def waiter(seconds: float, signal: Signal) -> Process:
        value = yield signal
        deadlines.lift(seconds, signal)
        seen.append((engine.now, value))

    def begin() -> Process:
        for pause, seconds, answer in waits:
            yield pause
            signal = Signal(engine)
            if answer is not None:
                engine.schedule(engine.now + answer, signal.fire, 200)
            deadlines.set(seconds, signal)
            engine.spawn(waiter(seconds, signal))
            in_time = answer is not None and answer < seconds
            expected.append((engine.now + (answer if answer is not None and in_time else seconds), in_time * 200))

    engine.spawn(begin())
    engine.run(1000.0)
    assert TIMED_OUT == 0
    assert sorted(seen, key=str) == sorted(expected, key=str)
    assert not any(line for line in deadlines._queues.values())


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.booleans()), max_size=30))
def test_a_time_weighted_count_integrates_exactly_and_reads_are_pure(steps: list[tuple[float, bool]]) -> None:
    """Two counts, one of them read continuously, stay equal to the last bit."""
    read, unread, now, area = TimeWeightedCount(), TimeWeightedCount(), 0.0, 0.0
    for pause, up in steps:
        read.integral(now + pause / 2)
        area += read.value * pause
        now += pause
        for level in (read, unread):
            level.add(now, 1 if up else -1)
    assert read.integral(now + 1.0) == unread.integral(now + 1.0)
    assert read.integral(now) == pytest.approx(area, abs=1e-9)


def test_ids_are_unique_and_uniform() -> None:
    """Sampling by the low bits of a trace id needs it."""
    ids = [scramble(number) for number in range(20_000)]
    assert len(set(ids)) == 20_000
    for bit in range(64):
        assert sum(id_ >> bit & 1 for id_ in ids) / 20_000 == pytest.approx(0.5, abs=0.02)
