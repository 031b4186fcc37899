"""The five numbers under the verdict: value, limit, sparkline, and link to the evidence. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS, GUARD_SECONDS, SPACING_SECONDS
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.saturation.batching_model import (
    CURRENT_LOAD_SECONDS,
    MIN_KV_CACHE_RATIO,
    fit_batching_laws,
)
from foreshock_dashboard.model.forecast import BatchingLaw
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot, clusters_of
from foreshock_dashboard.model.types import ConditionKind, Floats
from foreshock_dashboard.model.verdict.reading import Reading, SloStatus, Status
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import in_words, joined_text, listed
from foreshock_dashboard.stats.robust import moving_average, robust_baseline
from foreshock_dashboard.web.panels.limits import judged, readings, worst
from foreshock_dashboard.web.state.conditions import (
    Condition,
    ServiceForecasts,
    conditions,
    open_incidents,
    too_few_requests,
)
from foreshock_dashboard.web.state.freshness import serving_services
from foreshock_dashboard.web.state.numbers import Row, number, rounded
from foreshock_dashboard.web.state.parameters import DEFAULT_RANGE_SECONDS
from foreshock_dashboard.web.state.placement import SameObjects, incident_pair_rows
from foreshock_dashboard.web.state.stages import ServiceHistory

SPARKLINE_SECONDS = DEFAULT_RANGE_SECONDS
"""Seconds that a sparkline covers by default."""
RECENT_SECONDS = 900.0
"""The newest seconds, which the baseline of a tile leaves out."""
SPARKLINE_POINTS = 45
MIN_HISTORY_POINTS = 8
"""Points of history that a baseline needs."""
Columns = NDArray[np.intp]
BAND_SCALES = 3.0
"""Scales up to which a figure is in its normal range, as in the analysis."""
MIN_WAIT_SCALE = 0.03
"""Least scale of a share of time that a service waits."""
GPU_WAIT = "Highest GPU wait (serving)"


class Peak(Row):
    """The past value that used most of its limit: of which service, when in Unix seconds, and its own limit."""

    service: str
    at: float
    value: float
    limit: float


class Vital(NamedTuple):
    """A number over time. values: one per column. who: the service or pair with the newest value; href: its evidence.

    reading: the newest value beside its limit, where it has one. gpus: that it is the mean of. peak: of the past.
    """

    values: Floats
    href: str = ""
    who: str = ""
    reading: Reading | None = None
    gpus: int = 0
    peak: Peak | None = None


class VitalJson(Row):
    """A number, its sparkline, and its limit. limit_kind: what the limit is: an SLO, a safe limit, or the baseline.

    usage: value / limit; None for a baseline. who: the service or pair; of the SLOs, the services in the worst state.
    """

    name: str
    unit: str
    value: float | None
    slo: SloStatus | None
    who: str
    href: str
    limit: float | None
    limit_kind: str
    status: Status
    spark: list[float | None]
    usage: float | None = None
    peak: Peak | None = None


def vitals(
    snapshot: Snapshot, history: ServiceHistory, no_data: bool = False, seconds: float = SPARKLINE_SECONDS
) -> list[VitalJson]:
    """The five numbers. `value` is None where it is unknown. no_data: the state of the SLOs is unknown too.

    p95, error rate, and load are those of the service that uses most of its limit. seconds: that sparklines cover.
    """
    world = snapshot.world
    if world is None:
        return []
    columns, past = tile_columns(world, affecting(snapshot), seconds)
    found, red = judged(world, readings(snapshot, history.now())), world.red
    slowest, failing = worst(found, "p95"), worst(found, "error rate")
    troubled = next((services for services in _troubled(snapshot, history) if services), set[Service]())
    first = {item.service for item in affecting(snapshot)}
    named = sorted(troubled, key=lambda service: (service not in first, service))
    recent = columns[past:]
    return [
        _slo_tile(slo_status(snapshot, history), named, unknown=no_data or not snapshot.forecast.slos),
        _limited("Worst p95 vs. SLO", "s", _of_worst(world, red.p95, recent, slowest, found)),
        _limited("Worst error rate vs. SLO", "ratio", _of_worst(world, red.error_rate, recent, failing, found)),
        _limited("Highest request load", "ratio", _load(snapshot, world, recent, worst(found, "load"))),
        gpu_wait_tile(snapshot, world, seconds),
    ]


def gpu_wait_tile(snapshot: Snapshot, world: World, seconds: float = SPARKLINE_SECONDS) -> VitalJson:
    """The longest wait of a service with requests, beside its baseline. seconds: that the sparkline covers."""
    incidents = affecting(snapshot)
    columns, past = tile_columns(world, incidents, seconds)
    known = past if snapshot.learning.done else 0  # points of the baseline
    return _waiting(_waits(world, columns, incidents), past, incidents, known)


def affecting(snapshot: Snapshot) -> list[Incident]:
    """The open incidents that affect services."""
    return [item for item in open_incidents(snapshot) if item.affected]


def slo_status(snapshot: Snapshot, history: ServiceHistory) -> SloStatus:
    """How many of the services with an SLO breach it, are degraded, will breach it soon, or are within it."""
    stages, tracked = history.now(), {slo.service for slo in snapshot.forecast.slos}
    troubled = _troubled(snapshot, history)
    breached, degraded, at_risk = map(len, troubled)
    rest = tracked.difference(*troubled)
    unjudged = rest & too_few_requests(snapshot.world) if snapshot.world else set[Service]()
    few, unknown = len(unjudged), sum(stages.get(service) is None for service in rest - unjudged)
    within = len(rest) - few - unknown
    learned = sum(slo.learned for slo in snapshot.forecast.slos)
    without = len(snapshot.services) - len(tracked)
    return SloStatus(breached, degraded, at_risk, within, without, few, unknown, learned)


def _troubled(snapshot: Snapshot, history: ServiceHistory) -> tuple[set[Service], set[Service], set[Service]]:
    """The services with an SLO that breach it, that are degraded, and that are at risk; each in the worst state."""
    stages, tracked = history.now(), [slo.service for slo in snapshot.forecast.slos]
    breached = {service for service in tracked if stages.get(service) == "breached"}
    degraded = {service for service in tracked if stages.get(service) == "degraded"}
    forecasts, now = ServiceForecasts(snapshot), conditions(snapshot)
    likely = {service for service in tracked if forecasts.is_breach_likely(service)}
    at_risk = likely | {service for service in tracked if _kind(now, service) == "at_risk"}
    return breached, degraded, at_risk - breached - degraded


def _kind(found: Mapping[Service, Condition], service: Service) -> ConditionKind | None:
    return found[service].kind if service in found else None


def services_by_cluster(snapshot: Snapshot, history: ServiceHistory) -> Mapping[str, tuple[int, int]]:
    """The services of each cluster, and those in breach of their SLO; empty where the page has not several clusters."""
    clusters, stages, counts = () if snapshot.clusters else clusters_of(snapshot), history.now(), {}
    for cluster in clusters if len(clusters) > 1 else ():
        own = [service for service in snapshot.services if service.cluster == cluster]
        counts[cluster] = len(own), sum(stages.get(service) == "breached" for service in own)
    return counts


def _slo_tile(status: SloStatus, named: Sequence[Service], *, unknown: bool) -> VitalJson:
    who = joined_text(listed(named, 1))
    color: Status = "critical" if status.breached else "warning" if status.degraded or status.at_risk else "ok"
    value, color = (None, "unknown") if unknown else (float(status.breached), color)
    slo = None if unknown else status
    return VitalJson("SLO status", "services", value, slo, who, "/services", None, "", color, [])


def _limited(name: str, unit: str, vital: Vital) -> VitalJson:
    """The tile of a reading. Its spark ends with the value itself."""
    spark, reading = list(map(number, vital.values.tolist())), vital.reading
    if reading is None:
        return VitalJson(name, unit, None, None, "", vital.href, None, "", "unknown", spark)
    who, limit, kind = reading.service, reading.limit, reading.limit_kind
    status, usage, peak = reading.status, reading.usage, vital.peak
    return VitalJson(name, unit, reading.value, None, who, vital.href, limit, kind, status, spark, usage, peak)


def _waiting(vital: Vital, past: int, incidents: Sequence[Incident], known: int) -> VitalJson:
    """The tile of the longest wait with its baseline; beyond the normal range it is a warning.

    The pair of a firing incident has the color of its severity, as in the matrix, and the baseline of its evidence,
    which does not move. past: points before the sparkline. incidents: the worst first. known: points of the baseline.
    """
    value = float(vital.values[-1]) if len(vital.values) else math.nan
    limit, most = normal_wait(vital.values[:known])
    status: Status = "unknown" if math.isnan(value) else "warning" if value > most else "ok"
    pairs = {_pair(item.service, item.suspect.service): item for item in reversed(incidents)}
    if item := pairs.get(vital.who):
        limit = next((row.baseline for row in item.evidence if in_words(row.entity) == vital.who), limit)
        status = item.severity if item.state == "firing" and status != "unknown" else status
    kind = "" if math.isnan(limit) else "baseline"
    spark = list(map(number, vital.values[past:].tolist()))
    mean = f"mean of {vital.gpus} GPUs" if vital.gpus > 1 else "1 GPU"
    who = f"{vital.who} ({mean})" if math.isfinite(value) else ""
    return VitalJson(GPU_WAIT, "ratio", number(value), None, who, vital.href, number(limit), kind, status, spark)


def normal_wait(history: Floats) -> tuple[float, float]:
    """The baseline of a wait, and the upper end of its normal range; NaN each where too little history is known."""
    if np.isfinite(history).sum() < MIN_HISTORY_POINTS:
        return math.nan, math.nan
    baseline = robust_baseline(history[None], MIN_WAIT_SCALE, 1)
    level = float(baseline.level[0])
    return level, level + BAND_SCALES * float(baseline.scale[0])


def tile_columns(world: World, incidents: Sequence[Incident], seconds: float) -> tuple[Columns, int]:
    """The columns of history and sparkline, and the number of history columns, on which the baseline rests.

    incidents: of those that are critical, values are anomalous from the first anomaly on. seconds: that the sparkline
    covers.
    """
    trouble = min((item.since for item in incidents if item.severity == "critical"), default=math.inf)
    last = len(world.times) - 1
    first = max(0, last - world.points(seconds))
    spark = np.unique(np.linspace(first, last, SPARKLINE_POINTS).round().astype(np.intp))
    history = history_columns(world, trouble)
    return np.concatenate([history, spark]), len(history)


def history_columns(world: World, until: float) -> Columns:
    """The columns on which a baseline rests: none recent, and none from `until` on (Unix seconds)."""
    end = max(0, len(world.times) - 1 - world.points(max(RECENT_SECONDS, GUARD_SECONDS)))
    end = min(end, int(np.searchsorted(world.times, until)))
    return np.arange(max(0, end - world.points(BASELINE_HISTORY_SECONDS)), end, world.points(SPACING_SECONDS))


def _of_worst(
    world: World, values: Floats, columns: Columns, reading: Reading | None, found: Sequence[Reading]
) -> Vital:
    """A reading of the worst service, with the past of whichever was the worst then, so that a recovery is seen.

    values: shape (services, times). found: readings, of which those of the same metric count. The past is the most that
    any service used of its limit, times the limit of the reading.
    """
    if reading is None:
        return _unknown(columns, "/services")
    rows = {str(service): row for row, service in enumerate(world.services)}
    limits = {rows[item.service]: item.limit for item in found if item.metric == reading.metric}
    usage = values[np.ix_(np.fromiter(limits, np.intp), columns)] / np.fromiter(limits.values(), np.float64)[:, None]
    past = np.append(_maximum(usage)[:-1] * reading.limit, reading.value)
    before, peak = np.nan_to_num(usage[:, :-1]), None
    if before.any():
        row, column = np.unravel_index(np.argmax(before), before.shape)
        who, limit = list(limits.items())[row]
        at, value = float(world.times[columns[column]]), float(values[who, columns[column]])
        peak = Peak(str(world.services[who]), round(at, 3), rounded(value), limit)
    return Vital(past, f"/services/{quote(reading.service)}", reading=reading, peak=peak)


def _waits(world: World, columns: Columns, incidents: Sequence[Incident]) -> Vital:
    """The pair with the longest wait now, mean over the GPUs that the two share, or on which they are in an incident.

    Only serving victims count: a batch job that waits is how GPUs are shared.
    """
    serving = serving_services(world)
    serving_pairs = [(pair, rows) for pair, rows in incident_pair_rows(world, incidents) if pair[0] in serving]
    if not serving_pairs:
        return _unknown(columns, "/contention")
    rows = np.array([row for _, rows in serving_pairs for row in rows], np.intp)
    first = np.cumsum([0, *(len(rows) for _, rows in serving_pairs[:-1])])
    values = world.gpu_wait_by[np.ix_(rows, columns)]
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    counts = np.add.reduceat(known, first, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    row = _worst_row(means)
    if row is None:
        return Vital(_maximum(means), "/contention")
    (victim, aggressor), own = serving_pairs[row]
    query = urlencode({"victim": str(victim), "aggressor": str(aggressor)})
    gpus = int(np.isfinite(world.gpu_wait_by[list(own), -1]).sum())
    return Vital(means[row], f"/contention?{query}", _pair(victim, aggressor), gpus=gpus)


def _pair(affected: Service, neighbor: Service | None) -> str:
    return in_words(f"{affected} waiting on {neighbor}")


def _load(snapshot: Snapshot, world: World, columns: Columns, reading: Reading | None) -> Vital:
    """The load that uses most of its safe limit: offered work over the capacity of a service's model servers."""
    if reading is None:
        return _unknown(columns, "/cascade")
    servers, service = model_servers(world).services, Service.parse(reading.service)
    known = service in servers
    ratios = load_ratios(world, columns, snapshot)[servers.index(service)] if known else _unknown(columns, "").values
    return Vital(
        np.append(ratios[:-1], reading.value), f"/cascade?{urlencode({'service': reading.service})}", reading=reading
    )


