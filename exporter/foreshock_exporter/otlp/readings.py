"""The readings of a scrape under OpenTelemetry's names: the same values, so that both ways tell the same. Pure.

Names, units and attributes are those of the semantic conventions for hardware (v1.44, hw.gpu.* and hw.*). What these
lack is under `foreshock.gpu.*`. `hw.gpu.io` has one more attribute, `foreshock.gpu.link`: the convention knows only the
bytes that a GPU sends and receives, which is the sum over it; PCIe and NVLink apart are what the scrape has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from foreshock_exporter.model import metrics
from foreshock_exporter.model.family import Families, Family, Sample
from foreshock_exporter.otlp.hardware_state import STATES, Condition, growth_ratios, hardware_state

THROTTLE_WINDOW_SECONDS = 5.0
"""Seconds over which it is looked, at the least, how long a GPU was throttled."""


class Instrument(NamedTuple):
    """A metric of OpenTelemetry."""

    name: str
    kind: Literal["counter", "updown", "gauge"]
    unit: str
    help: str


class Point(NamedTuple):
    """A value and its attributes."""

    value: float
    attributes: Mapping[str, str]


Points = Mapping[str, list[Point]]
"""By the instrument's name."""

UTILIZATION = Instrument("hw.gpu.utilization", "gauge", "1", "Share of the last fast sample in which a kernel ran.")
MEMORY_LIMIT = Instrument("hw.gpu.memory.limit", "updown", "By", "Size of the GPU memory.")
MEMORY_USAGE = Instrument("hw.gpu.memory.usage", "updown", "By", "GPU memory used.")
MEMORY_UTILIZATION = Instrument("hw.gpu.memory.utilization", "gauge", "1", "Fraction of GPU memory used.")
IO = Instrument("hw.gpu.io", "counter", "By", "Bytes received and sent by the GPU.")
ERRORS = Instrument("hw.errors", "counter", "{error}", "Memory errors found by ECC.")
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
_BY = {**_SERVICE, "by_service_name": "foreshock.by.name", "by_service_namespace": "foreshock.by.namespace"}


class InstrumentRow(NamedTuple):
    """A family of the scrape, its instrument, and what its labels are called there; `always` are more attributes."""

    family: Family
    instrument: Instrument
    labels: Mapping[str, str] = {}
    always: Mapping[str, str] = {}


def _own(
    family: Family, name: str, unit: str, labels: Mapping[str, str] | None = None, *, sums: bool = False
) -> InstrumentRow:
    """A row under our own name, with the family's help. `sums`: a gauge whose values may be added up."""
    kind: Literal["counter", "updown", "gauge"] = (
        "counter" if family.kind == "counter" else "updown" if sums else "gauge"
    )
    return InstrumentRow(family, Instrument(f"foreshock.gpu.{name}", kind, unit, family.help), labels or {})


def _io(family: Family, direction: str, link: str) -> InstrumentRow:
    return InstrumentRow(family, IO, always={"network.io.direction": direction, "foreshock.gpu.link": link})


INSTRUMENT_ROWS: tuple[InstrumentRow, ...] = (
    InstrumentRow(metrics.GPU_UTILIZATION, UTILIZATION, always={"hw.gpu.task": "general"}),
    InstrumentRow(metrics.GPU_MEMORY_TOTAL, MEMORY_LIMIT),
    InstrumentRow(metrics.GPU_MEMORY_USED, MEMORY_USAGE),
    _io(metrics.PCIE_TRANSMIT, "transmit", "pcie"),
    _io(metrics.PCIE_RECEIVE, "receive", "pcie"),
    _io(metrics.NVLINK_TRANSMIT, "transmit", "nvlink"),
    _io(metrics.NVLINK_RECEIVE, "receive", "nvlink"),
    InstrumentRow(metrics.ECC_ERRORS, ERRORS, {"severity": "error.type"}),
    InstrumentRow(metrics.GPU_ENERGY, ENERGY),
    InstrumentRow(metrics.GPU_POWER, POWER),
    InstrumentRow(metrics.GPU_TEMPERATURE, TEMPERATURE, {"sensor": "hw.sensor_location"}),
    _own(metrics.GPU_BUSY, "busy_time", "s"),
    _own(metrics.UNATTRIBUTED, "unattributed.busy_time", "s"),
    _own(metrics.CONTENDED, "contended_time", "s"),
    _own(metrics.SERVICE_BUSY, "service.busy_time", "s", _SERVICE),
    _own(metrics.STALLED, "service.stalled_time", "s", _SERVICE),
    _own(metrics.STALLED_BY, "service.stalled_by_time", "s", _BY),
    _own(metrics.SERVICE_MEMORY, "service.memory.usage", "By", _SERVICE, sums=True),
    _own(metrics.SERVICE_PROCESSES, "service.processes", "{process}", _SERVICE, sums=True),
    _own(metrics.GPU_MEMORY_BUSY, "memory.busy", "1"),
    _own(metrics.GPU_POWER_LIMIT, "power.limit", "W"),
    _own(metrics.GPU_CLOCK, "speed", "Hz", {"clock": "foreshock.gpu.clock"}),
    _own(metrics.GPU_CLOCK_MAX, "speed.limit", "Hz", {"clock": "foreshock.gpu.clock"}),
    _own(metrics.GPU_THROTTLED, "throttled_time", "s", {"reason": "foreshock.gpu.throttle.reason"}),
    _own(metrics.PCIE_REPLAYS, "pcie.replays", "{packet}"),
    _own(metrics.NVLINK_ERRORS, "nvlink.errors", "{error}", {"kind": "error.type"}),
    _own(metrics.NVLINK_LINKS, "nvlink.links", "{link}", sums=True),
    _own(metrics.NVLINK_LINKS_UP, "nvlink.links.up", "{link}", sums=True),
    _own(metrics.REMAPPED_ROWS, "remapped_rows", "{row}", {"severity": "error.type"}, sums=True),
    _own(metrics.XID_ERRORS, "xid.errors", "{error}", {"xid": "foreshock.gpu.xid"}),
    _own(metrics.GPU_EXPECTED, "expected", "{gpu}", sums=True),
    _own(metrics.GPU_PRESENT, "present", "{gpu}", sums=True),
    InstrumentRow(metrics.MOCK, MOCK),
)
INSTRUMENTS: tuple[Instrument, ...] = tuple(
    dict.fromkeys((*(row.instrument for row in INSTRUMENT_ROWS), MEMORY_UTILIZATION, STATUS))
)
"""All there are."""


