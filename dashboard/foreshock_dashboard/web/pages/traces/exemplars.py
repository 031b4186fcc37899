"""Exemplars of a pair: traces of a victim by their wait for one aggressor.

No index has the wait: it is computed for a bounded number of the slowest traces.
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
"""Largest number of traces for which the GPU wait is computed, the slowest first."""
TIMEOUT_SECONDS = 4.0
"""Time after which the list consists of the traces that were read so far."""
MAX_EXEMPLARS = 8
DEFAULT_RANGE_SECONDS = 1800.0


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
    """The traces with the longest wait for the aggressor, then those with any wait.

    `looked_at` counts the traces whose wait was computed; `gpu_seconds` is the time with work on that GPU, which may
    exceed the duration, since work goes on after a caller has its answer or gives up.

    Raises:
        SourceError: the trace source cannot answer.
    """
    deadline = timer() + TIMEOUT_SECONDS
    rows: list[tuple[float, float, ExemplarRow]] = []
    looked_at = 0
    for item in source.search(replace(query, limit=MAX_CANDIDATES)):
        if (left := deadline - timer()) < 0:
            break
        gpu_time = times.of_trace(item.trace_id, left)
        looked_at += 1
        if (worst := gpu_time.lanes.longest) is None:
            continue
        by = worst.split.others.get(aggressor, 0.0)
        row: ExemplarRow = {
            **summary(item),
            "gpu_wait_seconds": number(worst.split.waited),
            "for_aggressor_seconds": number(by),
            "gpu_seconds": number(worst.split.length),
            "sentence": gpu_time.sentence,
        }
        rows.append((by, worst.split.waited, row))
    rows.sort(key=lambda row: (-row[0], -row[1], str(row[2]["trace_id"])))
    return {"traces": [row for _, _, row in rows[:MAX_EXEMPLARS]], "looked_at": looked_at}
