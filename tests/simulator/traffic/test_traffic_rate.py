"""Curves and relative rates: their values, integrals, and inverse."""

from __future__ import annotations

from math import inf, pi, sin

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from foreshock_simulator.traffic.rate import DAY_SECONDS, Curve, RelativeRate

THURSDAY = 1_800_000_000.0 - 1_800_000_000.0 % (7 * DAY_SECONDS)
"""Midnight, as 1 January 1970 was."""


def curve(*changes: tuple[float, float, float]) -> Curve:
    """A curve after changes (at, to, ramp)."""
    made = Curve()
    for change in changes:
        made.change(*change)
    return made


@pytest.mark.parametrize(
    ("changes", "times", "values"),
    [
        ([], [-5, 0, 100], [1, 1, 1]),
        ([(10, 3, 0)], [9.9, 10, 99], [1, 3, 3]),
        ([(10, 3, 20)], [10, 15, 20, 30, 99], [1, 1.5, 2, 3, 3]),
        ([(10, 3, 20), (50, 1, 0)], [30, 49, 50, 99], [3, 3, 1, 1]),
        ([(10, 3, 20), (20, 0, 10)], [15, 20, 25, 30, 99], [1.5, 2, 1, 0, 0]),
        ([(10, 3, 0), (5, 2, 0)], [4, 5, 10, 99], [1, 2, 2, 2]),
    ],
)
def test_a_curve_goes_from_change_to_change(
    changes: list[tuple[float, float, float]], times: list[float], values: list[float]
) -> None:
    """An interrupted ramp continues from its present value; a change replaces later ones."""
    made = curve(*changes)
    assert [made(time) for time in times] == pytest.approx(values)


LEVELS = st.builds(
    lambda changes, start, diurnal, weekend: RelativeRate(curve(*changes), THURSDAY + start, diurnal, 14.0, weekend),
    st.lists(
        st.tuples(
            st.floats(0, 3 * DAY_SECONDS), st.sampled_from([0.0, 0.3, 1.0, 5.0]), st.sampled_from([0.0, 60.0, 7200.0])
        ),
        max_size=4,
    ),
    st.floats(0, 7 * DAY_SECONDS), st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip


@given(LEVELS, st.floats(0, 4 * DAY_SECONDS), st.floats(1e-6, 2 * DAY_SECONDS))
def test_after_is_the_inverse_of_between(level: RelativeRate, time: float, amount: float) -> None:
    """Across ramps, nights, midnights and standstills."""
    end = level.after(time, amount)
    assume(end < inf)
    assert end >= time
    assert level.between(time, end) == pytest.approx(amount, rel=1e-9, abs=1e-6)


@given(LEVELS, st.floats(0, 4 * DAY_SECONDS), st.floats(1.0, 20_000.0))
def test_the_integral_matches_a_riemann_sum(level: RelativeRate, time: float, length: float) -> None:
    """The closed form against the midpoints of many thin slices."""
    slices = 1000
    width = length / slices
    total = sum(level(time + (i + 0.5) * width) for i in range(slices)) * width
    # a jump within a slice is known to half the slice
    assert level.between(time, time + length) == pytest.approx(total, rel=1e-3, abs=20 * width)


def test_a_day_has_its_mean_its_peak_and_its_weekend() -> None:
    """The cosine cancels out over a day; Saturday and Sunday have their share."""
    level = RelativeRate(Curve(), THURSDAY, diurnal=0.6, peak_hour=14.0, weekend=0.5)
    days = [level.between(day * DAY_SECONDS, (day + 1) * DAY_SECONDS) / DAY_SECONDS for day in range(7)]
    assert days == pytest.approx([1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0])
    assert level(14 * 3600.0) == pytest.approx(1.6)
    assert level(2 * 3600.0) == pytest.approx(0.4)
    around_noon = level.between(8 * 3600.0, 20 * 3600.0)
    assert around_noon == pytest.approx(12 * 3600 + 0.6 * DAY_SECONDS / (2 * pi) * 2 * sin(pi / 2))


@pytest.mark.parametrize(("diurnal", "weekend"), [(0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (0.5, 0.0)])
def test_a_permanent_standstill_never_reaches_the_amount(diurnal: float, weekend: float) -> None:
    """By night and on weekends as well; after a temporary standstill it is reached."""
    assert RelativeRate(curve((10, 0, 0)), 0.0, diurnal, 14.0, weekend).after(5.0, 60.0) == inf
    back = RelativeRate(curve((10, 0, 0), (3 * DAY_SECONDS, 2, 0)), THURSDAY, diurnal, 14.0, weekend).after(5.0, 60.0)
    assert 3 * DAY_SECONDS < back < 5 * DAY_SECONDS


@pytest.mark.parametrize(("to", "ramp"), [(-1.0, 0.0), (1.0, -1.0), (inf, 0.0)])
def test_an_invalid_change_is_rejected(to: float, ramp: float) -> None:
    """Rates are not negative."""
    with pytest.raises(ValueError, match="negative"):
        Curve().change(0.0, to, ramp)
