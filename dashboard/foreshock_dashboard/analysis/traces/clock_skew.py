"""Whether the clocks of a trace's hosts agree, told from spans that lie outside their parents. Pure.

A span cannot start before its parent, nor serve a call that has ended. Where it seems to, on another host, that host's
clock is set differently. By how much is told as NTP does of a request and its answer (RFC 5905, section 8): a call lies
within its caller's span, so the clock is ahead by the distance of their middles, give or take half of what the caller
took longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.model.span import Span, head_of

TOLERANCE = 0.05
"""Seconds outside its parent from which a span tells that clocks differ; hosts that keep time are closer."""
_HOSTS = (("host.id", "host.name"), ("host.name", "host.name"), ("k8s.pod.uid", "k8s.pod.name"))


class Ahead(NamedTuple):
    """A host whose clock differs: seconds ahead of the head's, give or take `within`; None: it is not known."""

    host: str
    seconds: float | None
    within: float | None


@dataclass(frozen=True, slots=True)
class Skew:
    """The hosts of a trace whose clocks differ from that of `host`, where its head ran; none: they agree."""

    host: str = ""
    hosts: tuple[Ahead, ...] = ()


class _Call(NamedTuple):
    """A span on another host than its parent, in seconds: how far it began before its parent, or after that's end; by
    how much its clock is ahead, give or take `within`, which is negative where that cannot be told.
    """

    early: float
    late: float
    ahead: float
    within: float


def skew_of(spans: Sequence[Span]) -> Skew:
    """How the clocks of a trace's hosts differ, as far as its spans tell. A span that names no host is its service's.

    A call that is served after its caller has given up lies outside it as well: clocks differ only if all calls between
    two hosts do so, or one starts before its parent.
    """
    if not spans:
        return Skew()
    names: dict[str, str] = {}
    home: dict[int, str] = {}
    by_id: dict[str, Span] = {}
    for span in spans:
        key, name = _host(span)
        names.setdefault(key, name)
        home[id(span)] = key
        if span.span_id not in by_id or span.kind == "client":  # a server may share its client's id
            by_id[span.span_id] = span
    calls: dict[tuple[str, str], list[_Call]] = {}
    for span in spans:
        parent = by_id.get(span.parent_id)
        if parent is not None and home[id(parent)] != home[id(span)]:
            calls.setdefault((home[id(parent)], home[id(span)]), []).append(_call(parent, span))
    first = home[id(head_of(spans))]
    found = _apart(first, {pair: _offset(each) for pair, each in calls.items()})
    return Skew(names[first], tuple(Ahead(names[key], *found[key]) for key in sorted(found)))


_Offset = tuple[float | None, float | None]
_AGREES: _Offset = (0.0, 0.0)


def _offset(calls: Iterable[_Call]) -> _Offset:
    """By how much the clock of a child's host is ahead of its parent's."""
    calls = list(calls)
    if all(call.early <= TOLERANCE for call in calls) and any(call.late <= TOLERANCE for call in calls):
        return _AGREES
    told = [call for call in calls if call.within >= 0 and max(call.early, call.late) > TOLERANCE]
    best = min(told, key=lambda call: call.within, default=None)
    return (None, None) if best is None else (best.ahead, best.within)


def _apart(first: str, offsets: dict[tuple[str, str], _Offset]) -> dict[str, _Offset]:
    """The hosts whose clocks are not the first one's, by the calls that lead to them."""
    found: dict[str, _Offset] = {first: _AGREES}
    waiting = [first]
    while waiting:
        here = waiting.pop(0)
        ahead, within = found[here]
        for (caller, callee), (more, wider) in offsets.items():
            there, sign = (callee, 1) if caller == here else (caller, -1)
            if here in (caller, callee) and there not in found:
                unknown = ahead is None or within is None or more is None or wider is None
                found[there] = (None, None) if unknown else (ahead + sign * more, within + wider)  # type: ignore[operator]
                waiting.append(there)
    return {key: each for key, each in found.items() if each[0] is None or abs(each[0]) > TOLERANCE}


def _call(parent: Span, child: Span) -> _Call:
    start, end = (child.start_ns - parent.start_ns) / 1e9, (child.end_ns - parent.end_ns) / 1e9
    served = child.kind == "server" and parent.kind != "producer"  # what waits in a queue may begin whenever
    late = (child.start_ns - parent.end_ns) / 1e9 if served else 0.0
    return _Call(-start, late, (start + end) / 2, (start - end) / 2 if served else -1.0)


def _host(span: Span) -> tuple[str, str]:
    """What tells a span's host from others, and its name."""
    for key, name in _HOSTS:
        if found := span.resource.get(key):
            return f"{key} {found!s}", str(span.resource.get(name) or found)
    return f"service {span.service}", str(span.service)
