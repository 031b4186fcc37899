"""Lists of traces, and single traces with the work on their GPUs; whole traces are read few at a time.

No index has the GPU wait of a trace. It is computed for a bounded number of candidates, the slowest traces that match
otherwise: a trace that waited long is slow.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread
from cachetools import LRUCache
from typing_extensions import TypedDict

from foreshock_dashboard.common.single_flight_cache import SingleFlight, SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.web.pages.traces import trace_json
from foreshock_dashboard.web.pages.traces.gpu_time import MAX_WHOLE_TRACES, SETTLED_AFTER_SECONDS, GpuTime, GpuTimes
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters, WaitFilter
from foreshock_dashboard.web.pages.traces.trace_json import Candidates, Trace, TraceRow, Traces
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.parameters import BadParameterError, time_parameter

MAX_CONCURRENT_LISTS = 2
"""Lists that read whole traces at a time; further ones wait. Opening a trace waits for no list."""
RANGE_ROUNDING_SECONDS = 10.0
"""Rounding of the range of exemplars, so that viewers of about the same range share them."""
CACHE_SECONDS = 30.0
"""Time for which exemplars are cached."""
MAX_CACHED_LISTS = 128
MAX_CANDIDATES = 500
"""Largest number of traces per list for which the GPU wait is computed."""
LIST_TIMEOUT_SECONDS = 8.0
"""Time after which a list by GPU wait consists of the traces that were read so far."""
WAITS_TIMEOUT_SECONDS = 1.5
"""Time after which a list shows the waits that were read so far."""
MAX_CACHED_WAITS = 10_000
MAX_EXEMPLAR_CANDIDATES = 40
"""Largest number of traces of which exemplars are chosen, the slowest first."""
EXEMPLARS_TIMEOUT_SECONDS = 4.0
"""Time after which exemplars are chosen among the traces that were read so far."""
MAX_EXEMPLARS = 8
EXEMPLARS_RANGE_SECONDS = 1800.0
"""Range of exemplars without `start`."""

T = TypeVar("T")


class TraceReads:
    """The traces of one hub."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._times = GpuTimes(hub)
        self._waits = WaitCache(self._times)
        self._opening, self._listing = CapacityLimiter(MAX_WHOLE_TRACES), CapacityLimiter(MAX_CONCURRENT_LISTS)
        self._opened: SingleFlight[Trace | None] = SingleFlight()
        self._pairs: SingleFlightCache[Exemplars] = SingleFlightCache(MAX_CACHED_LISTS)

    async def whole(self, trace_id: str, page: SpanPage) -> Trace | None:
        """A trace with the work on its GPUs; None for an unknown trace. Concurrent requests share a reading.

        Raises:
            SourceError: the trace source cannot answer.
        """

        def read() -> Trace | None:
            with self._times.whole:
                spans = self._hub.traces.get(trace_id)
                if not spans:
                    return None
                return {**trace_json.trace(trace_id, spans, self._times.of(spans), page), "note": note_of(spans)}

        return await self._opened.get((trace_id, page), lambda: to_thread.run_sync(read, limiter=self._opening))

    async def listed(self, parameters: TraceParameters, known: Collection[Service]) -> Traces:
        """The list of an address, with the waits of its traces where they are requested.

        Raises:
            BadParameterError: a parameter cannot be used.
            SourceError: the trace source cannot answer.
        """
        source, now = self._hub.traces, self._hub.now()
        query = parameters.query(now, known)
        if wait := parameters.wait_filter:
            return await self._list(lambda: by_wait(source, self._waits, query, wait))
        summaries = await to_thread.run_sync(source.search, query)
        waits = await self._list(lambda: self._waits.of(summaries, self._times.arrived())) if parameters.waits else {}
        return trace_json.traces(query, summaries, waits, note_of(summaries))

    async def exemplars(self, query: TraceQuery, aggressor: Service) -> Exemplars:
        """Traces that waited for an aggressor; viewers of about the same range share them."""
        start = math.floor(query.start / RANGE_ROUNDING_SECONDS) * RANGE_ROUNDING_SECONDS
        end = math.ceil(min(query.end, self._hub.now()) / RANGE_ROUNDING_SECONDS) * RANGE_ROUNDING_SECONDS
        rounded = replace(query, start=start, end=max(start, end))
        key = (query.service, aggressor, rounded.start, rounded.end, self._hub.now() // CACHE_SECONDS)
        return await self._list(
            lambda: self._pairs.get(key, lambda: exemplars(self._hub.traces, self._times, rounded, aggressor))
        )

    async def _list(self, read: Callable[[], T]) -> T:
        return await to_thread.run_sync(read, limiter=self._listing)


def _gpu_times(
    times: GpuTimes, traces: Iterable[TraceSummary], deadline: float, timer: Callable[[], float]
) -> Iterator[tuple[TraceSummary, GpuTime]]:
    """The traces with their GPU time, as far as it is read before the deadline."""
    for trace in traces:
        if (left := deadline - timer()) < 0:
            return
        yield trace, times.of_trace(trace.trace_id, left)


class Wait(NamedTuple):
    """The GPU wait of a trace: seconds so far; None where it is not known to have run on a shared GPU.

    is_final: nothing more is expected. left_out: as of `GpuTime`.
    """

    seconds: float | None
    is_final: bool
    left_out: int


class WaitCache:
    """GPU waits of traces. Final ones are cached, of traces whose spans and GPUs are known. Thread-safe."""

    def __init__(self, times: GpuTimes, timer: Callable[[], float] = time.monotonic) -> None:
        self._times, self._timer = times, timer
        self._known: LRUCache[str, Wait] = LRUCache(MAX_CACHED_WAITS)
        self._lock = threading.Lock()

    def read(self, traces: Iterable[TraceSummary], timeout: float) -> Mapping[str, Wait]:
        """Waits by trace ID: all that are cached, and those that are read within `timeout` seconds.

        Raises:
            SourceError: the trace source cannot answer.
        """
        deadline, waits = self._timer() + timeout, {}
        for trace in traces:
            with self._lock:
                wait = self._known.get(trace.trace_id)
            if wait is None:
                if (left := deadline - self._timer()) < 0:
                    continue
                read = self._times.of_trace(trace.trace_id, left)
                wait = Wait(read.waited, read.settled and not read.left_out, read.left_out)
                if wait.is_final and read.parts and not (read.error or read.note):
                    with self._lock:
                        self._known[trace.trace_id] = wait
            waits[trace.trace_id] = wait
        return waits

    def of(self, traces: Iterable[TraceSummary], now: float) -> Mapping[str, float | None]:
        """Seconds of GPU wait by trace ID; None where a trace is not known to have run on a shared GPU.

        Traces beyond the timeout, and those so young at `now` (Unix seconds) that more may arrive, are left out.
        """
        old = (trace for trace in traces if now - trace.start - trace.duration >= SETTLED_AFTER_SECONDS)
        waits = self.read(old, WAITS_TIMEOUT_SECONDS)
        return {key: wait.seconds for key, wait in waits.items() if wait.is_final or wait.seconds is not None}


def by_wait(source: TraceSource, cache: WaitCache, query: TraceQuery, wait_filter: WaitFilter) -> Traces:
    """The list by GPU wait.

    `limit_reached`: the list may be incomplete, because more traces matched, or not all GPU time could be read.

    Raises:
        SourceError: the trace source cannot answer.
    """
    candidates = source.search(replace(query, order="slowest", limit=MAX_CANDIDATES))
    waits = cache.read(candidates, LIST_TIMEOUT_SECONDS)
    seconds = {trace_id: wait.seconds for trace_id, wait in waits.items()}
    is_incomplete = any(wait.left_out for wait in waits.values())
    least = wait_filter.least or 0.0
    matching = [
        trace for trace in candidates if (waited := seconds.get(trace.trace_id)) is not None and waited >= least
    ]
    if wait_filter.first:
        matching.sort(key=lambda trace: (-(seconds[trace.trace_id] or 0.0), trace.trace_id))
    elif query.order == "newest":
        matching.sort(key=lambda trace: (-trace.start, trace.trace_id))
    bounded = is_incomplete or len(candidates) == MAX_CANDIDATES or len(seconds) < len(candidates)
    counts: Candidates = {"examined": len(seconds), "limit": MAX_CANDIDATES, "limit_reached": bounded}
    shown = matching[: query.limit]
    return trace_json.traces(query, shown, seconds, note_of(candidates), wait_filter, counts)


class ExemplarRow(TraceRow):
    """A trace that waited for a GPU."""

    aggressor_wait_seconds: float | None
    gpu_seconds: float | None
    sentence: str


class Exemplars(TypedDict):
    """The traces with the longest wait, and how many traces were examined."""

    traces: list[ExemplarRow]
    examined: int


def exemplar_query(victim: Service, start: str, end: str, now: float) -> TraceQuery:
    """The search for the victim's slowest traces. start, end: the parameters of an address.

    Raises:
        BadParameterError: a time cannot be read, or the range is upside down.
    """
    until = time_parameter("end", end, now, now)
    since = time_parameter("start", start, now, until - EXEMPLARS_RANGE_SECONDS)
    if since > until:
        raise BadParameterError(f"start={since:.0f} is after end={until:.0f}. Swap them")
    return TraceQuery(start=since, end=until, service=victim, order="slowest", limit=MAX_EXEMPLAR_CANDIDATES)


def exemplars(
    source: TraceSource,
    times: GpuTimes,
    query: TraceQuery,
    aggressor: Service,
    timer: Callable[[], float] = time.monotonic,
) -> Exemplars:
    """The traces with the longest wait for the aggressor, then those with any wait.

    `examined` counts the traces whose wait was computed; `gpu_seconds` is the time with work on that GPU.

    Raises:
        SourceError: the trace source cannot answer.
    """
    deadline = timer() + EXEMPLARS_TIMEOUT_SECONDS
    rows: list[tuple[float, float, ExemplarRow]] = []
    examined = 0
    candidates = source.search(replace(query, limit=MAX_EXEMPLAR_CANDIDATES))
    for item, gpu_time in _gpu_times(times, candidates, deadline, timer):
        examined += 1
        if (worst := gpu_time.lanes.longest) is None:
            continue
        by = worst.split.others.get(aggressor, 0.0)
        row: ExemplarRow = {
            **trace_json.summary(item),
            "gpu_wait_seconds": number(worst.split.waited),
            "aggressor_wait_seconds": number(by),
            "gpu_seconds": number(worst.split.length),
            "sentence": gpu_time.sentence,
        }
        rows.append((by, worst.split.waited, row))
    rows.sort(key=lambda row: (-row[0], -row[1], str(row[2]["trace_id"])))
    return {"traces": [row for _, _, row in rows[:MAX_EXEMPLARS]], "examined": examined}
