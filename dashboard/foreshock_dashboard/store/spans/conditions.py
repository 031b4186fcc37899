"""Search conditions on spans: each as SQL for blocks and as a mask function for rows of the head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp.values import search_text
from foreshock_dashboard.model.span import EXPORTER_NAME, OCCUPANCY_NAME, TraceQuery, UnsearchableError
from foreshock_dashboard.model.types import Bools
from foreshock_dashboard.store.spans.table import STATUSES, TablePart, column_of, is_attribute

ERROR = STATUSES.index("error")
SPREAD_NS = 3_600 * 10**9
"""Margin around the query's range in which the other spans of a trace are read."""

_MAX_START_NS, _MAX_DURATION_NS = 1 << 61, (1 << 63) - 1


class Condition(NamedTuple):
    """A condition on one span.

    sql: boolean expression, made of constants and configured keys only.
    parameters: values of the expression's parameters, by name.
    mask: function from rows of the head to those that meet the condition.
    attribute_column: the attribute column that the expression reads, if any. Blocks without the attribute lack it.
    """

    sql: str
    parameters: dict[str, Any]
    mask: Callable[[TablePart], Bools]
    attribute_column: str | None = None


_NOT_OCCUPANCY = Condition(  # the inverse of Span.occupancy
    f"(name <> '{OCCUPANCY_NAME}' or service <> '{EXPORTER_NAME}')",
    {},
    lambda part: ~(part.equals("name", OCCUPANCY_NAME) & part.equals("service", EXPORTER_NAME)),
)


def matching(query: TraceQuery, keys: Sequence[str]) -> list[Condition]:
    """Return the conditions that one span of a matching trace meets.

    Raises UnsearchableError if the query has an attribute that is not in `keys`.
    """
    conditions = [_started_between("query", nanoseconds(query.start), nanoseconds(query.end)), *_occupancy(query)]
    conditions += [_text_equals(column, text, number) for number, (column, text) in enumerate(_texts(query, keys))]
    if query.status is not None:
        status = STATUSES.index(query.status)
        conditions.append(Condition(f"status = {status}", {}, lambda part: part["status"] == status))
    return conditions


def _started_between(name: str, first: int, last: int) -> Condition:
    """Condition on the start in nanoseconds. `name` makes the names of the parameters unique."""
    return Condition(
        f"start_ns between ${name}_first and ${name}_last",
        {f"{name}_first": first, f"{name}_last": last},
        lambda part: (part["start_ns"] >= first) & (part["start_ns"] <= last),
    )


def _occupancy(query: TraceQuery) -> list[Condition]:
    return [] if query.occupancy else [_NOT_OCCUPANCY]


def is_selective(query: TraceQuery) -> bool:
    """Whether the query has conditions on spans besides time range and trace duration."""
    return bool(query.service or query.operation is not None or query.attributes or query.status)


def _texts(query: TraceQuery, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (column, text) of the query's equality conditions."""
    if query.service:
        yield "service", query.service.name
        if not query.any_namespace:
            yield "namespace", query.service.namespace
    if query.operation is not None:
        yield "name", query.operation
    for key, value in query.attributes.items():
        if key not in keys:
            raise UnsearchableError(f"attribute {key!r} is not searched by; use one of {', '.join(keys)}")
        yield column_of(key), value


def _text_equals(column: str, text: str, number: int) -> Condition:
    """Equality with a text. `number` makes the parameter's name unique."""
    stored = search_text(text)
    return Condition(
        f'"{column}" = $text{number}',
        {f"text{number}": stored},
        lambda part: part.equals(column, stored),
        column if is_attribute(column) else None,
    )


def same_trace_range(query: TraceQuery) -> list[Condition]:
    """Return the conditions on the other spans of a trace."""
    return [_started_between("trace", *spread_range(query)), *_occupancy(query)]


def spread_range(query: TraceQuery) -> tuple[int, int]:
    """Return the range of span starts to read, in nanoseconds: the query's range plus the margin `SPREAD_NS`."""
    return nanoseconds(query.start) - SPREAD_NS, nanoseconds(query.end) + SPREAD_NS


def ranking_span(query: TraceQuery) -> Condition:
    """Condition on the span that a trace is ranked by, if that span overlaps the query's range."""
    start, end = nanoseconds(query.start), nanoseconds(query.end)
    earliest, (shortest, longest) = start - SPREAD_NS, duration_range(query)

    def mask(part: TablePart) -> Bools:
        starts, ends = part["start_ns"], part["end_ns"]
        durations = ends - starts
        overlaps = (starts >= earliest) & (starts <= end) & (ends >= start)
        result: Bools = overlaps & (durations >= shortest) & (durations <= longest)
        return result

    return Condition(
        "start_ns between $earliest and $end and end_ns >= $start and end_ns - start_ns between $shortest and $longest",
        {"earliest": earliest, "end": end, "start": start, "shortest": shortest, "longest": longest},
        mask,
    )


def duration_range(query: TraceQuery) -> tuple[int, int]:
    """Return the shortest and the longest trace duration that match, in nanoseconds."""
    longest = _MAX_DURATION_NS if query.max_duration is None else nanoseconds(query.max_duration)
    return nanoseconds(query.min_duration or 0.0), longest


def of_trace(high: int, low: int) -> Condition:
    """Equality with a trace id, given as its halves."""
    return Condition(
        "trace_hi = $hi::ubigint and trace_lo = $lo::ubigint",
        {"hi": high, "lo": low},
        lambda part: (part["trace_hi"] == np.uint64(high)) & (part["trace_lo"] == np.uint64(low)),
    )


def high_half_in(candidates: NDArray[np.uint64]) -> Condition:
    """Condition that the high half of the trace id is in the SQL table `candidates`.

    The candidates are sorted once: `np.isin` would sort them again for each part of the head.
    """
    ordered = np.sort(candidates)

    def mask(part: TablePart) -> Bools:
        halves = part["trace_hi"]
        if not len(ordered):
            return np.zeros(len(halves), np.bool_)
        found: Bools = ordered[np.searchsorted(ordered[:-1], halves)] == halves
        return found

    return Condition("trace_hi in (select trace_hi from candidates)", {}, mask)


def started_since(since: int) -> Condition:
    """Condition that the span started at `since` (nanoseconds) or later."""
    return Condition("start_ns >= $since", {"since": since}, lambda part: part["start_ns"] >= since)


def nanoseconds(seconds: float) -> int:
    """Convert to nanoseconds, clipped to what a column holds."""
    return max(-_MAX_START_NS, min(_MAX_START_NS, round(seconds * 1e9)))
