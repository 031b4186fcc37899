"""The GPUs of this host through NVML. NVML's types, units and errors stop in this package."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.device import (
    Counters,
    DeviceError,
    GpuProcess,
    Health,
    Identity,
    ProcessUtilization,
    Reading,
    Sharing,
    UtilizationSample,
    Xid,
)
from foreshock_exporter.nvml.counters import read_counters
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import Nvml
from foreshock_exporter.nvml.events import XidEvents
from foreshock_exporter.nvml.health import read_health
from foreshock_exporter.nvml.library import Library
from foreshock_exporter.nvml.mig import is_mig, to_text
from foreshock_exporter.nvml.processes import running_processes, uses_mps
from foreshock_exporter.nvml.samples import device_samples, process_samples
from foreshock_exporter.nvml.state import read_state


class NvmlDriver:
    """`Driver` over NVML; see `Library` for how it is opened, shut and called from several threads at once.

    Args:
        nvml: pynvml, or what is shaped like it.
        per_link: whether the counters tell each NVLink.
        timer: a steady clock in seconds.
        notices: where a missing driver is said once.
        maps: the list of files mapped into this process (proc(5)).
        bound: the folder in which the driver lists the GPUs bound to it.
    """

    def __init__(
        self,
        nvml: Nvml,
        *,
        per_link: bool = False,
        timer: Callable[[], float] = time.monotonic,
        problems: ProblemLog | None = None,
        maps: Path = Path("/proc/self/maps"),
        bound: Path = Path("/proc/driver/nvidia/gpus"),
    ) -> None:
        self._library = Library(nvml, timer=timer, problems=problems, maps=maps, bound=bound)
        self._events = XidEvents(self._library)
        self._per_link = per_link

    def count(self) -> int:
        """How many GPUs the driver names; 0 where there is none. Raises DeviceError where NVML does not say."""
        try:
            self._library.enter()
        except DeviceError:
            if self._library.is_closed():
                return 0
            raise
        try:
            return self._library.count()
        finally:
            self._library.leave()

    def identity(self, gpu: int) -> Identity:
        """What the GPU with that index is by now. Raises DeviceError."""
        with self._asked(gpu) as asked:
            self._library.renew(gpu)
            uuid = asked.must("nvmlDeviceGetUUID")
            self._library.identified(gpu, uuid)
            return Identity(
                gpu=str(gpu),
                uuid=to_text(uuid),
                model=to_text(asked.may("nvmlDeviceGetName")),
                pci_bus_id=to_text(getattr(asked.may("nvmlDeviceGetPciInfo"), "busId", None)),
                driver_version=to_text(asked.host("nvmlSystemGetDriverVersion")),
                cuda_version=_cuda(asked.host("nvmlSystemGetCudaDriverVersion_v2")),
                sharing=_sharing(asked),
            )

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """Samples since then; none while the driver has none. Raises DeviceError, "not_supported" e.g. under MIG."""
        library, codes = self._library, self._library.codes
        library.enter()
        try:
            device = library.device(gpu)
            function = library.function("nvmlDeviceGetSamples")
            code, samples = device_samples(function, device.handle, since_us, device.samples, codes)
            if code in (codes.success, codes.not_found):
                return samples
            raise library.failure(code, gpu, device)
        finally:
            library.leave()

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """Samples since then; none where every process was idle. Raises DeviceError."""
        library, codes = self._library, self._library.codes
        library.enter()
        try:
            device = library.device(gpu)
            function = library.function("nvmlDeviceGetProcessUtilization")
            code, samples = process_samples(function, device.handle, since_us, device.processes, codes)
            if code in (codes.success, codes.not_found):
                return samples
            raise library.failure(code, gpu, device)
        finally:
            library.leave()

    def read(self, gpu: int) -> Reading:
        """Its state now. Raises DeviceError, also where it gives no reading at all."""
        with self._asked(gpu) as asked:
            return read_state(asked)

    def counters(self, gpu: int) -> Counters:
        """Its counters now. Raises DeviceError."""
        with self._asked(gpu) as asked:
            return read_counters(asked, per_link=self._per_link)

    def health(self, gpu: int) -> Health:
        """Its health now. Raises DeviceError."""
        with self._asked(gpu) as asked:
            return read_health(asked)

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """Compute, graphics and MPS processes, each once. Raises DeviceError."""
        with self._asked(gpu) as asked:
            return running_processes(asked)

    def xids(self, timeout: float) -> Sequence[Xid]:
        """The errors reported since the last call. Raises DeviceError, at once where there is nothing to wait for."""
        return self._events.wait(timeout)

    def needs_restart(self) -> bool:
        """Whether only a new process can use the driver again; see `Library.needs_restart`."""
        return self._library.needs_restart()

    def close(self) -> None:
        """Let go of NVML for good, without which the driver cannot be unloaded."""
        self._library.close()

    @contextmanager
    def _asked(self, gpu: int) -> Iterator[DeviceQuery]:
        with self._library.entered():
            yield DeviceQuery(self._library, gpu)


def _sharing(asked: DeviceQuery) -> Sharing:
    if is_mig(asked):
        return "mig"
    return "mps" if uses_mps(asked) else "time-slicing"


def _cuda(version: int | None) -> str:
    """12040 is 12.4."""
    return "" if version is None else f"{version // 1000}.{version % 1000 // 10}"
