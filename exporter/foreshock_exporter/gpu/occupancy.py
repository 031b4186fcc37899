"""Fast samples as intervals in which a service ran on a shared GPU. Pure; times are Unix seconds.

Counters scraped every ten seconds cannot show what ran during a 400 ms request. Intervals are recorded only while two
or more services are active, because a service alone cannot be disturbed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from foreshock_exporter.gpu.contention import MIN_ACTIVE_SHARE, ServiceKey

MERGE_GAP_SECONDS = 0.2
"""Longest pause that stays part of an interval (two fast samples of 100 ms)."""
JITTER_SECONDS = 0.1
"""Gap between two consecutive samples that counts as none; samples are observed up to one pass late."""
MAX_INTERVAL_SECONDS = 10.0
"""Longest interval; a longer one is cut, so that it is sent in time."""
TRACE_SECONDS = 60.0
"""Duration of one trace. An interval lies within one minute of Unix time."""
MAX_OBSERVATION_SECONDS = 60.0
"""Longest usable observation; a longer one is dropped."""
INTERVALS_PER_SECOND = 10.0
MAX_BURST_INTERVALS = 100.0
"""Token bucket per GPU: sustained intervals per second, and burst size. Excess is dropped and counted."""
MAX_JOIN_KEYS = 16
"""Join keys per interval; one process has up to three."""
_SLACK = 1e-6
"""Seconds of floating-point error between consecutive samples."""

SPAN_NAME = "gpu.occupancy"
GPU_ID, GPU_NAME = "hw.id", "hw.name"
OCCUPANT, OCCUPANT_NAMESPACE = "foreshock.occupant.name", "foreshock.occupant.namespace"
PROCESSES = "foreshock.occupant.processes"
SHARE, RESOLUTION = "foreshock.occupancy.share", "foreshock.occupancy.resolution"
"""Name and attributes of the span of an interval."""

JoinKeys = Callable[[int], tuple[str, ...]]
"""Join keys of a process by its PID on the host, see `attribution.container.join_keys`."""


class Observation(NamedTuple):
    """One fast sample of a GPU: share 0 to 1 of the time from `start` to `end` by service.

    `pids` are PIDs of the host.
    """

    uuid: str
    gpu: str
    start: float
    end: float
    shares: Mapping[ServiceKey, float]
    pids: Mapping[ServiceKey, tuple[int, ...]] = MappingProxyType({})


class Occupancy(NamedTuple):
    """Interval in which a service was active on a shared GPU.

    `resolution`: seconds; shorter pauses are not visible. `share`: mean share 0 to 1 of the interval. `processes`: join
    keys, at most `MAX_JOIN_KEYS`.
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
    """Interval that may still grow. `busy`: seconds during which its service ran."""

    start: float
    end: float
    resolution: float
    busy: float
    processes: frozenset[str]

    def until(self, cut_at: float) -> OpenInterval:
        return self._replace(end=cut_at, busy=self.busy * (cut_at - self.start) / (self.end - self.start))

    def since(self, cut_at: float) -> OpenInterval:
        return self._replace(start=cut_at, busy=self.busy * (self.end - cut_at) / (self.end - self.start))


@dataclass(frozen=True, slots=True)
class OccupancyState:
    """State of one GPU: end of the last observation, open intervals, and tokens of the rate limit."""

    seen: float = 0.0
    open: Mapping[ServiceKey, OpenInterval] = field(default_factory=dict)
    tokens: float = MAX_BURST_INTERVALS
    dropped: int = 0


def trace_id(uuid: str, time: float) -> int:
    """128-bit trace id of a GPU and the minute that contains `time`; a pure function of both."""
    return _hash(f"{uuid}\n{int(time // TRACE_SECONDS)}", 16)


def span_id(occupancy: Occupancy) -> int:
    """64-bit span id derived from the interval, so that a resent span is recognized as a duplicate."""
    return _hash(f"{occupancy.uuid}\n{occupancy.service}\n{round(occupancy.start * 1e6)}", 8)


def attributes(occupancy: Occupancy) -> dict[str, str | float | tuple[str, ...]]:
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
    state: OccupancyState, observation: Observation, join_keys: JoinKeys = lambda _: ()
) -> tuple[OccupancyState, tuple[Occupancy, ...]]:
    """State after one more observation of the same GPU, and the intervals that ended with it.

    Intervals of a service never overlap. Together they cover its active time on the shared GPU and pauses of up to
    `MERGE_GAP_SECONDS`. Time before the end of the last observation is ignored.
    """
    if observation.end < state.seen - MAX_OBSERVATION_SECONDS:  # the clock was set back
        state, ended = settle(state, observation.uuid, observation.gpu)
        next_state, more_ended = advance(replace(state, seen=0.0), observation, join_keys)
        return next_state, (*ended, *more_ended)
    start = max(observation.start, state.seen)
    start, end = (state.seen if start - state.seen <= JITTER_SECONDS - _SLACK else start), observation.end
    if end - start <= _SLACK:
        return state, ()
    if end - start > MAX_OBSERVATION_SECONDS:
        state, ended = settle(replace(state, seen=end), observation.uuid, observation.gpu)
        return replace(state, dropped=state.dropped + 1), ended
    active = {service: share for service, share in observation.shares.items() if share >= MIN_ACTIVE_SHARE}
    if len(active) < 2:
        active = {}
    if not active and not state.open:
        return replace(state, seen=end, tokens=_refilled_tokens(state, end)), ()
    new_intervals = {
        service: OpenInterval(
            start, end, end - start, share * (end - start), _process_keys(observation.pids.get(service, ()), join_keys)
        )
        for service, share in active.items()
    }
    still_open, closed = _extend(state.open, new_intervals, end)
    occupancies = [_to_occupancy(observation.uuid, observation.gpu, service, interval) for service, interval in closed]
    return _rate_limited(replace(state, seen=end, open=still_open, tokens=_refilled_tokens(state, end)), occupancies)


