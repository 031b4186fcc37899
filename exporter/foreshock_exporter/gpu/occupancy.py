"""Which service ran on a shared GPU, and when: fast samples folded into intervals. Pure; times are Unix seconds.

Counters scraped every ten seconds cannot tell what ran during a request of 400 ms; intervals can. They are told only
while two or more services are active on the GPU: alone, a service cannot be disturbed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

from foreshock_exporter.gpu.contention import MIN_ACTIVE_SHARE, ServiceKey

MERGE_GAP_SECONDS = 0.2
"""Seconds. A pause of a service no longer than this is part of its interval (two fast samples of 100 ms)."""
JITTER_SECONDS = 0.1
"""Seconds. Samples that follow one another are told of up to a look too late: so short a gap between two is none."""
MAX_INTERVAL_SECONDS = 10.0
"""Seconds after which an interval is cut, so that a long one arrives in time."""
TRACE_SECONDS = 60.0
"""Seconds. An interval lies in one minute of Unix time, as its trace does."""
MAX_OBSERVATION_SECONDS = 60.0
"""Seconds. A longer observation says too little of when something ran, and is dropped."""
INTERVALS_PER_SECOND = 10.0
MAX_BURST_INTERVALS = 100.0
"""Intervals of one GPU: on average, and at once. What is beyond is dropped and counted."""
MAX_JOIN_KEYS = 16
"""Words for processes that an interval has at most (a process has up to three)."""
_SLACK = 1e-6
"""Seconds by which floating-point times of neighbouring samples may differ."""

SPAN_NAME = "gpu.occupancy"
GPU_ID, GPU_NAME = "hw.id", "hw.name"
OCCUPANT, OCCUPANT_NAMESPACE = "foreshock.occupant.name", "foreshock.occupant.namespace"
PROCESSES = "foreshock.occupant.processes"
SHARE, RESOLUTION = "foreshock.occupancy.share", "foreshock.occupancy.resolution"
"""Name and attributes of the span that tells an interval."""

JoinKeys = Callable[[int], tuple[str, ...]]
"""By which words the spans of a process can be told, given its pid on the host (`process_names`)."""


class Observation(NamedTuple):
    """One settled fast sample of a GPU: the share 0…1 of the time from `start` to `end` that each service ran.

    `pids` are those of the host.
    """

    uuid: str
    gpu: str
    start: float
    end: float
    shares: Mapping[ServiceKey, float]
    pids: Mapping[ServiceKey, tuple[int, ...]] = MappingProxyType({})


class Occupancy(NamedTuple):
    """A service was active on a shared GPU from `start` to `end`.

    `resolution`: seconds; no shorter pause is seen. `share`: mean share 0…1 of the interval during which it ran.
    `processes`: words for its processes, as `process_names` gives them; `MAX_PROCESSES` at most.
    """

    uuid: str
    gpu: str
    service: ServiceKey
    start: float
    end: float
    resolution: float
    share: float = 1.0
    processes: tuple[str, ...] = ()


class OpenInterval(NamedTuple):
    """An interval that may still grow. `busy`: seconds for which its service ran in it."""

    start: float
    end: float
    resolution: float
    busy: float
    processes: frozenset[str]

    def until(self, cut: float) -> OpenInterval:
        """Its part before `cut`."""
        return self._replace(end=cut, busy=self.busy * (cut - self.start) / (self.end - self.start))

    def since(self, cut: float) -> OpenInterval:
        """Its part from `cut` on."""
        return self._replace(start=cut, busy=self.busy * (self.end - cut) / (self.end - self.start))


@dataclass(frozen=True, slots=True)
class OccupancyState:
    """What is remembered of one GPU: up to when it was observed, its open intervals, and its allowance."""

    seen: float = 0.0
    open: Mapping[ServiceKey, OpenInterval] = field(default_factory=dict)
    allowance: float = MAX_BURST_INTERVALS
    dropped: int = 0


def trace_id(uuid: str, time: float) -> int:
    """The trace of a GPU's intervals in the minute that holds `time`: 128 bits, the same wherever it is computed."""
    return _hash(f"{uuid}\n{int(time // TRACE_SECONDS)}", 16)


