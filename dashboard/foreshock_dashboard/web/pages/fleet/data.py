"""The payload of the Fleet page: one byte per GPU for the grid, and the rows of the inventory. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.baseline.xids import new_xids
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.state.conditions import IncidentStatus, incident_status, open_incidents
from foreshock_dashboard.web.state.numbers import FULL_SCALE_BYTE, Row, newest, number, packed, whole_percents
from foreshock_dashboard.web.state.placement import (
    MIN_CONTENDED_RATIO,
    allocated,
    contended_time,
    gpus_in_incidents,
    mean_power,
    placement,
)
from foreshock_exporter.model.xid_catalog import xid_info

ERROR_WINDOW_SECONDS = 900.0
MIN_THROTTLED_RATIO = 0.05
"""Share of time from which a GPU counts as throttled."""
MIN_CELSIUS, MAX_CELSIUS = 20.0, 100.0
"""Ends of the temperature scale."""
MAX_ROWS = 100
"""Rows of the inventory on the page; its CSV has all."""
MAX_INCIDENTS = 3


class Metric(NamedTuple):
    """A metric of the grid. `of` returns the newest value of each GPU, NaN for no data.

    low, high: ends of its scale in `unit` ("ratio", "W", "°C", "count", "B/s"); `high` None: by the maximum.
    """

    title: str
    unit: str
    of: Callable[[World], Floats]
    low: float = 0.0
    high: float | None = 1.0


def all_unknown(world: World) -> Floats:
    """NaN for each GPU."""
    return np.full(len(world.gpus), np.nan)


def error_counts(world: World) -> Floats:
    """Hardware XID errors and uncorrected memory errors within `ERROR_WINDOW_SECONDS`; shape (gpus,).

    A counter of XID errors appears with its first error, which its rate lacks: the larger of both counts.
    """
    if world.hardware is None:
        return all_unknown(world)
    columns = slice(-world.points(ERROR_WINDOW_SECONDS), None)
    rate = world.hardware.errors[:, columns]
    known = np.isfinite(rate)
    counted = np.where(known, rate, 0.0).sum(axis=1, dtype=np.float64) * world.step
    xids = dict.fromkeys((gpu.label for gpu in world.gpus), math.nan)
    for counter, increments in new_xids(world, columns).items():
        if counter.gpu in xids and counter.service is None and xid_info(counter.xid).severity != "application":
            xids[counter.gpu] = float(np.nansum([xids[counter.gpu], increments.sum()]))
    return np.fmax(np.where(known.any(axis=1), np.round(counted), np.nan), [xids[gpu.label] for gpu in world.gpus])


def lost_flags(world: World) -> Floats:
    """1 for a GPU that fell off the bus; shape (gpus,)."""
    return newest(world.hardware.lost) if world.hardware else all_unknown(world)


def gpu_faults(world: World) -> list[Fault | None]:
    """The gravest fault of each GPU."""
    if world.hardware is None:
        return [None] * len(world.gpus)
    flags = (
        lost_flags(world) > 0,
        error_counts(world) > 0,
        newest(world.hardware.throttled) >= MIN_THROTTLED_RATIO,
    )
    places = np.select(flags, range(len(FAULTS)), -1).tolist()
    return [FAULTS[place] if place >= 0 else None for place in places]


def _memory(world: World) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return newest(world.memory_used) / newest(world.memory_total)


METRICS: Mapping[str, Metric] = {
    "busy": Metric("Busy", "ratio", lambda world: newest(world.utilization)),
    "contended": Metric("Contended", "ratio", contended_time),
    "memory": Metric("Memory", "ratio", _memory),
    "power": Metric("Power", "W", mean_power, 0.0, None),
    "temperature": Metric("Temperature", "°C", lambda world: newest(world.temperature), MIN_CELSIUS, MAX_CELSIUS),
    "throttled": Metric(
        "Throttled", "ratio", lambda world: newest(world.hardware.throttled) if world.hardware else all_unknown(world)
    ),
    "nvlink": Metric("NVLink", "B/s", all_unknown, 0.0, None),
    "errors": Metric("Errors", "count", error_counts, 0.0, None),
}
"""By the name in the address. `nvlink` is no part of the World: it is read on demand."""
DEFAULT_METRIC = "busy"
COLUMNS = ("gpu", "fault", "pool", "vendor", "model", *METRICS, "services", "allocated")
"""Columns of the inventory and its CSV."""


class Selection(NamedTuple):
    """What the page shows. metric: of the grid. text: filter of rows. sort: a column, "-" before it for descending."""

    metric: str = DEFAULT_METRIC
    text: str = ""
    sort: str = "-contended"

    @property
    def needs_nvlink(self) -> bool:
        """Whether NVLink throughput has to be read: it is no part of the World."""
        return "nvlink" in (self.metric, self.sort.removeprefix("-"))


Fault = Literal["lost", "failing", "throttled"]
FAULTS: tuple[Fault, ...] = ("lost", "failing", "throttled")
"""Of a GPU, the gravest first. failing: it has errors within `ERROR_WINDOW_SECONDS`."""


class MetricRow(Row):
    """A metric of the grid, and whether it has data."""

    name: str
    title: str
    available: bool


class TypedArray(TypedDict):
    """Plotly's typed array."""

    dtype: str
    bdata: str
    shape: str


