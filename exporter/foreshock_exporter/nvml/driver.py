"""`Driver` over NVML. NVML's types, units, and errors are confined to this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, replace
from typing import TypeVar

from foreshock_exporter.model import device
from foreshock_exporter.nvml.activity import ActivityReader
from foreshock_exporter.nvml.counters import read_counters
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import ReturnCodes
from foreshock_exporter.nvml.events import XidEvents
from foreshock_exporter.nvml.library import Library
from foreshock_exporter.nvml.mig import read_mig_mode, retry_placements, to_text
from foreshock_exporter.nvml.processes import process_sharing, running_processes
from foreshock_exporter.nvml.samples import Capacity, Function, device_samples, process_samples
from foreshock_exporter.nvml.state import read_health, read_state

_Sample = TypeVar("_Sample")
_Read = Callable[[Function, object, int, Capacity, ReturnCodes], tuple[int, list[_Sample]]]


class NvmlDriver:
    """`Driver` over NVML; `Library` describes its lifecycle and thread safety.

    `per_link`: whether counters include each NVLink.
    """

    def __init__(self, library: Library, *, per_link: bool = False) -> None:
        self._library = library
        self._events = XidEvents(library)
        self._activity = ActivityReader(library)
        self._per_link = per_link

    def count(self) -> int:
        """Number of GPUs listed by the driver; 0 without a driver. Raises device.DeviceError."""
        try:
            self._library.begin_call()
        except device.DeviceError:
            if self._library.is_closed():
                return 0
            raise
        try:
            return self._library.count()
        finally:
            self._library.end_call()

    def identity(self, gpu: int) -> device.Identity:
        with self._library.session():
            query = self._query(gpu)
            self._library.refresh_handle(gpu)
            uuid = query.required("nvmlDeviceGetUUID")
            self._library.set_uuid(gpu, uuid)
            gpu_device = self._library.device(gpu)
            identity = gpu_device.identity or _identity(query, to_text(uuid))
            if all(astuple(identity)):
                gpu_device.identity = identity
            return replace(identity, sharing=_sharing(query))

    def utilization(self, gpu: int, since_us: int) -> Sequence[device.UtilizationSample]:
        return self._samples(gpu, "nvmlDeviceGetSamples", since_us, device_samples)

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[device.ProcessUtilization]:
        return self._samples(gpu, "nvmlDeviceGetProcessUtilization", since_us, process_samples)

    def read(self, gpu: int) -> device.Reading:
        with self._library.session():
            return read_state(self._query(gpu))

    def counters(self, gpu: int, only: Collection[str] = ()) -> device.Counters:
        with self._library.session():
            return read_counters(self._query(gpu), per_link=self._per_link, only=only)

    def activity(self, gpu: int, instances: Collection[int]) -> device.Activity | None:
        with self._library.session():
            return self._activity.read(self._query(gpu), instances)

    def health(self, gpu: int) -> device.Health:
        with self._library.session():
            query = self._query(gpu)
            retry_placements(query)
            return read_health(query)

    def processes(self, gpu: int) -> device.Processes:
        with self._library.session():
            return running_processes(self._query(gpu))

    def xids(self, timeout: float) -> Sequence[device.Xid]:
        return self._events.wait(timeout)

    def needs_restart(self) -> bool:
        """Whether only a new process can use the driver; see `Library.needs_restart`."""
        return self._library.needs_restart()

    def close(self) -> None:
        """Shut NVML down for good; the driver cannot be unloaded before."""
        self._library.close()

    def _samples(self, gpu: int, name: str, since_us: int, read: _Read[_Sample]) -> list[_Sample]:
        library, codes = self._library, self._library.codes
        with library.session():
            gpu_device = library.device(gpu)
            function = library.function(name)
            code, samples = read(function, gpu_device.handle, since_us, gpu_device.capacities[name], codes)
            if code in (codes.success, codes.not_found):
                return samples
            raise library.failure(code, gpu, gpu_device)

    def _query(self, gpu: int) -> DeviceQuery:
        """Query to be used within `Library.session`."""
        return DeviceQuery(self._library, gpu)


def _identity(query: DeviceQuery, uuid: str) -> device.Identity:
    """Identity of the GPU, which is constant, without the sharing mode. Raises as `DeviceQuery.optional`."""
    minor = query.optional("nvmlDeviceGetMinorNumber")
    return device.Identity(
        gpu=str(query.gpu),
        uuid=uuid,
        model=to_text(query.optional("nvmlDeviceGetName")),
        pci_bus_id=to_text(getattr(query.optional("nvmlDeviceGetPciInfo"), "busId", None)),
        driver_version=to_text(query.system_value("nvmlSystemGetDriverVersion")),
        cuda_version=_cuda_version(query.system_value("nvmlSystemGetCudaDriverVersion_v2")),
        minor="" if minor is None else str(minor),
    )


def _sharing(query: DeviceQuery) -> device.Sharing:
    """How processes share the GPU; "unknown" while NVML fails to say. Raises as `DeviceQuery.optional`."""
    try:
        is_mig = read_mig_mode(query)
    except device.DeviceError as error:
        query.record_failure((), error)
        return "unknown"
    return "mig" if is_mig else process_sharing(query)


def _cuda_version(version: int | None) -> str:
    """CUDA version as text: 12040 is 12.4."""
    return "" if version is None else f"{version // 1000}.{version % 1000 // 10}"
