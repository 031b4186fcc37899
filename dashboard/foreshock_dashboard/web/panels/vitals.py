"""The five numbers under the verdict: value, sparkline, baseline range, and link to the evidence. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS, GUARD_SECONDS, SPACING_SECONDS
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws
from foreshock_dashboard.model.forecast import BatchingLaw
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import robust_baseline
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.freshness import freshness, serving_services
from foreshock_dashboard.web.state.numbers import Row, number
from foreshock_dashboard.web.state.placement import pair_rows
from foreshock_dashboard.web.state.stages import ServiceHistory

SPARKLINE_SECONDS = 900.0
"""Seconds that a sparkline covers."""
SPARKLINE_POINTS = 45
MIN_HISTORY_POINTS = 8
"""Points of history that a baseline needs."""
Columns = NDArray[np.intp]
BAND_SCALES = 3.0
"""Scales up to which a figure is in its normal range, as in the analysis."""


class Vital(NamedTuple):
    """A number over time. values: one per column. who: the service or GPU with the newest value; href: its evidence.

    floor: the least scale of a difference, in the number's unit. of: the total that the number is out of.
    """

    values: Floats
    floor: float
    href: str = ""
    who: str = ""
    of: int | None = None
    note: str = ""


class VitalJson(Row):
    """A number, its sparkline, and its normal range."""

    name: str
    unit: str
    value: float | None
    of: int | None
    who: str
    note: str
    href: str
    spark: list[float | None]
    usual: list[float | None] | None


def vitals(snapshot: Snapshot, history: ServiceHistory, no_data: bool = False) -> list[VitalJson]:
    """The numbers. `value` is None where it is unknown. no_data: the number of degraded services is unknown too."""
    world = snapshot.world
    if world is None:
        return []
    onsets = [item.since for item in open_incidents(snapshot) if item.severity == "critical"]
    columns, past = _columns(world, min(onsets, default=math.inf))
    rows = (
        ("Services degraded", "count", _degraded(history, world, columns)),
        ("Longest wait for a GPU", "ratio", _waits(world, columns)),
        ("Highest offered load", "ratio", _load(snapshot, world, columns)),
        ("Retries per call", "per call", _retries(world, columns)),
        ("Failed requests", "ratio", _failed(world, columns)),
    )
    return [_payload(name, unit, vital, past, unknown=no_data and not i) for i, (name, unit, vital) in enumerate(rows)]


def _payload(name: str, unit: str, vital: Vital, past: int, *, unknown: bool) -> VitalJson:
    history = vital.values[:past]
    low = high = math.nan
    if unit != "count" and np.isfinite(history).sum() >= MIN_HISTORY_POINTS:
        baseline = robust_baseline(history[None], vital.floor, 1)
        level, scale = float(baseline.level[0]), float(baseline.scale[0])
        low, high = max(0.0, level - BAND_SCALES * scale), level + BAND_SCALES * scale
    value = float(vital.values[-1]) if len(vital.values) else math.nan
    return VitalJson(
        name,
        unit,
        None if unknown else number(value),
        vital.of,
        vital.who if math.isfinite(value) else "",
        vital.note,
        vital.href,
        spark=list(map(number, vital.values[past:].tolist())),
        usual=None if math.isnan(high) else [number(low), number(high)],
    )


def _columns(world: World, trouble: float) -> tuple[Columns, int]:
    """The columns of history and sparkline, and the number of history columns, on which the baseline rests.

    trouble: Unix seconds from which on values are anomalous.
    """
    last = len(world.times) - 1
    first = max(0, last - world.points(SPARKLINE_SECONDS))
    spark = np.unique(np.linspace(first, last, SPARKLINE_POINTS).round().astype(np.intp))
    stride = max(1, world.points(SPACING_SECONDS))
    end = max(0, last - world.points(max(SPARKLINE_SECONDS, GUARD_SECONDS)))
    end = min(end, int(np.searchsorted(world.times, trouble)))
    history = np.arange(max(0, end - world.points(BASELINE_HISTORY_SECONDS)), end, stride)
    return np.concatenate([history, spark]), len(history)


def _degraded(history: ServiceHistory, world: World, columns: Columns) -> Vital:
    """The number of services that are degraded or breach their SLO."""
    values = np.full(len(columns), np.nan)
    if len(history.times):
        counts = np.where((history.stages >= 0).any(axis=0), (history.stages >= 2).sum(axis=0), np.nan)
        times = world.times[columns]
        nearest = np.minimum(np.searchsorted(history.times, times), len(history.times) - 1)
        values = np.where(times >= history.times[0], counts[nearest], np.nan)
    return Vital(values, 0.5, "/services", of=freshness(world).services)


def _waits(world: World, columns: Columns) -> Vital:
    """The pair with the longest wait, mean over the GPUs that the two share. Only serving victims count.

    A batch job that waits is how GPUs are shared.
    """
    serving = serving_services(world)
    serving_pairs = [(pair, rows) for pair, rows in pair_rows(world) if pair[0] in serving]
    if not serving_pairs:
        return _unknown(columns, "/contention")
    rows = np.array([row for _, rows in serving_pairs for row in rows], np.intp)
    first = np.cumsum([0, *(len(rows) for _, rows in serving_pairs[:-1])])
    values = world.stalled_by[np.ix_(rows, columns)]
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    counts = np.add.reduceat(known, first, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    row = _worst_row(means)
    if row is None:
        return Vital(_maximum(means), 0.03, "/contention")
    victim, aggressor = serving_pairs[row][0]
    query = urlencode({"victim": str(victim), "aggressor": str(aggressor)})
    return Vital(_maximum(means), 0.03, f"/contention?{query}", f"{victim} for {aggressor}")


def _load(snapshot: Snapshot, world: World, columns: Columns) -> Vital:
    """The load of the most loaded service: offered work over capacity of its model servers."""
    loads = [load for load in snapshot.forecast.loads if math.isfinite(load.ratio)]
    if not loads:
        return _unknown(columns, "/cascade")
    worst = max(loads, key=lambda load: (load.ratio, load.service))
    values = _maximum(load_ratios(world, columns, {load.service: load.law for load in loads if load.law}))
    values[-1] = worst.ratio
    safe = f"safe up to {worst.safe * 100:.0f}%" if math.isfinite(worst.safe) else ""
    return Vital(values, 0.05, f"/cascade?{urlencode({'service': str(worst.service)})}", str(worst.service), note=safe)


def load_ratios(world: World, columns: Columns, judged: Mapping[Service, BatchingLaw]) -> Floats:
    """Load of every service with model servers at some columns; shape (services with servers, points).

    judged: batching laws of the analysis. A World that is overloaded from its beginning allows no fit of its own.
    """
    servers = model_servers(world)
    laws = {**fit_batching_laws(world, len(world.times) - 1), **judged}
    server_count = servers.reporting_replicas(slice(None))[:, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        busy = (servers.running[:, columns] + np.nan_to_num(servers.waiting[:, columns])) / server_count
        cache_capacity = np.where(
            servers.cache > 0.02, servers.running / servers.reporting_replicas(slice(None)) / servers.cache, np.nan
        )
    out = np.full(busy.shape, np.nan)
    for i, service in enumerate(servers.services):
        known = cache_capacity[i][np.isfinite(cache_capacity[i])]
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
    rate, failed = world.red.rate[:, columns], world.red.failed[:, columns]
    known = np.isfinite(rate) & np.isfinite(failed)
    with np.errstate(invalid="ignore", divide="ignore"):
        requests = np.where(known, rate, 0.0).sum(axis=0)
        values = np.where(requests > 0, np.where(known, rate * failed, 0.0).sum(axis=0) / requests, np.nan)
    return Vital(values, 0.004, "/traces?errors=true")


def _unknown(columns: Columns, href: str) -> Vital:
    return Vital(np.full(len(columns), np.nan), 1.0, href)


def _maximum(values: Floats) -> Floats:
    """The maximum of each column; NaN where none is known."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    maxima: Floats = np.fmax.reduce(np.where(np.isfinite(values), values, np.nan), axis=0)
    return maxima


def _worst_row(values: Floats) -> int | None:
    if not values.size or not np.isfinite(values[:, -1]).any():
        return None
    return int(np.nanargmax(values[:, -1]))


def sparkline(world: World, row: Floats) -> list[float | None]:
    """The last `SPARKLINE_SECONDS` of a row in up to `SPARKLINE_POINTS` points, each the maximum of its bucket."""
    points = row[-max(1, world.points(SPARKLINE_SECONDS)) :]
    size = max(1, -(-len(points) // SPARKLINE_POINTS))
    padded = np.concatenate([np.full(-len(points) % size, np.nan), points]).reshape(-1, size)
    return [None if math.isnan(value) else float(f"{value:.3g}") for value in np.fmax.reduce(padded, axis=1).tolist()]
