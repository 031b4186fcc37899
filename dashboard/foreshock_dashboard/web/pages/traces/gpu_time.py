"""Reads the work on the GPUs of a trace: occupancy spans, or counters if no exporter sends such spans.

The occupancy of a GPU in a minute is one trace; its id follows from GPU and minute, so that it is found without a
search. Where no metrics name the GPUs, those traces are searched for, a minute at a time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from foreshock_dashboard.analysis.traces.critical_path import critical_path
from foreshock_dashboard.analysis.traces.gpu_lanes import TraceLanes, trace_lanes
from foreshock_dashboard.analysis.traces.occupancy import OccupancyInterval, inferred_intervals, measured_intervals
from foreshock_dashboard.analysis.traces.time_breakdown import TimePart, time_breakdown
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.query import Matcher, Query, SourceError, note_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import EXPORTER_NAME, OCCUPANCY_NAME, Span, TraceQuery, traffic_spans
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.render.verdict.trace_sentence import trace_sentence
from foreshock_dashboard.render.words.panels import ABSENT
from foreshock_dashboard.world.row import GPU_LABELS, SERVICE_LABELS
from foreshock_dashboard.world.row_math import service_at
from foreshock_exporter.gpu.occupancy import TRACE_SECONDS, trace_id

MAX_WHOLE_TRACES = 2
"""Whole traces in memory at a time: one with many spans takes 150 MiB. Further ones wait."""
MAX_READS = 512
"""GPUs times minutes that are read for one trace."""
TIMEOUT_SECONDS = 4.0
"""Wall time after which no further read begins: a remote source may be slow. Callers may have less time."""
MAX_CACHED_MINUTES = 2048
"""Largest number of cached readings, one per GPU and minute."""
MAX_CACHED_IDS = 65_536
"""Ids of occupancy traces, of all minutes together, that are cached."""
SETTLED_AFTER_SECONDS = 20.0
"""Time after which an interval has arrived: it is cut after 10 s, and pushed every second."""
LATE_SECONDS = 120.0
"""Time after a minute's end until which its occupancy may still grow."""
CACHE_SECONDS = 2.0
"""Wall time for which a minute that may still grow is cached: a list reads it for every trace."""
INCOMPLETE_CACHE_SECONDS = 10.0
"""Wall time for which searches of such minutes, incomplete ones, and failures are cached."""
LOOK_BACK_SECONDS = 30.0
"""Time before a span that is read too: it shows the processes on the GPU, and that an exporter reports."""
T = TypeVar("T")

WINDOW_SECONDS = 59.0
"""Window of counters around a trace: four scrapes of 10 s or more, off their multiples."""
LONG_WINDOW_SECONDS = 239.0
"""The window where scrapes are a minute apart."""


@dataclass(frozen=True, slots=True)
class GpuTime:
    """A trace on its GPUs, and how far that can be trusted.

    settled: False while intervals of its last seconds may still arrive. left_out: minutes of which not all GPUs were
    read, because of `MAX_READS`, the timeout, or an incomplete source. error: why a source cannot answer; "" if all
    answered. note: what is missing where it is settled that nothing is known of any GPU; "" else. parts: what the
    duration of the trace consists of.
    """

    lanes: TraceLanes = TraceLanes()
    settled: bool = True
    left_out: int = 0
    error: str = ""
    note: str = ""
    parts: tuple[TimePart, ...] = ()

    @property
    def sentence(self) -> str:
        """What took the trace's time, and its GPU wait."""
        return trace_sentence(self.parts, self.lanes, settled=self.settled)

    @property
    def waited(self) -> float | None:
        """The longest wait for one GPU in seconds; None where the trace is not known to have run on any."""
        return None if self.lanes.longest is None else self.lanes.longest.split.waited


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """The readings of a minute.

    at: Unix seconds of the reading; until: wall time of expiry. complete: whether that is all there was.
    """

    found: tuple[T, ...]
    at: float
    until: float
    complete: bool = True
    error: str = ""


