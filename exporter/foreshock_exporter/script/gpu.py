"""One played GPU between two events, and its change by time and events. Pure.

Times are whole µs from the start of the script, so that equal times compare equal.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from foreshock_exporter.script import events
from foreshock_exporter.script.events import Device, Fault
from foreshock_exporter.script.wave import Wave, scaled_to_one

MICROSECONDS = 1e6
SAMPLE_RETENTION_SECONDS = 10.0
"""Time for which the played driver keeps samples."""
FULL_LOAD_POWER_RATIO = 0.97
"""Power of a busy GPU relative to its limit, without a setting."""
LOAD_RATIOS: Mapping[str, float] = {
    "graphics": 1.0,
    "sm_active": 0.75,
    "sm_occupancy": 0.35,
    "tensor_active": 0.4,
    "dram_active": 0.5,
    "context_switch": 0.0,
    "decoder_active": 0.0,
}
"""Activity relative to the busy share, without a setting."""
GPU_SLICES = 7
"""Compute slices of a GPU with MIG."""
UNATTRIBUTED_PID = 0
"""PID of the time that no process accounts for."""
_IDLE = Wave(0.0)


class HeldProcess(NamedTuple):
    """Process on the GPU with its accumulated properties; see `events.Process`."""

    service: tuple[str, str] = ("", "")
    memory_bytes: float | None = None
    sm: Wave = _IDLE
    mps: bool = False
    instance: str = ""


class SampleWindow(NamedTuple):
    """Complete sampling period: its end, and the share of each PID."""

    end_us: int
    shares: Mapping[int, float]

    @property
    def busy(self) -> float:
        return min(1.0, sum(self.shares.values()))

    def process_shares(self) -> dict[int, float]:
        """Share of each process that ran."""
        return {pid: min(1.0, share) for pid, share in self.shares.items() if pid != UNATTRIBUTED_PID}


@dataclass(frozen=True, slots=True)
class PlayedGpu:
    """GPU since its last event at `since_us`; later values follow by integration."""

    index: int
    device: Device
    uuid: str
    since_us: int
    processes: Mapping[int, HeldProcess] = field(default_factory=dict)
    settings: Mapping[str, Wave] = field(default_factory=dict)
    throttled: frozenset[str] = frozenset()
    fault: Fault = ""
    totals: Mapping[str, float] = field(default_factory=dict)
    """Counters at `since_us`; error counters are named "kind.name"."""
    remap: Mapping[str, bool] = field(default_factory=dict)
    windows: tuple[SampleWindow, ...] = ()
    """Retained periods that ended by `since_us`."""
    partial_seconds: Mapping[int, float] = field(default_factory=dict)
    """Run seconds of each PID from the end of the last period to `since_us`."""
    shares: Mapping[int, Wave] = field(default_factory=dict)
    """Share of each PID from `since_us` on."""
    rates: Mapping[str, tuple[Wave, ...]] = field(default_factory=dict)
    """Growth of each counter per second from `since_us` on, as a sum of waves."""

    def busy(self, us: int) -> float:
        return min(1.0, sum(share.at(us / MICROSECONDS) for share in self.shares.values()))

    def total(self, counter: str, us: int) -> float:
        begin, end = self.since_us / MICROSECONDS, us / MICROSECONDS
        waves = self.rates.get(counter, ())
        return self.totals.get(counter, 0.0) + sum([wave.integral(begin, end) for wave in waves])

    @property
    def is_off_bus(self) -> bool:
        """Whether it is off the bus. It does nothing then, but keeps counters and processes."""
        return self.fault in ("lost", "late")


def described_gpu(host: str, index: int, device: Device, us: int, before: PlayedGpu | None) -> PlayedGpu:
    """GPU after a `device` event. The same UUID keeps counters and samples."""
    gpu_uuid = device.uuid or f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{host}/{index}')}"
    state = PlayedGpu(index, device, gpu_uuid, us)
    if before is not None and before.uuid == gpu_uuid:
        now = advanced_to(before, us)
        state = replace(state, totals=now.totals)
        if before.device.sample_period == device.sample_period:
            state = replace(state, windows=now.windows, partial_seconds=now.partial_seconds)
    return _with_load(state)


def after_action(state: PlayedGpu, action: events.Action, us: int) -> PlayedGpu:
    """GPU after an event other than `Device` (see `described_gpu`); an XID changes nothing."""
    now = advanced_to(state, us)
    match action:
        case events.Process():
            now = replace(now, processes=_changed_processes(now.processes, action))
        case events.Set(values):
            settings = {name: wave for name, wave in {**now.settings, **values}.items() if wave is not None}
            now = replace(now, settings=settings)
        case events.Throttling(reasons):
            unchanged = {reason for reason in now.throttled if reason not in reasons}
            now = replace(now, throttled=frozenset(unchanged | {reason for reason, on in reasons.items() if on}))
        case events.Errors(kind, by):
            now = replace(now, totals=_increased(now.totals, {f"{kind}.{name}": count for name, count in by.items()}))
        case events.Remap(values):
            rows = {f"remap.{name}": count for name, count in values.items() if not isinstance(count, bool)}
            marks = {name: mark for name, mark in values.items() if isinstance(mark, bool)}
            now = replace(now, totals=_increased(now.totals, rows), remap={**now.remap, **marks})
        case events.FaultChange(fault):
            now = replace(now, fault=fault)
        case events.CountersRestart():
            now = replace(now, totals={})
        case _:
            return state
    return _with_load(now)


def advanced_to(state: PlayedGpu, us: int) -> PlayedGpu:
    """GPU integrated up to a time."""
    if us <= state.since_us:
        return state
    last = _last_window_number(state.device.sample_period, us)
    windows = sample_windows(state, us)
    crossed = bool(windows) and windows[-1].end_us > state.since_us
    begin = _window_end_us(state.device.sample_period, last) if crossed else state.since_us
    return replace(
        state,
        since_us=us,
        totals={counter: state.total(counter, us) for counter in {**state.totals, **state.rates}},
        windows=windows,
        partial_seconds=_run_seconds(state, begin, us, {} if crossed else state.partial_seconds),
    )


def sample_windows(state: PlayedGpu, us: int, after_us: int = -1) -> tuple[SampleWindow, ...]:
    """Retained sampling periods that ended after `after_us` and by `us`, oldest first."""
    period = state.device.sample_period
    last = _last_window_number(period, us)
    first = max(1, last - round(SAMPLE_RETENTION_SECONDS / period) + 1, _last_window_number(period, after_us) + 1)
    last_kept = _last_window_number(period, state.since_us)
    begin_us = _window_end_us(period, first - 1)
    kept = tuple([window for window in state.windows if window.end_us > begin_us]) if first <= last_kept else ()
    return (*kept, *[_window(state, number) for number in range(max(first, last_kept + 1), last + 1)])


def _window(state: PlayedGpu, number: int) -> SampleWindow:
    """Sampling period by number; it ends after `since_us`."""
    period = state.device.sample_period
    begin, end = _window_end_us(period, number - 1), _window_end_us(period, number)
    if begin < state.since_us:
        seconds = _run_seconds(state, state.since_us, end, state.partial_seconds)
    else:
        seconds = _run_seconds(state, begin, end, {})
    length = (end - begin) / MICROSECONDS
    return SampleWindow(end, {pid: ran / length for pid, ran in seconds.items()})


def _run_seconds(state: PlayedGpu, begin_us: int, end_us: int, initial: Mapping[int, float]) -> dict[int, float]:
    """Run seconds of each PID between two times, added to `initial`."""
    begin, end = begin_us / MICROSECONDS, end_us / MICROSECONDS
    seconds = dict(initial)
    for pid, share in state.shares.items():
        if (ran := share.integral(begin, end)) > 0.0:
            seconds[pid] = seconds.get(pid, 0.0) + ran
    return seconds


def _last_window_number(period: float, us: int) -> int:
    """Number of the last period that ended by a time; the first has number 1."""
    number = max(0, int(us / (period * MICROSECONDS)) + 1)
    while number and _window_end_us(period, number) > us:
        number -= 1
    return number


def _window_end_us(period: float, number: int) -> int:
    """End of a sampling period."""
    return round(number * period * MICROSECONDS)


def _with_load(state: PlayedGpu) -> PlayedGpu:
    """GPU with the shares and rates that follow from its processes and settings."""
    if state.is_off_bus:
        return replace(state, shares={}, rates={})
    wanted = {pid: process.sm for pid, process in state.processes.items()}
    wanted[UNATTRIBUTED_PID] = state.settings.get("unattributed", _IDLE)
    shares = {pid: share for pid, share in scaled_to_one(wanted).items() if share.mean > 0.0}
    return replace(state, shares=shares, rates=_rates(state, shares))


def power_waves(state: PlayedGpu, shares: Mapping[int, Wave]) -> tuple[Wave, ...]:
    """Power in watts as a sum of waves: the setting, or proportional to load."""
    if (setting := state.settings.get("power_watts")) is not None:
        return (setting,)
    device = state.device
    range_watts = max(0.0, FULL_LOAD_POWER_RATIO * device.power_limit_watts - device.idle_watts)
    return (Wave(device.idle_watts), *[share.scaled(range_watts) for share in shares.values()])


def _rates(state: PlayedGpu, shares: Mapping[int, Wave]) -> dict[str, tuple[Wave, ...]]:
    rates = {"energy_joules": power_waves(state, shares), **{reason: (Wave(1.0),) for reason in state.throttled}}
    for name, ratio in LOAD_RATIOS.items():
        setting = state.settings.get(f"{name}_ratio")
        rates[f"{name}_seconds"] = (setting,) if setting else tuple(share.scaled(ratio) for share in shares.values())
    instances = {instance.uuid: instance for instance in state.device.instances}
    for pid, process in state.processes.items():
        if pid in shares and (instance := instances.get(process.instance)):
            busy = instance_busy(instance.gpu_instance)
            rates[busy] = (*rates.get(busy, ()), shares[pid].scaled(GPU_SLICES / instance.slices))
    for way in ("transmit", "receive"):
        for bus in ("pcie", "nvlink"):
            setting = state.settings.get(f"{bus}_{way}_bytes_per_second", _IDLE)
            rates[f"{bus}_{way}_bytes"] = (setting,)
        if state.device.nvlinks:
            link_rate = state.settings.get(f"nvlink_{way}_bytes_per_second", _IDLE).scaled(1 / state.device.nvlinks)
            rates[f"link_{way}_bytes"] = (link_rate,)
    return rates


def instance_busy(gpu_instance: int) -> str:
    """Counter of the busy seconds of a GPU instance."""
    return f"instance_{gpu_instance}_seconds"


def _changed_processes(before: Mapping[int, HeldProcess], action: events.Process) -> dict[int, HeldProcess]:
    after = dict(before)
    process = after.pop(action.pid, HeldProcess())
    if action.ends:
        return after
    changes = {name: value for name in HeldProcess._fields if (value := getattr(action, name)) is not None}
    if changes.get("memory_bytes") == "unknown":
        changes["memory_bytes"] = None
    return {**before, action.pid: process._replace(**changes)}


def _increased(totals: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
    return {**totals, **{name: totals.get(name, 0.0) + count for name, count in counts.items()}}
