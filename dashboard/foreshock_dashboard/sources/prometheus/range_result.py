"""Results of range queries: from the JSON of the server to arrays.

The JSON of most servers is compact and in one order, so that series and samples are found without an object for each
sample: those take most of the CPU of a hub over a large fleet. Other forms are read as any JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.sources.prometheus.promql import QUERY_LABEL

_MAX_HEAD_BYTES = 200
_RESULT, _SERIES, _VALUES, _END = b'"result":[', b'{"metric":', b',"values":[[', b"]]}"
"""In a JSON string, each of the quotes has a backslash before it: labels cannot contain these texts."""


class RangeResult(NamedTuple):
    """Series of a result: labels of each, its number of samples, and the samples of all (Unix seconds, and values)."""

    metrics: Sequence[dict[str, str]]
    lengths: NDArray[np.intp]
    seconds: Floats
    values: Floats


def of_text(body: bytes) -> tuple[Any, RangeResult] | None:
    """The answer without its series, and these; None if it is empty or has another form."""
    begin = body.find(_RESULT, 0, _MAX_HEAD_BYTES) + len(_RESULT)
    first, *parts = body[begin:].split(_SERIES)
    if begin < len(_RESULT) or first or not parts:
        return None
    end = parts[-1].rfind(_END + b"]")
    try:
        answer = orjson.loads(body[:begin] + parts[-1][end + len(_END) :])
        parts[-1] = parts[-1][: end + len(_END)] + b","
        split = [part.partition(_VALUES) for part in parts]
        if end < 0 or not all(found and samples.endswith(_END + b",") for _, found, samples in split):
            return None
        metrics = orjson.loads(b"[" + b",".join([head for head, _, _ in split]) + b"]")
        lengths = np.fromiter([samples.count(b"],[") + 1 for _, _, samples in split], np.intp, len(split))
        text = b"".join([samples for _, _, samples in split]).translate(None, b'[]}"')
        numbers = _numbers(text[:-1])
    except ValueError:
        return None
    if len(numbers) != 2 * lengths.sum():
        return None
    return answer, RangeResult(metrics, lengths, numbers[::2], numbers[1::2])


def _numbers(text: bytes) -> Floats:
    """Numbers between commas; those that JSON lacks, such as NaN, take longer. Raises ValueError for others."""
    try:
        return np.array(orjson.loads(b"[" + text + b"]"), np.float64)
    except orjson.JSONDecodeError:
        return np.array([*map(float, text.split(b","))])


def of_objects(result: Any) -> RangeResult:  # noqa: ANN401 - JSON
    """The series of a decoded result. Those of native histograms have no samples.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it has another form.
    """
    series = [one.get("values", ()) for one in result]
    samples = [*chain.from_iterable(series)]
    return RangeResult(
        [one["metric"] for one in result],
        np.fromiter(map(len, series), np.intp, len(series)),
        np.fromiter([time for time, _ in samples], np.float64, len(samples)),
        np.fromiter([float(value) for _, value in samples], np.float64, len(samples)),
    )


def matrices(result: RangeResult, queries: int, first: int, width: int, times: Floats) -> list[Matrix]:
    """A matrix for each query of a union, or of the only query, on a grid of `width` milliseconds from `first` on.

    Of equal series, the last counts.

    Raises:
        KeyError, TypeError, ValueError, IndexError, AttributeError: the result is not one of such a request.
    """
    columns = np.rint((result.seconds * 1000 - first) / width).astype(np.int64)
    if len(columns) and columns.min() < 0:
        raise ValueError("a time outside the range")
    values = np.full((len(result.metrics), len(times)), np.nan)
    values[np.repeat(np.arange(len(values)), result.lengths), columns] = result.values
    rows: list[dict[Labels, int]] = [{} for _ in range(queries)]
    canonical: dict[tuple[str, ...], bool] = {}
    for row, metric in enumerate(result.metrics):
        query = int(metric.pop(QUERY_LABEL)) if queries > 1 else 0
        names = (*metric,)
        if (is_canonical := canonical.get(names)) is None:
            is_canonical = canonical[names] = "__name__" not in names and [*names] == sorted(names)
        is_canonical = is_canonical and "" not in metric.values()
        rows[query][tuple(metric.items()) if is_canonical else labels_of_metric(metric)] = row
    return [Matrix.ordered(times, [*of_query], values[[*of_query.values()]]) for of_query in rows]


def labels_of_metric(metric: Mapping[str, str]) -> Labels:
    """Labels without the metric's name and empty values."""
    return tuple(sorted([pair for pair in metric.items() if pair[1] and pair[0] != "__name__"]))
