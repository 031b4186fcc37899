"""Where the time of a trace went: failed calls with their retries, queues of model servers, and work of services.

Every moment of the root span is on the critical path of one span (`critical_path`). It counts as a failed call where
that span is, or is below, a client span that failed: the work of a call
that times out is lost. Pauses between two attempts of a call count as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from foreshock_dashboard.analysis.traces.critical_path import CriticalPath, child_spans
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.types import Activity

QUEUE_ATTRIBUTE = "gen_ai.latency.time_in_queue"
"""Seconds in the queue of a model server, as vLLM's spans have it."""
_TIMEOUT_WORDS = ("timeout", "timed out", "deadline", "504")


class TimePart(NamedTuple):
    """Seconds of the critical path that a service spent on one activity.

    service: of failed calls, the caller. calls: number of failed calls. timed_out, retried: whether any of them timed
    out, or was followed by another attempt.
    """

    activity: Activity
    service: Service
    seconds: float
    calls: int = 0
    timed_out: bool = False
    retried: bool = False


def time_breakdown(spans: Sequence[Span], path: CriticalPath) -> tuple[TimePart, ...]:
    """The parts of a trace's critical path, the longest first; they add up to the duration of its root span."""
    children = child_spans(spans)
    parents = {child: parent for parent, below in children.items() for child in below}
    attempts = {parent: _attempts(spans, below) for parent, below in children.items()}
    retried = {first for pairs in attempts.values() for first, _ in pairs}
    seconds: dict[tuple[Activity, Service], float] = {}
    failed: dict[Service, set[int]] = {}
    failed_calls = _failed_calls(spans, parents)
    for index, ranges in path.own_time.items():
        span = spans[index]
        own = math.fsum(end - start for start, end in ranges) / 1e9
        if (call := failed_calls[index]) is not None:
            caller = spans[call].service
            failed.setdefault(caller, set()).add(call)
            _add(seconds, "failed_calls", caller, own)
            continue
        pause = 0.0
        for first, again in attempts.get(index, ()):
            failed.setdefault(spans[first].service, set()).add(first)
            gap = [(max(start, spans[first].end_ns), min(end, spans[again].start_ns)) for start, end in ranges]
            pause += math.fsum(max(0, end - start) for start, end in gap) / 1e9
        queued = min(own - pause, _queue_seconds(span))
        _add(seconds, "failed_calls", span.service, pause)
        _add(seconds, "queue", span.service, queued)
        _add(seconds, "work", span.service, own - pause - queued)
    parts = [
        TimePart(activity, service, amount)
        if activity != "failed_calls"
        else TimePart(
            activity,
            service,
            amount,
            calls=len(calls := failed[service]),
            timed_out=any(_is_timeout(spans[call]) for call in calls),
            retried=not retried.isdisjoint(calls),
        )
        for (activity, service), amount in seconds.items()
    ]
    return tuple(sorted(parts, key=lambda part: (-part.seconds, part.activity, part.service)))


def _add(seconds: dict[tuple[Activity, Service], float], activity: Activity, service: Service, amount: float) -> None:
    if amount > 0:
        seconds[activity, service] = seconds.get((activity, service), 0.0) + amount


def _failed_calls(spans: Sequence[Span], parents: Mapping[int, int]) -> Mapping[int, int | None]:
    """The innermost failed call that each span is part of. Each parent is read once, also in a deep trace."""
    calls: dict[int, int | None] = {}
    for index in range(len(spans)):
        below: list[int] = []
        at: int | None = index
        while at is not None and at not in calls:  # also ends in a cycle of parents
            below.append(at)
            calls[at] = at if _is_failed_call(spans[at]) else None
            if calls[at] is not None:
                break
            at = parents.get(at)
        call = None if at is None else calls[at]
        calls.update(dict.fromkeys(below, call))
    return calls


def _is_failed_call(span: Span) -> bool:
    return span.kind == "client" and span.status == "error"


def _attempts(spans: Sequence[Span], siblings: Sequence[int]) -> list[tuple[int, int]]:
    """Failed calls among the child spans of one span, each with the next attempt of the same call."""
    calls: dict[tuple[Service, str], list[int]] = {}
    for index in sorted(siblings, key=lambda i: (spans[i].start_ns, i)):
        if spans[index].kind == "client":
            calls.setdefault((spans[index].service, spans[index].name), []).append(index)
    return [
        (first, again)
        for same in calls.values()
        for first, again in pairwise(same)
        if _is_failed_call(spans[first]) and spans[first].end_ns <= spans[again].start_ns
    ]


def _is_timeout(span: Span) -> bool:
    text = f"{span.attributes.get('error.type', '')!s} {span.status_message}".lower()
    return any(word in text for word in _TIMEOUT_WORDS)


def _queue_seconds(span: Span) -> float:
    value = span.attributes.get(QUEUE_ATTRIBUTE)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return max(0.0, float(value))
