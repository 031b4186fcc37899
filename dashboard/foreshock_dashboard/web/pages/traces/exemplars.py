"""Traces of a victim by how long they waited for one aggressor: examples of what a pair costs.

No index knows that: it is computed, of a bounded number of the slowest traces.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from typing_extensions import TypedDict

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery, TraceSource
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTimes
from foreshock_dashboard.web.pages.traces.trace_json import TraceRow, summary
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.parameters import BadParameterError, time_parameter

MAX_CANDIDATES = 40
"""Traces that are looked at, the slowest first."""
TIMEOUT_SECONDS = 4.0
"""Seconds after which the list is made of those looked at so far."""
MAX_EXEMPLARS = 8
"""Traces that are given."""
DEFAULT_RANGE_SECONDS = 1800.0
"""Seconds before the end, unless told otherwise."""


class ExemplarRow(TraceRow):
    """A trace that waited for a GPU."""

    for_aggressor_seconds: float | None
    gpu_seconds: float | None
    sentence: str


class Exemplars(TypedDict):
    """The traces that waited longest, and how many were looked at."""

    traces: list[ExemplarRow]
    looked_at: int


def exemplar_query(victim: Service, start: str, end: str, now: float) -> TraceQuery:
    """The search for the victim's slowest traces. start, end: the parameters of an address.

    Raises:
        BadParameterError: a time cannot be read, or the range is upside down.
    """
    until = time_parameter("end", end, now, now)
    since = time_parameter("start", start, now, until - DEFAULT_RANGE_SECONDS)
    if since > until:
        raise BadParameterError(f"start={since:.0f} lies after end={until:.0f}: exchange them")
    return TraceQuery(start=since, end=until, service=victim, order="slowest", limit=MAX_CANDIDATES)


def exemplars(
    source: TraceSource,
    times: GpuTimes,
    query: TraceQuery,
    aggressor: Service,
    timer: Callable[[], float] = time.monotonic,
) -> Exemplars:
    """The traces that waited longest for the aggressor, then those that waited for anybody.

    `looked_at` tells of how many; `sentence` of each says what it waited for; `gpu_seconds` how long it had work on
    that GPU, which may be longer than it took, for work goes on when a caller has an answer or gave up.

    Raises:
        SourceError: the trace source cannot answer.
    """
    deadline = timer() + TIMEOUT_SECONDS
    rows: list[tuple[float, float, ExemplarRow]] = []
    looked_at = 0
    for item in source.search(replace(query, limit=MAX_CANDIDATES)):
        if (left := deadline - timer()) < 0:
            break
        found = times.of_trace(item.trace_id, left)
        looked_at += 1
        if (worst := found.lanes.worst) is None:
            continue
        by = worst.held.by.get(aggressor, 0.0)
        row: ExemplarRow = {
            **summary(item),
            "gpu_wait_seconds": number(worst.held.waited),
            "for_aggressor_seconds": number(by),
            "gpu_seconds": number(worst.held.length),
            "sentence": found.sentence,
        }
        rows.append((by, worst.held.waited, row))
    rows.sort(key=lambda row: (-row[0], -row[1], str(row[2]["trace_id"])))
    return {"traces": [row for _, _, row in rows[:MAX_EXEMPLARS]], "looked_at": looked_at}
