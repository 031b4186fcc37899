"""What the Cascade page shows: where it spread from and how, early signs, time left, and room to move. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

from foreshock_dashboard.model.incident import AtRisk, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.panels.service_map import edges, map_nodes
from foreshock_dashboard.web.panels.timeline import ChosenIncidents, affected_order, chosen_incidents, timeline
from foreshock_dashboard.web.state.conditions import open_incidents, service_rows
from foreshock_dashboard.web.state.freshness import why_unknown
from foreshock_dashboard.web.state.history_cache import HistoryCache
from foreshock_dashboard.web.state.incident_json import breach_seconds, cause, incident
from foreshock_dashboard.web.state.numbers import number, number_of_time
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, pairs
from foreshock_dashboard.web.state.stages import LEADING_SIGNALS, Sign

MAX_SIGNS = 40
NODE_FIELDS = ("id", "word", "stage", "rate", "failed", "p95")
"""What the map shows of a service."""
MAX_LANES = 30
MAX_LINKS = 40
"""Pairs that share GPUs on the map, the longest waits first."""
MAX_BREACH_SECONDS = 1800.0
"""Seconds within which a breach is worth a line."""
MIN_BREACH_PROBABILITY = 0.2
"""Chance of missing its objective within ten minutes from which a service outside the incident is listed."""
IMPACT_TEXTS = {"p95": "its callers wait longer", "failed": "its callers get errors"}


def cascade(
    snapshot: Snapshot,
    start: float,
    incident_id: str = "",
    service: str = "",
    wide: World | None = None,
    histories: HistoryCache | None = None,
) -> Json:
    """All values of the Cascade page.

    start: Unix seconds from which lanes are drawn. incident_id: one incident; all open ones by default.
    service: the one whose headroom is shown. wide: the World of a range that begins before the snapshot's.
    """
    world, histories = snapshot.world, histories or HistoryCache()
    chosen = chosen_incidents(snapshot, incident_id)
    body: Json = {
        "incidents": [_row(item) for item in snapshot.incidents if item.victims or item.id == incident_id],
        "chosen": [incident(item) for item in chosen.incidents],
        "wanted": incident_id,
        "warnings": [incident(item) for item in open_incidents(snapshot)],
    }
    if world is None:
        return body | {"ready": False}
    seen = wide or world
    since = max(start, float(seen.times[0]))
    history = histories.get(snapshot, seen, chosen.onset, since)
    order = affected_order(snapshot, world, chosen, history, since, histories)
    lanes = timeline(seen, since, history, chosen, MAX_LANES, order)
    number = {lane["service"]: lane["order"] for lane in lanes["lanes"]} | {who: i for i, who in enumerate(order, 1)}
    rows, nodes = service_rows(snapshot, history), set(map_nodes(world))
    focus = headroom_service(snapshot, chosen, service)
    return body | {
        "ready": True,
        "untold": why_unknown(snapshot),
        "earliest": number_of_time(float(seen.times[0])) if since > start + seen.step else None,
        "timeline": lanes,
        "services": [
            {name: row[name] for name in NODE_FIELDS} | {"order": number.get(row["id"])}
            for row in rows
            if row["id"] in nodes
        ],
        "edges": edges(world, nodes),
        "sharing": _sharing(world),
        "path": propagation(world, chosen, order),
        "signs": [_sign(sign) for sign in history.signs[:MAX_SIGNS]],
        "breaches": breaches(snapshot, chosen),
        "focus": None if focus is None else str(focus),
        "room": [str(who) for who in services_with_headroom(snapshot)],
    }


def _row(item: Incident) -> Json:
    """A line of the chooser."""
    return {
        "id": item.id,
        "phase": item.phase,
        "cause": cause(item.cause),
        "victim": str(item.victim),
        "victims": [str(who) for who in item.victims],
        "since": number_of_time(item.since),
        "until": number_of_time(item.until),
    }


def _sharing(world: World) -> list[list[str | float | None]]:
    """Who waits for whom on GPUs: victim, aggressor, share of time, number of GPUs."""
    return [
        [str(pair.victim), str(pair.aggressor), pair.ratio, len(pair.gpus)]
        for pair in pairs(world)[:MAX_LINKS]
        if pair.ratio is not None and pair.ratio >= MIN_WAIT_RATIO
    ]


def propagation(world: World, chosen: ChosenIncidents, order: Sequence[str]) -> list[Json]:
    """How trouble went from one to the next, as far as calls and shared GPUs explain it.

    From a culprit to whom it takes GPUs from, or along the calls by which its load comes; then from each that was hit
    to its callers that were hit later.
    """
    calls: dict[str, list[str]] = {}
    for edge in world.edges:
        calls.setdefault(str(edge.client), []).append(str(edge.server))
    found: list[tuple[str, str, str]] = []
    for item in chosen.incidents:
        if item.aggressor is None or item.aggressor == item.victim:
            continue
        if item.cause == "pool contention":
            found.append((str(item.aggressor), str(item.victim), "gpu"))
        else:
            way = _shortest_path(calls, str(item.aggressor), str(item.service))
            found += [(one, other, "load") for one, other in pairwise(way)]
    for place, who in enumerate(order):
        earlier = [other for other in order[:place] if other in calls.get(who, ())]
        if earlier:
            found.append((earlier[0], who, "call"))
    return [{"from": one, "to": other, "via": via} for one, other, via in dict.fromkeys(found)]


def _shortest_path(calls: Mapping[str, Sequence[str]], start: str, goal: str) -> list[str]:
    """The shortest way along calls; empty where there is none."""
    before: dict[str, str] = {start: ""}
    queue = deque([start])
    while queue and goal not in before:
        here = queue.popleft()
        for following in calls.get(here, ()):
            if following not in before:
                before[following] = here
                queue.append(following)
    way = [goal] if goal in before else []
    while way and before[way[0]]:
        way.insert(0, before[way[0]])
    return way


def _sign(sign: Sign) -> Json:
    return {
        "service": str(sign.service),
        "colour": service_colour(str(sign.service)),
        "text": sign.text,
        "entity": sign.entity,
        "since": number_of_time(sign.since),
        "value": number(sign.value),
        "level": number(sign.level),
        "threshold": number(sign.threshold),
        "unit": sign.unit,
        "why": LEADING_SIGNALS.get(sign.signal) or IMPACT_TEXTS[sign.signal],
        "early": sign.signal in LEADING_SIGNALS,
    }


def breaches(snapshot: Snapshot, chosen: ChosenIncidents) -> list[Json]:
    """Seconds until services miss their objectives, the soonest first: of the incidents, and who else is likely to."""
    found: dict[Service, AtRisk] = {}
    for item in chosen.incidents:
        for risk in item.at_risk if item.until is None else ():
            if risk.service not in found or risk.p50 < found[risk.service].p50:
                found[risk.service] = risk
    chances = {risk.service: risk.chance for risk in snapshot.forecast.risks}
    for each in snapshot.forecast.risks:
        if each.chance >= MIN_BREACH_PROBABILITY:
            found.setdefault(each.service, AtRisk(each.service, each.p20, each.p50, each.p80))
    rows = sorted(found.values(), key=lambda risk: (risk.p50, risk.service))
    return [
        {
            "service": str(risk.service),
            "colour": service_colour(str(risk.service)),
            "chance": number(chances.get(risk.service, math.nan)),
            "seconds": breach_seconds(risk),
        }
        for risk in rows
        if risk.p20 <= MAX_BREACH_SECONDS
    ]


def services_with_headroom(snapshot: Snapshot) -> tuple[Service, ...]:
    """Services whose replicas or load are known."""
    world = snapshot.world
    told = set(world.capacity.services) if world and world.capacity else set()
    told |= set(world.model_servers.services) if world and world.model_servers else set()
    return tuple(sorted(told))


def headroom_service(snapshot: Snapshot, chosen: ChosenIncidents, asked: str = "") -> Service | None:
    """The service whose room is shown: the one asked for, that of the incident, or the one with the highest load."""
    known = services_with_headroom(snapshot)
    if asked:
        return next((who for who in known if str(who) == asked), None)
    for item in chosen.incidents:
        for who in (item.service, *item.victims):
            if who in known:
                return who
    loads = sorted(snapshot.forecast.loads, key=lambda load: (-load.ratio, load.service))
    return next((load.service for load in loads if load.service in known), known[0] if known else None)