def load_ratios(world: World, columns: Columns, snapshot: Snapshot, seconds: float = CURRENT_LOAD_SECONDS) -> Floats:
    """Load of every service with model servers at some columns; shape (services with servers, points).

    Averaged over `seconds`, by default as the current load, which takes the place of the value at the time of the
    analysis: both are one figure.
    The batching laws are those of the analysis: a World that is overloaded from its beginning allows no fit.
    """
    servers, loads = model_servers(world), {load.service: load for load in snapshot.forecast.loads}
    laws = {**_batching_laws(world), **{service: load.law for service, load in loads.items() if load.law}}
    server_count = servers.reporting_replicas(slice(None))
    with np.errstate(invalid="ignore", divide="ignore"):
        queued = np.nan_to_num(servers.waiting)
        demand = moving_average((servers.running + queued) / server_count, world.step)
        cache_capacity = np.where(
            servers.cache > MIN_KV_CACHE_RATIO, servers.running / server_count / servers.cache, np.nan
        )
    out = np.full((len(servers.services), len(columns)), np.nan)
    for i, service in enumerate(servers.services):
        known = cache_capacity[i][np.isfinite(cache_capacity[i])]
        if service in laws and len(known):
            ratios = laws[service].offered_load(demand[i], float(np.median(known)))
            out[i] = moving_average(ratios[None], world.step, seconds)[0, columns]
        if service in loads and snapshot.world is not None:
            out[i, world.times[columns] == snapshot.world.time] = loads[service].ratio
    return out


@cached(LRUCache(2), lambda world: SameObjects(world.model_servers), Lock())  # pages of one evaluation share the fit
def _batching_laws(world: World) -> Mapping[Service, BatchingLaw]:
    return fit_batching_laws(world, len(world.times) - 1)


def _unknown(columns: Columns, href: str) -> Vital:
    return Vital(np.full(len(columns), np.nan), href)


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


def sparkline(world: World, row: Floats, seconds: float = SPARKLINE_SECONDS) -> list[float | None]:
    """The last seconds of a row in up to `SPARKLINE_POINTS` points, each the maximum of its bucket."""
    points = row[-world.points(seconds) :]
    size = max(1, -(-len(points) // SPARKLINE_POINTS))
    padded = np.concatenate([np.full(-len(points) % size, np.nan), points]).reshape(-1, size)
    return [None if math.isnan(value) else float(f"{value:.3g}") for value in np.fmax.reduce(padded, axis=1).tolist()]
