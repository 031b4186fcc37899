"""Fake pynvml module."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints

CONSTANTS = {
    name: value
    for name, value in vars(pynvml).items()
    if name.startswith(("NVML_", "nvmlMemory_v", "nvmlEventType")) and isinstance(value, int)
}
FORMATS = ("d", "I4x", "Q", "Q", "q", "i4x", "H6x")


class FakeError(Exception):
    """As pynvml.NVMLError: carries NVML's code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


def handle_of(gpu: int) -> Any:  # noqa: ANN401 - an opaque pointer
    """The pointer by which the imagined NVML knows a GPU."""
    return ctypes.cast(0x1000 * (gpu + 1), pynvml.c_nvmlDevice_t)


def gpu_of(handle: Any) -> int:  # noqa: ANN401 - an opaque pointer
    """The GPU of a pointer."""
    return (ctypes.cast(handle, ctypes.c_void_p).value or 0) // 0x1000 - 1


class FakeLibrary:
    """The library itself: functions that are given ctypes' objects and return a code. Answers as the tests set them."""

    def __init__(self, nvml: FakeNvml) -> None:
        self._nvml = nvml

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as ctypes' library
        functions: dict[str, Callable[..., int]] = {
            "nvmlDeviceGetSamples": self._samples,
            "nvmlDeviceGetProcessUtilization": self._processes,
            "nvmlDeviceGetFieldValues": self._fields,
        }
        function = functions.get(name)
        if function is None or name in self._nvml.missing:
            raise AttributeError(name)

        def called(handle: object, *arguments: Any) -> int:  # noqa: ANN401 - ctypes' objects
            self._nvml.calls.append((name, gpu_of(handle)))
            codes = self._nvml.codes.get(name)
            code = codes.pop(0) if isinstance(codes, list) and codes else codes
            if isinstance(code, int) and code:
                if code == CONSTANTS["NVML_ERROR_INSUFFICIENT_SIZE"]:
                    arguments[1]._obj.value = self._nvml.needed
                return code
            return function(*arguments)

        return called

    def _samples(self, kind: Any, since: Any, value_type: Any, count: Any, array: Any) -> int:  # noqa: ANN401
        assert kind.value == CONSTANTS["NVML_GPU_UTILIZATION_SAMPLES"]
        self._nvml.since.append(since.value)
        value_type._obj.value = self._nvml.sample_type
        shape = struct.Struct(f"=Q{FORMATS[self._nvml.sample_type]}")
        return self._write([shape.pack(*sample) for sample in self._nvml.samples], 16, count, array)

    def _processes(self, array: Any, count: Any, since: Any) -> int:  # noqa: ANN401
        self._nvml.since.append(since.value)
        return self._write([struct.pack("=I4xQIIII", *entry, 1, 2, 3) for entry in self._nvml.used], 32, count, array)

    def _write(self, entries: Sequence[bytes], size: int, count: Any, array: Any) -> int:  # noqa: ANN401
        capacity = count._obj.value
        assert len(array) >= capacity * size
        written = b"".join(entries[:capacity])
        array[: len(written)] = written
        count._obj.value = capacity if self._nvml.overstates else min(len(entries), capacity)
        return 0

    def _fields(self, number: int, array: Any) -> int:  # noqa: ANN401
        self._nvml.requested_fields.append([])
        for at in range(0, number * 40, 40):
            identity, scope = struct.unpack_from("=II", array, at)
            self._nvml.requested_fields[-1].append((identity, scope))
            values_read = self._nvml.field_values.get((identity, scope), CONSTANTS["NVML_ERROR_NOT_SUPPORTED"])
            kind, value, code = (*values_read, 0) if isinstance(values_read, tuple) else (3, 0, values_read)
            raw = struct.pack(f"={FORMATS[kind]}", value)
            array[at : at + 40] = struct.pack("=IIqqII8s", identity, scope, 1, 1, kind, code, raw)
        return 0


