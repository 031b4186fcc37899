"""Real-world hosts: one GPU each of a T4, an A100 with MIG, an H100, and a B200, with two services.

Supported values are from nvml.h and NVIDIA's documentation; the H100 was captured with driver 590.48.01. The load is
equal: five busy seconds, two idle ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.scripted import ScriptedGpu, ScriptedHost, ScriptedProcess

from foreshock_exporter.model.device import (
    Activity,
    Counters,
    Health,
    Identity,
    Instance,
    LinkBytes,
    ProcessUtilization,
    Reading,
    Throttle,
    UtilizationSample,
)

START = 1_700_000_000.0
"""When the scripts begin, Unix seconds."""
SAMPLE_US = 166_667
"""NVML keeps a utilization sample of every sixth of a second on these models."""
KEPT = 60
"""Samples that the driver keeps."""
WORK, REST = 30, 12
"""Samples in a row with and without load."""
SHARES: Mapping[int, float] = {4001: 0.6, 4002: 0.35}
"""Of the SM time, by pid; the GPU is busy 97% meanwhile, so that 2% is unattributed."""
BUSY = 0.97
PROCESSES = (
    ScriptedProcess(4001, ("shop", "train"), 8 * 2.0**30),
    ScriptedProcess(4002, ("shop", "embed"), 2 * 2.0**30),
    ScriptedProcess(4003, ("shop", "idle"), None),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Host as a function of time (Unix seconds), and the NVML behavior of its GPUs."""

    name: str
    at: Callable[[float], ScriptedHost]
    dialect: Dialect


def busy_at(number: int) -> bool:
    """Does the load run in this sampling period?"""
    return number % (WORK + REST) < WORK


def samples(time: float) -> tuple[UtilizationSample, ...]:
    """What the driver keeps of the GPU."""
    return tuple(map(_sample, _kept(time)))


def process_samples(time: float) -> tuple[ProcessUtilization, ...]:
    """What it keeps of the processes."""
    return tuple(chain.from_iterable(map(_process_samples, _kept(time))))


@lru_cache  # each is kept, and read, many times
def _sample(number: int) -> UtilizationSample:
    return UtilizationSample(_ends(number), BUSY if busy_at(number) else 0.0)


@lru_cache
def _process_samples(number: int) -> tuple[ProcessUtilization, ...]:
    shares = SHARES.items() if busy_at(number) else ()
    return tuple(ProcessUtilization(pid, _ends(number), share) for pid, share in shares)


def _kept(time: float) -> range:
    over = int((time - START) * 1e6) // SAMPLE_US
    return range(max(0, over - KEPT), over)


def _ends(number: int) -> int:
    return round(START * 1e6) + (number + 1) * SAMPLE_US


def _counters(age: float, links: int = 0, throttled: tuple[Throttle, ...] = ()) -> Counters:
    """Counters that rise evenly: 400 W, 1 and 2 GB/s on PCIe, 10 and 8 GB/s on each NVLink, 5% throttled."""
    each = LinkBytes(10e9 * age, 8e9 * age)
    return Counters(
        energy_joules=400.0 * age,
        throttled_seconds=dict.fromkeys(throttled, 0.05 * age),
        pcie_transmit_bytes=1e9 * age,
        pcie_receive_bytes=2e9 * age,
        nvlink_transmit_bytes=each.transmit * links if links else None,
        nvlink_receive_bytes=each.receive * links if links else None,
        nvlink_links=dict.fromkeys(range(links), each),
    )


def activity(age: float) -> Activity:
    """Activity that rises evenly: half of the SMs, 30% of the time on tensors, 40% of the DRAM bandwidth."""
    return Activity(
        sm_seconds=0.5 * age,
        occupancy_seconds=0.25 * age,
        dram_seconds=0.4 * age,
        context_switch_seconds=0.01 * age,
        tensor_seconds=0.3 * age,
        pipe_seconds={"tensor_hmma": 0.3 * age, "fp32": 0.05 * age, "integer": 0.1 * age},
        engine_seconds={"graphics": 0.9 * age, "nvdec": 0.1 * age, "nvjpg": 0.0, "nvofa": 0.0},
        pcie_transmit_bytes=1e9 * age,
        pcie_receive_bytes=2e9 * age,
    )


def _memory(total_mib: float, reserved_mib: float) -> Reading:
    total, reserved, used = total_mib * 2.0**20, reserved_mib * 2.0**20, 12 * 2.0**30
    return Reading(
        memory_total_bytes=total,
        memory_reserved_bytes=reserved,
        memory_used_bytes=used,
        memory_free_bytes=total - reserved - used,
    )


def _host(time: float, gpu: ScriptedGpu) -> ScriptedHost:
    return ScriptedHost(time, (replace(gpu, processes=gpu.processes or PROCESSES),))


def _loaded(time: float, gpu: ScriptedGpu) -> ScriptedHost:
    over = int((time - START) * 1e6) // SAMPLE_US
    ratio = BUSY if busy_at(over - 1) else 0.0
    reading = replace(gpu.reading, utilization_ratio=ratio, memory_busy_ratio=round(ratio / 2, 2))
    return _host(time, replace(gpu, reading=reading, samples=samples(time), process_samples=process_samples(time)))


