"""The exporter's `Driver` and `Resolver` of a simulated host: exact means, counters, and process utilization."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from foreshock_exporter.model import device
from foreshock_exporter.model.service import AttributedService
from foreshock_simulator.core.names import ServiceName, uuid_digits
from foreshock_simulator.hardware.gpu import Gpu

DRIVER_VERSION = "570.86.15"
CUDA_VERSION = "12.8"
MAX_MARKS = 16
"""Past samples of process utilization that a caller can refer to."""
NVLINKS = 18
PCIE_GENERATION = 5
PCIE_LANES = 16
ECC_XIDS = (48, 63, 64, 94, 95)
"""Xid errors of an uncorrectable ECC error."""


class Timeline(Protocol):
    """The time of the simulation. `start` is in Unix seconds."""

    start: float

    def present(self) -> AbstractContextManager[float]:
        """Run to the present of the followed clock, if any, and stop there; the value is in seconds since the start."""
        ...


class SimDriver:
    """A device driver with readings at the time of the simulation."""

    def __init__(self, host: str, gpus: Sequence[Gpu], timeline: Timeline) -> None:
        self._host, self._timeline = host, timeline
        with timeline.present() as now:
            self._probes = tuple(_Probe(gpu, timeline.start, now) for gpu in gpus)

    def count(self) -> int:
        """Number of GPUs."""
        return len(self._probes)

    def identity(self, gpu: int) -> device.Identity:
        """Identity of a GPU."""
        return self._probe(gpu).identity

    def read(self, gpu: int) -> device.Reading:
        """State of a GPU; ratios are means since the last reading."""
        with self._timeline.present() as now:
            return self._probe(gpu).read(now)

    def utilization(self, gpu: int, since_us: int) -> Sequence[device.UtilizationSample]:
        """Not supported: a reading is already the exact mean since the last one."""
        raise device.DeviceError("not_supported", f"GPU {gpu} of {self._host} keeps no samples (since {since_us} µs)")

    def counters(self, gpu: int, only: Collection[str] = ()) -> device.Counters:  # noqa: ARG002 - all cost the same
        """Counters of a GPU."""
        with self._timeline.present() as now:
            return self._probe(gpu).counters(now)

    def activity(self, gpu: int, instances: Collection[int]) -> device.Activity:  # noqa: ARG002 - none are simulated
        """Activity of the SMs, the tensor cores, and DRAM of a GPU; others are not simulated."""
        with self._timeline.present() as now:
            return self._probe(gpu).activity(now)

    def health(self, gpu: int) -> device.Health:
        """Health of a GPU."""
        with self._timeline.present():
            return self._probe(gpu).health()

    def xids(self, timeout: float) -> Sequence[device.Xid]:
        """Xid errors since the last call. Returns at once, whatever `timeout` in seconds is."""
        del timeout
        with self._timeline.present():
            return [xid for probe in self._probes for xid in probe.xids()]

    def processes(self, gpu: int) -> device.Processes:
        """Processes with memory on a GPU."""
        with self._timeline.present():
            workers = self._probe(gpu).gpu.workers
            return device.Processes(tuple(device.GpuProcess(worker.pid, worker.memory_bytes) for worker in workers))

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[device.ProcessUtilization]:
        """One sample per process that ran, exact over the time since `since_us`; 0 means since the last call."""
        with self._timeline.present() as now:
            return self._probe(gpu).process_utilization(since_us, now)

    def close(self) -> None:
        """No effect."""

    def _probe(self, gpu: int) -> _Probe:
        if not 0 <= gpu < len(self._probes):
            raise device.DeviceError("not_found", f"{self._host} has no GPU {gpu}; it has {len(self._probes)}")
        if self._probes[gpu].gpu.lost:
            raise device.DeviceError("lost", f"GPU {gpu} of {self._host} has fallen off the bus")
        return self._probes[gpu]


class SimResolver:
    """Resolves the service of each process of a host."""

    def __init__(self, services: Mapping[int, ServiceName]) -> None:
        self._services = services

    def __call__(self, pid: int) -> AttributedService | None:
        """The service of a process; None for an unknown pid."""
        service = self._services.get(pid)
        return AttributedService(service.namespace, service.name, "simulated") if service else None


class _Mark(NamedTuple):
    """Busy seconds of a GPU and of its processes by pid, at a time."""

    time: float
    timestamp_us: int
    busy: float
    processes: dict[int, float]


class _Probe:
    """Reads a simulated GPU without changing it. `now` is in seconds since the start."""

    def __init__(self, gpu: Gpu, start: float, now: float) -> None:
        self.gpu, self._start = gpu, start
        bus = f"00000000:{0x18 + 0x11 * gpu.index:02X}:00.0"
        uuid = f"GPU-{uuid_digits(f'{gpu.host}/{gpu.index}')}"
        self.identity = device.Identity(
            str(gpu.index), uuid, gpu.model.name, bus, DRIVER_VERSION, CUDA_VERSION, gpu.sharing
        )
        self._last, self._time = gpu.state_at(now), now
        self._busy = self._dram = 0.0
        self._marks: deque[_Mark] = deque([self._mark(now)], maxlen=MAX_MARKS)
        self._reported_xids = 0

    def read(self, now: float) -> device.Reading:
        """State of the GPU. Ratios are means since the last reading, or its means when no time has passed."""
        state, model = self.gpu.state_at(now), self.gpu.model
        if (seconds := now - self._time) > 0.0:
            self._busy = min(1.0, max(0.0, (state.busy_seconds - self._last.busy_seconds) / seconds))
            self._dram = min(1.0, max(0.0, (state.dram_seconds - self._last.dram_seconds) / seconds))
            self._last, self._time = state, now
        return device.Reading(
            utilization_ratio=self._busy,
            memory_busy_ratio=self._dram,
            memory_used_bytes=state.memory_used_bytes,
            memory_free_bytes=model.memory_bytes - model.reserved_bytes - state.memory_used_bytes,
            memory_reserved_bytes=model.reserved_bytes,
            memory_total_bytes=model.memory_bytes,
            power_watts=state.power_watts,
            power_limit_watts=state.power_limit_watts,
            temperature_celsius={"gpu": state.celsius},
            clock_hertz={"sm": state.clock_hertz, "memory": model.memory_clock_hertz},
            instances=tuple(self._instance(index) for index in range(len(self.gpu.instances))),
        )

    def counters(self, now: float) -> device.Counters:
        """Counters at present. Both directions of a link carry the same traffic."""
        state = self._last if now == self._time else self.gpu.state_at(now)
        nvlink = state.nvlink_bytes if self.gpu.model.nvlink_bandwidth else None
        throttled = state.throttled_seconds
        return device.Counters(
            energy_joules=state.energy_joules,
            throttled_seconds={"power": throttled["power"], "thermal": throttled["thermal"]},
            pcie_transmit_bytes=state.pcie_bytes,
            pcie_receive_bytes=state.pcie_bytes,
            nvlink_transmit_bytes=nvlink,
            nvlink_receive_bytes=nvlink,
        )

    def activity(self, now: float) -> device.Activity:
        """Activity until now. The kernels of a service have work for a constant share of the SMs."""
        state = self._last if now == self._time else self.gpu.state_at(now)
        return device.Activity(
            sm_seconds=state.sm_seconds,
            tensor_seconds=state.tensor_seconds,
            dram_seconds=state.dram_seconds,
        )

    def health(self) -> device.Health:
        """Health of the GPU. An uncorrectable ECC error remaps rows; everything else is healthy."""
        model = self.gpu.model
        uncorrected = float(sum(xid in ECC_XIDS for _, xid in self.gpu.xids))
        links = NVLINKS if model.nvlink_bandwidth else None
        return device.Health(
            clock_max_hertz={"sm": model.clock_max_hertz},
            clock_application_hertz={"sm": model.clock_max_hertz},
            ecc_errors={"corrected": 0.0, "uncorrected": uncorrected},
            remapped_rows={"corrected": 0.0, "uncorrected": uncorrected},
            row_remap_pending=uncorrected > 0.0,
            row_remap_failed=False,
            nvlink_links=links,
            nvlink_links_up=links,
            nvlink_bytes_per_second=model.nvlink_bandwidth or None,
            pcie_replays=0.0,
            pcie_link_width=PCIE_LANES,
            pcie_link_width_max=PCIE_LANES,
            pcie_link_generation=PCIE_GENERATION,
            pcie_link_generation_max=PCIE_GENERATION,
        )

    def process_utilization(self, since_us: int, time: float) -> list[device.ProcessUtilization]:
        """Exact mean utilization of each process since the sample at `since_us`, or since the oldest remembered one."""
        now = self._mark(time)
        before = next((mark for mark in reversed(self._marks) if mark.timestamp_us <= since_us), self._marks[0])
        if since_us <= 0:
            before = self._marks[-1]
        # A call while all processes were idle returned no sample, so the caller does not know its timestamp.
        before = next(mark for mark in reversed(self._marks) if mark.busy == before.busy)
        seconds = now.time - before.time
        if now.timestamp_us <= since_us or seconds <= 0.0:
            return []
        self._marks.append(now)
        return [
            device.ProcessUtilization(pid, now.timestamp_us, min(1.0, used / seconds))
            for pid, busy in now.processes.items()
            if (used := busy - before.processes.get(pid, 0.0)) > 0.0
        ]

    def xids(self) -> list[device.Xid]:
        """Xid errors since the last call."""
        new = self.gpu.xids[self._reported_xids :]
        self._reported_xids = len(self.gpu.xids)
        return [device.Xid(self.identity.uuid, xid) for _, xid in new]

    def _mark(self, now: float) -> _Mark:
        processes = {
            worker.pid: context.busy_seconds + context.sm_share * (now - self.gpu.advanced_to)
            for worker in self.gpu.workers
            for context in worker.contexts
            if context.gpu is self.gpu
        }
        return _Mark(now, int((self._start + now) * 1e6), self.gpu.busy_seconds_at(now), processes)

    def _instance(self, index: int) -> device.Instance:
        instance = self.gpu.instances[index]
        return device.Instance(
            f"MIG-{uuid_digits(f'{self.gpu.host}/{self.gpu.index}/{index}')}",
            gpu_instance=index + 1,
            compute_instance=0,
            profile=f"{instance.slices}g.{round(instance.memory_bytes / 1024**3)}gb",
            memory_used_bytes=sum((worker.memory_bytes for worker in self.gpu.workers_in(index)), 0.0),
            memory_total_bytes=instance.memory_bytes,
        )