class FleetIncident(Row):
    """An open incident that affects services. gpus: the number of those on which it acts."""

    service: str
    gpus: int


class GpuCounts(Row):
    """The number of GPUs in each state; null where it is unknown."""

    gpus: int
    hosts: int
    no_data: int
    contended: int | None
    throttled: int | None
    errors: int | None
    lost: int | None


class InventoryRow(Row):
    """A GPU of the inventory. allocated: pods with the GPU of whose service no process is seen on it."""

    gpu: str
    fault: Fault | None
    pool: str | None
    vendor: str | None
    model: str | None
    busy: float | None
    contended: float | None
    memory: float | None
    power: float | None
    temperature: float | None
    throttled: float | None
    nvlink: float | None
    errors: float | None
    services: list[str]
    allocated: list[str]


class Fleet(TypedDict, total=False):
    """The payload of the Fleet page; before the first evaluation `ready` and `metric` alone.

    values: a byte per GPU. incident_gpus, faults: by index of a GPU. incidents: the most urgent ones. mark_status: that
    of the worst one with `incident_gpus`.
    matches: GPUs that the filter selects, of which `rows` are the first.
    """

    ready: Required[bool]
    metric: Required[str]
    metrics: list[MetricRow]
    values: TypedArray
    low: float
    high: float | None
    unit: str
    incident_gpus: list[int]
    incidents: list[FleetIncident]
    mark_status: IncidentStatus | None
    faults: list[tuple[int, Fault]]
    counts: GpuCounts
    rows: list[InventoryRow]
    matches: int


def fleet(snapshot: Snapshot, selection: Selection, nvlink: Floats | None = None) -> Fleet:
    """The payload of the page. nvlink: bytes per second of each GPU, where they were read."""
    world = snapshot.world
    if world is None:
        return {"ready": False, "metric": selection.metric}
    columns = _columns(world, nvlink)
    values, metric = columns[selection.metric], METRICS[selection.metric]
    high = metric.high if metric.high is not None else _round_up(values)
    current = open_incidents(snapshot)
    rows = _selected_rows(world, columns, selection)
    return {
        "ready": True,
        "metric": selection.metric,
        "metrics": [
            MetricRow(name, one.title, available=name == "nvlink" or bool(np.isfinite(columns[name]).any()))
            for name, one in METRICS.items()
        ],
        "values": typed_array(whole_percents(values) if metric.unit == "ratio" else values, metric.low, high),
        "low": metric.low,
        "high": number(high),
        "unit": metric.unit,
        "incident_gpus": gpus_in_incidents(world, current),
        "incidents": [
            FleetIncident(str(item.service), len(item.stated_suspect.gpus))
            for item in [item for item in current if item.affected][:MAX_INCIDENTS]
        ],
        "mark_status": next((incident_status(item) for item in current if item.stated_suspect.gpus), None),
        "faults": [(row, fault) for row, fault in enumerate(gpu_faults(world)) if fault],
        "counts": _counts(world, columns),
        "rows": inventory_rows(world, columns, rows[:MAX_ROWS]),
        "matches": len(rows),
    }


def table_rows(snapshot: Snapshot, selection: Selection, nvlink: Floats | None = None) -> list[InventoryRow]:
    """Every selected row of the inventory, for CSV."""
    world = snapshot.world
    if world is None:
        return []
    columns = _columns(world, nvlink)
    return inventory_rows(world, columns, _selected_rows(world, columns, selection))


def typed_array(values: Floats, low: float, high: float) -> TypedArray:
    """Plotly's typed array of `packed` bytes, one per GPU."""
    return {"dtype": "u1", "bdata": packed(values, low, high), "shape": str(len(values))}


