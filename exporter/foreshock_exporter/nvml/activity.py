"""Activity of GPUs and GPU instances: means between two GPM samples (Hopper and newer), integrated over time.

Sums of share times seconds are counters: their rate is the mean over the interval of each reader. With GPM, a late or
failed pass loses nothing, because the next sample covers its interval, too. Ids and units: nvml.h, nvmlGpmMetricId_t.
Ids are numbers, because older releases of nvidia-ml-py lack some names.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from itertools import chain
from typing import Any

from foreshock_exporter.model.device import Activity, DeviceError, Engine, Pipe, Reason
from foreshock_exporter.nvml.counters import absent_fields
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.field_values import FieldValue
from foreshock_exporter.nvml.library import Device, Library, address

MIN_INTERVAL_SECONDS = 0.1
"""Shortest time between two samples; NVML refreshes its counters that often (nvml.h, nvmlGpmSampleGet)."""
MAX_FAILING_SECONDS = 60.0
"""Time after which a sample that gives no metrics is given up, in case that it is the reason."""
MAX_UTILIZATION_SECONDS = 2.0
"""Longest time that one utilization of a video engine stands for."""
MAX_PERCENT = 101.0
"""Largest percentage believed; rounding in the driver may exceed 100 slightly."""
MAX_MIB_PER_SECOND = 2.0**20
"""Largest rate believed: 1 TiB/s, more than any PCIe or C2C link."""

_PIPES: Mapping[Pipe, int] = {
    "tensor_dfma": 6,
    "tensor_hmma": 7,
    "tensor_dmma": 8,
    "tensor_imma": 9,
    "fp64": 11,
    "fp32": 12,
    "fp16": 13,
    "integer": 4,
}
_ENGINES: Mapping[Engine, range] = {
    "graphics": range(1, 2),
    "nvdec": range(30, 38),
    "nvjpg": range(40, 48),
    "nvofa": range(50, 52),
    "nvenc": range(166, 170),
}
"""Units of each kind, which differ by model; those that a GPU lacks are not supported."""
_ENGINE_CALLS: Mapping[Engine, str] = {
    "nvdec": "nvmlDeviceGetDecoderUtilization",
    "nvjpg": "nvmlDeviceGetJpgUtilization",
    "nvofa": "nvmlDeviceGetOfaUtilization",
    "nvenc": "nvmlDeviceGetEncoderUtilization",
}
"""Utilization in percent of GPUs without GPM; each call returns that of a recent period of up to a second."""
_PERCENT, _MIB_PER_SECOND = 1e-2, 2.0**20
_RATES: Mapping[str, int] = {
    "pcie_transmit_bytes": 20,
    "pcie_receive_bytes": 21,
    "c2c_transmit_bytes": 102,
    "c2c_receive_bytes": 103,
}
_QUANTITIES: Mapping[str, tuple[int, ...]] = {
    "sm_seconds": (2,),
    "occupancy_seconds": (3,),
    "tensor_seconds": (5,),
    "dram_seconds": (10,),
    "context_switch_seconds": (174,),
    **{f"pipe_seconds/{pipe}": (metric,) for pipe, metric in _PIPES.items()},
    **{f"engine_seconds/{engine}": tuple(metrics) for engine, metrics in _ENGINES.items()},
    **{name: (metric,) for name, metric in _RATES.items()},
}
"""GPM metrics of each quantity, of which the mean counts. Context switches are those of the first graphics engine, the
only one of a GPU without MIG.
"""
METRICS = tuple(chain.from_iterable(_QUANTITIES.values()))
_METRICS_BEFORE_R575 = tuple(metric for metric in METRICS if metric < 98)
"""Metrics below NVML_GPM_METRIC_MAX of those drivers (nvidia-ml-py 12.570.172)."""

_FIELDS = tuple(field.name for field in fields(Activity) if field.name not in ("instances", "absent"))

_HEAD = struct.Struct("=IIQQ")
_METRIC = struct.Struct("=IId24x")
"""nvmlGpmMetricsGet_t and nvmlGpmMetric_t: version, count, two samples; id, return code, value, and three texts."""
_VERSION = 1
_REQUEST_BYTES = _HEAD.size + 512 * _METRIC.size
"""At least as large as the structure of any driver, which has NVML_GPM_METRIC_MAX entries (477 in R590)."""


class ActivityReader:
    """Reads the activity of each GPU, and keeps two samples per GPU and GPU instance while the library keeps the GPU.

    Calls for different GPUs may run in parallel.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._gpus: dict[int, _Gpu] = {}
        library.before_shutdown(lambda: self._free(0))

    def read(self, query: DeviceQuery, instances: Collection[int]) -> Activity | None:
        """Activity of the GPU and of these GPU instances since the first call; None at the first call.

        Raises:
            DeviceError: the GPU reports no activity, or was discarded since the last call.
        """
        device = self._library.device(query.gpu)
        self._free(self._library.gpu_count)
        known = self._gpus.pop(query.gpu, None)  # during the call, no other one can free it
        begins_again = known is not None and known.device is not device
        if known is not None and begins_again:
            known.free()
        gpu = _Gpu(self._library, device) if known is None or begins_again else known
        try:
            activity = gpu.read(query, instances)
        finally:
            self._gpus[query.gpu] = gpu
        if activity is None and begins_again:
            raise DeviceError("driver", "NVML: activity begins again, because the GPU was lost or timed out")
        return activity

    def _free(self, first: int) -> None:
        """Free the samples of the GPUs from this index on, except those of calls in flight."""
        for index in [index for index in self._gpus.copy() if index >= first]:
            gpu = self._gpus.pop(index, None)
            if gpu is not None:
                gpu.free()


