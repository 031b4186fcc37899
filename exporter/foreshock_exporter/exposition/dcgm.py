"""The default counters of dcgm-exporter, with its names, labels, and units, for dashboards and alerts written for it.

Source: etc/default-counters.csv and internal/pkg/rendermetrics of NVIDIA/dcgm-exporter 4.8. Gauges of activity are
means over the last `WINDOW_SECONDS`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState, Snapshot
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import Activity, Clock, Engine, ErrorType, Instance, Sensor
from foreshock_exporter.model.family import Families, Family, Kind, Sample
from foreshock_exporter.model.xid_catalog import CATALOG, UNLISTED

WINDOW_SECONDS = 10.0
"""Time over which gauges of activity are means."""
MIN_WINDOW_SECONDS = 0.9
"""Shortest such time, after the start."""
_LABELS = (
    *("gpu", "UUID", "pci_bus_id", "device", "modelName", "GPU_I_PROFILE", "GPU_I_ID", "Hostname", "hostname"),
    *("DCGM_FI_DRIVER_VERSION", "container", "namespace", "pod", "vgpu"),
)
"""`hostname` is `Hostname` since May 2026. An empty label is none to Prometheus."""
_COMPUTE_INSTANCE = re.compile(r"^\d+c\.")
"""Prefix of the profile of a compute instance that is a part of its GPU instance."""

Holder = tuple[str, str, str, str]
"""Container, namespace, pod, and replica, as the last labels."""


class _View:
    """A GPU, or a GPU instance of it, now and at the begin of the window."""

    def __init__(self, state: GpuState, before: GpuState | None, instance: Instance | None = None) -> None:
        self.state, self.instance = state, instance
        self._before = before

    def whole(self, part: str, field: str, scale: float = 1.0) -> float | None:
        """Value of the GPU, also for its instances, as dcgm-exporter has it."""
        value = getattr(getattr(self.state, part), field, None)
        return None if value is None else value * scale

    def item(self, part: str, field: str, key: Clock | Sensor | ErrorType, scale: float = 1.0) -> float | None:
        """Value of a key of a field of the GPU."""
        values: Mapping[Any, float] = getattr(getattr(self.state, part), field, {})
        return values[key] * scale if key in values else None

    def memory(self, kind: str) -> float | None:
        """MiB of the GPU or instance."""
        if self.instance is None:
            return self.whole("reading", f"memory_{kind}_bytes", 2.0**-20)
        used, total = self.instance.memory_used_bytes, self.instance.memory_total_bytes
        if used is None or total is None or kind == "reserved":
            return None
        return (used if kind == "used" else total - used) * 2.0**-20

    def busy(self) -> float | None:
        """Percent of time with a kernel; None for an instance."""
        if self.instance is not None or metrics.GPU_BUSY.name in self.state.absent:
            return None
        return _percent(self._mean(lambda state: (state.passed_at, state.totals.busy)))

    def memory_active(self) -> float | None:
        return None if self.instance is not None else self.whole("reading", "memory_busy_ratio", 100.0)

    def active(self, field: str) -> float | None:
        """Mean of an integral of activity of the GPU or instance, 0 to 1."""
        return _clipped(self._mean(lambda state: (state.read_at, getattr(self._activity(state), field, None))))

    def engine(self, engine: Engine) -> float | None:
        """Mean activity of an engine of the GPU or instance, 0 to 1."""

        def integral(state: GpuState) -> tuple[float, float | None]:
            activity = self._activity(state)
            return state.read_at, activity.engine_seconds.get(engine) if activity else None

        return _clipped(self._mean(integral))

    def rate(self, *fields: str) -> float | None:
        """Sum of the rates per second of counters of the GPU."""

        def total(state: GpuState) -> tuple[float, float | None]:
            values = [getattr(state.counters, field, None) for field in fields]
            return state.read_at, None if None in values else sum(value or 0.0 for value in values)

        return self._mean(total)

    def _activity(self, state: GpuState) -> Activity | None:
        if self.instance is None or state.activity is None:
            return state.activity
        return state.activity.instances.get(self.instance.gpu_instance)

    def _mean(self, integral: Callable[[GpuState], tuple[float, float | None]]) -> float | None:
        """Mean growth per second of (time, value) over the window."""
        if self._before is None:
            return None
        (begin, low), (end, high) = integral(self._before), integral(self.state)
        if low is None or high is None or end - begin < MIN_WINDOW_SECONDS:
            return None
        return max(0.0, high - low) / (end - begin)


def _clipped(ratio: float | None) -> float | None:
    return None if ratio is None else min(1.0, ratio)


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else 100.0 * min(1.0, ratio)


class CompatRow(NamedTuple):
    """A metric of dcgm-exporter. `unit` and `ours`, a query for the same quantity, are for the documentation."""

    family: Family
    unit: str
    ours: str
    value: Callable[[_View], float | None]


def _row(
    name: str, unit: str, text: str, ours: str, value: Callable[[_View], float | None], kind: Kind = "gauge"
) -> CompatRow:
    return CompatRow(Family(f"DCGM_FI_{name}", kind, _LABELS, text), unit, ours, value)


def _rate_of(family: Family, **labels: str) -> str:
    matchers = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"rate({family.name}{f'{{{matchers}}}' if matchers else ''}[1m])"


ROWS: tuple[CompatRow, ...] = (
    _row(
        *("DEV_SM_CLOCK", "MHz", "Clock frequency of the SMs in MHz.", 'gpu_clock_hertz{clock="sm"}'),
        lambda gpu: gpu.item("reading", "clock_hertz", "sm", 1e-6),
    ),
    _row(
        *("DEV_MEM_CLOCK", "MHz", "Clock frequency of the memory in MHz.", 'gpu_clock_hertz{clock="memory"}'),
        lambda gpu: gpu.item("reading", "clock_hertz", "memory", 1e-6),
    ),
    _row(
        *("DEV_MEMORY_TEMP", "°C", "Temperature of the memory in °C.", 'gpu_temperature_celsius{sensor="memory"}'),
        lambda gpu: gpu.item("reading", "temperature_celsius", "memory"),
    ),
    _row(
        *("DEV_GPU_TEMP", "°C", "Temperature of the GPU in °C.", 'gpu_temperature_celsius{sensor="gpu"}'),
        lambda gpu: gpu.item("reading", "temperature_celsius", "gpu"),
    ),
    _row(
        *("DEV_POWER_USAGE", "W", "Power draw of the GPU in W.", metrics.GPU_POWER.name),
        lambda gpu: gpu.whole("reading", "power_watts"),
    ),
    _row(
        *("DEV_TOTAL_ENERGY_CONSUMPTION", "mJ", "Energy since the driver was loaded in mJ.", metrics.GPU_ENERGY.name),
        lambda gpu: gpu.whole("counters", "energy_joules", 1e3),
        "counter",
    ),
    _row(
        *("DEV_PCIE_REPLAY_COUNTER", "", "PCIe replays.", metrics.PCIE_REPLAYS.name),
        lambda gpu: gpu.whole("health", "pcie_replays"),
        "counter",
    ),
    _row(
        *("DEV_GPU_UTIL", "%", "Percentage of time during which a kernel was running.", _rate_of(metrics.GPU_BUSY)),
        _View.busy,
    ),
    _row(
        *("DEV_MEM_COPY_UTIL", "%", "Percentage of time with memory accesses.", metrics.GPU_MEMORY_ACTIVE.name),
        _View.memory_active,
    ),
    _row(
        *("DEV_ENC_UTIL", "%", "Utilization of the video encoders in percent."),
        _rate_of(metrics.ENGINE_ACTIVE, engine="nvenc"),
        lambda gpu: _percent(gpu.engine("nvenc")),
    ),
    _row(
        *("DEV_DEC_UTIL", "%", "Utilization of the video decoders in percent."),
        _rate_of(metrics.ENGINE_ACTIVE, engine="nvdec"),
        lambda gpu: _percent(gpu.engine("nvdec")),
    ),
    _row(
        *("DEV_FB_FREE", "MiB", "Free memory in MiB.", metrics.GPU_MEMORY_FREE.name),
        lambda gpu: gpu.memory("free"),
    ),
    _row(
        *("DEV_FB_USED", "MiB", "Used memory in MiB.", metrics.GPU_MEMORY_USED.name),
        lambda gpu: gpu.memory("used"),
    ),
    _row(
        *("DEV_FB_RESERVED", "MiB", "Memory reserved by the driver in MiB.", metrics.GPU_MEMORY_RESERVED.name),
        lambda gpu: gpu.memory("reserved"),
    ),
    _row(
        *("DEV_NVLINK_BANDWIDTH_TOTAL", "1000 KiB/s", "Rate of all NVLinks in both directions in 1000 KiB/s."),
        f"{_rate_of(metrics.NVLINK_TRANSMIT)} + {_rate_of(metrics.NVLINK_RECEIVE)}",
        lambda gpu: (
            None
            if (rate := gpu.rate("nvlink_transmit_bytes", "nvlink_receive_bytes")) is None
            else rate / 1024.0 / 1000.0
        ),
    ),
    _row(
        *("DEV_UNCORRECTABLE_REMAPPED_ROWS", "rows", "Memory rows remapped after uncorrectable errors."),
        'gpu_remapped_rows{error_type="uncorrected"}',
        lambda gpu: gpu.item("health", "remapped_rows", "uncorrected"),
        "counter",
    ),
    _row(
        *("DEV_CORRECTABLE_REMAPPED_ROWS", "rows", "Memory rows remapped after correctable errors."),
        'gpu_remapped_rows{error_type="corrected"}',
        lambda gpu: gpu.item("health", "remapped_rows", "corrected"),
        "counter",
    ),
    _row(
        *("DEV_ROW_REMAP_FAILURE", "0 or 1", "1 if a row remap has failed, else 0.", metrics.ROW_REMAP_FAILED.name),
        lambda gpu: gpu.whole("health", "row_remap_failed"),
    ),
    _row(
        *("PROF_GR_ENGINE_ACTIVE", "0 to 1", "Fraction of time during which graphics or compute work was active."),
        _rate_of(metrics.ENGINE_ACTIVE, engine="graphics"),
        lambda gpu: gpu.engine("graphics"),
    ),
    _row(
        *("PROF_PIPE_TENSOR_ACTIVE", "0 to 1", "Fraction of time during which the tensor pipe was active."),
        _rate_of(metrics.TENSOR_ACTIVE),
        lambda gpu: gpu.active("tensor_seconds"),
    ),
    _row(
        *("PROF_DRAM_ACTIVE", "0 to 1", "Fraction of the memory bandwidth in use.", _rate_of(metrics.DRAM_ACTIVE)),
        lambda gpu: gpu.active("dram_seconds"),
    ),
    _row(
        *("PROF_PCIE_TX_BYTES", "B/s", "Bytes per second sent over PCIe.", _rate_of(metrics.PCIE_TRANSMIT)),
        lambda gpu: gpu.rate("pcie_transmit_bytes"),
    ),
    _row(
        *("PROF_PCIE_RX_BYTES", "B/s", "Bytes per second received over PCIe.", _rate_of(metrics.PCIE_RECEIVE)),
        lambda gpu: gpu.rate("pcie_receive_bytes"),
    ),
)
"""All but the XID errors, which have labels of their own."""
XID_ERRORS = Family(
    "DCGM_FI_DEV_XID_ERRORS",
    "gauge",
    (*_LABELS, "err_code", "err_msg"),
    "Number of the last XID error since the exporter started, 0 before the first.",
)


class DcgmCounters:
    """Collector of the families. Not thread-safe.

    snapshot: the latest values of the host.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._history: dict[str, deque[GpuState]] = {}  # by UUID, oldest first

    def __call__(self) -> Families:
        snapshot = self._snapshot()
        gpus = snapshot.gpus
        if gpus is None:
            return []
        views = [
            ((*_identity(view, snapshot.host_name), *holder), view)
            for state in gpus.gpus
            if state.identity.vendor == "NVIDIA"
            for view in _views(state, self._before(state))
            for holder in _holders(snapshot).get(_key(view), [("", "", "", "")])
        ]
        self._history = {uuid: states for uuid, states in self._history.items() if uuid in gpus.lost}
        counts_xids = any(run.collector == "xid" and run.success for run in snapshot.runs)
        xids = _last_xids(gpus)
        return [
            *(
                (
                    row.family,
                    [Sample(labels, value) for labels, view in views if (value := row.value(view)) is not None],
                )
                for row in ROWS
            ),
            (
                XID_ERRORS,
                [
                    Sample((*labels, str(xid), _xid_name(xid)), xid)
                    for labels, view in views
                    if (xid := xids.get(view.state.identity.uuid, 0)) or counts_xids
                ],
            ),
        ]

    def _before(self, state: GpuState) -> GpuState | None:
        """State at the begin of the window; None if the GPU has just appeared."""
        states = self._history.setdefault(state.identity.uuid, deque())
        while states and state.read_at - states[0].read_at > 2 * WINDOW_SECONDS:
            states.popleft()  # before a time without response
        while len(states) > 1 and state.read_at - states[1].read_at >= WINDOW_SECONDS:
            states.popleft()
        before = states[0] if states else None
        if not states or state.read_at > states[-1].read_at:
            states.append(state)
        return before


