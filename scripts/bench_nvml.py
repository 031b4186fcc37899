"""What a call of the C library of tests/nvml costs by itself, so that a bench can tell it from who calls."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
from tests.nvml.double import VARIABLE, Double

REPEAT, ROUNDS, WAITS = 500, 7, 10
WAIT_MS = 200
"""For how long foreshock-exporter waits for an event at a time."""
FIELDS = 16
"""Fields asked for at a time."""
_ROOM = 1 << 16


def seconds_per_call(double: Double) -> Mapping[str, float]:
    """CPU seconds by function of what is asked most, the way there and back through ctypes included; "" is any other.

    An event of a real driver wakes who waits for it; this library looks for one all the while, which costs most of all.
    """
    os.environ[VARIABLE] = str(double.path)
    nvml = ctypes.CDLL(str(double.library))
    handle, number, kind = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    room = ctypes.create_string_buffer(_ROOM)
    count, since = ctypes.byref(number), ctypes.c_ulonglong(int((time.time() - 0.5) * 1e6))

    def listed(name: str, entries: int, *arguments: object) -> Callable[[], int]:
        function = getattr(nvml, name)

        def call() -> int:
            number.value = entries
            return int(function(handle, *arguments))

        return call

    wanted = {
        "nvmlDeviceGetSamples": listed("nvmlDeviceGetSamples", 64, 1, since, ctypes.byref(kind), count, room),
        "nvmlDeviceGetProcessUtilization": listed("nvmlDeviceGetProcessUtilization", 64, room, count, since),
        "nvmlDeviceGetFieldValues": listed("nvmlDeviceGetFieldValues", 0, FIELDS, room),
        "nvmlDeviceGetComputeRunningProcesses_v3": listed("nvmlDeviceGetComputeRunningProcesses_v3", 64, count, room),
        "": listed("nvmlDeviceGetPowerUsage", 0, count),
    }
    _fine(nvml.nvmlInit_v2())
    _fine(nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)))
    try:
        return {**{name: _fastest(call) for name, call in wanted.items()}, "nvmlEventSetWait_v2": _waiting(nvml)}
    finally:
        _fine(nvml.nvmlShutdown())


def _fine(code: int) -> None:
    if code:
        raise RuntimeError(f"the library answers {code}")


def _fastest(call: Callable[[], int]) -> float:
    """Seconds of a call, in the fastest of some rounds."""
    _fine(call())
    took = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(REPEAT):
            call()
        took.append((time.thread_time() - begun) / REPEAT)
    return min(took)


def _waiting(nvml: ctypes.CDLL) -> float:
    """CPU seconds of a wait in which nothing happens, with an eye on every GPU: the least of some."""
    events, handle, count = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint()
    _fine(nvml.nvmlEventSetCreate(ctypes.byref(events)))
    _fine(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    for gpu in range(count.value):
        _fine(nvml.nvmlDeviceGetHandleByIndex_v2(gpu, ctypes.byref(handle)))
        _fine(nvml.nvmlDeviceRegisterEvents(handle, ctypes.c_ulonglong(pynvml.nvmlEventTypeXidCriticalError), events))
    event = ctypes.create_string_buffer(_ROOM)
    took = []
    for _ in range(WAITS):
        begun = time.thread_time()
        if nvml.nvmlEventSetWait_v2(events, event, WAIT_MS) != pynvml.NVML_ERROR_TIMEOUT:
            raise RuntimeError("an event came where nothing happens")
        took.append(time.thread_time() - begun)
    _fine(nvml.nvmlEventSetFree(events))
    return min(took)
