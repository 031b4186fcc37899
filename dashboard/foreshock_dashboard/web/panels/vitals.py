"""The five numbers under the verdict: each with its last quarter of an hour, what is usual, and its evidence. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import GUARD_SECONDS, HISTORY_SECONDS, SPACING_SECONDS
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.saturation.batching_model import learned
from foreshock_dashboard.model.batching_law import BatchingLaw
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import robust_baseline
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.freshness import freshness, serving_services
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.placement import pair_rows
from foreshock_dashboard.web.state.stages import ServiceHistory

SPARKLINE_SECONDS = 900.0
"""Seconds that a sparkline covers."""
SPARKLINE_POINTS = 45
"""Points of a sparkline."""
MIN_HISTORY_POINTS = 8
"""Points of history from which something is usual."""
Columns = NDArray[np.intp]
BAND_SCALES = 3.0
"""Scales up to which a figure is as usual, as the analysis counts them."""


class Vital(NamedTuple):
    """A number over time. values: one at each of the columns. who: what the newest is of; href: its evidence.

    floor: the least scale that a difference is measured in, in the number's unit.
    """

    values: Floats
    floor: float
    href: str = ""
    who: str = ""
    of: int | None = None
    note: str = ""


def vitals(snapshot: Snapshot, history: ServiceHistory, no_data: bool = False) -> list[Json]:
    """The numbers. `value` is None where nothing is known; no_data: the number of degraded services is unknown too."""
    world = snapshot.world
    if world is None:
        return []
    grave = [item.since for item in open_incidents(snapshot) if item.phase != "advisory"]
    columns, past = _columns(world, min(grave, default=math.inf))
    rows = (
        ("Services degraded", "count", _degraded(history, world, columns)),
        ("Longest wait for a GPU", "ratio", _waits(world, columns)),
        ("Highest offered load", "ratio", _load(snapshot, world, columns)),
        ("Retries per call", "per call", _retries(world, columns)),
        ("Failed requests", "ratio", _failed(world, columns)),
    )
    return [_payload(name, unit, told, past, unknown=no_data and not i) for i, (name, unit, told) in enumerate(rows)]


def _payload(name: str, unit: str, told: Vital, past: int, *, unknown: bool) -> Json:
    history = told.values[:past]
    low = high = math.nan
    if unit != "count" and np.isfinite(history).sum() >= MIN_HISTORY_POINTS:
        found = robust_baseline(history[None], told.floor, 1)
        level, scale = float(found.level[0]), float(found.scale[0])
        low, high = max(0.0, level - BAND_SCALES * scale), level + BAND_SCALES * scale
    value = float(told.values[-1]) if len(told.values) else math.nan
    return {
        "name": name,
        "unit": unit,
        "value": None if unknown else number(value),
        "of": told.of,
        "who": told.who if math.isfinite(value) else "",
        "note": told.note,
        "href": told.href,
        "spark": [number(each) for each in told.values[past:].tolist()],
        "usual": None if math.isnan(high) else [number(low), number(high)],
    }


def _columns(world: World, trouble: float) -> tuple[Columns, int]:
    """Columns that are looked at, and how many of them are history: what is usual rests on these.

    trouble: Unix seconds from which on things have not been as usual, however long that lasts.
    """
    last = len(world.times) - 1
    first = max(0, last - round(SPARKLINE_SECONDS / world.step))
    spark = np.unique(np.linspace(first, last, SPARKLINE_POINTS).round().astype(np.intp))
    stride = max(1, round(SPACING_SECONDS / world.step))
    end = max(0, last - round(max(SPARKLINE_SECONDS, GUARD_SECONDS) / world.step))
    end = min(end, int(np.searchsorted(world.times, trouble)))
    history = np.arange(max(0, end - round(HISTORY_SECONDS / world.step)), end, stride)
    return np.concatenate([history, spark]), len(history)


def _degraded(history: ServiceHistory, world: World, columns: Columns) -> Vital:
    """How many services are worse than an early sign, where that was followed."""
    values = np.full(len(columns), np.nan)
    if len(history.times):
        bad = np.where((history.stages >= 0).any(axis=0), (history.stages >= 2).sum(axis=0), np.nan)
        asked = world.times[columns]
        place = np.minimum(np.searchsorted(history.times, asked), len(history.times) - 1)
        values = np.where(asked >= history.times[0], bad[place], np.nan)
    return Vital(values, 0.5, "/services", of=freshness(world).services)


def _waits(world: World, columns: Columns) -> Vital:
    """The pair whose victim waits longest, mean over the GPUs that the two share: of those that answer requests.

    A batch job that waits is how GPUs are shared.
    """
    serving = serving_services(world)
    found = [(pair, rows) for pair, rows in pair_rows(world) if pair[0] in serving]
    if not found:
        return _unknown(columns, "/contention")
    rows = np.array([row for _, rows in found for row in rows], np.intp)
    first = np.cumsum([0, *(len(rows) for _, rows in found[:-1])])
    values = world.stalled_by[np.ix_(rows, columns)]
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    counts = np.add.reduceat(known, first, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    row = _worst_row(means)
    if row is None:
        return Vital(_maximum(means), 0.03, "/contention")
    victim, aggressor = found[row][0]
    query = urlencode({"victim": str(victim), "aggressor": str(aggressor)})
    return Vital(_maximum(means), 0.03, f"/contention?{query}", f"{victim} for {aggressor}")


def _load(snapshot: Snapshot, world: World, columns: Columns) -> Vital:
    """What is asked of model servers over what full ones give, the worst of all services."""
    loads = [load for load in snapshot.forecast.loads if math.isfinite(load.ratio)]
    if not loads:
        return _unknown(columns, "/cascade")
    worst = max(loads, key=lambda load: (load.ratio, load.service))
    values = _maximum(load_ratios(world, columns, {load.service: load.law for load in loads if load.law}))
    values[-1] = worst.ratio
    safe = f"safe up to {worst.safe * 100:.0f} %" if math.isfinite(worst.safe) else ""
    return Vital(values, 0.05, f"/cascade?{urlencode({'service': str(worst.service)})}", str(worst.service), note=safe)


def load_ratios(world: World, columns: Columns, judged: Mapping[Service, BatchingLaw]) -> Floats:
    """Offered load of every service with model servers at some columns; shape (services with servers, points).

    judged: laws that the analysis judges by. A World that is crowded from its beginning teaches none itself.
    """
    found = model_servers(world)
    laws = {**learned(world, len(world.times) - 1), **judged}
    each = found.reporting_replicas(slice(None))[:, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        busy = (found.running[:, columns] + np.nan_to_num(found.waiting[:, columns])) / each
        rooms = np.where(
            found.cache > 0.02, found.running / found.reporting_replicas(slice(None)) / found.cache, np.nan
        )
    out = np.full(busy.shape, np.nan)
    for i, service in enumerate(found.services):
        known = rooms[i][np.isfinite(rooms[i])]
        if service in laws and len(known):
            out[i] = laws[service].offered_load(busy[i], float(np.median(known)))
    return out


def _retries(world: World, columns: Columns) -> Vital:
    called = [i for i, edge in enumerate(world.edges) if edge.connection != "virtual_node"]
    values = world.attempts[called][:, columns] - 1.0
    row = _worst_row(values)
    if row is None:
        return _unknown(columns, "/cascade")
    edge = world.edges[called[row]]
    return Vital(_maximum(values), 0.02, f"/services/{quote(str(edge.server))}", f"{edge.client} → {edge.server}")


def _failed(world: World, columns: Columns) -> Vital:
    """Of all requests that services received."""
    rate, failed = world.red.rate[:, columns], world.red.failed[:, columns]
    known = np.isfinite(rate) & np.isfinite(failed)
    with np.errstate(invalid="ignore", divide="ignore"):
        asked = np.where(known, rate, 0.0).sum(axis=0)
        values = np.where(asked > 0, np.where(known, rate * failed, 0.0).sum(axis=0) / asked, np.nan)
    return Vital(values, 0.004, "/traces?errors=true")


def _unknown(columns: Columns, href: str) -> Vital:
    return Vital(np.full(len(columns), np.nan), 1.0, href)


def _maximum(values: Floats) -> Floats:
    """The largest of each column; NaN where none is known."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    most = np.where(np.isfinite(values), values, -np.inf).max(axis=0)
    return np.where(np.isneginf(most), np.nan, most)


def _worst_row(values: Floats) -> int | None:
    """The row that is largest at the last column."""
    if not values.size or not np.isfinite(values[:, -1]).any():
        return None
    return int(np.nanargmax(values[:, -1]))


def sparkline(world: World, row: Floats) -> list[float | None]:
    """The last `SPARK` seconds of a row in up to `POINTS` points, each the maximum of its bucket."""
    points = row[-max(1, round(SPARKLINE_SECONDS / world.step)) :]
    size = max(1, -(-len(points) // SPARKLINE_POINTS))
    padded = np.concatenate([np.full(-len(points) % size, np.nan), points]).reshape(-1, size)
    filled = np.where(np.isnan(padded), -np.inf, padded).max(axis=1)
    return [None if value == -np.inf else float(f"{value:.3g}") for value in filled.tolist()]
