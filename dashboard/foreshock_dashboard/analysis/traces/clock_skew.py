"""Clock offsets between the hosts of a trace, from spans that lie outside their parents.

A span cannot start before its parent, nor can a server span start after the call has ended. The offset is estimated as
in NTP (RFC 5905, section 8): a call lies within its caller's span, so the offset is the distance of their midpoints,
within half of the difference of their durations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.model.span import Span, main_span

MIN_SKEW_SECONDS = 0.05
"""Time outside its parent from which a span indicates clock skew; synchronized hosts are closer."""
_HOST_ATTRIBUTES = (("host.id", "host.name"), ("host.name", "host.name"), ("k8s.pod.uid", "k8s.pod.name"))
"""Resource attributes that identify a host, and those of its name."""


class ClockOffset(NamedTuple):
    """A host whose clock is `seconds` ahead of the root span's host, plus or minus `within`; None: unknown."""

    host: str
    seconds: float | None
    within: float | None


class ClockSkew(NamedTuple):
    """The hosts of a trace whose clocks differ from that of `host`, where its root span ran."""

    host: str = ""
    hosts: tuple[ClockOffset, ...] = ()


_Offset = tuple[float, float]
"""Seconds that a clock is ahead, and the bound of their error."""
_SYNCHRONIZED: _Offset = 0.0, 0.0


def clock_skew(spans: Sequence[Span]) -> ClockSkew:
    """Clock offsets of the hosts of a trace. A span without a host counts as its service's.

    A call that is served after its caller timed out lies outside it as well. So clocks differ only if all calls between
    two hosts do, or one starts before its parent.
    """
    if not spans:
        return ClockSkew()
    names: dict[str, str] = {}
    host_of: dict[int, str] = {}
    by_id: dict[str, Span] = {}
    for span in spans:
        key, name = _host(span)
        names.setdefault(key, name)
        host_of[id(span)] = key
        if span.span_id not in by_id or span.kind == "client":  # a server may share its client's id
            by_id[span.span_id] = span
    calls: dict[tuple[str, str], list[tuple[Span, Span]]] = {}
    for span in spans:
        parent = by_id.get(span.parent_id)
        if parent is not None and host_of[id(parent)] != host_of[id(span)]:
            calls.setdefault((host_of[id(parent)], host_of[id(span)]), []).append((parent, span))
    root = host_of[id(main_span(spans))]
    offsets = _offsets_from(root, {pair: _pair_offset(group) for pair, group in calls.items()})
    differing = (
        ClockOffset(names[key], *(offset or (None, None)))
        for key, offset in sorted(offsets.items())
        if offset is None or abs(offset[0]) > MIN_SKEW_SECONDS
    )
    return ClockSkew(names[root], tuple(differing))


def _pair_offset(calls: Sequence[tuple[Span, Span]]) -> _Offset | None:
    """Offset of the clock of a callee's host from its caller's, from pairs of a parent and a child; None if unknown."""
    early, late, estimates = [], [], []
    for parent, child in calls:
        start, end = (child.start_ns - parent.start_ns) / 1e9, (child.end_ns - parent.end_ns) / 1e9
        synchronous = child.kind == "server" and parent.kind != "producer"  # a queued message may be processed any time
        early.append(-start)
        late.append((child.start_ns - parent.end_ns) / 1e9 if synchronous else 0.0)
        if synchronous and start >= end and max(early[-1], late[-1]) > MIN_SKEW_SECONDS:
            estimates.append(((start + end) / 2, (start - end) / 2))
    if max(early) <= MIN_SKEW_SECONDS and min(late) <= MIN_SKEW_SECONDS:
        return _SYNCHRONIZED
    return min(estimates, key=lambda estimate: estimate[1], default=None)


def _offsets_from(root: str, pairs: dict[tuple[str, str], _Offset | None]) -> dict[str, _Offset | None]:
    """Offset of each host from the root's, summed along the calls that lead to it (breadth first)."""
    offsets: dict[str, _Offset | None] = {root: _SYNCHRONIZED}
    queue = [root]
    for host in queue:
        base = offsets[host]
        for (caller, callee), step in pairs.items():
            other, sign = (callee, 1) if caller == host else (caller, -1)
            if host in (caller, callee) and other not in offsets:
                offsets[other] = (base[0] + sign * step[0], base[1] + step[1]) if base and step else None
                queue.append(other)
    return offsets


def _host(span: Span) -> tuple[str, str]:
    """Key and name of a span's host."""
    for key, name in _HOST_ATTRIBUTES:
        if value := span.resource.get(key):
            return f"{key} {value!s}", str(span.resource.get(name) or value)
    return f"service {span.service}", str(span.service)
