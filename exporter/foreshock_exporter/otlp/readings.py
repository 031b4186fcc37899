"""Conversion of scraped families to OpenTelemetry metrics, with equal values. Pure.

Names, units, and attributes follow the semantic conventions for hardware (v1.44, hw.gpu.* and hw.*). Metrics without a
convention are under `foreshock.gpu.*`. `hw.gpu.io` has the additional attribute `foreshock.gpu.link`, which separates
PCIe and NVLink; the convention is the sum over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from foreshock_exporter.model import metrics
from foreshock_exporter.model.family import Families, Family, Sample
from foreshock_exporter.model.xid_catalog import xids_of

State = Literal["ok", "degraded", "failed", "predicted_failure"]
STATES: tuple[State, ...] = ("ok", "degraded", "failed", "predicted_failure")

XID_ACTIVE_SECONDS = 600.0
"""Time for which an XID error affects the state."""
MIN_THROTTLED_RATIO = 0.1
"""Share of time at which a throttled GPU is degraded."""
_FATAL_XIDS, _APPLICATION_XIDS = xids_of("fatal"), xids_of("application")
_FAULT_REASONS = frozenset({"thermal", "hw_thermal", "power_brake", "reliability", "board_limit"})
"""Throttle reasons of a GPU with insufficient cooling or power; the power limit and idling are normal."""
THROTTLE_WINDOW_SECONDS = 5.0
"""Shortest window over which throttled time is measured."""


class Instrument(NamedTuple):
    """OpenTelemetry instrument."""

    name: str
    kind: Literal["counter", "updown", "gauge"]
    unit: str
    help: str


class Point(NamedTuple):
    """Value with attributes."""

    value: float
    attributes: Mapping[str, str]


Points = Mapping[str, list[Point]]
"""Points by instrument name."""

UTILIZATION = Instrument("hw.gpu.utilization", "gauge", "1", "Share of the last fast sample in which a kernel ran.")
MEMORY_LIMIT = Instrument("hw.gpu.memory.limit", "updown", "By", "Size of the GPU memory.")
MEMORY_USAGE = Instrument("hw.gpu.memory.usage", "updown", "By", "GPU memory used.")
MEMORY_UTILIZATION = Instrument("hw.gpu.memory.utilization", "gauge", "1", "Fraction of GPU memory used.")
IO = Instrument("hw.gpu.io", "counter", "By", "Bytes received and sent by the GPU.")
ERRORS = Instrument("hw.errors", "counter", "{error}", "Memory errors detected by ECC.")
ENERGY = Instrument("hw.energy", "counter", "J", "Energy used.")
POWER = Instrument("hw.power", "gauge", "W", "Power drawn.")
TEMPERATURE = Instrument("hw.temperature", "gauge", "Cel", "Temperature by sensor.")
MOCK = Instrument("foreshock.exporter.mock", "gauge", "1", metrics.MOCK.help)
STATUS = Instrument("hw.status", "updown", "1", "1 for the state that the GPU is in, 0 for each other one.")

_SERVICE = {
    "service_name": "foreshock.occupant.name",
    "service_namespace": "foreshock.occupant.namespace",
    "source": "foreshock.occupant.source",
}
_BY = {**_SERVICE, "aggressor_name": "foreshock.aggressor.name", "aggressor_namespace": "foreshock.aggressor.namespace"}


class InstrumentRow(NamedTuple):
    """Family, its instrument, and attribute names by label; `attributes` are constant attributes."""

    family: Family
    instrument: Instrument
    labels: Mapping[str, str] = {}
    attributes: Mapping[str, str] = {}


def _foreshock_row(
    family: Family, name: str, unit: str, labels: Mapping[str, str] | None = None, *, additive: bool = False
) -> InstrumentRow:
    """Row under a `foreshock.gpu` name with the family's help. `additive`: values of a gauge may be summed."""
    kind: Literal["counter", "updown", "gauge"] = (
        "counter" if family.kind == "counter" else "updown" if additive else "gauge"
    )
    return InstrumentRow(family, Instrument(f"foreshock.gpu.{name}", kind, unit, family.help), labels or {})


def _io(family: Family, direction: str, link: str) -> InstrumentRow:
    return InstrumentRow(family, IO, attributes={"network.io.direction": direction, "foreshock.gpu.link": link})