def _views(state: GpuState, before: GpuState | None) -> Iterator[_View]:
    """The GPU, or instead its GPU instances."""
    instances = {part.gpu_instance: part for part in reversed(state.reading.instances)}
    for number in sorted(instances):
        yield _View(state, before, instances[number])
    if not instances:
        yield _View(state, before)


def _identity(view: _View, host_name: str) -> tuple[str, ...]:
    """Labels of the GPU or instance."""
    own, part = view.state.identity, view.instance
    instance = ("", "") if part is None else (_COMPUTE_INSTANCE.sub("", part.profile), str(part.gpu_instance))
    device = f"nvidia{own.gpu}"
    return own.gpu, own.uuid, own.pci_bus_id, device, own.model, *instance, host_name, host_name, own.driver_version


def _key(view: _View) -> tuple[str, int | None]:
    return view.state.identity.uuid, view.instance.gpu_instance if view.instance else None


def _holders(snapshot: Snapshot) -> Mapping[tuple[str, int | None], list[Holder]]:
    """Containers to which the kubelet allocated each GPU or GPU instance."""
    instances = {
        part.uuid: part.gpu_instance
        for gpu in (snapshot.gpus.gpus if snapshot.gpus else ())
        for part in gpu.reading.instances
    }
    holders: dict[tuple[str, int | None], dict[Holder, None]] = {}
    for family, samples in snapshot.host.get("pod_resources", ()):
        if family is metrics.ALLOCATION_INFO:
            for sample in samples:
                labels = dict(zip(family.labels, sample.labels, strict=True))
                names = ("k8s_container_name", "k8s_namespace_name", "k8s_pod_name", "replica")
                container, namespace, pod, replica = (labels[name] for name in names)
                key = labels["uuid"], instances.get(labels["mig_uuid"])
                holders.setdefault(key, {})[container, namespace, pod, replica] = None
    return {key: list(found) for key, found in holders.items()}


def _last_xids(gpus: GpuSnapshot) -> Mapping[str, int]:
    """Number of the last XID error by UUID."""
    return {count.uuid: int(count.xid) for count in sorted(gpus.xids, key=lambda count: count.last)}


def _xid_name(xid: int) -> str:
    return CATALOG.get(xid, UNLISTED).name if xid else "No Error"
