"""The payload of the Cascade page: origin and propagation, early signs, time to breaches, and headroom. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Required

from typing_extensions import TypedDict

from foreshock_dashboard.model.incident import AtRisk, Cause, Incident, Severity, State
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.panels.timeline import (
    ChosenIncidents,
    Timeline,
    affected_order,
    chosen_incidents,
    nearest_breaches,
    timeline,
)
from foreshock_dashboard.web.panels.topology import call_edges, map_nodes
from foreshock_dashboard.web.state.conditions import open_incidents, service_rows
from foreshock_dashboard.web.state.freshness import why_unknown
from foreshock_dashboard.web.state.incident_json import BreachSeconds, IncidentJson, breach_seconds, incident
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, pairs
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import LEADING_SIGNALS, Sign, Stage

MAX_SIGNS = 40
MAX_LANES = 30
MAX_LINKS = 40
"""Pairs that share GPUs on the map, the longest waits first."""
MAX_BREACH_SECONDS = 1800.0
"""Time within which a breach is listed."""
MIN_BREACH_PROBABILITY = 0.2
"""Probability of a breach within ten minutes from which a service outside the incident is listed."""
IMPACT_TEXTS = {"p95": "its callers wait longer", "failed": "its callers get errors"}


class IncidentRow(Row):
    """A row of the chooser."""

    id: str
    severity: Severity
    state: State
    cause: Cause
    service: str
    affected: list[str]
    since: float | None
    resolved: float | None


class CascadeNode(Row):
    """A service on the map."""

    id: str
    word: str
    stage: Stage | None
    rate: float | None
    failed: float | None
    p95: float | None
    order: int | None


Step = TypedDict("Step", {"from": str, "to": str, "via": str})
"""A step of the propagation, via a GPU, load, or a call."""


class SignRow(Row):
    """A sign that holds now."""

    service: str
    colour: int
    text: str
    entity: str
    since: float | None
    value: float | None
    level: float | None
    threshold: float | None
    unit: str
    why: str
    early: bool


class BreachRow(Row):
    """A service at risk."""

    service: str
    colour: int
    chance: float | None
    seconds: BreachSeconds


class Cascade(TypedDict, total=False):
    """The payload of the Cascade page; the fields below `ready` are missing before the first evaluation."""

    incidents: Required[list[IncidentRow]]
    chosen: Required[list[IncidentJson]]
    wanted: Required[str]
    warnings: Required[list[IncidentJson]]
    ready: Required[bool]
    untold: str
    earliest: float | None
    timeline: Timeline
    services: list[CascadeNode]
    edges: list[list[float | str | None]]
    sharing: list[list[str | float | None]]
    path: list[Step]
    signs: list[SignRow]
    breaches: list[BreachRow]
    focus: str | None
    room: list[str]


def cascade(
    snapshot: Snapshot,
    start: float,
    incident_id: str = "",
    service: str = "",
    wide: World | None = None,
    histories: HistoryCache | None = None,
) -> Cascade:
    """All values of the Cascade page.

    start: Unix seconds from which lanes are drawn. incident_id: one incident; all open ones by default.
    service: for the headroom chart. wide: the World of a range that begins before the snapshot's.
    """
    world, histories = snapshot.world, histories or HistoryCache()
    chosen = chosen_incidents(snapshot, incident_id)
    body: Cascade = {
        "incidents": [_row(item) for item in snapshot.incidents if item.affected or item.id == incident_id],
        "chosen": [incident(item) for item in chosen.incidents],
        "wanted": incident_id,
        "warnings": [incident(item) for item in open_incidents(snapshot)],
        "ready": world is not None,
    }
    if world is None:
        return body
    wide_world = wide or world
    since = max(start, float(wide_world.times[0]))
    history = histories.get(snapshot, wide_world, chosen.onset, since)
    order = affected_order(snapshot, world, chosen, history, since, histories)
    lanes = timeline(wide_world, since, history, chosen, MAX_LANES, order)
    positions = {lane.service: lane.order for lane in lanes.lanes}
    positions |= {service_: i for i, service_ in enumerate(order, 1)}
    rows, nodes = service_rows(snapshot, history), set(map_nodes(world))
    focus = headroom_service(snapshot, chosen, service)
    return {
        **body,
        "untold": why_unknown(snapshot),
        "earliest": number_of_time(float(wide_world.times[0])) if since > start + wide_world.step else None,
        "timeline": lanes,
        "services": [
            CascadeNode(row.id, row.word, row.stage, row.rate, row.failed, row.p95, positions.get(row.id))
            for row in rows
            if row.id in nodes
        ],
        "edges": call_edges(world, nodes),
        "sharing": _sharing(world),
        "path": propagation(world, chosen, order),
        "signs": [_sign(sign) for sign in history.signs[:MAX_SIGNS]],
        "breaches": breaches(snapshot, chosen),
        "focus": None if focus is None else str(focus),
        "room": [str(service_) for service_ in services_with_headroom(snapshot)],
    }


def _row(item: Incident) -> IncidentRow:
    affected = list(map(str, item.affected))
    times = number_of_time(item.since), number_of_time(item.resolved)
    return IncidentRow(item.id, item.severity, item.state, item.cause, str(item.service), affected, *times)


def _sharing(world: World) -> list[list[str | float | None]]:
    """Waits on GPUs: victim, aggressor, share of time, number of GPUs."""
    return [
        [str(pair.victim), str(pair.aggressor), pair.ratio, len(pair.gpus)]
        for pair in pairs(world)[:MAX_LINKS]
        if pair.ratio is not None and pair.ratio >= MIN_WAIT_RATIO
    ]


def propagation(world: World, chosen: ChosenIncidents, order: Sequence[str]) -> list[Step]:
    """The steps of a cascade, as far as calls and shared GPUs explain them.

    From a cause to the services that wait for it, or along the calls that carry its load; then from each affected
    service to its callers that were affected later.
    """
    calls: dict[str, list[str]] = {}
    for edge in world.edges:
        calls.setdefault(str(edge.client), []).append(str(edge.server))
    steps: list[tuple[str, str, str]] = []
    for item in chosen.incidents:
        if item.suspect.service is None or item.suspect.service == item.service:
            continue
        if item.cause == "gpu_contention":
            steps.append((str(item.suspect.service), str(item.service), "gpu"))
        else:
            path = _shortest_path(calls, str(item.suspect.service), str(item.service))
            steps += [(source, target, "load") for source, target in pairwise(path)]
    for position, service_ in enumerate(order):
        earlier = [target for target in order[:position] if target in calls.get(service_, ())]
        if earlier:
            steps.append((earlier[0], service_, "call"))
    return [{"from": source, "to": target, "via": via} for source, target, via in dict.fromkeys(steps)]


def _shortest_path(calls: Mapping[str, Sequence[str]], start: str, goal: str) -> list[str]:
    previous: dict[str, str] = {start: ""}
    queue = deque([start])
    while queue and goal not in previous:
        node = queue.popleft()
        for following in calls.get(node, ()):
            if following not in previous:
                previous[following] = node
                queue.append(following)
    path = [goal] if goal in previous else []
    while path and previous[path[0]]:
        path.insert(0, previous[path[0]])
    return path


def _sign(sign: Sign) -> SignRow:
    return SignRow(
        str(sign.service),
        service_color(str(sign.service)),
        sign.text,
        sign.entity,
        number_of_time(sign.since),
        number(sign.value),
        number(sign.level),
        number(sign.threshold),
        sign.unit,
        why=LEADING_SIGNALS.get(sign.signal) or IMPACT_TEXTS[sign.signal],
        early=sign.signal in LEADING_SIGNALS,
    )


def breaches(snapshot: Snapshot, chosen: ChosenIncidents) -> list[BreachRow]:
    """Seconds until SLO breaches, the soonest first: of the incidents, and of other likely services."""
    nearest = nearest_breaches(chosen.incidents)
    chances = {risk.service: risk.chance for risk in snapshot.forecast.risks}
    for risk_ in snapshot.forecast.risks:
        if risk_.chance >= MIN_BREACH_PROBABILITY:
            nearest.setdefault(risk_.service, AtRisk(risk_.service, risk_.p20, risk_.p50, risk_.p80))
    rows = sorted(nearest.values(), key=lambda risk: (risk.p50, risk.service))
    listed = []
    for risk in rows:
        if risk.p20 <= MAX_BREACH_SECONDS:
            name, chance = str(risk.service), number(chances.get(risk.service, math.nan))
            listed.append(BreachRow(name, service_color(name), chance, breach_seconds(risk)))
    return listed


def services_with_headroom(snapshot: Snapshot) -> tuple[Service, ...]:
    """Services with known replicas or load."""
    world = snapshot.world
    services = set(world.capacity.services) if world and world.capacity else set()
    services |= set(world.model_servers.services) if world and world.model_servers else set()
    return tuple(sorted(services))


def headroom_service(snapshot: Snapshot, chosen: ChosenIncidents, chosen_name: str = "") -> Service | None:
    """The service for the headroom chart: the chosen service, the service of the incident, or the most loaded."""
    known = services_with_headroom(snapshot)
    if chosen_name:
        return next((service_ for service_ in known if str(service_) == chosen_name), None)
    for item in chosen.incidents:
        for service_ in (item.service, *item.affected):
            if service_ in known:
                return service_
    loads = sorted(snapshot.forecast.loads, key=lambda load: (-load.ratio, load.service))
    return next((load.service for load in loads if load.service in known), known[0] if known else None)