class GpuTimes:
    """Joins traces with the GPUs of one hub. Thread-safe.

    whole: a semaphore held while a whole trace is in memory. max_reads: traces read for one trace. max_cached_ids:
    bound of the cached minutes and trace IDs together.
    """

    def __init__(
        self,
        hub: HubView,
        timer: Callable[[], float] = time.monotonic,
        max_reads: int = MAX_READS,
        max_cached_ids: int = MAX_CACHED_IDS,
    ) -> None:
        self._hub, self._timer, self._max_reads = hub, timer, max_reads
        self._minutes: SingleFlightCache[_Read[OccupancyInterval]] = SingleFlightCache(MAX_CACHED_MINUTES)
        self._ids: SingleFlightCache[_Read[str]] = SingleFlightCache(max_cached_ids, lambda read: 1 + len(read.found))
        self._hosts: SingleFlightCache[Mapping[str, str]] = SingleFlightCache(1)
        self.whole = threading.BoundedSemaphore(MAX_WHOLE_TRACES)

    def arrived(self) -> float:
        """Unix seconds up to which all data has arrived: now, or any time for a hub that serves the past."""
        return math.inf if self._hub.snapshot.bounds else self._hub.now()

    def of_trace(self, trace_id: str, timeout: float = TIMEOUT_SECONDS) -> GpuTime:
        """The GPU time of one trace.

        timeout: seconds for all of it, waiting and reading included.

        Raises:
            SourceError: the trace source cannot answer.
        """
        deadline = self._timer() + timeout
        with self.whole:
            spans = self._hub.traces.get(trace_id)
            return self.of(spans, deadline - self._timer())

    def of(self, spans: Sequence[Span], timeout: float = TIMEOUT_SECONDS) -> GpuTime:
        """The GPU time of the spans of one trace, as far as it can be read within `timeout` seconds.

        Where a source cannot answer, `error` says so; the trace itself is still returned.
        """
        requests = [span for span in traffic_spans(spans) if not span.occupancy]
        if not requests:
            return GpuTime()
        return replace(self._of(requests, timeout), parts=time_breakdown(requests, critical_path(requests)))

    def _of(self, requests: Sequence[Span], timeout: float) -> GpuTime:
        snapshot = self._hub.snapshot
        settled = _settled(requests, self.arrived())
        deadline = self._timer() + min(timeout, TIMEOUT_SECONDS)
        try:
            if snapshot.world is None or not snapshot.world.gpus:
                return self._unmeasured(requests, snapshot, deadline)
            return self._read(requests, snapshot, snapshot.world, deadline, settled)
        except SourceError as error:
            return GpuTime(settled=settled, error=str(error))

    def _read(self, spans: Sequence[Span], snapshot: Snapshot, world: World, deadline: float, settled: bool) -> GpuTime:
        """The GPUs of the trace's services first; where its spans did not run there, the other GPUs of its hosts."""
        hosts = self._host_names(snapshot, world)
        likely, rest = _candidates(spans, world, hosts)
        minutes = _minutes(spans, self._max_reads)
        known, missing = self._occupancy(_ids(likely, minutes), self._max_reads, deadline)
        lanes = trace_lanes(spans, known, world.tenants)
        if rest and all(wait.matched_by != "process" for wait in lanes.waits.values()):
            room = max(0, self._max_reads - len(likely) * len(minutes))
            more, unread = self._occupancy(_ids(rest, minutes), room, deadline)
            known, missing, likely = known + more, missing | unread, likely + rest
            lanes = trace_lanes(spans, known, world.tenants)
        unreported = [gpu for gpu in likely if gpu.host not in {interval.gpu.host for interval in known}]
        error = ""
        if unreported:
            try:
                counted = self._counters(unreported, spans, {name: host_id for host_id, name in hosts.items()})
                lanes = trace_lanes(spans, [*known, *counted], world.tenants) if counted else lanes
            except SourceError as failure:
                error = str(failure)
        return GpuTime(lanes, settled, len(missing), error)

    def _unmeasured(self, spans: Sequence[Span], snapshot: Snapshot, deadline: float) -> GpuTime:
        known: list[OccupancyInterval] = []
        missing: set[int] = set()
        at, room = self.arrived(), self._max_reads
        for minute in _minutes(spans, self._max_reads):
            if room <= 0 or self._timer() > deadline:
                missing.add(minute)
                continue
            reading = self._occupancy_traces(minute)
            more, unread = self._occupancy([(trace_id_, minute) for trace_id_ in reading.found], room, deadline)
            known += more
            missing |= unread if reading.complete else {minute}
            at, room = min(at, reading.at), room - len(reading.found)
        settled = _settled(spans, at)
        lanes = trace_lanes(spans, known, snapshot.world.tenants if snapshot.world is not None else ())
        note = ""
        if settled and not known and not missing:
            why = ABSENT["gpu_metrics" if snapshot.world or snapshot.error else "evaluation"]
            error = f" ({snapshot.error})" if snapshot.error else ""
            note = f"{why}{error}, {ABSENT['occupancy']}"
        return GpuTime(lanes, settled, len(missing), note=note)

    def _occupancy_traces(self, minute: int) -> _Read[str]:
        """The occupancy traces of a minute of Unix time, up to `max_reads`."""
        start, end = minute * TRACE_SECONDS, (minute + 1) * TRACE_SECONDS - 1e-6  # a query includes both ends
        query = TraceQuery(
            start, end, Service("", EXPORTER_NAME), any_namespace=True, operation=OCCUPANCY_NAME, limit=self._max_reads
        )

        def read() -> tuple[tuple[str, ...], bool]:
            summaries = self._hub.traces.search(query)
            return tuple(item.trace_id for item in summaries), len(summaries) < query.limit and not note_of(summaries)

        return self._once(self._ids, minute, minute, read, INCOMPLETE_CACHE_SECONDS)

    def _once(
        self,
        cache: SingleFlightCache[_Read[T]],
        key: Hashable,
        minute: int,
        read: Callable[[], tuple[tuple[T, ...], bool]],
        fresh: float,
    ) -> _Read[T]:
        """The cached reading of a minute, or what `read` returns and whether it is complete.

        One thread reads it for all. It is cached for good once nothing more is expected, else for `fresh` seconds.

        Raises:
            SourceError: the source cannot answer, or could not a moment ago.
        """

        def make(_: _Read[T] | None) -> _Read[T]:
            at = self.arrived()
            try:
                reading, complete = read()
            except SourceError as error:
                return _Read((), at, self._timer() + INCOMPLETE_CACHE_SECONDS, error=str(error))
            over = at > (minute + 1) * TRACE_SECONDS + LATE_SECONDS
            until = self._timer() + (fresh if complete else INCOMPLETE_CACHE_SECONDS)
            return _Read(reading, at, math.inf if over and complete else until, complete)

        reading = cache.extend(key, make, lambda known: self._timer() < known.until)
        if reading.error:
            raise SourceError(reading.error)
        return reading

    def _host_names(self, snapshot: Snapshot, world: World) -> Mapping[str, str]:
        """The World's names of hosts, by `host.id`."""

        def read() -> Mapping[str, str]:
            at, known = float(world.times[-1]), {gpu.host for gpu in world.gpus}
            query = Query("target_info", by=("job", "instance", "host_id", "host_name"), window=LONG_WINDOW_SECONDS)
            rows = map(dict, self._hub.metrics.fetch(query, at, at, 1.0).labels)
            named = ((row.get("host_id", ""), row.get("host_name") or row.get("instance", "")) for row in rows)
            return {host_id: name for host_id, name in named if host_id and name in known}

        return self._hosts.get("hosts", read, snapshot)

    def _occupancy(
        self, wanted: Sequence[tuple[str, int]], most: int, deadline: float
    ) -> tuple[list[OccupancyInterval], set[int]]:
        """The intervals of occupancy traces in the given order, and the minutes of those not read."""
        intervals: list[OccupancyInterval] = []
        for done, (trace_id_, minute) in enumerate(wanted):
            if done >= most or self._timer() > deadline:
                return intervals, {minute for _, minute in wanted[done:]}

            def read(trace_id_: str = trace_id_) -> tuple[tuple[OccupancyInterval, ...], bool]:
                return measured_intervals(self._hub.traces.get(trace_id_)), True

            intervals += self._once(self._minutes, trace_id_, minute, read, CACHE_SECONDS).found
        return intervals, set()

    def _counters(
        self, gpus: Sequence[Gpu], spans: Sequence[Span], host_ids: Mapping[str, str]
    ) -> list[OccupancyInterval]:
        """Mean shares around the trace, for GPUs without occupancy spans."""
        first, last = min(span.start_ns for span in spans) / 1e9, max(span.end_ns for span in spans) / 1e9
        for window in (WINDOW_SECONDS, LONG_WINDOW_SECONDS):
            length = min(86_400.0, window + last - first)
            end = min(self._hub.now(), last + window / 2)
            shares = self._shares(gpus, end, length)
            if shares:
                return [
                    interval
                    for gpu in gpus
                    if gpu in shares and gpu.host in host_ids
                    for interval in inferred_intervals(gpu, host_ids[gpu.host], shares[gpu], end - length, end)
                ]
        return []

    def _shares(self, gpus: Sequence[Gpu], end: float, window: float) -> dict[Gpu, dict[Service, float]]:
        by_uuid = {gpu.uuid: gpu for gpu in gpus}
        these = Matcher("uuid", "=~", "|".join(map(_quoted, sorted(by_uuid))))
        query = Query("gpu_service_busy_seconds_total", (these,), (*GPU_LABELS, *SERVICE_LABELS), "rate", window)
        answer = self._hub.metrics.fetch(query, end, end, 1.0)
        shares: dict[Gpu, dict[Service, float]] = {}
        for labels, values in zip(map(dict, answer.labels), answer.values, strict=True):
            gpu, service, share = by_uuid.get(labels.get("uuid", "")), service_at(labels), float(values[-1])
            if gpu is not None and service.name and np.isfinite(share):
                of = shares.setdefault(gpu, {})
                of[service] = max(share, of.get(service, 0.0))  # scraped by two jobs, it is one GPU all the same
        return shares


