"""Critical path of a trace: the spans without whose own time it would have ended sooner.

From the end of the root span backwards, the last call to end before the current time is the one waited for; the time
between calls is the span's own. (The longest path of a call tree, Yang and Miller 1988; on traces by Zhang, Ren and
others, CRISP, 2022.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.model.span import Span, main_span

MIN_GAP_RATIO = 0.1
"""Least share of the trace's duration of an uninstrumented gap."""
MIN_GAP_NS = 1_000_000


class TimeRange(NamedTuple):
    """Unix nanoseconds."""

    start: int
    end: int


class CriticalPath(NamedTuple):
    """Own time of spans on the path, by index of the span; each moment of the trace belongs to one span.

    gaps: uninstrumented gaps, in which a span with child spans had none for long.
    """

    own_time: Mapping[int, tuple[TimeRange, ...]]
    gaps: Mapping[int, tuple[TimeRange, ...]]


def critical_path(spans: Sequence[Span]) -> CriticalPath:
    """Critical path of a trace's spans, in any order. Spans are clipped to their parents where clocks differ."""
    if not spans:
        return CriticalPath({}, {})
    root = next(i for i, span in enumerate(spans) if span is main_span(spans))
    children = child_spans(spans)
    own_time: dict[int, list[TimeRange]] = {}
    visited: set[int] = set()
    stack = [(root, TimeRange(spans[root].start_ns, spans[root].end_ns))]
    while stack:
        index, within = stack.pop()
        if index in visited:  # a cycle of parents
            continue
        visited.add(index)
        now = within.end
        for start, end, child in _latest_first(spans, children.get(index, ()), within):
            if end > now or child in visited:
                continue
            if end < now:
                own_time.setdefault(index, []).append(TimeRange(end, now))
            stack.append((child, TimeRange(start, end)))
            now = start
        if within.start < now:
            own_time.setdefault(index, []).append(TimeRange(within.start, now))
    ranges = {index: tuple(sorted(own)) for index, own in sorted(own_time.items())}
    min_gap = max(MIN_GAP_NS, round(MIN_GAP_RATIO * spans[root].duration_ns))
    long = {
        index: tuple(time for time in own if time.end - time.start >= min_gap)
        for index, own in ranges.items()
        if index in children
    }
    return CriticalPath(ranges, {index: own for index, own in long.items() if own})


def child_spans(spans: Sequence[Span]) -> Mapping[int, list[int]]:
    """Indices of child spans by that of their parent; of a client and a server with the same ID, the server."""
    by_id: dict[str, int] = {}
    for i, span in enumerate(spans):
        if span.span_id not in by_id or span.kind == "server":
            by_id[span.span_id] = i
    children: dict[int, list[int]] = {}
    for i, span in enumerate(spans):
        parent = by_id.get(span.parent_id) if span.parent_id else None
        if parent is not None and parent != i:
            children.setdefault(parent, []).append(i)
    return children


def _latest_first(spans: Sequence[Span], children: Sequence[int], within: TimeRange) -> list[tuple[int, int, int]]:
    """Start, end, and index of child spans clipped to a time range, the last to end first."""
    clipped = [(max(spans[i].start_ns, within.start), min(spans[i].end_ns, within.end), i) for i in children]
    return sorted((time for time in clipped if time[0] < time[1]), key=lambda time: (-time[1], time[0], time[2]))
