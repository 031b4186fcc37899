"""Results are read as any JSON would be, also where they are read faster."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.sources.prometheus import range_result
from foreshock_dashboard.sources.prometheus.range_result import layout_of, matrices, of_objects, of_text

PAIR = [[10, "1.5"], [20.5, "NaN"]]
LABELS = {
    "plain": {"__name__": "m", "job": "a"},
    "a label named metric": {"metric": "m", "values": "v"},
    "JSON in a label": {"job": '{"metric":{},"values":[[1,"2"]]},', "a": "]]}]}"},
    "quotes, backslashes, and other letters": {"a": '\\"', "b": "\\", "ü": "日本"},
    "nothing": {},
}
SHOULD_BE_FAST = {"plain", "JSON in a label", "quotes, backslashes, and other letters", "nothing"}


def text(series: list[dict[str, Any]], **more: object) -> bytes:
    """An answer as Go writes it."""
    answer = {"status": "success", **more, "data": {"resultType": "matrix", "result": series}}
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
@pytest.mark.parametrize("kind", LABELS)
def test_any_labels_are_read(kind: str, piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two other series, with values that are no numbers, in one piece or several."""
    monkeypatch.setattr(range_result, "_PIECE_BYTES", piece_bytes)
    series = [{"metric": labels, "values": PAIR} for labels in ({"x": "1"}, LABELS[kind], {"x": "2"})]
    found = of_text(text(series))

    assert (found is not None) == (kind in SHOULD_BE_FAST)
    if found:
        assert found[0] == {"status": "success", "data": {"resultType": "matrix", "result": []}}
        expected = of_objects(series)
        assert [json.loads(head) for head in found[1].heads] == [each["metric"] for each in series]
        for one, other in zip(found[1][1:], expected[1:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_follows_the_series_is_kept() -> None:
    """Warnings, and the statistics of VictoriaMetrics."""
    body = text([{"metric": {}, "values": [[1, "+Inf"]]}])[:-1] + b',"warnings":["a ]]}]} b"],"stats":{"x":"1"}}'
    found = of_text(body.replace(b" ]]}]} ", b" "))
    assert found
    assert found[0]["warnings"] == ["a b"]
    assert found[1].values.tolist() == [np.inf]
    assert of_text(body) is None


@pytest.mark.parametrize(
    "body",
    [
        text([]),
        b"",
        b"<html>",
        json.dumps({"status": "success", "data": {"result": [{"metric": {}, "values": PAIR}]}}).encode(),
        text([{"metric": {}, "values": PAIR}])[:-6],
        text([{"metric": {}, "values": PAIR}])[:-1],
        text([{"metric": {}, "values": [[1, "x"]]}]),
        text([{"metric": {}, "values": [[1, "2", "3"]]}]),
        text([{"metric": {}, "histograms": [[1, {"count": "3"}]]}]),
        text([{"metric": {}, "values": PAIR, "histograms": [[1, {"count": "3"}]]}]),
        text([{"values": PAIR, "metric": {}}]),
    ],
)
def test_every_other_form_is_left_to_a_json_parser(body: bytes) -> None:
    """Half an answer, spaces, native histograms, another order."""
    assert of_text(body) is None


def test_a_union_is_divided_by_query() -> None:
    """In the order of labels; of equal series the last counts."""
    series = [
        {"metric": {"foreshock_query": query, "a": name}, "values": [[20, str(value)]]}
        for value, (query, name) in enumerate([("1", "y"), ("0", "z"), ("1", "x"), ("0", "z")])
    ]
    result = of_objects(series)
    first, second, third = matrices(result, layout_of(result.heads, 3), 10_000, 10_000, np.array([10.0, 20.0]))

    assert [dict(labels) for labels in second.labels] == [{"a": "x"}, {"a": "y"}]
    assert second.values[:, 1].tolist() == [2.0, 0.0]
    assert first.values[:, 1].tolist() == [3.0]
    assert not len(third)


SERIES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=20).map(
    lambda found: [{"foreshock_query": str(query), "job": "a", "n": f"{number:02}"} for query, number in found]
)


@given(st.lists(SERIES, min_size=1, max_size=5))
def test_series_that_come_and_go_are_read_as_by_a_reader_that_knows_none(results: list[list[dict[str, str]]]) -> None:
    """As pods do. The labels of a query without changes are the same object, so that they need no comparison."""
    known, times, before = None, np.array([10.0]), list[Matrix]()
    for metrics in results:
        series = [{"metric": one, "values": [[10, str(value)]]} for value, one in enumerate(metrics)]
        result = of_objects(series)
        known = layout_of(result.heads, 3, known)
        found, expected = (
            matrices(result, layout, 10_000, 10_000, times) for layout in (known, layout_of(result.heads, 3))
        )
        for one, other in zip(found, expected, strict=True):
            assert one.labels == other.labels
            np.testing.assert_array_equal(one.values, other.values)
        for one, other in zip(found, before, strict=False):
            assert (one.labels is other.labels) == (one.labels == other.labels)
        before = found
