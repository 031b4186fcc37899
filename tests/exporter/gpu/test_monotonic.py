"""Monotonic counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.gpu.monotonic import CounterState, advance, make_monotonic
from foreshock_exporter.model.device import Counters, Health, LinkBytes

TURN = 2.0**32


@pytest.mark.parametrize(
    ("what", "before", "raw", "wraps", "total"),
    [
        ("the first value is what the device says", None, 500.0, None, 500.0),
        ("growth is added", CounterState(500.0, 700.0), 600.0, None, 800.0),
        ("a wrapped counter goes on", CounterState(TURN - 10, TURN + 90), 5.0, TURN, TURN + 105),
        ("a counter that resets adds what it has", CounterState(500.0, 700.0), 20.0, None, 720.0),
        ("one of 32 bits has wrapped, whatever it fell to", CounterState(500.0, 700.0), 20.0, TURN, TURN + 220),
        (
            "far below its turn it has reset, though it could wrap",
            CounterState(500.0, 700.0),
            20.0,
            2.0**64,
            720.0,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_count_follows_the_device(
    what: str, before: CounterState | None, raw: float, wraps: float | None, total: float
) -> None:
    assert advance(before, raw, wraps) == CounterState(raw, total), what


@given(st.lists(st.floats(0, 2**40), min_size=1), st.sampled_from([None, TURN, 2.0**64]))
def test_the_total_never_decreases(raws: list[float], wraps: float | None) -> None:
    count = None
    for raw in raws:
        after = advance(count, raw, wraps)
        assert count is None or after.total >= count.total
        count = after


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_a_32_bit_counter_survives_any_number_of_wraps(steps: list[int]) -> None:
    """With less than one wrap between two reads."""
    true, count = 0, advance(None, 0.0)
    for step in steps:
        true += step
        count = advance(count, float(true % 2**32), TURN)
    assert count.total == true


def test_every_counter_becomes_monotonic_and_absent_ones_stay_absent() -> None:
    counter_states: dict[tuple[object, ...], CounterState] = {}
    first = Counters(
        energy_joules=1000.0,
        throttled_seconds={"power": 5.0},
        nvlink_links={0: LinkBytes(10.0, 20.0)},
        absent={"pcie_transmit_bytes": "no_permission"},
    )
    assert make_monotonic(counter_states, first) == first
    again = make_monotonic(
        counter_states,
        Counters(energy_joules=1.0, throttled_seconds={"power": 7.0}, nvlink_links={0: LinkBytes(1.0, 25.0)}),
    )
    assert again == Counters(
        energy_joules=1001.0, throttled_seconds={"power": 7.0}, nvlink_links={0: LinkBytes(11.0, 25.0)}
    )


def test_health_counts_become_monotonic_and_states_do_not() -> None:
    """A remapped row is a state of the memory; its number may change after a repair."""
    counter_states: dict[tuple[object, ...], CounterState] = {}
    make_monotonic(
        counter_states, Health(ecc_errors={"corrected": 5.0}, remapped_rows={"corrected": 4.0}, pcie_link_width=16)
    )
    assert make_monotonic(
        counter_states, Health(ecc_errors={"corrected": 1.0}, remapped_rows={"corrected": 0.0}, pcie_link_width=8)
    ) == Health(ecc_errors={"corrected": 6.0}, remapped_rows={"corrected": 0.0}, pcie_link_width=8)
