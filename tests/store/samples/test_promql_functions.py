"""`last`, `rate`, and `increase` by themselves: for any samples, what Prometheus computes sample by sample."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.query import Query, Reduce
from foreshock_dashboard.model.samples import STALE, Labels, is_stale
from foreshock_dashboard.store.samples import promql_functions
from foreshock_dashboard.store.samples.promql_functions import Series, Steps, evaluate, sum_by


class Point(NamedTuple):
    """A sample; `time` in milliseconds."""

    time: int
    value: float


def latest(points: list[Point], at: int, window: int) -> float:
    """The last sample in (at - window, at]; NaN if there is none or it is stale."""
    inside = [point for point in points if at - window < point.time <= at]
    return math.nan if not inside or is_stale(inside[-1].value) else inside[-1].value


def increase(points: list[Point], at: int, window: int) -> float:
    """As extrapolatedRate in Prometheus' promql/functions.go, for a counter."""
    inside = [point for point in points if at - window < point.time <= at and not is_stale(point.value)]
    if len(inside) < 2:
        return math.nan
    first, final = inside[0], inside[-1]
    gain = final.value - first.value
    gain += sum(one.value for one, other in pairwise(inside) if other.value < one.value)
    sampled = (final.time - first.time) / 1000
    interval = sampled / (len(inside) - 1)
    before, after = (first.time - (at - window)) / 1000, (at - final.time) / 1000
    before = before if before < 1.1 * interval else interval / 2
    if gain > 0 and first.value >= 0:
        before = min(before, sampled * (first.value / gain))
    after = after if after < 1.1 * interval else interval / 2
    return gain * ((sampled + before + after) / sampled)


def grouped(series: list[list[Point]]) -> Series:
    """The samples of all series, in order."""
    rows = [(row, point) for row, points in enumerate(series) for point in points]
    return Series.of(
        len(series),
        np.array([row for row, _ in rows], np.int64),
        np.array([point.time for _, point in rows], np.int64),
        np.array([point.value for _, point in rows], np.float64),
    )


VALUES = st.sampled_from([-2.0, 0.0, 1.0, 2.0, 5.0, 40.0, STALE])
POINTS = st.builds(
    lambda times, values: [Point(time, value) for time, value in zip(sorted(times), values, strict=False)],
    st.sets(st.integers(-8, 30).map(lambda n: 500 * n), max_size=15),
    st.lists(VALUES, min_size=15, max_size=15),
)


@given(
    st.lists(POINTS, max_size=4),
    st.sampled_from([(0, 1_000, 6), (500, 2_500, 3), (1_000, 500, 1)]),
    st.sampled_from([1.0, 2.5, 6.0]),
    st.sampled_from(["last", "rate", "increase", "buckets"]),
)
def test_a_function_has_the_result_of_prometheus(
    series: list[list[Point]], grid: tuple[int, int, int], window: float, reduce: Reduce
) -> None:
    steps = Steps(*grid)
    values, present = evaluate(Query("m", reduce=reduce, window=window), grouped(series), steps)
    reference = latest if reduce == "last" else increase
    scale = window if reduce == "rate" else 1.0
    expected = [[reference(points, at, int(window * 1_000)) / scale for at in steps.times()] for points in series]
    np.testing.assert_allclose(values, np.array(expected).reshape(values.shape), rtol=1e-12)
    assert values.shape == present.shape == (len(series), steps.count)
    assert (present == ~np.isnan(values)).all()


def test_an_answer_does_not_depend_on_how_many_series_are_evaluated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    series = grouped([[Point(1_000 * n, float(n * row)) for n in range(9)] for row in range(7)])
    steps, query = Steps(2_000, 1_000, 6), Query("m", reduce="rate", window=3)
    together = evaluate(query, series, steps)
    monkeypatch.setattr(promql_functions, "EVALUATED_CELLS", 2 * steps.count)
    np.testing.assert_array_equal(evaluate(query, series, steps), together)


def test_samples_in_any_order_are_grouped_by_series_and_time_and_the_first_of_a_time_counts() -> None:
    rows, times, values = [1, 0, 1, 0, 1, 0], [30, 20, 10, 20, 30, 10], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for count in (3, (1 << 16) + 1):
        series = Series.of(count, np.array(rows), np.array(times), np.array(values))
        assert len(series) == count
        assert series.offsets[:4].tolist() == [0, 2, 4, 4]
        assert series.times.tolist() == [10, 20, 10, 30]
        assert series.values.tolist() == [6.0, 2.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("start", "end", "step", "times"),
    [
        (0, 1, 0.5, [0, 500, 1_000]),
        (1.0004, 1.0004, 60, [1_000]),
        (-1, 0.9, 1, [-1_000, 0]),
        (0, 0.002, 0.001, [0, 1, 2]),
    ],
)
def test_steps_are_those_of_the_grid_in_milliseconds(start: float, end: float, step: float, times: list[int]) -> None:
    steps = Steps.of(start, end, step)
    assert steps.times().tolist() == times
    assert steps.end == times[-1]


@pytest.mark.parametrize("step", [0.0009, 0.0])
def test_a_step_below_a_millisecond_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match="step"):
        Steps.of(0, 0.001, step)


@pytest.mark.parametrize(
    ("query", "sums"),
    [
        (Query("m"), {"a1": [1.0, math.nan], "a2": [2.0, 4.0], "b1": [8.0, 16.0]}),
        (Query("m", by=("pod",)), {"a": [3.0, 4.0], "b": [8.0, 16.0]}),
        (Query("m", by=()), {"": [11.0, 20.0]}),
        (Query("m", by=(), reduce="buckets"), {"1": [9.0, 16.0], "2": [2.0, 4.0]}),
    ],
    ids=["none", "by a label", "by nothing", "buckets by le"],
)
def test_series_are_summed_by_the_labels_of_the_query(query: Query, sums: dict[str, list[float]]) -> None:
    """An absent sample is no summand, and a series without samples is in no answer."""
    labels: list[Labels] = [(("le", "1"), ("pod", "a")), (("le", "2"), ("pod", "a")), (("le", "1"), ("pod", "b"))]
    labels.append((("le", "9"), ("pod", "c")))
    values = np.array([[1.0, math.nan], [2.0, 4.0], [8.0, 16.0], [math.nan, math.nan]])
    matrix = sum_by(query, labels, values, ~np.isnan(values), np.array([0.0, 1.0]))
    found = {
        "".join(value for _, value in reversed(pairs)): row
        for pairs, row in zip(matrix.labels, matrix.values, strict=True)
    }
    assert found.keys() == sums.keys()
    for name, row in sums.items():
        np.testing.assert_array_equal(found[name], row)
    assert len(sum_by(query, [], np.empty((0, 2)), np.empty((0, 2), bool), np.array([0.0, 1.0]))) == 0
