"""Reads whole traces: few at a time, on threads that nothing else waits for."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from foreshock_dashboard.common.single_flight_cache import SingleFlight, SingleFlightCache
from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.web.pages.traces import trace_json
from foreshock_dashboard.web.pages.traces.exemplars import Exemplars, exemplars
from foreshock_dashboard.web.pages.traces.gpu_time import MAX_WHOLE_TRACES, GpuTimes
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters
from foreshock_dashboard.web.pages.traces.search import WaitCache, by_wait
from foreshock_dashboard.web.pages.traces.trace_json import Trace, Traces

MAX_CONCURRENT_LISTS = 2
"""Lists that read whole traces at a time; further ones wait. Opening a trace waits for no list."""
RANGE_ROUNDING_SECONDS = 10.0
"""Rounding of the range of a list, so that viewers of about the same range share it."""
CACHE_SECONDS = 30.0
"""Time for which such a list is cached."""
MAX_CACHED_LISTS = 128

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
        """The list of an address, with the waits of its traces where it asks for them.

        Raises:
            BadParameterError: a parameter cannot be used.
            SourceError: the trace source cannot answer.
        """
        source, now = self._hub.traces, self._hub.now()
        query = parameters.query(now, known)
        if wait := parameters.wait_filter:
            waited = await self._list(lambda: by_wait(source, self._times, query, wait))
            return trace_json.traces_by_wait(query, wait, waited)
        summaries = await to_thread.run_sync(source.search, query)
        waits = await self._list(lambda: self._waits.of(summaries, self._times.arrived())) if parameters.waits else {}
        return trace_json.traces(query, summaries, waits, note_of(summaries))

    async def exemplars(self, query: TraceQuery, aggressor: Service) -> Exemplars:
        """Traces that waited for an aggressor; viewers of about the same range share them."""
        start, end = (
            math.floor(query.start / RANGE_ROUNDING_SECONDS) * RANGE_ROUNDING_SECONDS,
            math.ceil(min(query.end, self._hub.now()) / RANGE_ROUNDING_SECONDS) * RANGE_ROUNDING_SECONDS,
        )
        rounded = replace(query, start=start, end=max(start, end))
        key = (query.service, aggressor, rounded.start, rounded.end, self._hub.now() // CACHE_SECONDS)
        return await self._list(
            lambda: self._pairs.get(key, lambda: exemplars(self._hub.traces, self._times, rounded, aggressor))
        )

    async def _list(self, read: Callable[[], T]) -> T:
        return await to_thread.run_sync(read, limiter=self._listing)
