"""Activity of GPUs and GPU instances: means between two GPM samples (Hopper and newer), integrated over time.

Sums of share times seconds are counters: their rate is the mean over the interval of each reader, and a late pass
loses nothing, because the next sample covers it. Ids and units: nvml.h, nvmlGpmMetricId_t. Ids are numbers, because
older releases of nvidia-ml-py lack some names.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from foreshock_exporter.model.device import Activity, DeviceError, Engine, Pipe, Reason
from foreshock_exporter.nvml.counters import absent_fields
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.field_values import FieldValue
from foreshock_exporter.nvml.library import Device, Library, address
from foreshock_exporter.nvml.mig import mig_devices

MIN_INTERVAL_SECONDS = 0.1
"""Shortest time between two samples; NVML refreshes its counters that often (nvml.h, nvmlGpmSampleGet)."""
MAX_PERCENT = 101.0
"""Largest percentage believed; rounding in the driver may exceed 100 slightly."""

_PIPES: Mapping[Pipe, int] = {
    "tensor": 5,
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
_RATES: Mapping[str, int] = {"pcie_transmit_bytes": 20, "pcie_receive_bytes": 21}
_QUANTITIES: Mapping[str, tuple[int, ...]] = {
    "sm_seconds": (2,),
    "occupancy_seconds": (3,),
    "dram_seconds": (10,),
    "context_switch_seconds": (174,),
    **{f"pipe_seconds/{pipe}": (metric,) for pipe, metric in _PIPES.items()},
    **{f"engine_seconds/{engine}": tuple(metrics) for engine, metrics in _ENGINES.items()},
    **{name: (metric,) for name, metric in _RATES.items()},
}
"""GPM metrics of each quantity, of which the mean counts. Context switches are those of the first graphics engine, the
only one of a GPU without MIG.
"""
_MAX_METRICS_BEFORE_R575 = 98
"""NVML_GPM_METRIC_MAX of those drivers (nvidia-ml-py 12.570.172)."""

_FIELDS = tuple(field.name for field in fields(Activity) if field.name not in ("instances", "absent"))

_HEAD = struct.Struct("=IIQQ")
_METRIC = struct.Struct("=IId24x")
"""nvmlGpmMetricsGet_t and nvmlGpmMetric_t: version, count, two samples; id, return code, value, and three texts."""
_VERSION = 1
_REQUEST_BYTES = _HEAD.size + 512 * _METRIC.size
"""At least as large as the structure of any driver, which has NVML_GPM_METRIC_MAX entries (477 in R590)."""


class ActivityReader:
    """Reads the activity of each GPU, and keeps two samples per GPU and GPU instance while the GPU's handle is valid.

    Calls for different GPUs may run in parallel.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._gpus: dict[int, _Gpu] = {}
        library.before_shutdown(self._free)

    def read(self, query: DeviceQuery) -> Activity | None:
        """Activity since the first call for this handle; None at the first call.

        Raises:
            DeviceError: the GPU reports no activity.
        """
        device = self._library.device(query.gpu)
        gpu = self._gpus.get(query.gpu)
        if gpu is None or gpu.device is not device:
            if gpu is not None:
                gpu.free()
            gpu = self._gpus[query.gpu] = _Gpu(self._library, device)
        return gpu.read(query)

    def _free(self) -> None:
        for gpu in self._gpus.values():
            gpu.free()
        self._gpus.clear()


class _Gpu:
    """Meters of one GPU handle: the whole GPU (None), its GPU instances by ID, or the engines of a GPU without GPM."""

    def __init__(self, library: Library, device: Device) -> None:
        self.device = device
        self._library = library
        self._has_gpm: bool | None = None
        self._engines = _EngineMeter(library)
        self._meters: dict[int | None, _Meter] = {}

    def read(self, query: DeviceQuery) -> Activity | None:
        if self._has_gpm is None:
            self._has_gpm = _has_gpm(query)
        if not self._has_gpm:
            return self._engines.read(query)
        instances = _gpu_instances(query)
        for gone in self._meters.keys() - instances - {None}:
            self._meters.pop(gone).free()
        parts: dict[int, Activity] = {}
        for instance in sorted(instances):
            part = self._attempt(query, instance)
            if isinstance(part, Activity):
                parts[instance] = part
        whole = self._attempt(query, None)
        if isinstance(whole, DeviceError):
            if not parts:
                raise whole
            reasons = {} if whole.reason == "not_supported" else dict.fromkeys(_FIELDS, whole.reason)
            return Activity(instances=parts, absent=reasons)
        return whole and replace(whole, instances=parts)

    def free(self) -> None:
        """Free all samples."""
        for meter in self._meters.values():
            meter.free()
        self._meters.clear()

    def _attempt(self, query: DeviceQuery, instance: int | None) -> Activity | DeviceError | None:
        meter = self._meters.get(instance)
        if meter is None:
            meter = self._meters[instance] = _Meter(self._library)
        try:
            return meter.read(query, instance)
        except DeviceError as error:
            if is_fatal(error):
                raise
            return error