def _settled(spans: Sequence[Span], at: float) -> bool:
    """Whether the last seconds of a trace had arrived at a time (Unix seconds)."""
    return at - max(span.end_ns for span in spans) / 1e9 >= SETTLED_AFTER_SECONDS


def _candidates(spans: Sequence[Span], world: World, hosts: Mapping[str, str]) -> tuple[list[Gpu], list[Gpu]]:
    """The GPUs of the trace's services, and the other GPUs of its hosts.

    A span without a known host may have run on any GPU of its service.
    """
    names = {span.service.name for span in spans}
    on = {tenant.gpu for tenant in world.tenants if tenant.service.name in names}
    ids = {str(span.resource.get("host.id", "")) for span in spans}
    here = {hosts[host_id] for host_id in ids if host_id in hosts}
    elsewhere = {gpu.host for gpu in on} if ids - hosts.keys() else set()
    near = [gpu for gpu in world.gpus if gpu in on and gpu.host in here | elsewhere]
    return near, [gpu for gpu in world.gpus if gpu not in on and gpu.host in here]


def _minutes(spans: Sequence[Span], limit: int) -> list[int]:
    """The last minutes of Unix time in which spans ran, newest first; no interval crosses a minute."""
    minutes: set[int] = set()
    for span in spans:
        first = int((span.start_ns / 1e9 - LOOK_BACK_SECONDS) // TRACE_SECONDS)
        last = int(span.end_ns / 1e9 // TRACE_SECONDS)
        minutes.update(range(max(first, last - limit), last + 1))
    return sorted(minutes, reverse=True)[:limit]


def _ids(gpus: Sequence[Gpu], minutes: Sequence[int]) -> list[tuple[str, int]]:
    return [(f"{trace_id(gpu.uuid, minute * TRACE_SECONDS):032x}", minute) for gpu in gpus for minute in minutes]


def _quoted(text: str) -> str:
    """Literal in a regular expression of RE2 and of Python."""
    return "".join(letter if letter.isalnum() or letter in "-_" else f"\\{letter}" for letter in text)
