"""CPU cost of the NVML double's C functions, to be subtracted from that of an exporter."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
from tests.nvml import layout
from tests.nvml.double import VARIABLE, Double

REPEAT, ROUNDS, WAITS = 500, 7, 10
WAIT_MS = 200
"""Timeout of one event wait of foreshock-exporter."""
FIELDS = 16
"""Fields per nvmlDeviceGetFieldValues call."""
_BUFFER_BYTES = 1 << 16


def seconds_per_call(double: Double) -> Mapping[str, float]:
    """CPU seconds per call by function, including ctypes; "" is any other function.

    A real driver wakes the waiting thread; this library polls, so waiting for events costs most.
    """
    os.environ[VARIABLE] = str(double.path)
    nvml = ctypes.CDLL(str(double.library))
    handle, number, kind = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    count, since = ctypes.byref(number), ctypes.c_ulonglong(int((time.time() - 0.5) * 1e6))

    def timed_call(name: str, entries: int, *arguments: object) -> Callable[[], int]:
        function = getattr(nvml, name)

        def call() -> int:
            number.value = entries
            return int(function(handle, *arguments))

        return call

    functions = {
        "nvmlDeviceGetSamples": timed_call("nvmlDeviceGetSamples", 64, 1, since, ctypes.byref(kind), count, buffer),
        "nvmlDeviceGetProcessUtilization": timed_call("nvmlDeviceGetProcessUtilization", 64, buffer, count, since),
        "nvmlDeviceGetFieldValues": timed_call("nvmlDeviceGetFieldValues", 0, FIELDS, buffer),
        "nvmlDeviceGetComputeRunningProcesses_v3": timed_call(
            "nvmlDeviceGetComputeRunningProcesses_v3", layout.MAX_PROCESSES, count, buffer
        ),
        "": timed_call("nvmlDeviceGetPowerUsage", 0, count),
    }
    _check(nvml.nvmlInit_v2())
    _check(nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)))
    try:
        return {**{name: _fastest(call) for name, call in functions.items()}, "nvmlEventSetWait_v2": _waiting(nvml)}
    finally:
        _check(nvml.nvmlShutdown())


def _check(code: int) -> None:
    if code not in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):  # the latter while no process is active
        raise RuntimeError(f"the library answers {code}")


def _fastest(call: Callable[[], int]) -> float:
    """Seconds per call in the fastest of several rounds."""
    _check(call())
    durations = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(REPEAT):
            call()
        durations.append((time.thread_time() - started) / REPEAT)
    return min(durations)


def _waiting(nvml: ctypes.CDLL) -> float:
    """CPU seconds of the cheapest event wait without events, registered for every GPU."""
    events, handle, count = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint()
    _check(nvml.nvmlEventSetCreate(ctypes.byref(events)))
    _check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    for gpu in range(count.value):
        _check(nvml.nvmlDeviceGetHandleByIndex_v2(gpu, ctypes.byref(handle)))
        _check(nvml.nvmlDeviceRegisterEvents(handle, ctypes.c_ulonglong(pynvml.nvmlEventTypeXidCriticalError), events))
    event = ctypes.create_string_buffer(_BUFFER_BYTES)
    durations = []
    for _ in range(WAITS):
        started = time.thread_time()
        if nvml.nvmlEventSetWait_v2(events, event, WAIT_MS) != pynvml.NVML_ERROR_TIMEOUT:
            raise RuntimeError("an event came where nothing happens")
        durations.append(time.thread_time() - started)
    _check(nvml.nvmlEventSetFree(events))
    return min(durations)
