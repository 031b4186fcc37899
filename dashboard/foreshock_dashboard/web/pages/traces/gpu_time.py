"""Reads what ran on the GPUs around a trace: occupancy spans, or counters where nobody sends such spans.

The occupancy of a GPU in a minute is one trace whose id follows from GPU and minute, so it is found without a search.
Where no GPU is known by its metrics, those traces are searched for, a minute at a time: they name their GPUs.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from foreshock_dashboard.analysis.traces.gpu_lanes import TraceLanes, lanes_of
from foreshock_dashboard.analysis.traces.occupancy import Interval, inferred, measured
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.partial import note_of
from foreshock_dashboard.model.query import Matcher, Query, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.span import EXPORTER, OCCUPANCY, Span, TraceQuery, traffic
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.web.pages.traces.sentences import wait_sentence
from foreshock_dashboard.world.catalogue.catalogue import service_at
from foreshock_dashboard.world.catalogue.row import GPU_LABELS, SERVICE_LABELS
from foreshock_exporter.gpu.occupancy import TRACE_SECONDS, trace_id

MAX_WHOLE_TRACES = 2
"""Whole traces that are held at once: one of many spans takes 150 MiB until it is told. Further ones wait."""
MAX_READS = 512
"""GPUs times minutes that are read for one trace."""
TIMEOUT_SECONDS = 4.0
"""Seconds on the wall after which no more of them are begun: a source elsewhere may take its time over each. Callers
may have less time."""
MAX_CACHED_MINUTES = 2048
"""GPUs times minutes that are remembered once nothing more is expected of them."""
MAX_CACHED_IDS = 65_536
"""Ids of traces that tell of GPUs, of all minutes together, that are remembered."""
SETTLED_AFTER_SECONDS = 20.0
"""Seconds after which an interval has arrived: it is cut after ten, and pushed every second."""
LATE_SECONDS = 120.0
"""Seconds after a minute's end until which its occupancy may still grow."""
CACHE_SECONDS = 2.0
"""Seconds on the wall for which what was read of such a minute holds: a list reads the same ones for every trace."""
INCOMPLETE_CACHE_SECONDS = 10.0
"""The same of a search for what tells of GPUs in such a minute, of one that found not all, and of failures."""
LOOK_BACK_SECONDS = 30.0
"""Seconds before a span whose occupancy is read too: it tells whose process is on the GPU, and that somebody tells."""
NO_METRICS, NO_TICK = "the hub has no metrics of GPUs", "the hub has not read its metrics yet"
NO_OCCUPANCY = "and no exporter sent occupancy spans of that time"
T = TypeVar("T")

WINDOW_SECONDS = 59.0
"""Seconds of counters around a trace: four scrapes of ten seconds or more, off their multiples."""
LONG_WINDOW_SECONDS = 239.0
"""The same where scrapes are a minute apart."""


@dataclass(frozen=True, slots=True)
class GpuTime:
    """A trace on its GPUs, and how far that is to be trusted.

    settled: False while intervals of its last seconds may still be on their way, or came after what was read.
    left_out: minutes of which not all GPUs were read, because there were too many, reading them took too long, or the
        source does not find all.
    error: why a source could not be asked; "" if all answered.
    note: what is missing where it is settled that nothing is known of any GPU; "" else.
    """

    lanes: TraceLanes = TraceLanes()
    settled: bool = True
    left_out: int = 0
    error: str = ""
    note: str = ""

    @property
    def sentence(self) -> str:
        """What to say of it; nothing before it is settled, unless others are known to have held the GPU already."""
        worst = self.lanes.worst
        return wait_sentence(self.lanes) if self.settled or (worst and worst.held.by) else ""

    @property
    def waited(self) -> float | None:
        """Seconds that the trace waited for one GPU, at most; None where it is not known to have run on any."""
        return None if self.lanes.worst is None else self.lanes.worst.held.waited


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """What was read of a minute.

    at: when, Unix seconds; until: when on the wall it does not hold any more. complete: whether that is all there was.
    """

    found: tuple[T, ...]
    at: float
    until: float
    complete: bool = True
    error: str = ""


