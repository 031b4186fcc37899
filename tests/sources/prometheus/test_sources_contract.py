"""The contract of metric sources, tested with the embedded store, a recording and a real Prometheus."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.model.query import Matcher, Query
from foreshock_dashboard.model.samples import STALE, Sample, SampleBatch, labels_of

if TYPE_CHECKING:
    from tests.sources.prometheus.conftest import Load

T0 = 1_790_000_000
NAN = math.nan


def scrapes(metric: str, rows: dict[str, Sequence[float | None]], label: str = "pod") -> list[SampleBatch]:
    """A scrape each 10 s; one series a row; `None` where it has no sample."""
    length = max(len(row) for row in rows.values())
    return [
        SampleBatch(
            T0 + 10 * k,
            "t",
            tuple(
                Sample(metric, labels_of({label: name}), value)
                for name, row in rows.items()
                if k < len(row) and (value := row[k]) is not None
            ),
        )
        for k in range(length)
    ]


Rows = dict[str, Sequence[float | None]]
RATE = Query("m", reduce="rate", window=38)
NOT_A = Query("m", (Matcher("pod", "!=", "a"),), window=8)
ANCHORED = Query("m", (Matcher("pod", "=~", "a"),), window=8)

# Asked 5 s after each of five scrapes. Windows keep their distance from the scrapes: Prometheus 2 and 3 differ there.
TABLE: dict[str, tuple[Query, Rows, dict[str, list[float]]]] = {
    "last is the latest sample": (Query("m", window=14), {"a": [1, 2, 3]}, {"a": [1, 2, 3, NAN, NAN]}),
    "last bridges a gap": (Query("m", window=24), {"a": [1, None, 3]}, {"a": [1, 1, 3, 3, NAN]}),
    "last ends at a staleness marker": (Query("m", window=48), {"a": [1, 2, STALE]}, {"a": [1, 2, NAN, NAN, NAN]}),
    "a counter does not start below zero": (RATE, {"a": [0, 10, 20]}, {"a": [NAN, 15 / 38, 25 / 38, 25 / 38, 18 / 38]}),
    "a rate reaches to the window's edge": (RATE, {"a": [50, 60, 70, 80]}, {"a": [NAN, 20 / 38, 30 / 38, 1, 28 / 38]}),
    "a counter that was reset goes on": (
        Query("m", reduce="increase", window=48),
        {"a": [50, 60, 5, 15]},
        {"a": [NAN, 20, 15 * 30 / 20, 25 * 40 / 30, 25 * 38 / 30]},
    ),
    "one sample has no rate": (Query("m", reduce="rate", window=18), {"a": [0, None, 20]}, {}),
    "by sums what is there": (Query("m", by=(), window=8), {"a": [1, 2], "b": [10]}, {"": [11, 2, NAN, NAN, NAN]}),
    "matchers select": (NOT_A, {"a": [1], "b": [2]}, {"b": [2, NAN, NAN, NAN, NAN]}),
    "expressions are anchored": (ANCHORED, {"ab": [1], "ba": [1]}, {}),
}


@pytest.mark.parametrize("what", TABLE)
def test_a_query_means(load: Load, fresh_name: Callable[[], str], what: str) -> None:
    """Each row of the table."""
    query, rows, expected = TABLE[what]
    name = fresh_name()
    source = load(scrapes(name, rows))
    asked = replace(query, metric=name)
    matrix = source.fetch(asked, T0 + 5, T0 + 45, 10)
    found = {
        dict(labels).get("pod", ""): row.tolist() for labels, row in zip(matrix.labels, matrix.values, strict=True)
    }
    assert found == {pod: pytest.approx(row, rel=1e-9, nan_ok=True) for pod, row in expected.items()}


def test_names_are_of_metrics_with_samples(load: Load, fresh_name: Callable[[], str]) -> None:
    """So that what is missing can be named."""
    name, absent = fresh_name(), fresh_name()
    names = load(scrapes(name, {"a": [1]})).metric_names()
    assert name in names
    assert absent not in names


def test_buckets_keep_le_beside_by(load: Load, fresh_name: Callable[[], str]) -> None:
    """A quantile needs it."""
    name = fresh_name()
    source = load(scrapes(f"{name}_bucket", {"0.5": [10, 11, 12], "+Inf": [20, 23, 26]}, label="le"))
    matrix = source.fetch(Query(name, by=("pod",), reduce="buckets", window=28), T0 + 25, T0 + 25, 1)
    assert {dict(labels)["le"]: row[0] for labels, row in zip(matrix.labels, matrix.values, strict=True)} == {
        "0.5": pytest.approx(2.8),
        "+Inf": pytest.approx(8.4),
    }


def test_rows_are_sorted_and_none_is_empty(load: Load, fresh_name: Callable[[], str]) -> None:
    """Nor has a row the metric's name among its labels."""
    name = fresh_name()
    source = load(scrapes(name, {"c": [1], "a": [1], "b": [NAN]}))
    matrix = source.fetch(Query(name, window=8), T0 + 5, T0 + 15, 10)
    assert matrix.labels == ((("pod", "a"),), (("pod", "c"),))