def settle(state: OccupancyState, uuid: str, gpu: str) -> tuple[OccupancyState, tuple[Occupancy, ...]]:
    """Close all open intervals of a GPU that is no longer observed."""
    ended = [_to_occupancy(uuid, gpu, service, interval) for service, interval in state.open.items()]
    return _rate_limited(replace(state, open={}), ended)


def _to_occupancy(uuid: str, gpu: str, service: ServiceKey, interval: OpenInterval) -> Occupancy:
    share = min(1.0, interval.busy / (interval.end - interval.start))
    processes = tuple(sorted(interval.processes)[:MAX_JOIN_KEYS])
    return Occupancy(uuid, gpu, service, interval.start, interval.end, interval.resolution, share, processes)


def _process_keys(pids: Iterable[int], join_keys: JoinKeys) -> frozenset[str]:
    return frozenset(name for pid in pids for name in join_keys(pid))


def _extend(
    before: Mapping[ServiceKey, OpenInterval], new_intervals: Mapping[ServiceKey, OpenInterval], end: float
) -> tuple[dict[ServiceKey, OpenInterval], list[tuple[ServiceKey, OpenInterval]]]:
    """Extend open intervals by those of an observation until `end`. Return the open and the closed intervals."""
    still_open = dict(before)
    ended: list[tuple[ServiceKey, OpenInterval]] = []
    for service, new_interval in new_intervals.items():
        open_interval = still_open.pop(service, None)
        if open_interval is not None:
            pause = new_interval.start - open_interval.end
            if pause > MERGE_GAP_SECONDS + _SLACK or new_interval.start >= _latest_end(open_interval.start):
                ended.append((service, open_interval))
                open_interval = None
        extended = new_interval if open_interval is None else _join(open_interval, new_interval)
        while (cut_at := _latest_end(extended.start)) <= extended.end:
            ended.append((service, extended.until(cut_at)))
            if cut_at == extended.end:
                break
            extended = extended.since(cut_at)
        else:
            still_open[service] = extended
    for service, interval in tuple(still_open.items()):
        if end - interval.end > MERGE_GAP_SECONDS + _SLACK:
            ended.append((service, still_open.pop(service)))
    return still_open, ended


def _join(open_interval: OpenInterval, new_interval: OpenInterval) -> OpenInterval:
    return OpenInterval(
        open_interval.start,
        new_interval.end,
        max(open_interval.resolution, new_interval.resolution, new_interval.start - open_interval.end),
        open_interval.busy + new_interval.busy,
        open_interval.processes | new_interval.processes,
    )


def _latest_end(start: float) -> float:
    """Time at which an interval that started at `start` is cut."""
    return min(start + MAX_INTERVAL_SECONDS, (start // TRACE_SECONDS + 1.0) * TRACE_SECONDS)


def _refilled_tokens(state: OccupancyState, now: float) -> float:
    return min(MAX_BURST_INTERVALS, state.tokens + (now - state.seen) * INTERVALS_PER_SECOND)


def _rate_limited(state: OccupancyState, ended: list[Occupancy]) -> tuple[OccupancyState, tuple[Occupancy, ...]]:
    """Intervals within the rate limit; the others are counted as dropped."""
    if not ended:
        return state, ()
    allowed = ended[: int(state.tokens)]
    dropped = state.dropped + len(ended) - len(allowed)
    return replace(state, tokens=state.tokens - len(allowed), dropped=dropped), tuple(allowed)


def _hash(text: str, size: int) -> int:
    from hashlib import blake2b  # loads OpenSSL: only those who push pay for it

    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1  # zero is no id


class OccupancyTracker:
    """Occupancy states of all GPUs of a host. Thread-safe. Calls `join_keys` once for each new process."""

    def __init__(self, join_keys: JoinKeys = lambda _: ()) -> None:
        self._join_keys = join_keys
        self._states: dict[str, tuple[str, OccupancyState]] = {}
        self._keys: dict[str, dict[int, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def observe(self, observation: Observation) -> tuple[Occupancy, ...]:
        """Intervals that ended with this observation."""
        keys = self._keys_by_pid(observation)
        with self._lock:
            _, state = self._states.get(observation.uuid, ("", OccupancyState()))
            state, ended = advance(state, observation, keys.__getitem__)
            self._states[observation.uuid] = (observation.gpu, state)
        return ended

    def _keys_by_pid(self, observation: Observation) -> Mapping[int, tuple[str, ...]]:
        """Join keys of each current process. Runs without the lock, because reading /proc may hang.

        A PID that was gone in between is looked up again: it may belong to another process.
        """
        before = self._keys.get(observation.uuid, {})
        pids = [pid for pids in observation.pids.values() for pid in pids]
        if len(pids) == len(before) and all(pid in before for pid in pids):
            return before
        keys = {pid: before[pid] if pid in before else self._join_keys(pid) for pid in pids}
        self._keys[observation.uuid] = keys  # each GPU has one observer
        return keys

    def settle(self, before: float) -> tuple[Occupancy, ...]:
        """Close the intervals of GPUs without an observation since `before`."""
        ended_intervals: list[Occupancy] = []
        with self._lock:
            for uuid, (gpu, state) in self._states.items():
                if state.open and state.seen < before:
                    state, ended = settle(state, uuid, gpu)
                    self._states[uuid] = (gpu, state)
                    ended_intervals += ended
        return tuple(ended_intervals)

    def dropped(self) -> int:
        """Number of dropped intervals and observations."""
        with self._lock:
            return sum(state.dropped for _, state in self._states.values())