class GpuTimes:
    """Joins traces with the GPUs of one hub. Thread-safe.

    whole: held by whoever holds a whole trace, from reading it until it is told.
    """

    def __init__(self, hub: HubView, timer: Callable[[], float] = time.monotonic) -> None:
        self._hub, self._timer = hub, timer
        self._minutes: SingleFlightCache[_Read[Interval]] = SingleFlightCache(MAX_CACHED_MINUTES)
        self._ids: SingleFlightCache[_Read[str]] = SingleFlightCache(MAX_CACHED_IDS, lambda read: 1 + len(read.found))
        self._hosts: tuple[int, Mapping[str, str]] = (-1, {})
        self._lock = threading.Lock()
        self.whole = threading.BoundedSemaphore(MAX_WHOLE_TRACES)

    def arrived(self) -> float:
        """Unix seconds, until shortly before which all has arrived: now; any time for a hub that stands in the past."""
        return math.inf if self._hub.snapshot.bounds else self._hub.now()

    def of_trace(self, trace_id: str, patience: float = TIMEOUT_SECONDS) -> GpuTime:
        """What one trace had of its GPUs.

        patience: seconds that the caller has for all of it, its turn and the trace itself included.

        Raises:
            SourceError: the trace source cannot answer.
        """
        deadline = self._timer() + patience
        with self.whole:
            spans = self._hub.traces.get(trace_id)
            return self.of(spans, deadline - self._timer())

    def of(self, spans: Sequence[Span], patience: float = TIMEOUT_SECONDS) -> GpuTime:
        """What the spans of one trace had of their GPUs; of as many as can be read in `patience` seconds.

        Where a source of this cannot be asked, `error` says so; the trace itself is not lost for that.
        """
        snapshot = self._hub.snapshot
        told = [span for span in traffic(spans) if not span.occupancy]
        if not told:
            return GpuTime()
        settled = _settled(told, self.arrived())
        deadline = self._timer() + min(patience, TIMEOUT_SECONDS)
        try:
            if snapshot.world is None or not snapshot.world.gpus:
                return self._unmeasured(told, snapshot, deadline)
            return self._read(told, snapshot, snapshot.world, deadline, settled)
        except SourceError as error:
            return GpuTime(settled=settled, error=str(error))

    def _read(self, spans: Sequence[Span], snapshot: Snapshot, world: World, deadline: float, settled: bool) -> GpuTime:
        """First the GPUs on which a service of the trace is known to be; if they were not it, others of its hosts."""
        hosts = self._host_names(snapshot, world)
        near, rest = _candidates(spans, world, hosts)
        minutes = _minutes(spans)
        known, missing = self._occupancy(_ids(near, minutes), MAX_READS, deadline)
        lanes = lanes_of(spans, known, world.tenants)
        if rest and all(wait.found_by != "process" for wait in lanes.waits.values()):
            room = max(0, MAX_READS - len(near) * len(minutes))
            more, unread = self._occupancy(_ids(rest, minutes), room, deadline)
            known, missing, near = known + more, missing | unread, near + rest
            lanes = lanes_of(spans, known, world.tenants)
        quiet = [gpu for gpu in near if gpu.host not in {each.gpu.host for each in known}]
        error = ""
        if quiet:
            try:
                counted = self._counters(quiet, spans, {name: host_id for host_id, name in hosts.items()})
                lanes = lanes_of(spans, [*known, *counted], world.tenants) if counted else lanes
            except SourceError as failure:
                error = str(failure)
        return GpuTime(lanes, settled, len(missing), error)

    def _unmeasured(self, spans: Sequence[Span], snapshot: Snapshot, deadline: float) -> GpuTime:
        """What occupancy spans alone tell, where there are no metrics of GPUs."""
        known: list[Interval] = []
        missing: set[int] = set()
        at, room = self.arrived(), MAX_READS
        for minute in _minutes(spans):
            if room <= 0 or self._timer() > deadline:
                missing.add(minute)
                continue
            told = self._told_in(minute)
            more, unread = self._occupancy([(each, minute) for each in told.found], room, deadline)
            known += more
            missing |= unread if told.complete else {minute}
            at, room = min(at, told.at), room - len(told.found)
        settled = _settled(spans, at)
        lanes = lanes_of(spans, known, snapshot.world.tenants if snapshot.world is not None else ())
        note = "" if known or missing or not settled else f"{_why_no_metrics(snapshot)}, {NO_OCCUPANCY}"
        return GpuTime(lanes, settled, len(missing), note=note)

    def _told_in(self, minute: int) -> _Read[str]:
        """The traces that tell of any GPU in a minute of Unix time; `MAX_READS` at most."""
        start, end = minute * TRACE_SECONDS, (minute + 1) * TRACE_SECONDS - 1e-6  # both belong to what a query asks for
        query = TraceQuery(start, end, Service("", EXPORTER), any_namespace=True, operation=OCCUPANCY, limit=MAX_READS)

        def read() -> tuple[tuple[str, ...], bool]:
            found = self._hub.traces.search(query)
            return tuple(each.trace_id for each in found), len(found) < query.limit and not note_of(found)

        return self._once(self._ids, minute, minute, read, INCOMPLETE_CACHE_SECONDS)

    def _once(
        self,
        kept: SingleFlightCache[_Read[T]],
        key: Hashable,
        minute: int,
        read: Callable[[], tuple[tuple[T, ...], bool]],
        fresh: float,
    ) -> _Read[T]:
        """What is kept of a minute while it holds, or else what `read` finds, and whether that is all.

        One thread reads it for all. It holds for good once nothing more is expected, else for `fresh` seconds.

        Raises:
            SourceError: the source cannot answer, or could not a moment ago.
        """

        def make(_: _Read[T] | None) -> _Read[T]:
            at = self.arrived()
            try:
                found, complete = read()
            except SourceError as error:
                return _Read((), at, self._timer() + INCOMPLETE_CACHE_SECONDS, error=str(error))
            over = at > (minute + 1) * TRACE_SECONDS + LATE_SECONDS
            until = self._timer() + (fresh if complete else INCOMPLETE_CACHE_SECONDS)
            return _Read(found, at, math.inf if over and complete else until, complete)

        found = kept.extend(key, make, lambda known: self._timer() < known.until)
        if found.error:
            raise SourceError(found.error)
        return found

    def _host_names(self, snapshot: Snapshot, world: World) -> Mapping[str, str]:
        """The World's names of hosts, by `host.id`."""
        with self._lock:
            seq, names = self._hosts
        if seq == snapshot.seq:
            return names
        at = float(world.times[-1])
        query = Query("target_info", by=("job", "instance", "host_id", "host_name"), window=LONG_WINDOW_SECONDS)
        known = {gpu.host for gpu in world.gpus}
        rows = map(dict, self._hub.metrics.fetch(query, at, at, 1.0).labels)
        named = ((row.get("host_id", ""), row.get("host_name") or row.get("instance", "")) for row in rows)
        names = {host_id: name for host_id, name in named if host_id and name in known}
        with self._lock:
            self._hosts = (snapshot.seq, names)
        return names

    def _occupancy(
        self, wanted: Sequence[tuple[str, int]], most: int, deadline: float
    ) -> tuple[list[Interval], set[int]]:
        """What traces of GPUs' minutes tell, those that come first before others; and the minutes of those not read."""
        found: list[Interval] = []
        for done, (told, minute) in enumerate(wanted):
            if done >= most or self._timer() > deadline:
                return found, {minute for _, minute in wanted[done:]}
            found += self._minute(told, minute)
        return found, set()

    def _minute(self, told: str, minute: int) -> tuple[Interval, ...]:
        """What ran on a GPU in a minute of Unix time, by the id of the trace that tells it."""
        return self._once(
            self._minutes, told, minute, lambda: (measured(self._hub.traces.get(told)), True), CACHE_SECONDS
        ).found

    def _counters(self, gpus: Sequence[Gpu], spans: Sequence[Span], host_ids: Mapping[str, str]) -> list[Interval]:
        """Mean shares around the trace, of GPUs of which there is no occupancy."""
        first, last = min(span.start_ns for span in spans) / 1e9, max(span.end_ns for span in spans) / 1e9
        for window in (WINDOW_SECONDS, LONG_WINDOW_SECONDS):
            length = min(86_400.0, window + last - first)
            end = min(self._hub.now(), last + window / 2)
            shares = self._shares(gpus, end, length)
            if shares:
                return [
                    each
                    for gpu in gpus
                    if gpu in shares and gpu.host in host_ids
                    for each in inferred(gpu, host_ids[gpu.host], shares[gpu], end - length, end)
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
    """Whether what ran in the last seconds of a trace had arrived at a time (Unix seconds)."""
    return at - max(span.end_ns for span in spans) / 1e9 >= SETTLED_AFTER_SECONDS


def _why_no_metrics(snapshot: Snapshot) -> str:
    """Why there are no metrics of GPUs."""
    if snapshot.world is None and not snapshot.error:
        return NO_TICK
    return f"{NO_METRICS} ({snapshot.error})" if snapshot.error else NO_METRICS


def _candidates(spans: Sequence[Span], world: World, hosts: Mapping[str, str]) -> tuple[list[Gpu], list[Gpu]]:
    """The GPUs on which a service of the trace is known to be, and the others of its hosts.

    A span that names no host that is known may have run on any on which its service is.
    """
    names = {span.service.name for span in spans}
    on = {tenant.gpu for tenant in world.tenants if tenant.service.name in names}
    ids = {str(span.resource.get("host.id", "")) for span in spans}
    here = {hosts[host_id] for host_id in ids if host_id in hosts}
    elsewhere = {gpu.host for gpu in on} if ids - hosts.keys() else set()
    near = [gpu for gpu in world.gpus if gpu in on and gpu.host in here | elsewhere]
    return near, [gpu for gpu in world.gpus if gpu not in on and gpu.host in here]


def _minutes(spans: Sequence[Span]) -> list[int]:
    """The minutes of Unix time in which spans ran, the last ones first; no interval crosses from one to the next."""
    found: set[int] = set()
    for span in spans:
        first, last = (
            int((span.start_ns / 1e9 - LOOK_BACK_SECONDS) // TRACE_SECONDS),
            int(span.end_ns / 1e9 // TRACE_SECONDS),
        )
        found.update(range(max(first, last - MAX_READS), last + 1))
    return sorted(found, reverse=True)[:MAX_READS]


def _ids(gpus: Sequence[Gpu], minutes: Sequence[int]) -> list[tuple[str, int]]:
    """The traces that tell what ran on GPUs in some minutes, and these."""
    return [(f"{trace_id(gpu.uuid, minute * TRACE_SECONDS):032x}", minute) for gpu in gpus for minute in minutes]


def _quoted(text: str) -> str:
    """Literal in a regular expression of RE2 and of Python."""
    return "".join(letter if letter.isalnum() or letter in "-_" else f"\\{letter}" for letter in text)
