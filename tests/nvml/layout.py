"""Layout of the double's state file, equal to library/state.h; the size is checked."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

LIBRARY = Path(__file__).parent / "library"
CALLS: tuple[str, ...] = tuple(re.findall(r"^\s+X\((\w+)\)", (LIBRARY / "calls.h").read_text(), re.MULTILINE))
"""The functions that can be counted, slowed down and made to fail; their order is that of the answers."""

MAX_GPUS, MAX_VALUES, MAX_FIELDS, MAX_SAMPLES = 16, 8, 320, 256
MAX_PROCESS_SAMPLES, MAX_PROCESSES, MAX_INSTANCES = 2048, 128, 7
MAX_EVENTS, MAX_SINCE, MAX_GPM, TEXT = 64, 512, 384, 96
ABSENT = 2**64 - 1
"""The value of an argument that a GPU does not support, and of memory that is not known."""
KIND_COMPUTE, KIND_GRAPHICS, KIND_MPS = 1, 2, 4
QUIRK_SIZE_100, QUIRK_EMPTY_SUCCEEDS, QUIRK_WIDE_PROCESSES = 1, 2, 4

_u32, _i32, _u64, _i64 = ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint64, ctypes.c_int64
_text = ctypes.c_char * TEXT


class Answer(ctypes.Structure):
    """What one function answers for one GPU."""

    _fields_ = (("code", _i32), ("delay_us", _u32), ("value", _u64 * MAX_VALUES))


class Field(ctypes.Structure):
    """A field value."""

    _fields_ = (("id", _u32), ("scope", _u32), ("code", _i32), ("type", _u32), ("bits", _u64))


class Fields(ctypes.Structure):
    """Field values, sorted by (id, scope)."""

    _fields_ = (("count", _u32), ("pad", _u32), ("at", Field * MAX_FIELDS))


class Sample(ctypes.Structure):
    """A sample of the whole GPU."""

    _fields_ = (("time_us", _u64), ("percent", _u32), ("pad", _u32))


class Samples(ctypes.Structure):
    """Samples, oldest first."""

    _fields_ = (("count", _u32), ("pad", _u32), ("at", Sample * MAX_SAMPLES))


class ProcessSample(ctypes.Structure):
    """A sample of one process."""

    _fields_ = (("time_us", _u64), ("pid", _u32), ("percent", _u32))


class ProcessSamples(ctypes.Structure):
    """Samples of processes, oldest first."""

    _fields_ = (("count", _u32), ("pad", _u32), ("at", ProcessSample * MAX_PROCESS_SAMPLES))


class Process(ctypes.Structure):
    """A process that holds the GPU."""

    _fields_ = (("memory", _u64), ("pid", _u32), ("kinds", _u32), ("gpu_instance", _u32), ("compute_instance", _u32))


class Processes(ctypes.Structure):
    """Processes that hold the GPU."""

    _fields_ = (("count", _u32), ("pad", _u32), ("at", Process * MAX_PROCESSES))


class Instance(ctypes.Structure):
    """A MIG instance, or an empty slot."""

    _fields_ = (
        ("present", _u32),
        ("gpu_instance", _u32),
        ("compute_instance", _u32),
        ("slices", _u32),
        ("placement_start", _u32),
        ("placement_size", _u32),
        ("total", _u64),
        ("used", _u64),
        ("uuid", _text),
        ("profile", _text),
    )


class GpmMetric(ctypes.Structure):
    """A GPM metric of the GPU or a GPU instance as its integral over time."""

    _fields_ = (("instance", _u32), ("id", _u32), ("code", _i32), ("pad", _u32), ("total", ctypes.c_double))


class Gpm(ctypes.Structure):
    """GPM metrics at a time in seconds."""

    _fields_ = (("time", ctypes.c_double), ("count", _u32), ("pad", _u32), ("at", GpmMetric * MAX_GPM))


class Device(ctypes.Structure):
    """Properties and faults of a GPU."""

    _fields_ = (
        ("late", _u32),
        ("lost", _u32),
        ("hangs", _u32),
        ("mig", _u32),
        ("quirks", _u32),
        ("pad", _u32),
        ("uuid", _text),
        ("name", _text),
        ("bus_id", _text),
        ("serial", _text),
    )


class Gpu(ctypes.Structure):
    """All that a GPU answers."""

    _fields_ = (
        ("device", Device),
        ("answers", Answer * len(CALLS)),
        ("instances", Instance * MAX_INSTANCES),
        ("processes", Processes),
        ("samples", Samples),
        ("process_samples", ProcessSamples),
        ("fields", Fields),
        ("gpm", Gpm),
    )


class Event(ctypes.Structure):
    """Something that happened on a GPU."""

    _fields_ = (("type", _u64), ("data", _u64), ("gpu", _u32), ("pad", _u32))


class Host(ctypes.Structure):
    """What the driver answers as a whole."""

    _fields_ = (
        ("gpus", _u32),
        ("init_code", _i32),
        ("call_code", _i32),
        ("generation", _u32),
        ("hangs", _u32),
        ("enumerates_once", _u32),
        ("cuda_version", _i32),
        ("confidential", _u32 * 4),
        ("accepts_work", _u32),
        ("driver_version", _text),
        ("event_count", _u64),
        ("events", Event * MAX_EVENTS),
    )


class State(ctypes.Structure):
    """What the library answers. `sequence` is odd while it is being written."""

    _fields_ = (("size", _u32), ("sequence", _u32), ("host", Host), ("gpus", Gpu * MAX_GPUS))


class Since(ctypes.Structure):
    """The times that callers passed as the last seen."""

    _fields_ = (("count", _u64), ("at", _u64 * MAX_SINCE))


class Journal(ctypes.Structure):
    """Counts of calls."""

    _fields_ = (
        ("calls", (_u64 * len(CALLS)) * (MAX_GPUS + 1)),
        ("samples", Since * MAX_GPUS),
        ("processes", Since * MAX_GPUS),
        ("races", _i64 * MAX_GPUS),
        ("gpm_samples", _i64),
        ("blocked", _u64),
        ("misused", _u64),
        ("misused_call", _u64),
    )
