"""The payload of the Now page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import HEALTH_ORDER, Stage
from foreshock_dashboard.model.verdict.healthy import Exceedance
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.capacity_text import shortage_text
from foreshock_dashboard.render.clause import Text
from foreshock_dashboard.render.verdict.incident_course import breach_text
from foreshock_dashboard.render.verdict.platform import closest_before, too_few_text, uncounted
from foreshock_dashboard.render.verdict.reading_text import lane_figures, reading_text
from foreshock_dashboard.render.words.panels import NOW_TEXTS
from foreshock_dashboard.web.pages.now.course import breach
from foreshock_dashboard.web.pages.now.healthy import exceedances, peaks
from foreshock_dashboard.web.pages.now.verdict import VerdictJson, verdict
from foreshock_dashboard.web.panels.chosen_incidents import (
    ChosenIncidents,
    chosen_incident,
    chosen_incidents,
    current_history,
    lanes_start,
)
from foreshock_dashboard.web.panels.impact_order import affected_order
from foreshock_dashboard.web.panels.limits import judged, readings
from foreshock_dashboard.web.panels.timeline import MAX_LANES, Timeline, timeline
from foreshock_dashboard.web.panels.vitals import SPARKLINE_SECONDS, VitalJson, sparkline, vitals
from foreshock_dashboard.web.state.conditions import ServiceFigures, open_incidents, service_rows
from foreshock_dashboard.web.state.freshness import serving_services, serving_wait, why_unknown
from foreshock_dashboard.web.state.incident_json import ClauseJson, IncidentJson, clauses, incident
from foreshock_dashboard.web.state.numbers import Row, newest, number, packed, whole_percents
from foreshock_dashboard.web.state.placement import (
    MIN_CONTENDED_RATIO,
    MIN_WAIT_RATIO,
    gpus_in_incidents,
    pairs,
)
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import STAGES, ServiceHistory

MIN_ROWS, MAX_ROWS = 5, MAX_LANES
"""Bounds of the services on the page, those of an incident and then the most affected first; Services has all."""
MAX_PAIRS = 6
"""Rows and columns of the matrix on the page; the Contention page has all."""
MAX_RESOLVED = 5
"""Resolved incidents on the page, the newest first."""
MAX_UNCOUNTED = 2
"""Services with a p95 above the SLO, on too few requests to be a breach, that a healthy verdict names."""
MAX_TENANTS = 4000
"""Services on GPUs up to which the page has their shares; Fleet has those of the open GPU."""
SHORTAGE_SECONDS = 86_400.0
"""A shortage this soon is on the page of a healthy platform; Capacity has later ones."""


class Cell(Row):
    """A pair of the matrix."""

    ratio: float | None
    gpus: list[str]


class Matrix(Row):
    """Victims as rows, aggressors as columns. jobs: victims without requests. other_gpus: with a wait as in the grid,
    but in no cell."""

    victims: list[str]
    jobs: list[str]
    aggressors: list[str]
    cells: list[list[Cell | None]]
    hidden: int
    other_gpus: int


class ServiceLine(ServiceFigures):
    """A service with a sparkline of its p95, and the SLO of it in seconds.

    learned: whether the SLO is. closest: the metric closest to its limit. note: why a p95 above the SLO is no breach;
    "" for none. past_breach: when it breached its SLO during the incident, where it does not now.
    """

    spark: list[float | None]
    slo: float | None
    learned: bool
    closest: Reading | None
    note: str
    past_breach: list[ClauseJson]


class GpuBytes(TypedDict):
    """One byte per GPU. gpu_wait: the longest of a service with requests."""

    busy: str
    gpu_wait: str


class TenantBytes(TypedDict):
    """One byte per service on a GPU."""

    busy: str
    gpu_wait: str


class Now(TypedDict, total=False):
    """The payload of the Now page; the fields below `ready` are missing before the first evaluation.

    spark_seconds: covered by the sparklines. matrix: the waits between services, where an open incident is GPU
    contention. uncounted: p95 above the SLO without a breach. no_stages: why services have no stage.
    """

    topology: Required[str]
    verdict: Required[VerdictJson]
    open_incidents: Required[list[IncidentJson]]
    resolved: Required[list[IncidentJson]]
    ready: Required[bool]
    step: float
    spark_seconds: float
    tiles: list[VitalJson]
    matrix: Matrix | None
    timeline: Timeline
    services: list[ServiceLine]
    uncounted: list[Exceedance]
    hidden: int
    gpus: GpuBytes
    tenants: TenantBytes
    marked: list[int]
    missing: list[str]
    no_stages: str


def now(
    snapshot: Snapshot,
    topology_id: str,
    time: float | None = None,
    histories: HistoryCache | None = None,
    spark_seconds: float = SPARKLINE_SECONDS,
    capacity: CapacityForecast | None = None,
) -> Now:
    """All values of the Now page. time: the hub's, Unix seconds; the World's own by default.

    capacity: the forecast of hours and days.
    """
    world, histories = snapshot.world, histories or HistoryCache()
    current, chosen = open_incidents(snapshot), chosen_incidents(snapshot)
    spark_seconds = min(spark_seconds, float(world.times[-1] - world.times[0])) if world else spark_seconds
    shown_first = next((item for item in current if item.affected), None)  # the one of the verdict
    drawn = chosen if shown_first is None else chosen_incident(snapshot, shown_first)
    start = lanes_start(world, drawn, spark_seconds) if world else 0.0
    history = current_history(snapshot, world, chosen, histories) if world else None
    stages = history.now() if history else {}
    verdict_ = verdict(snapshot, time, history)
    shortages = capacity.shortages if capacity else ()
    if world and verdict_.state == "healthy" and shortages and shortages[0].at - world.time < SHORTAGE_SECONDS:
        fact = (NOW_TEXTS["next_shortage"], shortage_text(shortages[0], world.time))
        verdict_ = replace(verdict_, facts=(*verdict_.facts, fact))
    shared: Now = {
        "topology": topology_id,
        "verdict": verdict_.payload(),
        "open_incidents": [incident(item) for item in current],
        "resolved": [incident(item) for item in snapshot.incidents if item.state == "resolved" and item.affected][
            :MAX_RESOLVED
        ],
        "ready": world is not None,
    }
    if world is None or history is None:
        return shared
    busy, gpu_wait = world.busy, world.gpu_wait
    if len(world.tenants) > MAX_TENANTS:  # they would be most of a refresh
        busy = gpu_wait = busy[:0]
    lanes_history = (
        history if start >= history.times[0] else histories.get(snapshot, world, chosen.onset, start, chosen.slos)
    )
    usage_by_service = _by_usage(readings(snapshot, stages))
    usage = {reading.service: reading for reading in usage_by_service}
    named = {str(service) for item in current if item.affected for service in (*item.affected, item.suspect.service)}
    closest = {item.service: item for item in _by_usage(judged(world, list(usage.values())))}
    rows = most_affected(service_rows(snapshot, history), named, closest)
    lines = {str(service): row for service, row in zip(world.services, world.red.p95, strict=True)}
    slo_seconds = {str(slo.service): slo.seconds for slo in snapshot.forecast.slos}
    learned = {str(slo.service) for slo in snapshot.forecast.slos if slo.learned}
    lanes = timeline(
        world,
        start,
        lanes_history,
        drawn,
        order=affected_order(snapshot, world, drawn, lanes_history, start, histories),
        figures=lane_figures(usage_by_service),
        rows=rows,
    )
    if not (snapshot.learning.done or current):  # without a baseline, no stage is known
        lanes = replace(lanes, lanes=[], hidden=0)
    breached = np.any(history.stages == STAGES.index("breached"), axis=1)
    counted = {str(who) for who, found in zip(history.services, breached.tolist(), strict=True) if found}
    above_slo = [
        found for found in exceedances(world, snapshot.forecast.slos, spark_seconds) if found.service not in counted
    ]
    if verdict_.state == "healthy":  # what is over has no value now: the worst that it had
        worst = peaks(world, snapshot.forecast.slos, lanes.lanes)
        past = {row.service: f"peak {reading_text(row)}" for row in worst}
        closest_fact = closest_before(max(worst, key=lambda row: row.usage, default=None), world.time - start)
        facts = (*verdict_.facts, *closest_fact, *uncounted(above_slo[:MAX_UNCOUNTED]))
        shared["verdict"] = replace(verdict_, facts=facts).payload()
        for lane in lanes.lanes:
            lane.slo = past.get(lane.service, lane.slo)
    in_lanes: dict[str, int] = {}
    if verdict_.situation:  # the services of the timeline, in its order, then others in trouble, of no other incident
        in_lanes = {lane.service: i for i, lane in enumerate(lanes.lanes)}
        own = {who for item in drawn.incidents for who in item.services}
        of_others = {str(who) for item in drawn.others for who in item.services if who not in own}
        rows = sorted(rows, key=lambda row: (in_lanes.get(row.id, len(in_lanes)), row.id in of_others))
    else:
        of_others = set()
    wanted = sum(row.id in in_lanes or (_affected(row) and row.id not in of_others) for row in rows)
    shown = min(len(rows), MAX_ROWS, max(1 if verdict_.situation else MIN_ROWS, wanted))
    notes = {found.service: too_few_text(found) for found in above_slo}
    contended = any(item.cause == "gpu_contention" for item in current)
    return {
        **shared,
        "step": world.step,
        "spark_seconds": spark_seconds,
        "tiles": vitals(snapshot, history, no_data=verdict_.state == "unknown", seconds=spark_seconds),
        "matrix": matrix(world, current) if contended else None,
        "timeline": lanes,
        "services": [
            ServiceLine(
                **vars(row),
                spark=sparkline(world, lines[row.id], spark_seconds),
                slo=number(slo_seconds.get(row.id, math.nan)),
                learned=row.id in learned,
                closest=(closest if verdict_.state == "healthy" else usage).get(row.id),
                note=notes.get(row.id, ""),
                past_breach=clauses(_past_breach(row, history, drawn) if verdict_.situation else ()),
            )
            for row in rows[:shown]
        ],
        "uncounted": above_slo,
        "hidden": len(rows) - shown,
        "gpus": {"busy": packed(whole_percents(newest(world.utilization))), "gpu_wait": packed(serving_wait(world))},
        "tenants": {"busy": packed(newest(busy)), "gpu_wait": packed(newest(gpu_wait))},
        "marked": gpus_in_incidents(world, current),
        "missing": list(world.missing),
        "no_stages": why_unknown(snapshot),
    }


def _past_breach(row: ServiceFigures, history: ServiceHistory, drawn: ChosenIncidents) -> Text:
    """When a service breached its SLO during an incident; empty where it still does, or did not."""
    if row.stage == "breached" or drawn.onset is None:
        return ()
    found = breach(history, [Service.parse(row.id)], drawn.onset)
    return breach_text(found, float(history.times[-1])) if found and found.until is not None else ()


def _by_usage(found: list[Reading]) -> list[Reading]:
    """Readings, those that use most of their limit last."""
    return sorted(found, key=lambda reading: reading.usage)


def matrix(world: World, current: Collection[Incident] = ()) -> Matrix:
    """Victims as rows, aggressors as columns; the pairs with the longest waits where not all fit.

    Batch jobs are left out as victims, and so are pairs without a wait where any service waits. current: incidents, of
    which the reverse pairs are left out too: the wait of the noisy neighbor is no help during an incident.
    """
    reverse = {(item.suspect.service, item.service) for item in current}
    shared, serving = pairs(world, current), serving_services(world)
    listed = [pair for pair in shared if pair.ratio is None or pair.ratio >= MIN_WAIT_RATIO] or list(shared)
    listed = [pair for pair in listed if (pair.victim, pair.aggressor) not in reverse]
    listed = [pair for pair in listed if pair.victim in serving] or listed
    victims = list(dict.fromkeys(pair.victim for pair in listed))
    aggressors = list(dict.fromkeys(pair.aggressor for pair in listed))
    rows, columns = victims[:MAX_PAIRS], aggressors[:MAX_PAIRS]
    row_of, column_of = ({service: i for i, service in enumerate(named)} for named in (rows, columns))
    cells: list[list[Cell | None]] = [[None] * len(columns) for _ in rows]
    for pair in listed:
        if (row := row_of.get(pair.victim)) is not None and (column := column_of.get(pair.aggressor)) is not None:
            cells[row][column] = Cell(pair.ratio, [gpu.label for gpu in pair.measured_gpus])
    jobs = [str(service) for service in rows if service not in serving]
    hidden = max(len(victims) - len(rows), len(aggressors) - len(columns))
    shown = {gpu for row in cells for cell in row if cell for gpu in cell.gpus}
    waits = zip(world.gpus, serving_wait(world).tolist(), strict=True)
    other = sum(ratio >= MIN_CONTENDED_RATIO and gpu.label not in shown for gpu, ratio in waits)
    return Matrix(list(map(str, rows)), jobs, list(map(str, columns)), cells, hidden, other)


def _affected(row: ServiceFigures) -> bool:
    return row.health in ("critical", "warning", "unknown") or row.stage not in (None, "healthy")


def most_affected(
    rows: list[ServiceFigures], victims: Collection[str], usage: Mapping[str, Reading]
) -> list[ServiceFigures]:
    """Rows sorted by stage, condition, role as an affected service, used share of the closest limit, and requests."""
    stages: dict[Stage | None, int] = {"breached": 0, "degraded": 1, "early_warning": 2}
    return sorted(
        rows,
        key=lambda row: (
            stages.get(row.stage, 3),
            HEALTH_ORDER.index(row.health),
            row.id not in victims,
            -usage[row.id].usage if row.id in usage else 0.0,
            not row.rate,
            row.id,
        ),
    )