def _t4(time: float) -> ScriptedHost:
    identity = Identity("0", "GPU-t4", "Tesla T4", "00000000:00:1E.0", "470.256.02", "11.4", "time-slicing")
    reading = replace(
        _memory(15_360, 400),
        power_watts=62.0,
        power_limit_watts=70.0,
        temperature_celsius={"gpu": 71.0},
        clock_hertz={"sm": 1.2e9, "memory": 5.0e9},
    )
    health = Health(
        clock_max_hertz={"sm": 1.59e9},
        ecc_errors={"corrected": 2.0, "uncorrected": 0.0},
        ecc_location_errors={("l2", "corrected"): 0.0, ("dram", "corrected"): 2.0, ("dram", "uncorrected"): 0.0},
        retired_pages={"corrected": 1.0, "uncorrected": 2.0},
        page_retirement_pending=True,
        pcie_replays=3.0,
        pcie_link_width=8,
        pcie_link_width_max=16,
        pcie_link_generation=3,
        pcie_link_generation_max=3,
    )
    return _loaded(time, ScriptedGpu(identity, reading, _counters(time - START, 0, ("power", "thermal")), health))


def _a100(time: float) -> ScriptedHost:
    identity = Identity("0", "GPU-a100", "NVIDIA A100-SXM4-80GB", "00000000:07:00.0", "550.163.01", "12.4", "mig")
    half, quarter = 39.5 * 2.0**30, 19.5 * 2.0**30
    instances = (
        Instance("MIG-a", 2, 0, "1c.3g.40gb", 9 * 2.0**30, half, 4, 4),
        Instance("MIG-b", 2, 1, "1c.3g.40gb", 9 * 2.0**30, half, 4, 4),
        Instance("MIG-c", 5, 0, "2g.20gb", 2 * 2.0**30, quarter, 0, 2),
    )
    reading = replace(
        _memory(81_920, 627),
        power_watts=240.0,
        power_limit_watts=400.0,
        temperature_celsius={"gpu": 48.0, "memory": 55.0},
        clock_hertz={"sm": 1.41e9, "memory": 1.593e9},
        instances=instances,
    )
    health = Health(
        clock_max_hertz={"sm": 1.41e9},
        clock_application_hertz={"sm": 1.275e9},
        ecc_errors={"corrected": 0.0, "uncorrected": 0.0},
        nvlink_errors={"replay": 0.0, "recovery": 0.0, "crc": 0.0},
        nvlink_links=12,
        nvlink_links_up=12,
        nvlink_bytes_per_second=12 * 25.781e9,
        pcie_replays=0.0,
        pcie_link_width=16,
        pcie_link_width_max=16,
        pcie_link_generation=4,
        pcie_link_generation_max=4,
    )
    gpu = ScriptedGpu(identity, reading, _counters(time - START, 12, ("power", "sync_boost")), health)
    held = zip(PROCESSES, ("MIG-a", "MIG-b", "MIG-c"), strict=True)
    return _host(time, replace(gpu, processes=tuple(process._replace(instance=on) for process, on in held)))


def _hopper(time: float, identity: Identity, memory: Reading, clocks: tuple[float, float]) -> ScriptedGpu:
    sm, of_memory = clocks
    reading = replace(
        memory,
        power_watts=612.345,
        power_limit_watts=700.0,
        temperature_celsius={"gpu": 61.0, "memory": 74.0},
        clock_hertz={"sm": sm * 0.9, "memory": of_memory},
    )
    health = Health(
        clock_max_hertz={"sm": sm},
        clock_application_hertz={"sm": sm},
        ecc_errors={"corrected": 12.0, "uncorrected": 1.0},
        ecc_location_errors={
            ("dram", "corrected"): 10.0,
            ("dram", "uncorrected"): 1.0,
            ("sram", "corrected"): 2.0,
            ("sram", "uncorrected"): 0.0,
        },
        recovery_action={"drain_and_reset": 1.0},
        fabric_state={"completed": 1.0},
        remapped_rows={"corrected": 1.0, "uncorrected": 2.0},
        row_remap_pending=True,
        row_remap_failed=False,
        nvlink_errors={"replay": 4.0, "recovery": 1.0, "crc": 9.0},
        nvlink_links=18,
        nvlink_links_up=17,
        nvlink_bytes_per_second=17 * 26.562e9,
        pcie_replays=7.0,
        pcie_link_width=16,
        pcie_link_width_max=16,
        pcie_link_generation=5,
        pcie_link_generation_max=5,
    )
    throttled: tuple[Throttle, ...] = ("power", "thermal", "sync_boost", "hw_thermal", "power_brake")
    return ScriptedGpu(
        identity, reading, _counters(time - START, 18, throttled), health, activity=activity(time - START)
    )


def _h100(time: float) -> ScriptedHost:
    identity = Identity(
        "0", "GPU-h100", "NVIDIA H100 80GB HBM3", "00000000:1B:00.0", "590.48.01", "13.1", "time-slicing"
    )
    return _loaded(time, _hopper(time, identity, _memory(81_559, 580), (1.98e9, 2.619e9)))


def _b200(time: float) -> ScriptedHost:
    identity = Identity("0", "GPU-b200", "NVIDIA B200", "00000000:3B:00.0", "590.48.01", "13.1", "time-slicing")
    return _loaded(time, _hopper(time, identity, _memory(183_359, 728), (1.965e9, 3.996e9)))


OLD = dict.fromkeys(
    ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetProcessesUtilizationInfo"),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
)
"""What a driver before R510 lacks."""

SLOW = {"nvmlDeviceGetPcieThroughput": 0.02}
"""Seconds that a function measures for before it answers (nvml.h)."""

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "t4", _t4, Dialect(codes=OLD, no_fields=frozenset(range(164, 310)), gpm=False, quirks=layout.QUIRK_SIZE_100)
        ),
        Profile("a100-mig", _a100, Dialect(no_fields=frozenset(range(269, 310)), gpm=False)),
        Profile("h100", _h100, Dialect(delays=SLOW, pcie_bits=32)),
        Profile("b200", _b200, Dialect(delays=SLOW, nvlink="bytes", all_links=False)),
    )
}