VALUES = ['q"uote', "back\\slash", "line\nfeed", "tab\tand\x00nul", "ünï→", "a{b}", "$(x)", "'; drop"]


@pytest.mark.parametrize("value", VALUES)
def test_any_label_value_can_be_queried(load: Load, fresh_name: Callable[[], str], value: str) -> None:
    """Whatever stands in it, it is a value and nothing else."""
    name = fresh_name()
    source = load(scrapes(name, {value: [1], "other": [2]}))
    matrix = source.fetch(Query(name, (Matcher("pod", "=", value),), window=8), T0 + 5, T0 + 5, 1)
    assert matrix.labels == ((("pod", value),),)


WORDS = ["sum", "by", "and", "bool", "on", "offset", "inf", "NaN", "atan2", "ignoring", "start"]


@pytest.mark.parametrize("word", WORDS)
def test_a_metric_may_be_named_like_a_word_of_promql(load: Load, word: str) -> None:
    """The names of metrics are their exporters' business."""
    source = load(scrapes(word, {"a": [1, 2, 3]}))
    last = source.fetch(Query(word, by=("pod",), window=28), T0 + 25, T0 + 25, 1)
    gained = source.fetch(Query(word, by=("pod",), reduce="increase", window=28), T0 + 25, T0 + 25, 1)
    assert (last.values.tolist(), gained.values.tolist()) == ([[3.0]], [[pytest.approx(2.8)]])


@pytest.mark.parametrize(
    ("start", "end", "step", "message"),
    [(10, 5, 1, "lies before"), (0, 1e6, 1, "at most 11000"), (0, 1, 0, "positive"), (0, 0.1, 1e-4, "at least 1 ms")],
)
def test_a_malformed_range_is_refused(load: Load, start: float, end: float, step: float, message: str) -> None:
    """Before anything is read."""
    source = load(scrapes("up", {"a": [1]}))
    with pytest.raises(ValueError, match=message):
        source.fetch(Query("up"), start, end, step)


def test_the_grid_is_returned_as_requested(load: Load, fresh_name: Callable[[], str]) -> None:
    """In floating seconds, also between milliseconds."""
    name = fresh_name()
    source = load(scrapes(name, {"a": [1, 2, 3]}))
    matrix = source.fetch(Query(name, window=8), T0 + 0.25, T0 + 21, 2.5)
    assert matrix.times.tolist() == [T0 + 0.25 + 2.5 * k for k in range(9)]
    assert matrix.values[0].tolist() == pytest.approx([1, 1, 1, 1, 2, 2, 2, 2, 3])


def test_infinities_of_both_signs_sum_to_nothing(load: Load, fresh_name: Callable[[], str]) -> None:
    """Their sum is no number; no warning is given for it."""
    name = fresh_name()
    source = load(scrapes(name, {"a": [math.inf, 1], "b": [-math.inf, 2]}))
    matrix = source.fetch(Query(name, by=(), window=8), T0 + 5, T0 + 15, 10)
    assert matrix.values[0].tolist() == pytest.approx([NAN, 3], nan_ok=True)
