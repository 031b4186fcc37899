"""One scripted GPU between two events: what it holds, and how time and events change it. Pure; times are whole µs from
the start of the script, so that equal times are equal and samples end at exact ones."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from foreshock_exporter.script.events import (
    Action,
    CountersRestart,
    Device,
    Errors,
    FaultBegins,
    FaultEnds,
    Process,
    Remap,
    Set,
    Throttling,
)
from foreshock_exporter.script.state import Fault
from foreshock_exporter.script.wave import Wave, scaled_to_one

MICROSECONDS = 1e6
SAMPLE_RETENTION_SECONDS = 10.0
"""How far back the samples go that a scripted driver keeps."""
FULL_LOAD_POWER_RATIO = 0.97
"""Of the power limit: what a busy GPU draws that was told no power."""
UNATTRIBUTED_PID = 0
"""Stands among the pids for the time that no process accounts for."""
_IDLE = Wave(0.0)


class HeldProcess(NamedTuple):
    """A process on the GPU; as in `script_events.Process`, with all that it was told so far."""

    service: tuple[str, str] = ("", "")
    memory_bytes: float | None = None
    sm: Wave = _IDLE
    mps: bool = False
    instance: str = ""


class SampleWindow(NamedTuple):
    """A sampling period that is over: when it ended, and the share of it that each pid ran."""

    end_us: int
    shares: Mapping[int, float]

    @property
    def busy(self) -> float:
        """The share of it during which the GPU was busy."""
        return min(1.0, sum(self.shares.values()))


@dataclass(frozen=True, slots=True)
class PlayedGpu:
    """A GPU since its last event, at `since_us`. Everything after follows from it by integration."""

    index: int
    device: Device
    uuid: str
    since_us: int
    processes: Mapping[int, HeldProcess] = field(default_factory=dict)
    settings: Mapping[str, Wave] = field(default_factory=dict)
    throttled: frozenset[str] = frozenset()
    fault: Fault = ""
    totals: Mapping[str, float] = field(default_factory=dict)
    """Counters at `since_us`; those of errors by "kind.name"."""
    remap: Mapping[str, bool] = field(default_factory=dict)
    windows: tuple[SampleWindow, ...] = ()
    """The periods that ended at `since_us` or before, as far back as they are kept."""
    begun: Mapping[int, float] = field(default_factory=dict)
    """Seconds that each pid ran between the end of the last of them and `since_us`."""
    shares: Mapping[int, Wave] = field(default_factory=dict)
    """The share that each pid gets from `since_us` on."""
    rates: Mapping[str, tuple[Wave, ...]] = field(default_factory=dict)
    """How much each counter grows a second from then on: the sum of the waves."""

    def busy(self, us: int) -> float:
        """The share of the GPU that is busy at a time."""
        return min(1.0, sum(share.at(us / MICROSECONDS) for share in self.shares.values()))

    def total(self, counter: str, us: int) -> float:
        """A counter at a time."""
        begin, end = self.since_us / MICROSECONDS, us / MICROSECONDS
        waves = self.rates.get(counter, ())
        return self.totals.get(counter, 0.0) + sum([wave.between(begin, end) for wave in waves])

    @property
    def away(self) -> bool:
        """Whether it is not on the bus: it does nothing then, but its counters and processes wait for it."""
        return self.fault in ("lost", "late")


def described_gpu(host: str, index: int, device: Device, us: int, before: PlayedGpu | None) -> PlayedGpu:
    """A GPU that is described, at first or anew. The same card, by its uuid, keeps its counters and samples."""
    name = device.uuid or f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{host}/{index}')}"
    state = PlayedGpu(index, device, name, us)
    if before is not None and before.uuid == name:
        kept = replace(state, totals=advanced_to(before, us).totals)
        if before.device.sample_period == device.sample_period:
            now = advanced_to(before, us)
            kept = replace(kept, windows=now.windows, begun=now.begun)
        state = kept
    return _loaded(state)


def after_action(state: PlayedGpu, action: Action, us: int) -> PlayedGpu:
    """The GPU after something happened to it (not `Device`: that is `appear`; an XID changes nothing)."""
    now = advanced_to(state, us)
    match action:
        case Process():
            now = replace(now, processes=_processes(now.processes, action))
        case Set(values):
            settings = {name: wave for name, wave in {**now.settings, **values}.items() if wave is not None}
            now = replace(now, settings=settings)
        case Throttling(reasons):
            held = {*now.throttled, *(reason for reason, on in reasons.items() if on)}
            now = replace(now, throttled=frozenset(held - {reason for reason, on in reasons.items() if not on}))
        case Errors(kind, by):
            now = replace(now, totals=_more(now.totals, {f"{kind}.{name}": count for name, count in by.items()}))
        case Remap(values):
            rows = {f"remap.{name}": count for name, count in values.items() if not isinstance(count, bool)}
            marks = {name: mark for name, mark in values.items() if isinstance(mark, bool)}
            now = replace(now, totals=_more(now.totals, rows), remap={**now.remap, **marks})
        case FaultBegins(fault):
            now = replace(now, fault=fault)
        case FaultEnds():
            now = replace(now, fault="")
        case CountersRestart():
            now = replace(now, totals={})
        case _:
            return state
    return _loaded(now)


def advanced_to(state: PlayedGpu, us: int) -> PlayedGpu:
    """The same GPU with all that happened until a time added up."""
    if us <= state.since_us:
        return state
    last = _before(state.device.sample_period, us)
    windows = sample_windows(state, us)
    fresh = bool(windows) and windows[-1].end_us > state.since_us
    begin = _end(state.device.sample_period, last) if fresh else state.since_us
    return replace(
        state,
        since_us=us,
        totals={counter: state.total(counter, us) for counter in {**state.totals, **state.rates}},
        windows=windows,
        begun=_seconds(state, begin, us, {} if fresh else state.begun),
    )


def sample_windows(state: PlayedGpu, us: int, after_us: int = -1) -> tuple[SampleWindow, ...]:
    """The sampling periods that ended after `after_us` and until `us`, as far as they are kept, oldest first."""
    period = state.device.sample_period
    last = _before(period, us)
    first = max(1, last - round(SAMPLE_RETENTION_SECONDS / period) + 1, _before(period, after_us) + 1)
    done = _before(period, state.since_us)
    begin_us = _end(period, first - 1)
    kept = tuple([window for window in state.windows if window.end_us > begin_us]) if first <= done else ()
    return (*kept, *[_window(state, number) for number in range(max(first, done + 1), last + 1)])


def _window(state: PlayedGpu, number: int) -> SampleWindow:
    """The period of a number, which ends after `since_us`."""
    period = state.device.sample_period
    begin, end = _end(period, number - 1), _end(period, number)
    if begin < state.since_us:
        seconds = _seconds(state, state.since_us, end, state.begun)
    else:
        seconds = _seconds(state, begin, end, {})
    length = (end - begin) / MICROSECONDS
    return SampleWindow(end, {pid: ran / length for pid, ran in seconds.items()})


def _seconds(state: PlayedGpu, begin_us: int, end_us: int, already: Mapping[int, float]) -> dict[int, float]:
    """How long each pid ran between two times, added to what it ran already; those that ran."""
    begin, end = begin_us / MICROSECONDS, end_us / MICROSECONDS
    found = dict(already)
    for pid, share in state.shares.items():
        if (ran := share.between(begin, end)) > 0.0:
            found[pid] = found.get(pid, 0.0) + ran
    return found


def _before(period: float, us: int) -> int:
    """The number of the last sampling period that ended at a time or before; the first has number 1."""
    number = max(0, int(us / (period * MICROSECONDS)) + 1)
    while number and _end(period, number) > us:
        number -= 1
    return number


def _end(period: float, number: int) -> int:
    """When the sampling period of a number ends."""
    return round(number * period * MICROSECONDS)


def _loaded(state: PlayedGpu) -> PlayedGpu:
    """With the shares and rates that follow from what it holds."""
    if state.away:
        return replace(state, shares={}, rates={})
    wanted = {pid: held.sm for pid, held in state.processes.items()}
    wanted[UNATTRIBUTED_PID] = state.settings.get("unattributed", _IDLE)
    shares = {pid: share for pid, share in scaled_to_one(wanted).items() if share.mean > 0.0}
    return replace(state, shares=shares, rates=_rates(state, shares))


def power_waves(state: PlayedGpu, shares: Mapping[int, Wave]) -> tuple[Wave, ...]:
    """What it draws in watts, as the sum of waves: as told, or rising with its load."""
    if (told := state.settings.get("power_watts")) is not None:
        return (told,)
    device = state.device
    range_watts = max(0.0, FULL_LOAD_POWER_RATIO * device.power_limit_watts - device.idle_watts)
    return (Wave(device.idle_watts), *[share.scaled(range_watts) for share in shares.values()])


def _rates(state: PlayedGpu, shares: Mapping[int, Wave]) -> dict[str, tuple[Wave, ...]]:
    rates = {"energy_joules": power_waves(state, shares), **{reason: (Wave(1.0),) for reason in state.throttled}}
    for way in ("transmit", "receive"):
        for bus in ("pcie", "nvlink"):
            told = state.settings.get(f"{bus}_{way}_bytes_per_second", _IDLE)
            rates[f"{bus}_{way}_bytes"] = (told,)
        if state.device.nvlinks:
            each = state.settings.get(f"nvlink_{way}_bytes_per_second", _IDLE).scaled(1 / state.device.nvlinks)
            rates[f"link_{way}_bytes"] = (each,)
    return rates


def _processes(before: Mapping[int, HeldProcess], action: Process) -> dict[int, HeldProcess]:
    after = dict(before)
    held = after.pop(action.pid, HeldProcess())
    if action.ends:
        return after
    given = {name: value for name in HeldProcess._fields if (value := getattr(action, name)) is not None}
    if given.get("memory_bytes") == "unknown":
        given["memory_bytes"] = None
    return {**before, action.pid: held._replace(**given)}


def _more(totals: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
    return {**totals, **{name: totals.get(name, 0.0) + count for name, count in counts.items()}}