class _Gpu:
    """Meters of one GPU handle: the whole GPU (None), its GPU instances by ID, or the engines of a GPU without GPM."""

    def __init__(self, library: Library, device: Device) -> None:
        self.device = device
        self._library = library
        self._has_gpm: bool | None = None
        self._engines = _EngineMeter(library)
        self._meters: dict[int | None, _Meter] = {}

    def read(self, query: DeviceQuery, instances: Collection[int]) -> Activity | None:
        if self._has_gpm is None:
            self._has_gpm = _has_gpm(query)
        if not self._has_gpm:
            engines = self._engines.read(query)
            return engines and replace(engines, instances=dict.fromkeys(instances, Activity()))
        for gone in self._meters.keys() - {None, *instances}:
            self._meters.pop(gone).free()
        errors: list[DeviceError] = []
        parts = {instance: self._attempt(query, instance, errors) for instance in sorted(instances)}
        whole = self._attempt(query, None, errors)
        failures = [error for error in errors if error.reason != "not_supported"]
        if len(errors) > len(parts):
            raise (failures or errors)[0]
        subject = f"activity of GPU {query.gpu} or its GPU instances"
        if failures:
            self._library.problems.report(subject, str(failures[0]))
        else:
            self._library.problems.resolve(subject)
        return whole and replace(whole, instances={at: part for at, part in parts.items() if part is not None})

    def free(self) -> None:
        """Free all samples."""
        for meter in self._meters.values():
            meter.free()
        self._meters.clear()

    def _attempt(self, query: DeviceQuery, instance: int | None, errors: list[DeviceError]) -> Activity | None:
        """Activity of a part; without values if the call fails, with the error added to `errors`."""
        meter = self._meters.get(instance)
        if meter is None:
            meter = self._meters[instance] = _Meter(self._library)
        try:
            return meter.read(query, instance)
        except DeviceError as error:
            if is_fatal(error):
                raise
            errors.append(error)
            return Activity(absent=dict.fromkeys(_FIELDS, error.reason))