@dataclass
class FakeNvml:
    """NVML with `gpus` H100s. Tests replace results by name, or set an error code by name.

    A callable result receives the arguments of the NVML function. `codes` has return codes of C functions: one for
    every call, or a list for the next calls. `field_values` has (value type, value) or a code. With `overstates`, the
    library reports a full buffer.
    """

    gpus: int = 1
    answers: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int | list[int]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    samples: list[tuple[int, float]] = field(default_factory=list)
    sample_type: int = 1
    used: list[tuple[int, int, int]] = field(default_factory=list)
    needed: int = 300
    overstates: bool = False
    field_values: dict[tuple[int, int], tuple[int, float] | int] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    requested_fields: list[list[tuple[int, int]]] = field(default_factory=list)
    NVMLError = FakeError

    def __post_init__(self) -> None:
        self.nvmlLib = FakeLibrary(self)
        self.answers = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": lambda: self.gpus,
            "nvmlDeviceGetHandleByIndex": handle_of,
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{gpu_of(handle)}",
            "nvmlDeviceGetName": b"NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetPciInfo": SimpleNamespace(busId="00000000:1B:00.0"),
            "nvmlDeviceGetMinorNumber": gpu_of,
            "nvmlSystemGetDriverVersion": "590.48.01",
            "nvmlSystemGetCudaDriverVersion_v2": 13010,
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetMaxMigDeviceCount": 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": FakeError(CONSTANTS["NVML_ERROR_NOT_FOUND"]),
            "nvmlDeviceGetGpuInstanceId": 1,
            "nvmlDeviceGetComputeInstanceId": 0,
            "nvmlDeviceGetAttributes_v2": None,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=41),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=85_000, reserved=600, free=24_400, used=60_000),
            "nvmlDeviceGetPowerUsage": 512_345,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": 1_234_567,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetTemperatureV": 62,
            "nvmlDeviceGetClockInfo": lambda _handle, kind: {1: 1980, 2: 2619}[kind],
            "nvmlDeviceGetMaxClockInfo": lambda _handle, kind: {1: 1990, 2: 2620}[kind],
            "nvmlDeviceGetApplicationsClock": lambda _handle, kind: {1: 1830, 2: 2619}[kind],
            "nvmlDeviceGetComputeRunningProcesses_v3": [process(10, 4000)],
            "nvmlDeviceGetGraphicsRunningProcesses_v3": [],
            "nvmlDeviceGetMPSComputeRunningProcesses_v3": [],
            "nvmlDeviceGetComputeRunningProcesses_v2": [process(20, 4000)],
            "nvmlDeviceGetGraphicsRunningProcesses_v2": [],
            "nvmlDeviceGetMPSComputeRunningProcesses_v2": [],
            "nvmlDeviceGetTotalEccErrors": lambda _handle, severity, kind: {0: 5, 1: 1}[severity] + kind,
            "nvmlDeviceGetRemappedRows": (2, 1, 1, 0),
            "nvmlDeviceGetNvLinkState": 1,
            "nvmlDeviceGetPcieReplayCounter": 3,
            "nvmlDeviceGetCurrPcieLinkWidth": 8,
            "nvmlDeviceGetMaxPcieLinkWidth": 16,
            "nvmlDeviceGetCurrPcieLinkGeneration": 4,
            "nvmlDeviceGetMaxPcieLinkGeneration": 5,
            "nvmlEventSetCreate": object,
            "nvmlDeviceRegisterEvents": None,
            "nvmlEventSetWait_v2": FakeError(CONSTANTS["NVML_ERROR_TIMEOUT"]),
            "nvmlEventSetFree": None,
            **self.answers,
        }

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as a module of functions and constants
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name not in self.answers:
            raise AttributeError(name)

        def function(*arguments: object) -> Any:  # noqa: ANN401 - as NVML's function
            self.calls.append((name, *arguments))
            if name in self.errors:
                raise FakeError(self.errors[name])
            answer = self.answers[name]
            if isinstance(answer, FakeError):
                raise answer
            return answer(*arguments) if callable(answer) else answer

        return function

    def times(self, name: str) -> int:
        """How often a function was called."""
        return sum(call[0] == name for call in self.calls)

    def fail(self, name: str, error: str) -> None:
        """Have a function fail with a code, by its name without NVML_ERROR_."""
        self.errors[name] = CONSTANTS[f"NVML_ERROR_{error}"]


def error(name: str) -> FakeError:
    """An error of NVML by the name of its constant without NVML_ERROR_."""
    return FakeError(CONSTANTS[f"NVML_ERROR_{name}"])


def process(pid: int, memory: int | None) -> SimpleNamespace:
    """An entry of a process list."""
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)
