"""What a trace took its time for: the spans without whose time it would have ended sooner. Pure.

From the end of the head backwards: of the calls that a span made, the last to end before the moment looked at is what
it waited for; before that one began, again the last that had ended, and so on. What lies between is its own time.
(The longest path of a tree of calls, Yang and Miller 1988; on traces by Zhang, Ren and others, CRISP, 2022.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.model.span import Span, head_of

GAP_SHARE = 0.1
"""Share of the trace from which time that no call explains is called a gap."""
GAP_LEAST = 1_000_000
"""Nanoseconds below which there is none."""


class Stretch(NamedTuple):
    """Nanoseconds, from `start` to `end`."""

    start: int
    end: int


class CriticalPath(NamedTuple):
    """stretches: own time of spans on the path, by place in the given order of spans; each moment is in one of them.

    gaps: those of them in which a span that makes calls made none for long, and nothing tells what it did.
    """

    stretches: Mapping[int, tuple[Stretch, ...]]
    gaps: Mapping[int, tuple[Stretch, ...]]


def critical_path(spans: Sequence[Span]) -> CriticalPath:
    """The path of a trace's spans, in any order. Spans outside their parents (clocks differ) are cut to them."""
    if not spans:
        return CriticalPath({}, {})
    head = next(i for i, span in enumerate(spans) if span is head_of(spans))
    calls = _calls(spans)
    found: dict[int, list[Stretch]] = {}
    seen: set[int] = set()
    stack = [(head, Stretch(spans[head].start_ns, spans[head].end_ns))]
    while stack:
        at, within = stack.pop()
        if at in seen:  # a circle of parents
            continue
        seen.add(at)
        now = within.end
        for start, end, call in _ended(spans, calls.get(at, ()), within):
            if end > now or call in seen:
                continue
            if end < now:
                found.setdefault(at, []).append(Stretch(end, now))
            stack.append((call, Stretch(start, end)))
            now = start
        if within.start < now:
            found.setdefault(at, []).append(Stretch(within.start, now))
    stretches = {at: tuple(sorted(own)) for at, own in sorted(found.items())}
    least = max(GAP_LEAST, round(GAP_SHARE * spans[head].duration_ns))
    gaps = {
        at: lasting
        for at, own in stretches.items()
        if calls.get(at) and (lasting := tuple(each for each in own if each.end - each.start >= least))
    }
    return CriticalPath(stretches, gaps)


def _calls(spans: Sequence[Span]) -> Mapping[int, list[int]]:
    """Children by the place of their parent. A client and a server may share an id: both are the parent's children."""
    by_id: dict[str, int] = {}
    for i, span in enumerate(spans):
        if span.span_id not in by_id or span.kind == "server":
            by_id[span.span_id] = i
    found: dict[int, list[int]] = {}
    for i, span in enumerate(spans):
        above = by_id.get(span.parent_id) if span.parent_id else None
        if above is not None and above != i:
            found.setdefault(above, []).append(i)
    return found


def _ended(spans: Sequence[Span], calls: Sequence[int], within: Stretch) -> list[tuple[int, int, int]]:
    """Calls that overlap a stretch, cut to it: start, end, place; the last to end first."""
    cut = [(max(spans[i].start_ns, within.start), min(spans[i].end_ns, within.end), i) for i in calls]
    return sorted((each for each in cut if each[0] < each[1]), key=lambda each: (-each[1], each[0], each[2]))
