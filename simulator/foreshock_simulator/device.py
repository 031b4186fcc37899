"""What the GPUs of a simulated host say to an exporter, in the terms of its `Driver`."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Protocol

from foreshock_exporter.device import (
    Counters,
    DeviceError,
    GpuProcess,
    Health,
    Identity,
    ProcessUtilization,
    Reading,
    UtilizationSample,
    Xid,
)
from foreshock_exporter.family import Emitted
from foreshock_exporter.host.network import InterfaceCounters, emit
from foreshock_exporter.service import ServiceOf
from foreshock_simulator.gpu import MEMORY_BYTES, RESERVED_BYTES, Gpu
from foreshock_simulator.machine import PACKET_BYTES, Machine

MODEL = "NVIDIA H100 80GB HBM3"
DRIVER_VERSION = "570.86.15"
CUDA_VERSION = "12.8"
POWER_LIMIT_WATTS = 700.0
IDLE_WATTS = 72.0
COMPUTE_WATTS = 430.0
"""At full use of the SMs; memory adds up to `MEMORY_WATTS`."""
MEMORY_WATTS = 190.0
INLET_CELSIUS = 27.0
CELSIUS_PER_WATT = 0.062
THERMAL_SECONDS = 25.0
"""Time constant with which the temperature follows the power."""
REMEMBERED = 16
"""Callers of `process_utilization` told apart on a GPU."""
INTERFACE = "eth0"
INTERFACE_BYTES = 25e9
"""Speed of the interface: 200 Gbit/s."""


class Timeline(Protocol):
    """The simulation, as far as its devices need it: its time, and a lock under which it stands still."""

    @property
    def lock(self) -> RLock:
        """Held while the model runs."""
        ...

    @property
    def start(self) -> float:
        """Unix seconds."""
        ...

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        ...

    def catch_up(self) -> None:
        """Run to the present of whatever clock is followed; called under the lock."""
        ...


@dataclass(slots=True)
class _Integrals:
    """The busy seconds of a GPU and of its processes by pid, at a time."""

    time: float
    timestamp_us: int
    busy: float
    memory: float
    processes: dict[int, float] = field(default_factory=dict)


class _Probe:
    """One GPU as its driver sees it: the means since the last look, the temperature that follows."""

    def __init__(self, gpu: Gpu, timeline: Timeline) -> None:
        self._gpu = gpu
        self._timeline = timeline
        self._last = self._integrals()
        self._marks: deque[_Integrals] = deque([self._last], maxlen=REMEMBERED)
        self._joules = 0.0
        self._celsius = INLET_CELSIUS + CELSIUS_PER_WATT * IDLE_WATTS
        self._reading = self._observe(self._last, 1.0)

    def read(self) -> Reading:
        """Means over the time since the last reading; the same again where no time has passed."""
        now = self._integrals()
        seconds = now.time - self._last.time
        if seconds > 0.0:
            self._reading = self._observe(now, seconds)
            self._last = now
        else:
            self._reading = self._observe(now, 0.0)
        return self._reading

    def counters(self) -> Counters:
        """The energy used up to the last reading."""
        return Counters(energy_joules=self._joules)

    def shares(self, since_us: int) -> list[ProcessUtilization]:
        """Exact means over the time since the sample that ended at `since_us`, or the oldest that is remembered."""
        now = self._integrals()
        before = next((mark for mark in reversed(self._marks) if mark.timestamp_us <= since_us), self._marks[0])
        if since_us <= 0:
            before = self._marks[-1]
        # A look at which all were idle gave no sample, so the caller could not take note of its time.
        before = next(mark for mark in reversed(self._marks) if mark.busy == before.busy)
        seconds = now.time - before.time
        if now.timestamp_us <= since_us or seconds <= 0.0:
            return []
        self._marks.append(now)
        found = []
        for pid, busy in now.processes.items():
            share = (busy - before.processes.get(pid, 0.0)) / seconds
            if share > 0.0:
                found.append(ProcessUtilization(pid, now.timestamp_us, min(1.0, share)))
        return found

    def _integrals(self) -> _Integrals:
        elapsed = self._timeline.elapsed
        processes = {worker.pid: worker.busy_at(elapsed) for worker in self._gpu.workers}
        memory = sum(worker.memory_intensity * processes[worker.pid] for worker in self._gpu.workers)
        return _Integrals(
            elapsed, int((self._timeline.start + elapsed) * 1e6), self._gpu.busy_at(elapsed), memory, processes
        )

    def _observe(self, now: _Integrals, seconds: float) -> Reading:
        if seconds > 0.0:
            busy = min(1.0, max(0.0, (now.busy - self._last.busy) / seconds))
            memory = min(1.0, max(0.0, (now.memory - self._last.memory) / seconds))
            watts = IDLE_WATTS + COMPUTE_WATTS * busy + MEMORY_WATTS * memory
            self._joules += watts * (now.time - self._last.time)
            target = INLET_CELSIUS + CELSIUS_PER_WATT * watts
            self._celsius = target + (self._celsius - target) * math.exp(-seconds / THERMAL_SECONDS)
        else:
            busy, memory = self._reading.utilization_ratio or 0.0, self._reading.memory_busy_ratio or 0.0
            watts = self._reading.power_watts or IDLE_WATTS
        used = sum(worker.memory_bytes for worker in self._gpu.workers)
        return Reading(
            utilization_ratio=busy,
            memory_busy_ratio=memory,
            memory_used_bytes=used,
            memory_free_bytes=MEMORY_BYTES - RESERVED_BYTES - used,
            memory_reserved_bytes=RESERVED_BYTES,
            memory_total_bytes=float(MEMORY_BYTES),
            power_watts=watts,
            power_limit_watts=POWER_LIMIT_WATTS,
            temperature_celsius={"gpu": self._celsius},
        )


class SimDriver:
    """The exporter's `Driver` of one simulated host. Readings are those of the simulation's time, not the wall's."""

    def __init__(self, machine: Machine, timeline: Timeline) -> None:
        self._machine = machine
        self._timeline = timeline
        self._probes = tuple(_Probe(gpu, timeline) for gpu in machine.gpus)

    def count(self) -> int:
        """How many GPUs the host has."""
        return len(self._probes)

    def identity(self, gpu: int) -> Identity:
        """What the GPU is; its UUID follows from host and index."""
        self._probe(gpu)
        digest = hashlib.sha256(f"{self._machine.name}/{gpu}".encode()).hexdigest()
        uuid = f"GPU-{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        bus = f"00000000:{0x18 + 0x11 * gpu:02X}:00.0"
        return Identity(str(gpu), uuid, MODEL, bus, DRIVER_VERSION, CUDA_VERSION, "time-slicing")

    def read(self, gpu: int) -> Reading:
        """Its state; ratios and power are means since the last reading."""
        with self._timeline.lock:
            self._timeline.catch_up()
            return self._probe(gpu).read()

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """Not kept: a reading is the exact mean over the time since the one before."""
        raise DeviceError("not_supported", f"GPU {gpu} of {self._machine.name} keeps no samples (since {since_us} µs)")

    def counters(self, gpu: int) -> Counters:
        """Its energy, as of the last reading."""
        with self._timeline.lock:
            return self._probe(gpu).counters()

    def health(self, gpu: int) -> Health:
        """Not modelled."""
        raise DeviceError("not_supported", f"the health of GPU {gpu} of {self._machine.name} is not modelled")

    def xids(self, timeout: float) -> Sequence[Xid]:
        """None: no errors are modelled."""
        raise DeviceError("not_supported", f"{self._machine.name} reports no errors, within {timeout:g} s or ever")

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """The processes that hold it."""
        self._probe(gpu)
        with self._timeline.lock:
            self._timeline.catch_up()
            workers = self._machine.gpus[gpu].workers
            return [GpuProcess(worker.pid, worker.memory_bytes) for worker in workers]

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """One sample for each process that ran, exact over the time since `since_us`; 0 stands for the last call."""
        with self._timeline.lock:
            self._timeline.catch_up()
            return self._probe(gpu).shares(since_us)

    def close(self) -> None:
        """Nothing to let go of."""

    def _probe(self, gpu: int) -> _Probe:
        if not 0 <= gpu < len(self._probes):
            raise DeviceError("not_found", f"{self._machine.name} has no GPU {gpu}; it has {len(self._probes)}")
        return self._probes[gpu]


class SimResolver:
    """The exporter's `Resolver` of one simulated host."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __call__(self, pid: int) -> ServiceOf | None:
        """The service of a process; None where no such process runs."""
        service = self._machine.services.get(pid)
        return ServiceOf(service.namespace, service.name, "simulated") if service else None


class SimNetwork:
    """A collector of the exporter: the network of one simulated host."""

    def __init__(self, machine: Machine, timeline: Timeline) -> None:
        self._machine = machine
        self._timeline = timeline

    def __call__(self) -> Emitted:
        """The counters of its one interface."""
        with self._timeline.lock:
            self._timeline.catch_up()
            received, sent = float(self._machine.received_bytes), float(self._machine.sent_bytes)
        counters = InterfaceCounters(
            INTERFACE,
            receive_bytes=received,
            receive_packets=received // PACKET_BYTES,
            receive_errors=0.0,
            receive_drops=0.0,
            transmit_bytes=sent,
            transmit_packets=sent // PACKET_BYTES,
            transmit_errors=0.0,
            transmit_drops=0.0,
            up=True,
            speed_bytes=INTERFACE_BYTES,
        )
        return emit([counters])
