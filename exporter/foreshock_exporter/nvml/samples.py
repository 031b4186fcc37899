"""The two frequent calls, through ctypes with reused buffers: device and process samples.

nvidia-ml-py calls each function twice (for the size first) and creates an object per entry. Structures and value types:
nvml.h, nvmlSample_t, nvmlProcessUtilizationSample_t, nvmlValueType_t.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
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
_SAMPLE = 16
_PROCESS = struct.Struct("=I4xQI12x")
"""PID, time, and SM percentage; the other shares are skipped."""

_GPU_UTILIZATION = ctypes.c_uint(1)
"""NVML_GPU_UTILIZATION_SAMPLES."""


class Buffer:
    """Buffer for the entries of one call and the arguments that point to it."""

    __slots__ = ("_count", "_kind", "_since", "array", "capacity", "count", "kind", "since", "view")

    def __init__(self, capacity: int, size: int) -> None:
        self.capacity = capacity
        self.array = ctypes.create_string_buffer(capacity * size)
        self.view = memoryview(self.array)
        self._count, self._kind, self._since = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_ulonglong()
        self.count, self.kind, self.since = ctypes.byref(self._count), ctypes.byref(self._kind), self._since

    def clear(self, since_us: int) -> None:
        """Prepare for a call. Zeroed entries show which ones the driver left unwritten."""
        ctypes.memset(self.array, 0, len(self.array))
        self._count.value, self._kind.value, self._since.value = self.capacity, 0, since_us

    def entry_count(self) -> int:
        """Number of entries that the driver wrote or needs."""
        return self._count.value

    def is_full(self) -> bool:
        """Whether the last entry is written. Some drivers count entries they left unwritten."""
        return self._count.value >= self.capacity and any(self.array[-len(self.array) // self.capacity :])

    def value_type(self) -> int:
        """Value type set by the driver."""
        return self._kind.value


class BufferPool:
    """Buffers of one GPU and call. A hung call keeps its buffer; the next call gets another."""

    def __init__(self, capacity: int, size: int) -> None:
        self._capacity = capacity
        self._size = size
        self._free: list[Buffer] = []

    def acquire(self) -> Buffer:
        """Take a buffer, to be released after the call."""
        try:
            return self._free.pop()
        except IndexError:
            return Buffer(self._capacity, self._size)

    def release(self, buffer: Buffer) -> None:
        """Keep the buffer, unless a larger one was needed meanwhile."""
        if buffer.capacity >= self._capacity:
            self._free.append(buffer)

    def grow(self, min_entries: int) -> Buffer | None:
        """Buffer for at least `min_entries`; None beyond `MAX_ENTRIES`."""
        if self._capacity >= MAX_ENTRIES:
            return None
        self._capacity = min(MAX_ENTRIES, max(min_entries, 2 * self._capacity))
        return Buffer(self._capacity, self._size)


def sample_buffers() -> BufferPool:
    """Pool for device samples; drivers keep some hundred."""
    return BufferPool(1024, _SAMPLE)


def process_buffers() -> BufferPool:
    """Pool for process samples."""
    return BufferPool(256, _PROCESS.size)


def device_samples(
    function: Function, handle: object, since_us: int, buffers: BufferPool, codes: ReturnCodes
) -> tuple[int, list[UtilizationSample]]:
    """Return code and utilization samples newer than `since_us`, oldest first.

    `function` is nvmlDeviceGetSamples. Entries without a time are dropped. Values above 100 % are kept, so that the
    caller can count them.
    """

    def call(buffer: Buffer) -> int:
        return function(handle, _GPU_UTILIZATION, buffer.since, buffer.kind, buffer.count, buffer.array)

    code, buffer = _call_until_complete(call, since_us, buffers, codes)
    samples: list[UtilizationSample] = []
    if code == codes.success and (kind := buffer.value_type()) < len(_SAMPLES):
        entries = _SAMPLES[kind].iter_unpack(buffer.view[: min(buffer.entry_count(), buffer.capacity) * _SAMPLE])
        samples = [UtilizationSample(time, value / 100.0) for time, value in entries if time > since_us]
        samples.sort()
    buffers.release(buffer)
    return code, samples


def process_samples(
    function: Function, handle: object, since_us: int, buffers: BufferPool, codes: ReturnCodes
) -> tuple[int, list[ProcessUtilization]]:
    """Return code and process samples newer than `since_us`; empty if every process was idle.

    `function` is nvmlDeviceGetProcessUtilization. `since_us` is the newest time already seen, in µs of the driver's
    clock. Uninitialized entries (time 0) and those already seen are dropped. Values above 100 % are kept, so that the
    caller can count them.
    """

    def call(buffer: Buffer) -> int:
        return function(handle, buffer.array, buffer.count, buffer.since)

    code, buffer = _call_until_complete(call, since_us, buffers, codes)
    samples: list[ProcessUtilization] = []
    if code == codes.success:
        entries = _PROCESS.iter_unpack(buffer.view[: min(buffer.entry_count(), buffer.capacity) * _PROCESS.size])
        samples = [
            ProcessUtilization(pid, time, percent / 100.0)
            for pid, time, percent in entries
            if time > since_us and pid > 0
        ]
    buffers.release(buffer)
    return code, samples


def _call_until_complete(
    call: Callable[[Buffer], int], since_us: int, buffers: BufferPool, codes: ReturnCodes
) -> tuple[int, Any]:
    """Repeat the call with larger buffers until all entries fit; not every driver reports a too small buffer."""
    buffer = buffers.acquire()
    while True:
        buffer.clear(since_us)
        code = call(buffer)
        if code != codes.insufficient_size and not (code == codes.success and buffer.is_full()):
            return code, buffer
        grow = buffers.grow(buffer.entry_count())
        if grow is None:
            return code, buffer
        buffer = grow
