"""The payload of the Cascade page: map and propagation, anomalous signals, forecast breaches, and capacity. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Required

from typing_extensions import TypedDict

from foreshock_dashboard.analysis.baseline.replicas import pool_quota
from foreshock_dashboard.model.incident import Cause, Evidence, Incident, Severity, State
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import ConditionKind, Health, Stage
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import Text, text
from foreshock_dashboard.render.incident_summary import headline_clauses, headline_interval
from foreshock_dashboard.render.verdict.reading_text import lane_figures
from foreshock_dashboard.render.words.signals import SIGNAL_HINTS
from foreshock_dashboard.web.panels.at_risk import MAX_BREACH_SECONDS, AtRiskRow, at_risk_next
from foreshock_dashboard.web.panels.chosen_incidents import (
    ChosenIncidents,
    chosen_incidents,
    current_history,
    first_sign,
    lanes_start,
)
from foreshock_dashboard.web.panels.impact_order import affected_order
from foreshock_dashboard.web.panels.limits import readings
from foreshock_dashboard.web.panels.suspected_cause import suspected
from foreshock_dashboard.web.panels.timeline import Timeline, hop_lanes, timeline
from foreshock_dashboard.web.panels.topology import call_edges, map_nodes
from foreshock_dashboard.web.state.conditions import (
    LIKELY_BREACH_PROBABILITY,
    ServiceForecasts,
    open_incidents,
    service_rows,
)
from foreshock_dashboard.web.state.freshness import why_unknown
from foreshock_dashboard.web.state.incident_json import (
    BreachSeconds,
    ClauseJson,
    IncidentJson,
    breach_seconds,
    clauses,
    incident,
)
from foreshock_dashboard.web.state.numbers import Row, newest, number, number_of_time
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, pairs
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import LEADING_SIGNALS, Sign

MAX_SIGNALS = 40
MAX_LANES = 30
MAX_LINKS = 40
"""Pairs that share GPUs on the map, the longest waits first."""
MAX_CURRENT_SECONDS = 30.0
"""Age of a value from which the page says when it was."""
MIN_RECOVERED_SECONDS = 60.0
"""Time between the first anomaly and the oldest listed signal from which the page says why."""


class IncidentRow(Row):
    """A row of the chooser. cause: None where it is not stated."""

    id: str
    severity: Severity
    state: State
    cause: Cause | None
    service: str
    affected: list[str]
    since: float | None
    resolved: float | None


class CascadeNode(Row):
    """A service on the map. suspect: of an open incident that the page shows. order: of impact, from 1."""

    id: str
    health: Health
    condition: ConditionKind
    word: str
    stage: Stage | None
    suspect: bool
    order: int | None
    rate: float | None
    error_rate: float | None
    p95: float | None


Step = TypedDict("Step", {"from": str, "to": str, "via": str, "incident": str})
"""A step of the propagation of an incident, via a GPU, load, or a call; or one that is forecast, along a call."""


class SignalRow(Row):
    """A signal that is anomalous now. meaning: why it matters. leading: it changes before users notice.

    at: Unix seconds of the value of a recovering incident, which is not current; None if it is.
    """

    service: str
    signal: str
    entity: str
    since: float | None
    value: float | None
    baseline: float | None
    threshold: float | None
    unit: str
    meaning: str
    leading: bool
    at: float | None = None


class BreachRow(Row):
    """A service at risk. probability: of an SLO breach within ten minutes."""

    service: str
    probability: float | None
    seconds: BreachSeconds


class QuotaRow(Row):
    """The GPU quota of a pool: used GPUs, and their limit."""

    pool: str
    used: float
    limit: float


class Cascade(TypedDict, total=False):
    """The payload of the Cascade page; the fields below `ready` are missing before the first evaluation.

    incident: the id in the address. selected: that incident, or all open ones; headline, suspected: the condition and
    the suspected cause of the first one in words. at_risk: services that will breach their SLO, the soonest first.
    unknown_reason: why nothing is known. gpu_waits: victim, aggressor, share of time, number of GPUs.
    capacity_services: services with known replicas or load; capacity_service: the one that the charts show. quota: of
    its pool. recovered_since: of the oldest anomaly, if its signal is no longer anomalous, and so not listed.
    """

    incidents: Required[list[IncidentRow]]
    selected: Required[list[IncidentJson]]
    headline: Required[list[ClauseJson]]
    suspected: Required[list[ClauseJson]]
    at_risk: list[AtRiskRow]
    incident: Required[str]
    open_incidents: Required[list[IncidentJson]]
    ready: Required[bool]
    unknown_reason: str
    timeline: Timeline
    services: list[CascadeNode]
    edges: list[list[float | str | None]]
    gpu_waits: list[list[str | float | None]]
    propagation: list[Step]
    forecast_steps: list[Step]
    signals: list[SignalRow]
    recovered_since: float | None
    breaches: list[BreachRow]
    capacity_service: str | None
    capacity_services: list[str]
    quota: QuotaRow | None


def cascade(
    snapshot: Snapshot,
    start: float,
    incident_id: str = "",
    service: str = "",
    wide: World | None = None,
    histories: HistoryCache | None = None,
    *,
    zoom: bool = False,
) -> Cascade:
    """All values of the Cascade page.

    start: Unix seconds from which lanes are drawn. incident_id: one incident; all open ones by default.
    service: for the capacity charts. wide: the World of a range that begins before the snapshot's. zoom: whether the
    lanes begin shortly before the first anomaly of the incidents instead.
    """
    world, histories = snapshot.world, histories or HistoryCache()
    chosen = chosen_incidents(snapshot, incident_id)
    body: Cascade = {
        "incidents": [_row(item) for item in snapshot.incidents if item.affected or item.id == incident_id],
        "selected": [incident(item) for item in chosen.incidents],
        "headline": clauses(_headline(chosen.incidents[0])) if chosen.incidents else [],
        "suspected": clauses(suspected(chosen.incidents[0], world)) if chosen.incidents and world else [],
        "incident": incident_id,
        "open_incidents": [incident(item) for item in open_incidents(snapshot)],
        "ready": world is not None,
    }
    if world is None:
        return body
    wide_world = wide or world
    since = max(start, float(wide_world.times[0]))
    history = histories.get(snapshot, wide_world, chosen.onset, since, chosen.slos)
    order = affected_order(snapshot, world, chosen, history, since, histories)
    first = max(since, lanes_start(world, chosen)) if zoom and chosen.onset is not None else since
    current = current_history(snapshot, world, chosen_incidents(snapshot), histories)
    rows = service_rows(snapshot, current)
    figures = lane_figures(readings(snapshot, current.now()))
    lanes = timeline(wide_world, first, history, chosen, MAX_LANES, order, figures, rows)
    positions = {lane.service: lane.order for lane in lanes.lanes}
    positions |= {service_: i for i, service_ in enumerate(order, 1)}
    nodes = set(map_nodes(world))
    steps = propagation(world, chosen, order)
    hops = [step["from"] for step in steps if step["via"] == "load"]
    present = [item for item in chosen.incidents if item.state == "firing" or incident_id]
    suspects = {str(item.stated_suspect.service) for item in present if item.is_open}
    signals = anomalous_signals(history.signs, chosen.incidents, world.time, _measured_queues(world))
    shown = capacity_service(snapshot, chosen, service)
    return {
        **body,
        "unknown_reason": why_unknown(snapshot),
        "timeline": hop_lanes(past_lanes(lanes), hops, chosen, rows),
        "services": [
            CascadeNode(
                *(row.id, row.health, row.condition, row.word, row.stage),
                *(row.id in suspects, positions.get(row.id)),
                *(row.rate, row.error_rate, row.p95),
            )
            for row in rows
            if row.id in nodes
        ],
        "edges": call_edges(world, nodes),
        "gpu_waits": _gpu_waits(world, open_incidents(snapshot)),
        "propagation": steps,
        "forecast_steps": forecast_steps(world, chosen, order, steps),
        "signals": signals[:MAX_SIGNALS],
        "recovered_since": recovered_since(signals, chosen, lanes),
        "at_risk": at_risk_next(chosen, current.now()),
        "breaches": breaches(snapshot, chosen),
        "capacity_service": None if shown is None else str(shown),
        "capacity_services": [str(service_) for service_ in capacity_services(snapshot)],
        "quota": None if shown is None else quota(world, shown),
    }


def _headline(item: Incident) -> Text:
    """The condition with its metric, and the interval of a forecast."""
    return text(headline_clauses(item), headline_interval(item))


def past_lanes(lanes: Timeline) -> Timeline:
    """The lanes up to now: the page shows the forecast in a separate table."""
    past = [replace(lane, forecast=None) for lane in lanes.lanes if lane.part != "at_risk" or lane.intervals]
    return replace(lanes, end=lanes.now, lanes=past)


def _row(item: Incident) -> IncidentRow:
    affected = list(map(str, item.affected))
    times = number_of_time(item.since), number_of_time(item.resolved)
    cause = item.cause if item.is_cause_stated else None
    return IncidentRow(item.id, item.severity, item.state, cause, str(item.service), affected, *times)


def _gpu_waits(world: World, incidents: Sequence[Incident]) -> list[list[str | float | None]]:
    """The pairs of services that wait, the longest waits first."""
    return [
        [str(pair.victim), str(pair.aggressor), pair.ratio, len(pair.gpus)]
        for pair in pairs(world, incidents)[:MAX_LINKS]
        if pair.ratio is not None and pair.ratio >= MIN_WAIT_RATIO
    ]


def propagation(world: World, chosen: ChosenIncidents, order: Sequence[str]) -> list[Step]:
    """The steps of a cascade, as far as calls and shared GPUs explain them.

    From a suspect to the service that waits on its GPUs, or along the calls that carry its load; then from each
    affected service to its callers that were affected later. The oldest incident first, each with its own steps.
    """
    calls: dict[str, list[str]] = {}
    for edge in world.edges:
        calls.setdefault(str(edge.client), []).append(str(edge.server))
    incidents = sorted(chosen.incidents, key=first_sign)
    steps: dict[tuple[str, str, str], str] = {}
    callers = [
        (earlier[0], service_, "call")
        for position, service_ in enumerate(order)
        if (earlier := [target for target in order[:position] if target in calls.get(service_, ())])
    ]
    for item in incidents:
        suspect = item.stated_suspect.service
        found: list[tuple[str, str, str]] = []
        if suspect not in (None, item.service) and item.cause == "gpu_contention":
            found.append((str(suspect), str(item.service), "gpu"))
        elif suspect not in (None, item.service):
            path = _shortest_path(calls, str(suspect), str(item.service))
            found += [(source, target, "load") for source, target in pairwise(path)]
        for step in (*found, *(step for step in callers if step[1] in map(str, item.affected))):
            steps.setdefault(step, item.id)
    for step in callers:
        steps.setdefault(step, incidents[-1].id if incidents else "")
    return [_step(*step, incident_) for step, incident_ in steps.items()]


def _step(source: str, target: str, via: str, incident_id: str) -> Step:
    return {"from": source, "to": target, "via": via, "incident": incident_id}


def forecast_steps(world: World, chosen: ChosenIncidents, order: Sequence[str], steps: Sequence[Step]) -> list[Step]:
    """The calls along which an SLO breach is expected to propagate: to callers at risk, from what breaches before them.

    order: the affected services; one that recovers propagates nothing more. steps: of the propagation so far, which are
    left out.
    """
    firing = [item for item in chosen.incidents if item.state == "firing"]
    named = {str(service_) for item in firing for service_ in (item.service, *item.affected)}
    recovering = {str(service_) for item in chosen.incidents for service_ in (item.service, *item.affected)} - named
    affected = {*order, *named} - recovering
    incident_of = {str(risk.service): item.id for item in reversed(firing) for risk in item.at_risk}
    seconds = {name: risk.p50 for name, risk in chosen.risks.items() if 0 < risk.p50 <= MAX_BREACH_SECONDS}
    taken = {(step["from"], step["to"]) for step in steps}
    found = [
        (seconds[edge.client], str(edge.server), str(edge.client))
        for edge in world.edges
        if edge.client in seconds
        and (str(edge.server) in affected or seconds.get(edge.server, math.inf) <= seconds[edge.client])
        and (str(edge.server), str(edge.client)) not in taken
    ]
    latest = firing[0].id if firing else ""
    return [
        _step(source, target, "forecast", incident_of.get(target, latest)) for _, source, target in sorted(set(found))
    ]


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


def _measured_queues(world: World) -> frozenset[str]:
    """The services whose model servers report their running requests."""
    servers = world.model_servers
    if servers is None:
        return frozenset()
    return frozenset(
        str(service_)
        for service_, running in zip(servers.services, newest(servers.running), strict=True)
        if math.isfinite(running)
    )


def anomalous_signals(
    signs: Sequence[Sign], incidents: Sequence[Incident], now: float, measured: Collection[str] = ()
) -> list[SignalRow]:
    """The signals that are anomalous, and the evidence of open incidents, which may be more recent; the oldest first.

    Evidence has no threshold. A signal that is both began with the earlier of them, and has the value and the baseline
    that the incident shows on every page; evidence that is not current has its time, and gives way to a sign. now: Unix
    seconds. measured: services whose requests in flight are measured, of which the estimate is left out.
    """

    def is_shown(signal: str, service_: str) -> bool:
        return signal != "flight" or service_ not in measured

    listed = [_signal(sign) for sign in signs if is_shown(sign.signal, str(sign.service))]
    rows = {(row.signal, row.entity): row for row in listed}
    for item in incidents:
        is_past = item.evidence_at is not None and item.evidence_at < now - MAX_CURRENT_SECONDS
        for evidence in item.evidence if item.is_open else ():
            row = _evidence_signal(item, evidence)
            if not is_shown(evidence.metric, row.service):
                continue
            same = rows.get((row.signal, row.entity))
            current = same if is_past and same else row
            rows[row.signal, row.entity] = replace(
                same or replace(row, at=number_of_time(item.evidence_at) if is_past else None),
                since=_earliest(same.since if same else None, row.since),
                value=current.value,
                baseline=current.baseline,
            )
    return sorted(rows.values(), key=lambda row: (row.since or 0.0, row.service, row.signal))


def recovered_since(signals: Sequence[SignalRow], chosen: ChosenIncidents, lanes: Timeline) -> float | None:
    """The first anomaly of the page, where no listed signal begins with it."""
    if chosen.onset is None:
        return None
    first = min(chosen.onset, *(lane.first for lane in lanes.lanes if lane.intervals), math.inf)
    oldest = _earliest(*(row.since for row in signals))
    return number_of_time(first) if oldest is not None and first < oldest - MIN_RECOVERED_SECONDS else None


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _evidence_signal(item: Incident, evidence: Evidence) -> SignalRow:
    named = [service for service in map(str, item.affected) if evidence.entity.startswith(service)]
    return SignalRow(
        named[0] if named else str(item.service),
        evidence.name,
        evidence.entity,
        number_of_time(evidence.since),
        number(evidence.value),
        number(evidence.baseline),
        None,
        evidence.unit,
        meaning="evidence of the incident",
        leading=False,
    )


def _signal(sign: Sign) -> SignalRow:
    return SignalRow(
        str(sign.service),
        sign.text,
        sign.entity,
        number_of_time(sign.since),
        number(sign.value),
        number(sign.baseline),
        number(sign.threshold),
        sign.unit,
        meaning=SIGNAL_HINTS[sign.signal],
        leading=sign.signal in LEADING_SIGNALS,
    )


def breaches(snapshot: Snapshot, chosen: ChosenIncidents) -> list[BreachRow]:
    """Seconds until SLO breaches, the soonest first: of the incidents, and of other likely services."""
    forecasts = ServiceForecasts(snapshot)
    others = (risk.service for risk in snapshot.forecast.risks if risk.probability >= LIKELY_BREACH_PROBABILITY)
    nearest = {service_: forecasts.expected[service_] for service_ in {*chosen.risks, *others}}
    return [
        BreachRow(str(risk.service), number(forecasts.breach_probability(risk.service)), breach_seconds(risk))
        for risk in sorted(nearest.values(), key=lambda risk: (risk.p50, risk.service))
        if risk.p20 <= MAX_BREACH_SECONDS
    ]


def capacity_services(snapshot: Snapshot) -> tuple[Service, ...]:
    """Services with known replicas or load."""
    world = snapshot.world
    services = set(world.capacity.services) if world and world.capacity else set()
    services |= set(world.model_servers.services) if world and world.model_servers else set()
    return tuple(sorted(services))


def capacity_service(snapshot: Snapshot, chosen: ChosenIncidents, chosen_name: str = "") -> Service | None:
    """The service of the capacity charts: the chosen service, the service of the incident, or the most loaded."""
    known = capacity_services(snapshot)
    if chosen_name:
        return next((service_ for service_ in known if str(service_) == chosen_name), None)
    for item in chosen.incidents:
        for service_ in (item.service, *item.affected):
            if service_ in known:
                return service_
    loads = sorted(snapshot.forecast.loads, key=lambda load: (-load.ratio, load.service))
    return next((load.service for load in loads if load.service in known), known[0] if known else None)


def quota(world: World, service: Service) -> QuotaRow | None:
    """The GPU quota of the pool of a service; None where it is unknown.

    Its pool is that of its GPUs; without pools of GPUs, the pool in its name, as in the analysis.
    """
    found = pool_quota(world, service)
    return QuotaRow(*found) if found else None
