"""The exporter's `Driver` and `Resolver` of a simulated host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foreshock_exporter.model.device import (
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
from foreshock_exporter.model.service import AttributedService
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.emit.probe import Probe
from foreshock_simulator.emit.timeline import Timeline
from foreshock_simulator.hardware.gpu import Gpu

DRIVER_VERSION = "570.86.15"
CUDA_VERSION = "12.8"


class SimDriver:
    """A device driver with readings at the time of the simulation."""

    def __init__(self, host: str, gpus: Sequence[Gpu], timeline: Timeline) -> None:
        self._host, self._gpus, self._timeline = host, gpus, timeline
        self._probes = tuple(Probe(gpu, timeline) for gpu in gpus)
        self._identities = tuple(_identity(gpu, probe) for gpu, probe in zip(gpus, self._probes, strict=True))

    def count(self) -> int:
        """Number of GPUs."""
        return len(self._probes)

    def identity(self, gpu: int) -> Identity:
        """Identity of a GPU."""
        self._probe(gpu)
        return self._identities[gpu]

    def read(self, gpu: int) -> Reading:
        """State of a GPU; ratios are means since the last reading."""
        with self._timeline.lock:
            self._timeline.catch_up()
            return self._probe(gpu).read()

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """Not supported: a reading is already the exact mean since the last one."""
        raise DeviceError("not_supported", f"GPU {gpu} of {self._host} keeps no samples (since {since_us} µs)")

    def counters(self, gpu: int) -> Counters:
        """Counters of a GPU."""
        with self._timeline.lock:
            self._timeline.catch_up()
            return self._probe(gpu).counters()

    def health(self, gpu: int) -> Health:
        """Health of a GPU."""
        with self._timeline.lock:
            return self._probe(gpu).health()

    def xids(self, timeout: float) -> Sequence[Xid]:
        """Xid errors since the last call. Returns at once, whatever `timeout` in seconds is."""
        del timeout
        with self._timeline.lock:
            self._timeline.catch_up()
            return [Xid(probe.uuid, xid) for probe in self._probes for xid in probe.xids()]

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """Processes with memory on a GPU."""
        self._probe(gpu)
        with self._timeline.lock:
            self._timeline.catch_up()
            return [GpuProcess(worker.pid, worker.memory_bytes) for worker in self._gpus[gpu].workers]

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """One sample per process that ran, exact over the time since `since_us`; 0 means since the last call."""
        with self._timeline.lock:
            self._timeline.catch_up()
            return self._probe(gpu).process_utilization(since_us)

    def close(self) -> None:
        """No effect."""

    def _probe(self, gpu: int) -> Probe:
        if not 0 <= gpu < len(self._probes):
            raise DeviceError("not_found", f"{self._host} has no GPU {gpu}; it has {len(self._probes)}")
        return self._probes[gpu]


class SimResolver:
    """Resolves the service of each process of a host."""

    def __init__(self, services: Mapping[int, ServiceName]) -> None:
        self._services = services

    def __call__(self, pid: int) -> AttributedService | None:
        """The service of a process; None for an unknown pid."""
        service = self._services.get(pid)
        return AttributedService(service.namespace, service.name, "simulated") if service else None


def _identity(gpu: Gpu, probe: Probe) -> Identity:
    bus = f"00000000:{0x18 + 0x11 * gpu.index:02X}:00.0"
    return Identity(str(gpu.index), probe.uuid, gpu.model.name, bus, DRIVER_VERSION, CUDA_VERSION, gpu.sharing)