@dataclass(slots=True)
class ReadingConverter:
    """Turns scrapes into points. Remembers what the GPUs are, and how long each was throttled at the last scrape.

    `now`: Unix seconds, of the clock that the scrape's timestamps are from.
    """

    now: Callable[[], float]
    _known: dict[str, dict[str, str]] = field(default_factory=dict)
    _throttled: dict[str, tuple[float, dict[str, float]]] = field(default_factory=dict)

    def take(self, emitted: Families) -> Points:
        """The points of one scrape, by instrument. What the scrape lacks is absent here too."""
        found = {
            family.name: cast("list[Sample]", samples) for family, samples in emitted if family.kind != "histogram"
        }
        for sample in found.get(metrics.GPU_INFO.name, ()):
            labels = dict(zip(metrics.GPU_INFO.labels, sample.labels, strict=True))
            self._known[labels["uuid"]] = _identity(labels)
        points: dict[str, list[Point]] = {instrument.name: [] for instrument in INSTRUMENTS}
        for row in INSTRUMENT_ROWS:
            points[row.instrument.name] += (self._point(row, sample) for sample in found.get(row.family.name, ()))
        points[MEMORY_UTILIZATION.name] += _ratios(points[MEMORY_USAGE.name], points[MEMORY_LIMIT.name])
        points[STATUS.name] += self._states(found)
        return points

    def _point(self, row: InstrumentRow, sample: Sample) -> Point:
        labels = dict(zip(row.family.labels, sample.labels, strict=True))
        attributes = dict(self._gpu(labels["uuid"])) if "uuid" in labels else {}
        attributes.update((name, labels[label]) for label, name in row.labels.items())
        return Point(float(sample.value), {**attributes, **row.always})

    def _gpu(self, uuid: str) -> Mapping[str, str]:
        return self._known.get(uuid) or {"hw.id": uuid, "hw.type": "gpu", "hw.vendor": "NVIDIA"}

    def _states(self, found: Mapping[str, list[Sample]]) -> Iterator[Point]:
        """A point for each GPU ever seen and each state."""
        for sample in found.get(metrics.GPU_LOST.name, ()):
            uuid = sample.labels[metrics.GPU_LOST.labels.index("uuid")]
            current = hardware_state(self._condition(found, uuid, lost=bool(sample.value)))
            for each in STATES:
                yield Point(float(each == current), {**self._gpu(uuid), "hw.state": each})

    def _condition(self, found: Mapping[str, list[Sample]], uuid: str, *, lost: bool) -> Condition:
        now = self.now()
        after = dict(_of(found, metrics.GPU_THROTTLED, uuid))
        then, before = self._throttled.setdefault(uuid, (now, after))
        if now - then >= THROTTLE_WINDOW_SECONDS:
            self._throttled[uuid] = (now, after)
        return Condition(
            lost=lost,
            row_remap_pending=any(value for _, value in _of(found, metrics.ROW_REMAP_PENDING, uuid)),
            row_remap_failed=any(value for _, value in _of(found, metrics.ROW_REMAP_FAILED, uuid)),
            xids={int(xid): now - last for xid, last in _of(found, metrics.XID_LAST, uuid)},
            throttled=growth_ratios(before, after, now - then),
        )


def _identity(labels: Mapping[str, str]) -> dict[str, str]:
    return {
        "hw.id": labels["uuid"],
        "hw.name": f"GPU {labels['gpu']}",
        "hw.type": "gpu",
        "hw.vendor": "NVIDIA",
        "hw.model": labels["model"],
        "hw.driver_version": labels["driver_version"],
    }


def _of(found: Mapping[str, list[Sample]], family: Family, uuid: str) -> Iterator[tuple[str, float]]:
    """The values of one GPU, with the last of their labels."""
    return ((sample.labels[-1], sample.value) for sample in found.get(family.name, ()) if sample.labels[1] == uuid)


def _ratios(parts: list[Point], wholes: list[Point]) -> Iterator[Point]:
    whole = {point.attributes["hw.id"]: point.value for point in wholes}
    for part in parts:
        if of := whole.get(part.attributes["hw.id"]):
            yield Point(part.value / of, part.attributes)