def inventory_rows(world: World, columns: Mapping[str, Floats], rows: Sequence[int]) -> list[InventoryRow]:
    """Rows of the inventory, by their numbers."""
    on, pool = _services(world, rows), world.pool or ("",) * len(world.gpus)
    pods = {gpu: [item.pod for item in items] for gpu, items in allocated(world).items()}
    values = zip(*(map(number, columns[name][list(rows)].tolist()) for name in METRICS), strict=True)
    faults, gpus = gpu_faults(world), world.gpus
    return [
        InventoryRow(
            gpus[row].label,
            faults[row],
            pool[row] or None,
            gpus[row].vendor or None,
            gpus[row].model or None,
            *(*newest, on.get(row, []), pods.get(gpus[row], [])),
        )
        for row, newest in zip(rows, values, strict=True)
    ]


def _columns(world: World, nvlink: Floats | None) -> dict[str, Floats]:
    columns = {name: metric.of(world) for name, metric in METRICS.items()} | {"lost": lost_flags(world)}
    return columns if nvlink is None else columns | {"nvlink": nvlink}


def _services(world: World, rows: Sequence[int] | None = None) -> dict[int, list[str]]:
    place = placement(world)
    names = [str(service) for service in place.services]
    selected = np.arange(len(place.gpu)) if rows is None else np.flatnonzero(np.isin(place.gpu, rows))
    on: dict[int, list[str]] = {}
    for gpu, service in zip(place.gpu[selected].tolist(), place.service[selected].tolist(), strict=True):
        on.setdefault(gpu, []).append(names[service])
    return on


def _selected_rows(world: World, columns: Mapping[str, Floats], selection: Selection) -> list[int]:
    """The rows with the text in GPU, UUID, vendor, model, pool, or names of services and pods, in the order."""
    rows = np.arange(len(world.gpus))
    by, descending = selection.sort.removeprefix("-"), selection.sort.startswith("-")
    on = _services(world) if selection.text or by == "services" else {}
    pool = world.pool or ("",) * len(world.gpus)
    pods = {gpu: " ".join(item.pod for item in items) for gpu, items in allocated(world).items()}
    if selection.text:
        texts = (
            " ".join((gpu.label, gpu.uuid, gpu.vendor, gpu.model, pool[i], *on.get(i, ()), pods.get(gpu, ""))).lower()
            for i, gpu in enumerate(world.gpus)
        )
        rows = np.array([i for i, text in enumerate(texts) if selection.text in text], dtype=np.int64)
    if by in columns:
        values = columns[by][rows]
        if by in METRICS and METRICS[by].unit == "ratio":
            values = whole_percents(values)  # rows that look the same are sorted by name
        key = np.where(np.isnan(values), np.inf, -values if descending else values)  # missing values come last
        return [int(row) for row in rows[np.argsort(key, kind="stable")]]
    faults = gpu_faults(world) if by == "fault" else []
    names: dict[str, Callable[[int], str]] = {
        "gpu": lambda row: f"{row:09}",  # the World has them by host and index
        "fault": lambda row: faults[row] or "",
        "pool": lambda row: pool[row],
        "vendor": lambda row: world.gpus[row].vendor,
        "model": lambda row: world.gpus[row].model,
        "services": lambda row: " ".join(on.get(row, ())),
        "allocated": lambda row: pods.get(world.gpus[row], ""),
    }
    ordered = sorted(rows.tolist(), key=names[by], reverse=descending)
    return sorted(ordered, key=lambda row: not names[by](row))  # missing names come last


def _counts(world: World, columns: Mapping[str, Floats]) -> GpuCounts:
    def at_least(name: str, threshold: float) -> int | None:
        values = np.round(columns[name] * FULL_SCALE_BYTE) / FULL_SCALE_BYTE  # as the grid, which has bytes, counts
        return int((values >= threshold).sum()) if np.isfinite(values).any() else None

    return GpuCounts(
        len(world.gpus),
        len({gpu.host for gpu in world.gpus}),
        int(np.isnan(columns["busy"]).sum()),
        at_least("contended", MIN_CONTENDED_RATIO),
        at_least("throttled", MIN_THROTTLED_RATIO),
        at_least("errors", 1.0),
        at_least("lost", 1.0),
    )


def _round_up(values: Floats) -> float:
    """Upper end of an axis: the next round number above the maximum."""
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    if largest <= 0:
        return 1.0
    size = 10.0 ** np.floor(np.log10(largest))
    return float(next(size * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if largest <= size * step * (1 + 1e-9)))
