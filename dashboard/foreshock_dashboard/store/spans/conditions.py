"""What a span has to be to be found: each condition as SQL over segments, and as a mask over rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp import searched
from foreshock_dashboard.model.span import EXPORTER, OCCUPANCY, TraceQuery, UnsearchableError
from foreshock_dashboard.store.spans.columns import STATUSES, column_of, is_attribute
from foreshock_dashboard.store.spans.table import Mask, Part

ERROR = STATUSES.index("error")
SPREAD_NS = 3_600 * 10**9
"""How far outside the asked range the rest of a trace is looked for."""

_FAR, _LONGEST = 1 << 61, (1 << 63) - 1


class Condition(NamedTuple):
    """`sql` consists of constants and keys of ours; `given` are the values in it, by name.

    lacking: the column that it asks for, where that is an attribute's: segments none of whose spans has it lack it.
    """

    sql: str
    given: dict[str, Any]
    mask: Callable[[Part], Mask]
    lacking: str | None = None


_TRAFFIC = Condition(  # as Span.occupancy
    f"(name <> '{OCCUPANCY}' or service <> '{EXPORTER}')",
    {},
    lambda part: ~(part.has("name", OCCUPANCY) & part.has("service", EXPORTER)),
)


def matching(query: TraceQuery, keys: Sequence[str]) -> list[Condition]:
    """What one span of a trace has to be; `keys` are the attributes that are searched by.

    Raises:
        UnsearchableError: the query asks for another one.
    """
    start, end = nanoseconds(query.start), nanoseconds(query.end)
    asked = Condition(
        "start_ns between $start and $end",
        {"start": start, "end": end},
        lambda part: (part["start_ns"] >= start) & (part["start_ns"] <= end),
    )
    texts = [_called(column, text, number) for number, (column, text) in enumerate(_texts(query, keys))]
    return [asked, *_traffic(query), *texts, *_status(query)]


def picky(query: TraceQuery) -> bool:
    """Whether more is asked of a span than when it was and how long its trace took."""
    return bool(query.service or query.operation is not None or query.attributes or query.status)


def _texts(query: TraceQuery, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
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


def _called(column: str, text: str, number: int) -> Condition:
    """With this text in a column; `number` tells several such conditions apart."""
    known, lacking = searched(text), column if is_attribute(column) else None
    return Condition(
        f'"{column}" = $text{number}', {f"text{number}": known}, lambda part: part.has(column, known), lacking
    )


def around(query: TraceQuery) -> list[Condition]:
    """What the other spans of a trace have to be."""
    near, far = reach(query)
    whole = Condition(
        "start_ns between $near and $far",
        {"near": near, "far": far},
        lambda part: (part["start_ns"] >= near) & (part["start_ns"] <= far),
    )
    return [whole, *_traffic(query)]


def reach(query: TraceQuery) -> tuple[int, int]:
    """From when till when spans may have begun that matter, nanoseconds."""
    return nanoseconds(query.start) - SPREAD_NS, nanoseconds(query.end) + SPREAD_NS


def _status(query: TraceQuery) -> Iterator[Condition]:
    if query.status is not None:
        wanted = STATUSES.index(query.status)
        yield Condition(f"status = {wanted}", {}, lambda part: part["status"] == wanted)


def _traffic(query: TraceQuery) -> list[Condition]:
    return [] if query.occupancy else [_TRAFFIC]


def standing(query: TraceQuery) -> Condition:
    """What the span that a trace ranks by has to be, unless that ended before the range or began after it."""
    start, end = nanoseconds(query.start), nanoseconds(query.end)
    near, (shortest, longest) = start - SPREAD_NS, lengths(query)

    def mask(part: Part) -> Mask:
        first, last = part["start_ns"], part["end_ns"]
        length = last - first
        found: Mask = (first >= near) & (first <= end) & (last >= start) & (length >= shortest) & (length <= longest)
        return found

    return Condition(
        "start_ns between $near and $end and end_ns >= $start and end_ns - start_ns between $shortest and $longest",
        {"near": near, "end": end, "start": start, "shortest": shortest, "longest": longest},
        mask,
    )


def lengths(query: TraceQuery) -> tuple[int, int]:
    """How long a trace may have taken, nanoseconds."""
    longest = _LONGEST if query.max_duration is None else nanoseconds(query.max_duration)
    return nanoseconds(query.min_duration or 0.0), longest


def of_trace(high: int, low: int) -> Condition:
    """Of this trace, by the halves of its id."""
    return Condition(
        "trace_hi = $hi::ubigint and trace_lo = $lo::ubigint",
        {"hi": high, "lo": low},
        lambda part: (part["trace_hi"] == np.uint64(high)) & (part["trace_lo"] == np.uint64(low)),
    )


def maybe_of(wanted: NDArray[np.uint64]) -> Condition:
    """Of one of the traces in the table `wanted`, or of one whose id begins alike; `wanted` has how they begin."""
    return Condition("trace_hi in (select trace_hi from wanted)", {}, lambda part: np.isin(part["trace_hi"], wanted))


def began_from(since: int) -> Condition:
    """Begun from then on, nanoseconds."""
    return Condition("start_ns >= $since", {"since": since}, lambda part: part["start_ns"] >= since)


def nanoseconds(seconds: float) -> int:
    """Within what a column can hold."""
    return max(-_FAR, min(_FAR, round(seconds * 1e9)))
