"""The two frequent calls, through ctypes: device and process samples.

nvidia-ml-py calls each function twice (for the size first) and creates an object per entry. Structures and value types:
nvml.h, nvmlSample_t, nvmlProcessUtilizationSample_t, nvmlValueType_t.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample
from foreshock_exporter.nvml.errors import ReturnCodes

MAX_ENTRIES = 1 << 16
"""Largest buffer, in entries; more than any driver keeps."""

Function = Callable[..., int]
"""Function of the C library; returns a return code."""

FORMATS = ("d", "I4x", "Q", "Q", "q", "i4x", "H6x")
"""`struct` formats by value type, native order without alignment."""
WRAPS = (None, 2.0**32, 2.0**64, 2.0**64, None, None, 2.0**16)
"""Wrap value by value type; None if the type has none."""
_SAMPLES = tuple(struct.Struct(f"=Q{value}") for value in FORMATS)
"""Time and value by value type."""
_SAMPLE_BYTES = 16
_PROCESS = struct.Struct("=I4xQI12x")
"""PID, time, and SM percentage; the other shares are skipped."""

_GPU_UTILIZATION = ctypes.c_uint(1)
"""NVML_GPU_UTILIZATION_SAMPLES."""


@dataclass(slots=True)
class Capacity:
    """Size of the buffer for one call on one GPU, in entries. Grows to what the driver returns."""

    entries: int = 512


def device_samples(
    function: Function, handle: object, since_us: int, capacity: Capacity, codes: ReturnCodes
) -> tuple[int, list[UtilizationSample]]:
    """Return code and utilization samples newer than `since_us`, oldest first.

    `function` is nvmlDeviceGetSamples. Entries without a time are dropped. Values above 100% are kept, so that the
    caller can count them.
    """

    since, kind = ctypes.c_ulonglong(since_us), ctypes.c_uint()

    def call(count: Any, array: Any) -> int:  # noqa: ANN401 - ctypes' objects
        return function(handle, _GPU_UTILIZATION, since, ctypes.byref(kind), count, array)

    code, entries = _call_until_complete(call, _SAMPLE_BYTES, capacity, codes)
    if code != codes.success or kind.value >= len(_SAMPLES):
        return code, []
    pairs = _SAMPLES[kind.value].iter_unpack(entries)
    return code, sorted(UtilizationSample(time, value / 100.0) for time, value in pairs if time > since_us)


def process_samples(
    function: Function, handle: object, since_us: int, capacity: Capacity, codes: ReturnCodes
) -> tuple[int, list[ProcessUtilization]]:
    """Return code and process samples newer than `since_us`; empty if every process was idle.

    `function` is nvmlDeviceGetProcessUtilization. `since_us` is the newest time already seen, in µs of the driver's
    clock. Uninitialized entries (time 0) and those already seen are dropped. Values above 100% are kept, so that the
    caller can count them.
    """

    since = ctypes.c_ulonglong(since_us)

    def call(count: Any, array: Any) -> int:  # noqa: ANN401 - ctypes' objects
        return function(handle, array, count, since)

    code, entries = _call_until_complete(call, _PROCESS.size, capacity, codes)
    if code != codes.success:
        return code, []
    return code, [
        ProcessUtilization(pid, time, percent / 100.0)
        for pid, time, percent in _PROCESS.iter_unpack(entries)
        if time > since_us and pid > 0
    ]


def _call_until_complete(
    call: Callable[[Any, Any], int], entry_bytes: int, capacity: Capacity, codes: ReturnCodes
) -> tuple[int, memoryview]:
    """Return code and entries. Repeats the call with larger buffers until all fit.

    Some drivers do not report a buffer that is too small, and some count entries that they left unwritten (zero).
    """
    while True:
        entries = capacity.entries
        array, count = ctypes.create_string_buffer(entries * entry_bytes), ctypes.c_uint(entries)
        code = call(ctypes.byref(count), array)
        is_full = code == codes.success and count.value >= entries and any(array[-entry_bytes:])
        if entries >= MAX_ENTRIES or not (is_full or code == codes.insufficient_size):
            return code, memoryview(array)[: min(count.value, entries) * entry_bytes]
        capacity.entries = min(MAX_ENTRIES, max(count.value, 2 * entries))
