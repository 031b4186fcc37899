"""The two calls made many times a second, straight through ctypes: one call each, into memory that is kept.

nvidia-ml-py asks for the size first, so that the driver does its work twice, and makes an object of every entry.
Structures and value types: nvml.h, nvmlSample_t, nvmlProcessUtilizationSample_t, nvmlValueType_t.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample
from foreshock_exporter.nvml.errors import Codes

MAX_ENTRIES = 1 << 16
"""More than any driver keeps; a call that wants more room than this gets no more."""

Function = Callable[..., int]
"""A function of the library itself, which returns a code."""

FORMATS = ("d", "I4x", "Q", "Q", "q", "i4x", "H6x")
"""By value type, for `struct` in native order without alignment."""
WRAPS = (None, 2.0**32, 2.0**64, 2.0**64, None, None, 2.0**16)
"""By value type; None where the type does not say."""
_SAMPLES = tuple(struct.Struct(f"=Q{value}") for value in FORMATS)
"""A time and a value, by value type."""
_SAMPLE = 16
_PROCESS = struct.Struct("=I4xQI12x")
"""pid, time, SM share in percent; without the shares of memory, encoder and decoder."""

_GPU_UTILIZATION = ctypes.c_uint(1)
"""NVML_GPU_UTILIZATION_SAMPLES."""


class Buffer:
    """Room for the entries that one call writes, and what the call is given to point to it."""

    __slots__ = ("_count", "_kind", "_since", "array", "capacity", "count", "kind", "since", "view")

    def __init__(self, capacity: int, size: int) -> None:
        self.capacity = capacity
        self.array = ctypes.create_string_buffer(capacity * size)
        self.view = memoryview(self.array)
        self._count, self._kind, self._since = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_ulonglong()
        self.count, self.kind, self.since = ctypes.byref(self._count), ctypes.byref(self._kind), self._since

    def clear(self, since_us: int) -> None:
        """Make it ready for a call. Entries that the driver leaves as they were are then 0, not those of before."""
        ctypes.memset(self.array, 0, len(self.array))
        self._count.value, self._kind.value, self._since.value = self.capacity, 0, since_us

    def written(self) -> int:
        """How many entries the driver says it has written, or needs."""
        return self._count.value

    def full(self) -> bool:
        """Whether it is written to the end. Some drivers count entries that they left as they were."""
        return self._count.value >= self.capacity and any(self.array[-len(self.array) // self.capacity :])

    def value_type(self) -> int:
        """The type that the driver gave for the values."""
        return self._kind.value


class BufferPool:
    """The buffers of one GPU for one kind of call. A call that never returns keeps its own; the next has another."""

    def __init__(self, capacity: int, size: int) -> None:
        self._capacity = capacity
        self._size = size
        self._free: list[Buffer] = []

    def take(self) -> Buffer:
        """A buffer to be given back."""
        try:
            return self._free.pop()
        except IndexError:
            return Buffer(self._capacity, self._size)

    def give_back(self, buffer: Buffer) -> None:
        """Keep it for the next call, unless a larger one was needed meanwhile."""
        if buffer.capacity >= self._capacity:
            self._free.append(buffer)

    def larger(self, needed: int) -> Buffer | None:
        """A buffer for at least `needed` entries; None past the bound."""
        if self._capacity >= MAX_ENTRIES:
            return None
        self._capacity = min(MAX_ENTRIES, max(needed, 2 * self._capacity))
        return Buffer(self._capacity, self._size)


def sample_buffers() -> BufferPool:
    """Room for the utilisation samples of a GPU; drivers keep some hundred."""
    return BufferPool(1024, _SAMPLE)


def process_buffers() -> BufferPool:
    """Room for the process samples of a GPU."""
    return BufferPool(256, _PROCESS.size)


def device_samples(
    function: Function, handle: object, since_us: int, room: BufferPool, codes: Codes
) -> tuple[int, list[UtilizationSample]]:
    """NVML's code and the utilisation samples newer than `since_us`, oldest first.

    `function` is nvmlDeviceGetSamples. Entries without a time are left out; garbage above 100 % is not, to be counted.
    """

    def call(buffer: Buffer) -> int:
        return function(handle, _GPU_UTILIZATION, buffer.since, buffer.kind, buffer.count, buffer.array)

    code, buffer = _filled(call, since_us, room, codes)
    samples: list[UtilizationSample] = []
    if code == codes.success and (kind := buffer.value_type()) < len(_SAMPLES):
        entries = _SAMPLES[kind].iter_unpack(buffer.view[: min(buffer.written(), buffer.capacity) * _SAMPLE])
        samples = [UtilizationSample(time, value / 100.0) for time, value in entries if time > since_us]
        samples.sort()
    room.give_back(buffer)
    return code, samples


def process_samples(
    function: Function, handle: object, since_us: int, room: BufferPool, codes: Codes
) -> tuple[int, list[ProcessUtilization]]:
    """NVML's code and what processes used since `since_us`; empty where every process was idle.

    `function` is nvmlDeviceGetProcessUtilization. Its last argument is the time of the newest sample already seen, in
    µs of the driver's clock. Entries that the driver left uninitialised (time 0) and those already seen are left out;
    garbage above 100 % is not, to be counted.
    """

    def call(buffer: Buffer) -> int:
        return function(handle, buffer.array, buffer.count, buffer.since)

    code, buffer = _filled(call, since_us, room, codes)
    samples: list[ProcessUtilization] = []
    if code == codes.success:
        entries = _PROCESS.iter_unpack(buffer.view[: min(buffer.written(), buffer.capacity) * _PROCESS.size])
        samples = [
            ProcessUtilization(pid, time, percent / 100.0)
            for pid, time, percent in entries
            if time > since_us and pid > 0
        ]
    room.give_back(buffer)
    return code, samples


def _filled(call: Callable[[Buffer], int], since_us: int, room: BufferPool, codes: Codes) -> tuple[int, Any]:
    """Call until all entries fit: there may have been more than room for them, which not every driver says."""
    buffer = room.take()
    while True:
        buffer.clear(since_us)
        code = call(buffer)
        if code != codes.insufficient_size and not (code == codes.success and buffer.full()):
            return code, buffer
        larger = room.larger(buffer.written())
        if larger is None:
            return code, buffer
        buffer = larger
