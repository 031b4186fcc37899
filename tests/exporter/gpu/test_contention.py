"""Busy, contended, and GPU wait seconds from fast samples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.gpu.contention import (
    MAX_REGISTERED_PAIRS,
    UNATTRIBUTED,
    FastSample,
    ServiceKey,
    Totals,
    accumulate,
    register,
    remove_services,
)

A, B, C = ServiceKey("", "a"), ServiceKey("", "b"), ServiceKey("shop", "c")


@pytest.mark.parametrize(
    ("case", "utilization", "shares", "unknown", "contended", "gpu_wait"),
    [
        ("two busy services on a full GPU contend", 1.0, {A: 0.3, B: 0.7}, 0.0, 2.0, {A: 1.4, B: 0.6}),
        ("a GPU below 90% is not contended", 0.89, {A: 0.4, B: 0.4}, 0.0, 0.0, {}),
        ("exactly 90% is", 0.9, {A: 0.45, B: 0.45}, 0.0, 2.0, {A: 0.9, B: 0.9}),
        ("one service alone does not contend", 1.0, {A: 1.0}, 0.0, 0.0, {}),
        ("a service below 5% is not active", 0.95, {A: 0.9, B: 0.049}, 0.0, 0.0, {}),
        ("nor does it stall while two others contend", 1.0, {A: 0.5, B: 0.46, C: 0.04}, 0.0, 2.0, {A: 1.0, B: 1.08}),
        ("processes of no known service make no contention by themselves", 1.0, {A: 0.5}, 0.5, 0.0, {}),
        ("shares beyond the whole are scaled to it", 1.0, {A: 1.0, B: 1.0}, 0.0, 2.0, {A: 1.0, B: 1.0}),
        ("a device that says less than its processes does not contend", 0.6, {A: 0.5, B: 0.5}, 0.0, 0.0, {}),
        ("processes count where the device has no data", None, {A: 0.5, B: 0.5}, 0.0, 2.0, {A: 1.0, B: 1.0}),
    ],
)  # fmt: skip
def test_contention_is_as_defined(
    case: str,
    utilization: float | None,
    shares: dict[ServiceKey, float],
    unknown: float,
    contended: float,
    gpu_wait: dict[ServiceKey, float],
) -> None:
    totals = accumulate(Totals(), FastSample(2.0, utilization, shares, unknown))
    assert totals.contended == contended, case
    assert {key: pytest.approx(value) for key, value in totals.gpu_wait.items()} == gpu_wait, case


def test_each_stall_has_its_aggressors_and_the_rest_is_unattributed() -> None:
    totals = accumulate(Totals(), FastSample(10.0, 1.0, {A: 0.2, B: 0.5, C: 0.1}))
    assert {pair: round(seconds, 9) for pair, seconds in totals.gpu_wait_by.items()} == {
        (A, B): 5.0, (A, C): 1.0, (A, UNATTRIBUTED): 2.0,
        (B, A): 2.0, (B, C): 1.0, (B, UNATTRIBUTED): 2.0,
        (C, A): 2.0, (C, B): 5.0, (C, UNATTRIBUTED): 2.0,
    }  # fmt: skip


def test_time_that_no_process_accounts_for_is_unattributed() -> None:
    totals = accumulate(Totals(), FastSample(10.0, 0.8, {A: 0.5}, unknown=0.1))
    assert (totals.busy, totals.service_busy) == (8.0, {A: 5.0})
    assert totals.unattributed == pytest.approx(3.0)


def test_without_shares_all_busy_time_is_unattributed() -> None:
    assert accumulate(Totals(), FastSample(10.0, 0.8, None)) == Totals(busy=8.0, unattributed=8.0)


def test_a_sample_without_values_changes_nothing() -> None:
    assert accumulate(Totals(busy=3.0), FastSample(10.0, None, None)) == Totals(busy=3.0)


def test_under_mps_and_mig_time_is_counted_but_no_waiting_is_inferred() -> None:
    totals = accumulate(Totals(), FastSample(1.0, 1.0, {A: 0.5, B: 0.5}), shares_imply_waits=False)
    assert (totals.contended, totals.gpu_wait, totals.gpu_wait_by) == (0.0, {}, {})
    assert totals.service_busy == {A: 0.5, B: 0.5}


def test_a_service_that_holds_memory_but_has_not_run_starts_at_zero() -> None:
    totals = register(accumulate(Totals(), FastSample(1.0, 0.5, {A: 0.5})), [A, B])
    assert totals.service_busy == {A: 0.5, B: 0.0}
    assert totals.gpu_wait == {B: 0.0}


def test_services_that_share_a_gpu_have_pairs_at_zero_before_they_contend() -> None:
    """`rate` misses the first value of a counter: gpu_wait_by would sum to less than gpu_wait."""
    together = register(register(Totals(), [A]), [A, B])
    assert together.gpu_wait_by == dict.fromkeys([(A, B), (A, UNATTRIBUTED), (B, A), (B, UNATTRIBUTED)], 0.0)
    after = accumulate(together, FastSample(10.0, 1.0, {A: 0.25, B: 0.5}))
    for victim in (A, B):
        by = {pair: seconds for pair, seconds in after.gpu_wait_by.items() if pair[0] == victim}
        assert by.keys() <= together.gpu_wait_by.keys()
        assert sum(by.values()) - 0.0 == pytest.approx(after.gpu_wait[victim])
    assert register(after, [A, B]) is after, "what has been counted stays"


def test_a_service_alone_on_a_gpu_has_no_pairs() -> None:
    """A service alone does not wait."""
    assert register(Totals(), [A, A]).gpu_wait_by == {}


def test_pairs_at_zero_are_bounded_and_pairs_that_stall_are_counted_beyond() -> None:
    """Pairs grow with the square of the services: 32 services would be a thousand series."""
    eight, many = ([ServiceKey("", f"s{n:02}") for n in range(count)] for count in (8, 20))
    assert len(register(Totals(), eight).gpu_wait_by) == MAX_REGISTERED_PAIRS
    totals = register(register(Totals(), many), many)
    assert len(totals.gpu_wait_by) == MAX_REGISTERED_PAIRS
    totals = accumulate(totals, FastSample(1.0, 1.0, {many[-1]: 0.5, many[-2]: 0.5}))
    assert totals.gpu_wait_by[many[-1], many[-2]] == 0.5


def test_a_forgotten_service_ends_in_all_series() -> None:
    totals = remove_services(accumulate(Totals(), FastSample(1.0, 1.0, {A: 0.5, B: 0.5})), [A])
    assert (totals.service_busy, totals.gpu_wait, totals.gpu_wait_by) == ({B: 0.5}, {B: 0.5}, {})
    assert totals.busy == 1.0


shares = st.floats(0.0, 1.0)
steps = st.builds(
    FastSample,
    st.floats(0.0, 60.0),
    st.none() | shares,
    st.none() | st.dictionaries(st.sampled_from([A, B, C]), shares),
    shares,
)


def _parts(totals: Totals) -> list[float]:
    return [
        totals.busy, totals.unattributed, totals.contended,
        *(totals.service_busy.get(key, 0.0) for key in (A, B, C)),
        *(totals.gpu_wait.get(key, 0.0) for key in (A, B, C)),
        *(totals.gpu_wait_by.get((victim, by), 0.0) for victim in (A, B, C) for by in (A, B, C, UNATTRIBUTED)),
    ]  # fmt: skip


@given(st.lists(steps, max_size=20))
def test_counters_never_go_back_and_their_parts_sum_to_the_whole(samples: list[FastSample]) -> None:
    totals, elapsed = Totals(), 0.0
    for step in samples:
        before, totals, elapsed = totals, accumulate(totals, step), elapsed + step.seconds
        assert all(after >= earlier for after, earlier in zip(_parts(totals), _parts(before), strict=True))
    assert totals.busy <= elapsed * (1 + 1e-9)
    assert totals.contended <= elapsed * (1 + 1e-9)
    assert math.isclose(totals.busy, sum(totals.service_busy.values()) + totals.unattributed, abs_tol=1e-6)
    for victim, gpu_wait in totals.gpu_wait.items():
        by = sum(seconds for (who, _), seconds in totals.gpu_wait_by.items() if who == victim)
        assert math.isclose(gpu_wait, by, abs_tol=1e-6)
        assert gpu_wait <= totals.contended * (1 + 1e-9)
    for (_, other), seconds in totals.gpu_wait_by.items():
        ran = totals.unattributed if other == UNATTRIBUTED else totals.service_busy[other]
        assert seconds <= ran * (1 + 1e-9) + 1e-9


@given(steps)
def test_no_service_stalls_on_an_uncontended_gpu(step: FastSample) -> None:
    totals = accumulate(Totals(), step)
    assert (totals.contended > 0.0) == bool(totals.gpu_wait)
