"""A played GPU at one time as driver values. Pure; times are µs from the start of the script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, get_args

from foreshock_exporter.model import device
from foreshock_exporter.script.events import Device
from foreshock_exporter.script.gpu import (
    LOAD_RATIOS,
    MICROSECONDS,
    PlayedGpu,
    SampleWindow,
    instance_busy,
    power_waves,
    sample_windows,
)

IDLE_SM_CLOCK_HERTZ = 345e6
"""SM clock of an idle H100."""
THROTTLED_CLOCK_RATIO = 0.65
"""SM clock of a throttled GPU relative to the maximum."""
LINK_BYTES_PER_SECOND = 26.562e9
"""Speed of an NVLink of an H100, as NVML reports it."""
MEMORY_BUSY_RATIO = 0.6
"""Memory busy ratio relative to the busy ratio."""
_COOL: dict[device.Sensor, tuple[float, float]] = {"gpu": (34.0, 42.0), "memory": (40.0, 44.0)}
"""Idle temperature in °C, and its rise at full load."""
_MIG_REFUSES = frozenset(("utilization", "process_utilization", "utilization_ratio", "memory_busy_ratio"))
"""Values that NVML does not report for a GPU with MIG."""
_BLANKS = {kind: kind() for kind in (device.Reading, device.Counters, device.Activity, device.Health)}

_Kind = TypeVar("_Kind")
_Record = TypeVar("_Record", device.Reading, device.Counters, device.Activity, device.Health)


def identity(state: PlayedGpu) -> device.Identity:
    spec = state.device
    return device.Identity(
        gpu=str(state.index),
        uuid=state.uuid,
        model=spec.model,
        pci_bus_id=spec.pci_bus_id or f"00000000:{0x10 + state.index:02X}:00.0",
        driver_version=spec.driver_version,
        cuda_version=spec.cuda_version,
        sharing=sharing(state),
    )


def sharing(state: PlayedGpu) -> device.Sharing:
    """Sharing mode of the script, else derived from instances and processes."""
    if state.device.sharing:
        return state.device.sharing
    if state.device.instances:
        return "mig"
    return "mps" if any(process.mps for process in state.processes.values()) else "time-slicing"


def refused(spec: Device) -> frozenset[str]:
    """Driver calls and single values that the device does not support."""
    mig = spec.sharing == "mig" or (not spec.sharing and spec.instances)
    return spec.refuses | _MIG_REFUSES if mig else spec.refuses


def reading(state: PlayedGpu, us: int) -> device.Reading:
    """State of the GPU; busy as in the last complete sampling period."""
    spec = state.device
    now, busy = us / MICROSECONDS, state.busy(us)
    finished = sample_windows(state, us, us - round(2 * spec.sample_period * MICROSECONDS))
    used = sum(process.memory_bytes or 0.0 for process in state.processes.values())
    usable = max(0.0, spec.memory_bytes - spec.memory_reserved_bytes)
    settings = state.settings
    return _without_refused(
        device.Reading(
            utilization_ratio=finished[-1].busy if finished else busy,
            memory_busy_ratio=settings["memory_busy_ratio"].at(now)
            if "memory_busy_ratio" in settings
            else MEMORY_BUSY_RATIO * busy,
            memory_used_bytes=min(used, usable),
            memory_free_bytes=max(0.0, usable - used),
            memory_reserved_bytes=spec.memory_reserved_bytes,
            memory_total_bytes=spec.memory_bytes,
            power_watts=sum(wave.at(now) for wave in power_waves(state, state.shares)),
            power_limit_watts=spec.power_limit_watts,
            temperature_celsius={sensor: _temperature(state, sensor, now, busy) for sensor in _COOL},
            clock_hertz={clock: _clock(state, clock, now, busy) for clock in get_args(device.Clock)},
            instances=tuple(
                instance.now(_instance_memory(state, instance.gpu_instance)) for instance in spec.instances
            ),
        ),
        spec,
    )


def counters(state: PlayedGpu, us: int) -> device.Counters:
    """Counters, wrapped as the device specifies."""
    spec = state.device

    def total(name: str) -> float:
        value = state.total(name, us)
        return value % spec.wraps[name] if name in spec.wraps else value

    links = range(spec.nvlinks)
    per_link = device.LinkBytes(*(state.total(f"link_{way}_bytes", us) // 1 for way in ("transmit", "receive")))
    return _without_refused(
        device.Counters(
            energy_joules=total("energy_joules"),
            throttled_seconds={reason: total(reason) for reason in get_args(device.Throttle)},
            pcie_transmit_bytes=total("pcie_transmit_bytes") // 1,
            pcie_receive_bytes=total("pcie_receive_bytes") // 1,
            nvlink_transmit_bytes=total("nvlink_transmit_bytes") // 1 if links else None,
            nvlink_receive_bytes=total("nvlink_receive_bytes") // 1 if links else None,
            nvlink_links=dict.fromkeys(links, per_link),
            wraps=spec.wraps,
        ),
        spec,
    )


def activity(state: PlayedGpu, us: int) -> device.Activity:
    """Activity of the GPU, and of its GPU instances in proportion to their load."""
    busy = {part.gpu_instance: state.total(instance_busy(part.gpu_instance), us) for part in state.device.instances}
    whole = _activity({name: state.total(f"{name}_seconds", us) for name in LOAD_RATIOS})
    instances = {
        part: _activity({name: ratio * seconds for name, ratio in LOAD_RATIOS.items()})
        for part, seconds in busy.items()
    }
    return _without_refused(replace(whole, instances=instances), state.device)


def _activity(seconds: Mapping[str, float]) -> device.Activity:
    """Activity of totals by the names of `LOAD_RATIOS`. Tensor work is HMMA; other pipes follow the SMs."""
    sm, tensor = seconds["sm_active"], seconds["tensor_active"]
    engines: dict[device.Engine, float] = {"graphics": seconds["graphics"], "nvdec": seconds["decoder_active"]}
    pipes: dict[device.Pipe, float] = {"tensor_hmma": tensor, "fp32": 0.2 * sm, "integer": 0.1 * sm}
    return device.Activity(
        sm_seconds=sm,
        occupancy_seconds=seconds["sm_occupancy"],
        tensor_seconds=tensor,
        dram_seconds=seconds["dram_active"],
        context_switch_seconds=seconds["context_switch"],
        pipe_seconds=dict.fromkeys(get_args(device.Pipe), 0.0) | pipes,
        engine_seconds={**engines, "nvjpg": 0.0, "nvofa": 0.0},
    )


def health(state: PlayedGpu, us: int) -> device.Health:
    spec, now, settings = state.device, us / MICROSECONDS, state.settings

    def totals(prefix: str, kinds: tuple[_Kind, ...]) -> dict[_Kind, float]:
        return {kind: state.totals.get(f"{prefix}.{kind}", 0.0) for kind in kinds}

    def whole(name: str, otherwise: int) -> int:
        return int(settings[name].at(now)) if name in settings else otherwise

    links = spec.nvlinks
    links_up = min(links, whole("nvlinks_up", links)) if links else None
    return _without_refused(
        device.Health(
            clock_max_hertz={"sm": spec.sm_clock_max_hertz},
            clock_application_hertz={"sm": spec.sm_clock_max_hertz},
            ecc_errors=totals("ecc", get_args(device.ErrorType)),
            remapped_rows=totals("remap", get_args(device.ErrorType)),
            row_remap_pending=state.remap.get("pending", False),
            row_remap_failed=state.remap.get("failed", False),
            nvlink_errors=totals("nvlink_error", get_args(device.LinkError)) if links else {},
            nvlink_links=links or None,
            nvlink_links_up=links_up,
            nvlink_bytes_per_second=LINK_BYTES_PER_SECOND * links_up if links_up else None,
            pcie_replays=state.totals.get("pcie_replay.", 0.0),
            pcie_link_width=whole("pcie_link_width", spec.pcie_link_width_max),
            pcie_link_width_max=spec.pcie_link_width_max,
            pcie_link_generation=whole("pcie_link_generation", spec.pcie_link_generation_max),
            pcie_link_generation_max=spec.pcie_link_generation_max,
        ),
        spec,
    )


def samples(state: PlayedGpu, windows: tuple[SampleWindow, ...], start_us: int) -> tuple[device.UtilizationSample, ...]:
    """Driver samples of the given periods, in µs since the epoch."""
    return tuple(
        device.UtilizationSample(start_us + window.end_us, window.busy)
        for window in windows
        if window.shares or state.device.idle_samples
    )


def _temperature(state: PlayedGpu, sensor: device.Sensor, now: float, busy: float) -> float:
    setting = state.settings.get("temperature_celsius" if sensor == "gpu" else f"{sensor}_temperature_celsius")
    cool, rise = _COOL[sensor]
    return cool + rise * busy if setting is None else setting.at(now)


def _clock(state: PlayedGpu, clock: device.Clock, now: float, busy: float) -> float:
    setting = state.settings.get(f"{clock}_clock_hertz")
    if setting is not None:
        return setting.at(now)
    if clock == "memory":
        return state.device.memory_clock_max_hertz
    highest = state.device.sm_clock_max_hertz
    if not busy:
        return min(IDLE_SM_CLOCK_HERTZ, highest)
    return THROTTLED_CLOCK_RATIO * highest if state.throttled else highest


def _instance_memory(state: PlayedGpu, gpu_instance: int) -> float:
    """Memory used in a GPU instance, in bytes."""
    own = {instance.uuid for instance in state.device.instances if instance.gpu_instance == gpu_instance}
    return sum(process.memory_bytes or 0.0 for process in state.processes.values() if process.instance in own)


def _without_refused(record: _Record, spec: Device) -> _Record:
    """Record without the values that the device refuses."""
    blank = _BLANKS[type(record)]
    blanked = {name: getattr(blank, name) for name in refused(spec) if hasattr(blank, name)}
    return replace(record, **blanked) if blanked else record