class _Meter:
    """Two samples of a GPU or GPU instance, and its activity integrated since the first."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._samples: list[Any] = []
        self._sampled_at: float | None = None
        self._totals: dict[str, float] = {}
        self._reasons: dict[str, Reason] = {}
        self._is_integrated = False
        self._request = ctypes.create_string_buffer(_REQUEST_BYTES)
        self._metrics: tuple[int, ...] = ()
        self._request_metrics(metric for metrics in _QUANTITIES.values() for metric in metrics)

    def read(self, query: DeviceQuery, instance: int | None) -> Activity | None:
        """Activity of the GPU instance, or the whole GPU, since the first call; None before the second sample."""
        now, before = self._library.timer(), self._sampled_at
        if before is None or now - before >= MIN_INTERVAL_SECONDS:
            while len(self._samples) < 2:
                self._samples.append(self._library.call("nvmlGpmSampleAlloc"))
            if instance is None:
                query.required("nvmlGpmSampleGet", self._samples[1])
            else:
                query.required("nvmlGpmMigSampleGet", instance, self._samples[1])
            self._samples.reverse()
            self._sampled_at = now
            if before is not None:
                self._integrate(now - before)
        return self._activity() if self._is_integrated else None

    def free(self) -> None:
        """Free the samples."""
        for sample in self._samples:
            with suppress(self._library.nvml.NVMLError):
                self._library.nvml.nvmlGpmSampleFree(sample)
        self._samples.clear()

    def _integrate(self, seconds: float) -> None:
        """Add the means of the last `seconds` to the totals."""
        answers = self._answers() if self._metrics else {}
        codes = self._library.codes
        lacking = codes.unsupported | {codes.invalid_argument}
        present = {metric for metric, (code, _) in answers.items() if code not in lacking}
        if present != answers.keys():
            self._request_metrics(metric for metric in self._metrics if metric in present)
        self._reasons, self._is_integrated = {}, True
        for name, metrics in _QUANTITIES.items():
            means = [answers[metric] for metric in metrics if metric in present]
            largest, unit = (float("inf"), _MIB_PER_SECOND) if name in _RATES else (MAX_PERCENT, _PERCENT)
            failed = [code for code, mean in means if code or not 0.0 <= mean <= largest]
            if failed:
                self._reasons[name] = codes.reason(failed[0]) if failed[0] else "driver"
            elif means:
                mean = sum(mean for _, mean in means) / len(means) * unit
                self._totals[name] = self._totals.get(name, 0.0) + mean * seconds

    def _answers(self) -> dict[int, tuple[int, float]]:
        """Return code and mean of each requested metric. Raises DeviceError."""
        function = self._library.function("nvmlGpmMetricsGet")
        newer, older = (address(sample) for sample in self._samples)
        _HEAD.pack_into(self._request, 0, _VERSION, len(self._metrics), older, newer)
        code = function(self._request)
        if code == self._library.codes.invalid_argument and max(self._metrics) >= _MAX_METRICS_BEFORE_R575:
            self._request_metrics(metric for metric in self._metrics if metric < _MAX_METRICS_BEFORE_R575)
            return self._answers()
        if code != self._library.codes.success:
            raise self._library.failure(code)
        entries = memoryview(self._request)[_HEAD.size : _HEAD.size + len(self._metrics) * _METRIC.size]
        return {metric: (code, mean) for metric, code, mean in _METRIC.iter_unpack(entries)}

    def _request_metrics(self, metrics: Iterable[int]) -> None:
        self._metrics = tuple(metrics)
        for at, metric in enumerate(self._metrics):
            _METRIC.pack_into(self._request, _HEAD.size + at * _METRIC.size, metric, 0, 0.0)

    def _activity(self) -> Activity:
        totals = {name: total for name, total in self._totals.items() if name not in self._reasons}
        values = {name: FieldValue(total, None) for name, total in totals.items()}
        return _activity(totals, absent_fields({**values, **self._reasons}))


class _EngineMeter:
    """Video engines of a GPU without GPM: their last utilization, integrated over the time since the call before."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._read_at: float | None = None
        self._totals: dict[str, float] = {}

    def read(self, query: DeviceQuery) -> Activity | None:
        """Busy seconds of the engines since the first call; None at the first. Raises DeviceError "not_supported"."""
        now, before = self._library.timer(), self._read_at
        self._read_at = now
        if before is None:
            return None
        totals: dict[str, float] = {}
        for engine, call in _ENGINE_CALLS.items():
            utilization = query.optional(call, fields=("engine_seconds",))
            if utilization is not None and 0 <= utilization[0] <= MAX_PERCENT:
                name = f"engine_seconds/{engine}"
                totals[name] = self._totals.get(name, 0.0) + utilization[0] * _PERCENT * (now - before)
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


def _gpu_instances(query: DeviceQuery) -> set[int]:
    """IDs of the GPU instances. Raises as `DeviceQuery.optional`."""
    ids = (device.optional("nvmlDeviceGetGpuInstanceId") for device in mig_devices(query))
    return {int(instance) for instance in ids if instance is not None}


def _activity(totals: Mapping[str, float], absent: Mapping[str, Reason]) -> Activity:
    """Activity of totals by quantity; those of pipes and engines are named "field/key"."""
    return Activity(
        sm_seconds=totals.get("sm_seconds"),
        occupancy_seconds=totals.get("occupancy_seconds"),
        dram_seconds=totals.get("dram_seconds"),
        context_switch_seconds=totals.get("context_switch_seconds"),
        pipe_seconds={pipe: totals[name] for pipe in _PIPES if (name := f"pipe_seconds/{pipe}") in totals},
        engine_seconds={engine: totals[name] for engine in _ENGINES if (name := f"engine_seconds/{engine}") in totals},
        pcie_transmit_bytes=totals.get("pcie_transmit_bytes"),
        pcie_receive_bytes=totals.get("pcie_receive_bytes"),
        absent=absent,
    )
