"""Results of range queries: from the JSON of the server to arrays.

The JSON of most servers is compact and in one order, so that series and samples are found without an object for each
sample, and labels are decoded only once: both take most of the CPU of a hub over a large fleet. Other forms are read as
any JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.common.series_index import Hashes, SeriesLabels, answer_of
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.sources.prometheus.promql import QUERY_LABEL

_MAX_HEAD_BYTES = 200
_RESULT, _SERIES, _VALUES, _END = b'"result":[', b'{"metric":', b',"values":[[', b"]]}"
"""In a JSON string, each of the quotes has a backslash before it: labels cannot contain these texts."""
_PIECE_BYTES = 2 << 20
_DECODED_AT_ONCE = 10_000
"""Series whose labels are decoded in one piece, which takes a kilobyte for each."""


class RangeResult(NamedTuple):
    """Series of a result: labels of each as JSON, its number of samples; samples of all (Unix seconds, and values)."""

    heads: Sequence[bytes]
    lengths: NDArray[np.intp]
    seconds: Floats
    values: Floats


def of_text(body: bytes) -> tuple[Any, RangeResult] | None:
    """The answer without its series, and these; None if it is empty or has another form.

    It is read in pieces, because a piece is in memory several times meanwhile.
    """
    begin, end = body.find(_RESULT, 0, _MAX_HEAD_BYTES) + len(_RESULT), body.rfind(_END + b"]") + len(_END)
    if begin < len(_RESULT) or not body.startswith(_SERIES, begin):
        return None
    heads, lengths, numbers = list[bytes](), list[NDArray[np.intp]](), list[Floats]()
    try:
        answer = orjson.loads(body[:begin] + body[end:])
        while begin < end:
            cut = body.find(_END + b"," + _SERIES, begin + _PIECE_BYTES, end)
            until = end if cut < 0 else cut + len(_END)
            piece = _series(body[begin:until] + b",")
            if piece is None:
                return None
            heads += piece[0]
            lengths.append(piece[1])
            numbers.append(piece[2])
            begin = until + 1
    except ValueError:
        return None
    pairs = np.concatenate(numbers)
    return answer, RangeResult(heads, np.concatenate(lengths), pairs[::2], pairs[1::2])


def _series(text: bytes) -> tuple[list[bytes], NDArray[np.intp], Floats] | None:
    """Labels, numbers of samples, and samples of series, each of which ends with a comma; None for another form.

    Raises ValueError for a sample that is no number.
    """
    first, *parts = text.replace(_SERIES, _VALUES).split(_VALUES)
    heads, samples = parts[::2], parts[1::2]
    joined = b"".join(samples)
    # As many metrics as values: none is a label, and each series has values, and nothing else.
    if first or not len(heads) == len(samples) == text.count(_SERIES) == joined.count(_END):
        return None
    if b"],[" in joined:
        lengths = np.fromiter([one.count(b"],[") + 1 for one in samples], np.intp, len(samples))
    else:
        lengths = np.ones(len(samples), np.intp)
    numbers = _numbers(joined.translate(None, b'[]}"')[:-1])
    return (heads, lengths, numbers) if len(numbers) == 2 * lengths.sum() else None


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
        [orjson.dumps(one["metric"]) for one in result],
        np.fromiter(map(len, series), np.intp, len(series)),
        np.fromiter([time for time, _ in samples], np.float64, len(samples)),
        np.fromiter([float(value) for _, value in samples], np.float64, len(samples)),
    )


class SeriesLayout(NamedTuple):
    """The series of a result, to be used again for the next result of the same query or union.

    marks: hash of the JSON of the labels of each, in place of the text. Python's keyed hash: among a million series
        the chance of a collision is 1 in 40 million.
    labels, queries: of each, and the position of its query in the union.
    by_query: labels of the series of each query in ascending order, and their rows in the result.
    """

    marks: Hashes
    labels: Sequence[Labels]
    queries: Sequence[int]
    by_query: Sequence[tuple[SeriesLabels, NDArray[np.intp]]]


def layout_of(
    heads: Sequence[bytes], queries: int, known: SeriesLayout | None = None, shared: dict[Any, Any] | None = None
) -> SeriesLayout:
    """The layout of a result of a union of so many queries, or of the only query. Of equal series, the last counts.

    Args:
        known: layout of an earlier result of the same query or union; returned if the series are the same.
        shared: labels of other results; equal ones become the same objects, which takes less memory.

    Raises:
        KeyError, TypeError, ValueError, IndexError, AttributeError: the result is not one of such a request.
    """
    marks = np.fromiter(map(hash, heads), np.int64, len(heads))
    if known is not None and np.array_equal(marks, known.marks):
        return known
    shared = {} if shared is None else shared
    numbers: Mapping[int, int] = {} if known is None else {mark: i for i, mark in enumerate(known.marks.tolist())}
    before = [numbers.get(mark, -1) for mark in marks.tolist()]
    labels: list[Labels] = [known.labels[number] if known and number >= 0 else () for number in before]
    of_query = bytearray(known.queries[number] if known and number >= 0 else 0 for number in before)
    new = [row for row, number in enumerate(before) if number < 0]
    for part in (new[at : at + _DECODED_AT_ONCE] for at in range(0, len(new), _DECODED_AT_ONCE)):
        metrics = orjson.loads(b"[" + b",".join([heads[row] for row in part]) + b"]")
        for row, metric in zip(part, metrics, strict=True):
            of_query[row] = int(metric.pop(QUERY_LABEL)) if queries > 1 else 0
            own = tuple([shared.setdefault(pair, pair) for pair in labels_of_metric(metric)])
            labels[row] = shared.setdefault(own, own)
    rows: list[dict[Labels, int]] = [{} for _ in range(queries)]
    for row, (query, own) in enumerate(zip(of_query, labels, strict=True)):
        rows[query][own] = row
    by_query = []
    for query, by_labels in enumerate(rows):
        ordered = SeriesLabels(sorted(by_labels))
        if known is not None and ordered == known.by_query[query][0]:
            ordered = known.by_query[query][0]
        by_query.append((ordered, np.fromiter(map(by_labels.__getitem__, ordered), np.intp, len(ordered))))
    return SeriesLayout(marks, labels, of_query, by_query)


def matrices(result: RangeResult, layout: SeriesLayout, first: int, width: int, times: Floats) -> list[Matrix]:
    """A matrix for each query of the layout, on a grid of `width` milliseconds from `first` on.

    Raises:
        ValueError, IndexError: a time is not of the grid.
    """
    columns = np.rint((result.seconds * 1000 - first) / width).astype(np.int64)
    if len(columns) and columns.min() < 0:
        raise ValueError("a time outside the range")
    values = np.full((len(result.heads), len(times)), np.nan)
    values[np.repeat(np.arange(len(values)), result.lengths), columns] = result.values
    return [answer_of(times, labels, values[rows]) for labels, rows in layout.by_query]


def labels_of_metric(metric: Mapping[str, str]) -> Labels:
    """Labels without the metric's name and empty values."""
    return tuple(sorted([pair for pair in metric.items() if pair[1] and pair[0] != "__name__"]))
