"""The GPUs of this host through NVML. NVML's types, units and errors stop here; the only file that imports pynvml."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from foreshock_exporter.device import (
    DeviceError,
    Driver,
    GpuProcess,
    Identity,
    ProcessUtilization,
    Reading,
    Reason,
    Sharing,
)
from foreshock_exporter.log import Notices

RETRY_AFTER = 30.0
"""Seconds between attempts to open NVML where there is no driver."""
_SIZE_RACES = 3
"""How often a list that grew between its two calls is asked for again."""

_T = TypeVar("_T")


class Nvml(Protocol):
    """A module shaped like nvidia-ml-py's pynvml, which has no type hints."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - functions and constants by name
        ...


def nvml_driver() -> Driver:
    """The driver of this host; works without one (`count()` is 0) and finds it when it comes."""
    import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints

    return NvmlDriver(pynvml)


class NvmlDriver:
    """`Driver` over NVML.

    Opens NVML on first use and again, at most every `RETRY_AFTER` seconds, after the driver went away. Each call looks
    its handle up anew, because a handle of a lost GPU crashes the library.
    """

    def __init__(
        self, nvml: Nvml, *, timer: Callable[[], float] = time.monotonic, notices: Notices | None = None
    ) -> None:
        self._nvml = nvml
        self._timer = timer
        self._notices = notices or Notices()
        self._open = False
        self._tried: float | None = None
        self._reasons = _reasons(nvml)
        self._gone = frozenset(
            (
                nvml.NVML_ERROR_UNINITIALIZED,
                nvml.NVML_ERROR_DRIVER_NOT_LOADED,
                nvml.NVML_ERROR_LIBRARY_NOT_FOUND,
                nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
            )
        )

    def count(self) -> int:
        """How many GPUs the driver names; 0 where there is none."""
        if not self._ensure_open():
            return 0
        return int(self._call(self._nvml.nvmlDeviceGetCount))

    def identity(self, gpu: int) -> Identity:
        """What the GPU is. Raises DeviceError."""
        nvml, handle = self._nvml, self._handle(gpu)
        return Identity(
            gpu=str(gpu),
            uuid=_text(self._call(nvml.nvmlDeviceGetUUID, handle)),
            model=_text(self._optional(nvml.nvmlDeviceGetName, handle)),
            pci_bus_id=_text(getattr(self._optional(nvml.nvmlDeviceGetPciInfo, handle), "busId", None)),
            driver_version=_text(self._optional(nvml.nvmlSystemGetDriverVersion)),
            cuda_version=_cuda(self._optional(nvml.nvmlSystemGetCudaDriverVersion_v2)),
            sharing=self._sharing(handle),
        )

    def read(self, gpu: int) -> Reading:
        """Its state now; a field that it does not give is None. Raises DeviceError where it gives none."""
        nvml, handle = self._nvml, self._handle(gpu)
        rates = self._optional(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._memory(handle)
        reading = Reading(
            utilization_ratio=_percent(getattr(rates, "gpu", None)),
            memory_busy_ratio=_percent(getattr(rates, "memory", None)),
            memory_used_bytes=_scaled(getattr(memory, "used", None)),
            memory_free_bytes=_scaled(getattr(memory, "free", None)),
            memory_reserved_bytes=_scaled(getattr(memory, "reserved", None)),
            memory_total_bytes=_scaled(getattr(memory, "total", None)),
            power_watts=_scaled(self._optional(nvml.nvmlDeviceGetPowerUsage, handle), 1e3),
            power_limit_watts=_scaled(self._optional(nvml.nvmlDeviceGetEnforcedPowerLimit, handle), 1e3),
            energy_joules=_scaled(self._optional(nvml.nvmlDeviceGetTotalEnergyConsumption, handle), 1e3),
            temperature_celsius=_scaled(
                self._optional(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
            ),
        )
        if reading == Reading():
            raise DeviceError("driver", "NVML finds the GPU but answers none of its readings")
        return reading

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """Compute, graphics and MPS processes, each once. Raises DeviceError where the first list fails."""
        nvml, handle = self._nvml, self._handle(gpu)
        compute = self._call(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        graphics = self._optional(nvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
        mps = self._optional(nvml.nvmlDeviceGetMPSComputeRunningProcesses, handle)
        return _merged((*compute, *(graphics or ()), *(mps or ())))

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """Samples since then; none where every process was idle. Raises DeviceError.

        NVML's second argument is the time of the newest sample already seen, in µs of its own clock. It answers
        NOT_FOUND, and nvidia-ml-py an error 0, where no process ran; entries may be left uninitialised.
        """
        nvml, handle = self._nvml, self._handle(gpu)
        for _ in range(_SIZE_RACES):
            try:
                entries = nvml.nvmlDeviceGetProcessUtilization(handle, since_us)
            except nvml.NVMLError as error:
                if error.value in (nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_FOUND):
                    return ()
                if error.value != nvml.NVML_ERROR_INSUFFICIENT_SIZE:
                    raise self._translated(error) from error
            else:
                return _valid(entries, since_us)
        raise DeviceError("driver", "the list of process samples keeps growing while it is read")

    def close(self) -> None:
        """Let go of NVML, without which the driver cannot be unloaded."""
        if self._open:
            self._open = False
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _ensure_open(self) -> bool:
        now = self._timer()
        if self._open or (self._tried is not None and now - self._tried < RETRY_AFTER):
            return self._open
        self._tried = now
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            self._notices.problem(
                "NVML", f"no NVIDIA driver to ask ({error}); going on without GPUs, next try in {RETRY_AFTER:g} s"
            )
            return False
        self._open = True
        self._notices.fine("NVML")
        return True

    def _handle(self, gpu: int) -> Any:  # noqa: ANN401 - an opaque pointer of NVML
        return self._call(self._nvml.nvmlDeviceGetHandleByIndex, gpu)

    def _memory(self, handle: object) -> object:
        """Version 2 tells reserved memory apart from used; drivers before R510 have only the first."""
        nvml = self._nvml
        try:
            return self._call(nvml.nvmlDeviceGetMemoryInfo, handle, nvml.nvmlMemory_v2)
        except DeviceError as error:
            if error.reason in ("lost", "timeout"):
                raise
            return self._optional(nvml.nvmlDeviceGetMemoryInfo, handle)

    def _sharing(self, handle: object) -> Sharing:
        nvml = self._nvml
        mode = self._optional(nvml.nvmlDeviceGetMigMode, handle)
        if mode is not None and mode[0] == nvml.NVML_DEVICE_MIG_ENABLE:
            return "mig"
        return "mps" if self._optional(nvml.nvmlDeviceGetMPSComputeRunningProcesses, handle) else "time-slicing"

    def _call(self, function: Callable[..., _T], *arguments: object) -> _T:
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            raise self._translated(error) from error

    def _optional(self, function: Callable[..., _T], *arguments: object) -> _T | None:
        """The answer, or None where there is none; raises DeviceError only where the GPU is lost or does not answer."""
        try:
            return self._call(function, *arguments)
        except DeviceError as error:
            if error.reason in ("lost", "timeout"):
                raise
            return None

    def _translated(self, error: Any) -> DeviceError:  # noqa: ANN401 - pynvml.NVMLError
        if error.value in self._gone:
            self.close()
        return DeviceError(self._reasons.get(error.value, "driver"), f"NVML: {error}")


def _reasons(nvml: Nvml) -> dict[int, Reason]:
    return {
        nvml.NVML_ERROR_NOT_SUPPORTED: "not_supported",
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "not_supported",
        nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "not_supported",
        nvml.NVML_ERROR_NO_PERMISSION: "no_permission",
        nvml.NVML_ERROR_NOT_FOUND: "not_found",
        nvml.NVML_ERROR_GPU_IS_LOST: "lost",
        nvml.NVML_ERROR_GPU_NOT_FOUND: "lost",
        nvml.NVML_ERROR_RESET_REQUIRED: "lost",
        nvml.NVML_ERROR_TIMEOUT: "timeout",
    }


def _merged(entries: Iterable[Any]) -> tuple[GpuProcess, ...]:
    """Each pid once; a process in two lists holds the larger of its two figures, not their sum."""
    memory: dict[int, float | None] = {}
    for entry in entries:
        known, said = memory.get(entry.pid), entry.usedGpuMemory
        memory[entry.pid] = known if said is None else max(float(said), known or 0.0)
    return tuple(GpuProcess(pid, used) for pid, used in memory.items() if pid > 0)


def _valid(entries: Iterable[Any], since_us: int) -> tuple[ProcessUtilization, ...]:
    """Without the entries that the driver left uninitialised, garbage above 100 %, and what has been seen."""
    return tuple(
        ProcessUtilization(entry.pid, entry.timeStamp, entry.smUtil / 100.0)
        for entry in entries
        if entry.pid > 0 and entry.timeStamp > since_us and 0 <= entry.smUtil <= 100
    )


def _percent(value: int | None) -> float | None:
    """A ratio; None for the garbage beyond 100 % that some drivers give."""
    return value / 100.0 if value is not None and 0 <= value <= 100 else None


def _scaled(value: int | None, per_unit: float = 1.0) -> float | None:
    return None if value is None else value / per_unit


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _cuda(version: int | None) -> str:
    """12040 is 12.4."""
    return "" if version is None else f"{version // 1000}.{version % 1000 // 10}"