class _Meter:
    """Two samples of a GPU or GPU instance, and its activity integrated since the first."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._samples: list[Any] = []
        """The last one that counted, then the next one."""
        self._sampled_at: float | None = None
        self._totals: dict[str, float] = {}
        self._activity: Activity | None = None
        self._request = ctypes.create_string_buffer(_REQUEST_BYTES)
        self._metrics = METRICS

    def read(self, query: DeviceQuery, instance: int | None) -> Activity | None:
        """Activity of the GPU instance, or the whole GPU, since the first call; None before the second sample."""
        now, before = self._library.timer(), self._sampled_at
        if before is not None and now - before < MIN_INTERVAL_SECONDS:
            return self._activity
        while len(self._samples) < 2:
            self._samples.append(self._library.call("nvmlGpmSampleAlloc"))
        if instance is None:
            query.required("nvmlGpmSampleGet", self._samples[1])
        else:
            query.required("nvmlGpmMigSampleGet", instance, self._samples[1])
        if before is not None:
            try:
                self._activity = self._integrate(now - before)
            except DeviceError:
                if now - before >= MAX_FAILING_SECONDS:
                    self._advance(now)
                raise
        self._advance(now)
        return self._activity

    def free(self) -> None:
        """Free the samples."""
        for sample in self._samples:
            with suppress(self._library.nvml.NVMLError):
                self._library.nvml.nvmlGpmSampleFree(sample)
        self._samples.clear()

    def _advance(self, now: float) -> None:
        """Begin the next interval with the sample taken at `now`."""
        self._samples.reverse()
        self._sampled_at = now

    def _integrate(self, seconds: float) -> Activity:
        """Activity after the means of the last `seconds` were added to the totals. Raises DeviceError."""
        answers, codes = self._answers(), self._library.codes
        lacking = codes.unsupported | {codes.invalid_argument}
        values: dict[str, FieldValue | Reason] = {}
        for name, metrics in _QUANTITIES.items():
            means = [answers[metric] for metric in metrics if metric in answers and answers[metric][0] not in lacking]
            largest, unit = (MAX_MIB_PER_SECOND, _MIB_PER_SECOND) if name in _RATES else (MAX_PERCENT, _PERCENT)
            failed = [code for code, mean in means if code or not 0.0 <= mean <= largest]
            if failed:
                values[name] = codes.reason(failed[0]) if failed[0] else "driver"
            elif means:
                mean = sum(mean for _, mean in means) / len(means) * unit
                self._totals[name] = self._totals.get(name, 0.0) + mean * seconds
                values[name] = FieldValue(self._totals[name], None)
        totals = {name: value.value for name, value in values.items() if isinstance(value, FieldValue)}
        return _activity(totals, absent_fields(values))

    def _answers(self) -> dict[int, tuple[int, float]]:
        """Return code and mean of each requested metric. Raises DeviceError."""
        function, codes = self._library.function("nvmlGpmMetricsGet"), self._library.codes
        older, newer = (address(sample) for sample in self._samples)
        for metrics in (self._metrics, _METRICS_BEFORE_R575):
            _HEAD.pack_into(self._request, 0, _VERSION, len(metrics), older, newer)
            for at, metric in enumerate(metrics):
                _METRIC.pack_into(self._request, _HEAD.size + at * _METRIC.size, metric, 0, 0.0)
            code = function(self._request)
            if code != codes.invalid_argument:
                break
        if code != codes.success:
            raise self._library.failure(code)
        self._metrics = metrics
        entries = memoryview(self._request)[_HEAD.size : _HEAD.size + len(metrics) * _METRIC.size]
        return {metric: (code, mean) for metric, code, mean in _METRIC.iter_unpack(entries)}


class _EngineMeter:
    """Video engines of a GPU without GPM: their last utilization, integrated over the time since the call before."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._read_at: float | None = None
        self._totals: dict[str, float] = {}

    def read(self, query: DeviceQuery) -> Activity | None:
        """Busy seconds of the engines since the first call; None at the first. Raises DeviceError "not_supported".

        A value counts for `MAX_UTILIZATION_SECONDS` at most: of the rest of a pause nothing is known.
        """
        now, before = self._library.timer(), self._read_at
        self._read_at = now
        if before is None:
            return None
        seconds = min(now - before, MAX_UTILIZATION_SECONDS)
        totals: dict[str, float] = {}
        for engine, call in _ENGINE_CALLS.items():
            utilization = query.optional(call, fields=("engine_seconds",))
            if utilization is not None and 0 <= utilization[0] <= MAX_PERCENT:
                name = f"engine_seconds/{engine}"
                totals[name] = self._totals.get(name, 0.0) + utilization[0] * _PERCENT * seconds
        self._totals |= totals
        if not totals and not query.absent:
            raise DeviceError("not_supported", "NVML: this GPU has neither GPM nor the utilization of video engines")
        return _activity(totals, {} if totals else query.absent)


def _has_gpm(query: DeviceQuery) -> bool:
    """Whether the GPU and its driver have GPM. Raises DeviceError if that is unknown."""
    try:
        return bool(query.required("nvmlGpmQueryDeviceSupport").isSupportedDevice)
    except DeviceError as error:
        if error.reason != "not_supported":
            raise
        return False


def _activity(totals: Mapping[str, float], absent: Mapping[str, Reason]) -> Activity:
    """Activity of totals by quantity; those of pipes and engines are named "field/key"."""
    return Activity(
        sm_seconds=totals.get("sm_seconds"),
        occupancy_seconds=totals.get("occupancy_seconds"),
        tensor_seconds=totals.get("tensor_seconds"),
        dram_seconds=totals.get("dram_seconds"),
        context_switch_seconds=totals.get("context_switch_seconds"),
        pipe_seconds={pipe: totals[name] for pipe in _PIPES if (name := f"pipe_seconds/{pipe}") in totals},
        engine_seconds={engine: totals[name] for engine in _ENGINES if (name := f"engine_seconds/{engine}") in totals},
        pcie_transmit_bytes=totals.get("pcie_transmit_bytes"),
        pcie_receive_bytes=totals.get("pcie_receive_bytes"),
        c2c_transmit_bytes=totals.get("c2c_transmit_bytes"),
        c2c_receive_bytes=totals.get("c2c_receive_bytes"),
        absent=absent,
    )