def span_id(occupancy: Occupancy) -> int:
    """64 bits that depend on the interval alone, so that one sent twice is recognised."""
    return _hash(f"{occupancy.uuid}\n{occupancy.service}\n{round(occupancy.start * 1e6)}", 8)


def attributes(occupancy: Occupancy) -> dict[str, str | float | tuple[str, ...]]:
    """What the span of an interval says."""
    return {
        GPU_ID: occupancy.uuid,
        GPU_NAME: f"GPU {occupancy.gpu}",
        OCCUPANT: occupancy.service.name,
        OCCUPANT_NAMESPACE: occupancy.service.namespace,
        PROCESSES: occupancy.processes,
        SHARE: round(occupancy.share, 4),
        RESOLUTION: round(occupancy.resolution, 6),
    }


def advance(
    fold: OccupancyState, observation: Observation, names: JoinKeys = lambda _: ()
) -> tuple[OccupancyState, tuple[Occupancy, ...]]:
    """The state after one more observation of the same GPU, and the intervals that ended with it.

    Intervals of a service never overlap and together cover the time during which it was active on the shared GPU, and
    pauses of at most `MERGE_GAP`. What lies before the end of the last observation is ignored.
    """
    if observation.end < fold.seen - MAX_OBSERVATION_SECONDS:  # the clock was set back
        fold, ended = settle(fold, observation.uuid, observation.gpu)
        later, more = advance(replace(fold, seen=0.0), observation, names)
        return later, (*ended, *more)
    start = max(observation.start, fold.seen)
    start, end = (fold.seen if start - fold.seen <= JITTER_SECONDS - _SLACK else start), observation.end
    if end - start <= _SLACK:
        return fold, ()
    if end - start > MAX_OBSERVATION_SECONDS:
        fold, ended = settle(replace(fold, seen=end), observation.uuid, observation.gpu)
        return replace(fold, dropped=fold.dropped + 1), ended
    active = {service: share for service, share in observation.shares.items() if share >= MIN_ACTIVE_SHARE}
    if len(active) < 2:
        active = {}
    if not active and not fold.open:
        return replace(fold, seen=end, allowance=_refilled(fold, end)), ()
    fresh = {
        service: OpenInterval(
            start, end, end - start, share * (end - start), _named(observation.pids.get(service, ()), names)
        )
        for service, share in active.items()
    }
    still, closed = _grown(fold.open, fresh, end)
    told = [_told(observation.uuid, observation.gpu, service, interval) for service, interval in closed]
    return _capped(replace(fold, seen=end, open=still, allowance=_refilled(fold, end)), told)


def settle(fold: OccupancyState, uuid: str, gpu: str) -> tuple[OccupancyState, tuple[Occupancy, ...]]:
    """End what is open: nothing more is heard of the GPU."""
    told = [_told(uuid, gpu, service, interval) for service, interval in fold.open.items()]
    return _capped(replace(fold, open={}), told)


def _told(uuid: str, gpu: str, service: ServiceKey, interval: OpenInterval) -> Occupancy:
    share = min(1.0, interval.busy / (interval.end - interval.start))
    processes = tuple(sorted(interval.processes)[:MAX_JOIN_KEYS])
    return Occupancy(uuid, gpu, service, interval.start, interval.end, interval.resolution, share, processes)


def _named(pids: Iterable[int], names: JoinKeys) -> frozenset[str]:
    return frozenset(name for pid in pids for name in names(pid))