INSTRUMENT_ROWS: tuple[InstrumentRow, ...] = (
    InstrumentRow(metrics.GPU_UTILIZATION, UTILIZATION, attributes={"hw.gpu.task": "general"}),
    InstrumentRow(metrics.GPU_MEMORY_TOTAL, MEMORY_LIMIT),
    InstrumentRow(metrics.GPU_MEMORY_USED, MEMORY_USAGE),
    _io(metrics.PCIE_TRANSMIT, "transmit", "pcie"),
    _io(metrics.PCIE_RECEIVE, "receive", "pcie"),
    _io(metrics.NVLINK_TRANSMIT, "transmit", "nvlink"),
    _io(metrics.NVLINK_RECEIVE, "receive", "nvlink"),
    InstrumentRow(metrics.ECC_ERRORS, ERRORS, {"error_type": "error.type"}),
    InstrumentRow(metrics.GPU_ENERGY, ENERGY),
    InstrumentRow(metrics.GPU_POWER, POWER),
    InstrumentRow(metrics.GPU_TEMPERATURE, TEMPERATURE, {"sensor": "hw.sensor_location"}),
    _foreshock_row(metrics.GPU_BUSY, "busy_time", "s"),
    _foreshock_row(metrics.UNATTRIBUTED, "unattributed.busy_time", "s"),
    _foreshock_row(metrics.CONTENDED, "contended_time", "s"),
    _foreshock_row(metrics.SERVICE_BUSY, "service.busy_time", "s", _SERVICE),
    _foreshock_row(metrics.SERVICE_WAIT, "service.wait_time", "s", _SERVICE),
    _foreshock_row(metrics.SERVICE_WAIT_BY_AGGRESSOR, "service.wait_by_aggressor_time", "s", _BY),
    _foreshock_row(metrics.SERVICE_MEMORY, "service.memory.usage", "By", _SERVICE, additive=True),
    _foreshock_row(metrics.SERVICE_PROCESSES, "service.processes", "{process}", _SERVICE, additive=True),
    _foreshock_row(metrics.GPU_MEMORY_ACTIVE, "memory.active", "1"),
    _foreshock_row(metrics.GPU_POWER_LIMIT, "power.limit", "W"),
    _foreshock_row(metrics.GPU_CLOCK, "speed", "Hz", {"clock": "foreshock.gpu.clock"}),
    _foreshock_row(metrics.GPU_CLOCK_MAX, "speed.limit", "Hz", {"clock": "foreshock.gpu.clock"}),
    _foreshock_row(metrics.GPU_CLOCK_APPLICATION, "speed.application", "Hz", {"clock": "foreshock.gpu.clock"}),
    _foreshock_row(metrics.GPU_THROTTLED, "throttled_time", "s", {"reason": "foreshock.gpu.throttle.reason"}),
    _foreshock_row(metrics.PCIE_REPLAYS, "pcie.replays", "{packet}"),
    _foreshock_row(metrics.NVLINK_ERRORS, "nvlink.errors", "{error}", {"kind": "error.type"}),
    _foreshock_row(metrics.NVLINK_LINKS, "nvlink.links", "{link}", additive=True),
    _foreshock_row(metrics.NVLINK_LINKS_UP, "nvlink.links.up", "{link}", additive=True),
    _foreshock_row(metrics.REMAPPED_ROWS, "remapped_rows", "{row}", {"error_type": "error.type"}, additive=True),
    _foreshock_row(metrics.XID_ERRORS, "xid.errors", "{error}", {"xid": "foreshock.gpu.xid"}),
    _foreshock_row(metrics.GPUS_EXPECTED, "expected", "{gpu}", additive=True),
    _foreshock_row(metrics.GPUS_PRESENT, "present", "{gpu}", additive=True),
    InstrumentRow(metrics.MOCK, MOCK),
)
INSTRUMENTS: tuple[Instrument, ...] = tuple(
    dict.fromkeys((*(row.instrument for row in INSTRUMENT_ROWS), MEMORY_UTILIZATION, STATUS))
)
"""All instruments."""


@dataclass(slots=True)
class ReadingConverter:
    """Converts scrapes to points. Keeps GPU identities and throttled time between scrapes.

    `now`: Unix seconds, the clock of the timestamps in the scrape.
    """

    now: Callable[[], float]
    _identities: dict[str, dict[str, str]] = field(default_factory=dict)
    _throttled: dict[str, tuple[float, dict[str, float]]] = field(default_factory=dict)

    def convert(self, families: Families) -> Points:
        """Points of one scrape by instrument; missing samples have no point."""
        samples = {
            family.name: cast("list[Sample]", values) for family, values in families if family.kind != "histogram"
        }
        for sample in samples.get(metrics.GPU_INFO.name, ()):
            labels = dict(zip(metrics.GPU_INFO.labels, sample.labels, strict=True))
            self._identities[labels["uuid"]] = _identity(labels)
        points: dict[str, list[Point]] = {instrument.name: [] for instrument in INSTRUMENTS}
        for row in INSTRUMENT_ROWS:
            points[row.instrument.name] += (self._point(row, sample) for sample in samples.get(row.family.name, ()))
        points[MEMORY_UTILIZATION.name] += _memory_ratios(points[MEMORY_USAGE.name], points[MEMORY_LIMIT.name])
        points[STATUS.name] += self._status_points(samples)
        return points

    def _point(self, row: InstrumentRow, sample: Sample) -> Point:
        labels = dict(zip(row.family.labels, sample.labels, strict=True))
        attributes = dict(self._gpu(labels["uuid"])) if "uuid" in labels else {}
        attributes.update((name, labels[label]) for label, name in row.labels.items())
        return Point(float(sample.value), {**attributes, **row.attributes})

    def _gpu(self, uuid: str) -> Mapping[str, str]:
        return self._identities.get(uuid) or {"hw.id": uuid, "hw.type": "gpu"}

    def _status_points(self, samples: Mapping[str, list[Sample]]) -> Iterator[Point]:
        """One point per state for each GPU ever seen."""
        for sample in samples.get(metrics.GPU_LOST.name, ()):
            uuid = sample.labels[metrics.GPU_LOST.labels.index("uuid")]
            current = self._state(samples, uuid, lost=bool(sample.value))
            for name in STATES:
                yield Point(float(name == current), {**self._gpu(uuid), "hw.state": name})

    def _state(self, samples: Mapping[str, list[Sample]], uuid: str, *, lost: bool) -> State:
        now = self.now()
        throttled_now = dict(_gpu_values(samples, metrics.GPU_THROTTLED, uuid))
        window_start, throttled_before = self._throttled.setdefault(uuid, (now, throttled_now))
        if now - window_start >= THROTTLE_WINDOW_SECONDS:
            self._throttled[uuid] = (now, throttled_now)
        return hardware_state(
            {int(xid): now - last for xid, last in _gpu_values(samples, metrics.XID_LAST, uuid)},
            growth_ratios(throttled_before, throttled_now, now - window_start),
            lost=lost,
            row_remap_pending=any(value for _, value in _gpu_values(samples, metrics.ROW_REMAP_PENDING, uuid)),
            row_remap_failed=any(value for _, value in _gpu_values(samples, metrics.ROW_REMAP_FAILED, uuid)),
        )


def _identity(labels: Mapping[str, str]) -> dict[str, str]:
    return {
        "hw.id": labels["uuid"],
        "hw.name": f"GPU {labels['gpu']}",
        "hw.type": "gpu",
        "hw.vendor": labels["vendor"],
        "hw.model": labels["model"],
        "hw.driver_version": labels["driver_version"],
    }


def _gpu_values(samples: Mapping[str, list[Sample]], family: Family, uuid: str) -> Iterator[tuple[str, float]]:
    """Values of one GPU, each with its last label value."""
    return ((sample.labels[-1], sample.value) for sample in samples.get(family.name, ()) if sample.labels[1] == uuid)


def _memory_ratios(parts: list[Point], wholes: list[Point]) -> Iterator[Point]:
    whole = {point.attributes["hw.id"]: point.value for point in wholes}
    for part in parts:
        if total := whole.get(part.attributes["hw.id"]):
            yield Point(part.value / total, part.attributes)


def hardware_state(
    xids: Mapping[int, float],
    throttled: Mapping[str, float],
    *,
    lost: bool = False,
    row_remap_pending: bool = False,
    row_remap_failed: bool = False,
) -> State:
    """Worst applicable `hw.status` of a GPU.

    *failed*: lost, or an XID that requires a reset. *predicted_failure*: no spare rows left, for which NVIDIA replaces
    the GPU. *degraded*: a row waits for a reset, another XID of the device, or throttled by heat or power supply.

    Args:
        xids: seconds since the last report of each XID.
        throttled: share 0 to 1 of recent time, by reason.
    """
    recent = {xid for xid, age in xids.items() if age <= XID_ACTIVE_SECONDS}
    if lost or recent & _FATAL_XIDS:
        return "failed"
    if row_remap_failed:
        return "predicted_failure"
    throttled_by_fault = any(
        share >= MIN_THROTTLED_RATIO for reason, share in throttled.items() if reason in _FAULT_REASONS
    )
    if row_remap_pending or recent - _APPLICATION_XIDS or throttled_by_fault:
        return "degraded"
    return "ok"


def growth_ratios(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Growth per second of each counter of seconds; empty for a zero duration."""
    if seconds <= 0.0:
        return {}
    return {name: max(0.0, after[name] - before[name]) / seconds for name in after if name in before}