def _grown(
    before: Mapping[ServiceKey, OpenInterval], fresh: Mapping[ServiceKey, OpenInterval], end: float
) -> tuple[dict[ServiceKey, OpenInterval], list[tuple[ServiceKey, OpenInterval]]]:
    """The intervals that are open after an observation until `end`, which gave `fresh`, and those that ended."""
    still = dict(before)
    ended: list[tuple[ServiceKey, OpenInterval]] = []
    for service, new in fresh.items():
        known = still.pop(service, None)
        if known is not None and (new.start - known.end > MERGE_GAP_SECONDS + _SLACK or new.start >= _cut(known.start)):
            ended.append((service, known))
            known = None
        grown = new if known is None else _joined(known, new)
        while (cut := _cut(grown.start)) <= grown.end:
            ended.append((service, grown.until(cut)))
            if cut == grown.end:
                break
            grown = grown.since(cut)
        else:
            still[service] = grown
    for service, interval in tuple(still.items()):
        if end - interval.end > MERGE_GAP_SECONDS + _SLACK:
            ended.append((service, still.pop(service)))
    return still, ended


def _joined(known: OpenInterval, new: OpenInterval) -> OpenInterval:
    return OpenInterval(
        known.start,
        new.end,
        max(known.resolution, new.resolution, new.start - known.end),
        known.busy + new.busy,
        known.processes | new.processes,
    )


def _cut(start: float) -> float:
    """When an interval that began at `start` is cut at the latest."""
    return min(start + MAX_INTERVAL_SECONDS, (start // TRACE_SECONDS + 1.0) * TRACE_SECONDS)


def _refilled(fold: OccupancyState, now: float) -> float:
    return min(MAX_BURST_INTERVALS, fold.allowance + (now - fold.seen) * INTERVALS_PER_SECOND)


def _capped(fold: OccupancyState, told: list[Occupancy]) -> tuple[OccupancyState, tuple[Occupancy, ...]]:
    """As many intervals as the allowance grants."""
    if not told:
        return fold, ()
    granted = told[: int(fold.allowance)]
    dropped = fold.dropped + len(told) - len(granted)
    return replace(fold, allowance=fold.allowance - len(granted), dropped=dropped), tuple(granted)


def _hash(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1  # zero is no id


class OccupancyTracker:
    """The folds of all GPUs of a host. Cheap; safe from several threads.

    Args:
        names: looks a process up; asked once for each that comes, while it runs.
    """

    def __init__(self, names: JoinKeys = lambda _: ()) -> None:
        self._names = names
        self._folds: dict[str, tuple[str, OccupancyState]] = {}
        self._known: dict[str, dict[int, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def observe(self, observation: Observation) -> tuple[Occupancy, ...]:
        """Intervals that ended with this observation."""
        known = self._meet(observation)
        with self._lock:
            _, fold = self._folds.get(observation.uuid, ("", OccupancyState()))
            fold, ended = advance(fold, observation, known.__getitem__)
            self._folds[observation.uuid] = (observation.gpu, fold)
        return ended

    def _meet(self, observation: Observation) -> Mapping[int, tuple[str, ...]]:
        """The words for each process there is now; without the lock, for a file of /proc may hang.

        A pid that was away is looked up again: it may be another process's by now.
        """
        before = self._known.get(observation.uuid, {})
        here = [pid for pids in observation.pids.values() for pid in pids]
        if len(here) == len(before) and all(pid in before for pid in here):
            return before
        now = {pid: before[pid] if pid in before else self._names(pid) for pid in here}
        self._known[observation.uuid] = now  # of one GPU there is one observer
        return now

    def settle(self, before: float) -> tuple[Occupancy, ...]:
        """End the intervals of GPUs of which nothing was heard since `before`."""
        found: list[Occupancy] = []
        with self._lock:
            for uuid, (gpu, fold) in self._folds.items():
                if fold.open and fold.seen < before:
                    fold, ended = settle(fold, uuid, gpu)
                    self._folds[uuid] = (gpu, fold)
                    found += ended
        return tuple(found)

    def dropped(self) -> int:
        """Intervals and observations that were too many or too long."""
        with self._lock:
            return sum(fold.dropped for _, fold in self._folds.values())
