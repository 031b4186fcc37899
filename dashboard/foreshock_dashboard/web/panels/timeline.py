"""The lanes of a cascade: the services in the order of their first anomaly, their stages, and their forecast. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Literal

from foreshock_dashboard.model.incident import AtRisk, Evidence, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import ConditionKind, Health, Stage
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.web.panels.chosen_incidents import ChosenIncidents, first_sign
from foreshock_dashboard.web.panels.neighbor_time import neighbor_time
from foreshock_dashboard.web.panels.suspected_cause import suspicion
from foreshock_dashboard.web.state.change_json import ChangeMark, change_mark_rows
from foreshock_dashboard.web.state.conditions import ServiceFigures
from foreshock_dashboard.web.state.incident_json import BreachSeconds, breach_seconds
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time
from foreshock_dashboard.web.state.stages import STAGES, Interval, ServiceHistory

MAX_LANES = 10
"""Lanes on the Now page; the Cascade page has the rest."""
MIN_FORECAST_SECONDS, FORECAST_SECONDS = 300.0, 600.0
"""Bounds of the time beyond now for which a forecast is drawn."""
RELATED_BEFORE_SECONDS = 120.0
"""Time before the first anomaly from which an interval belongs to the incident."""
MAX_GAP_SECONDS = 600.0
"""Time without an anomaly after which an interval counts as another one."""


_PARTS = ("suspect", "affected", "at_risk")
"""Parts in the order of the lanes."""


class LaneSign(Row):
    """The first anomaly of a lane."""

    text: str
    entity: str
    since: float | None
    value: float | None
    baseline: float | None
    unit: str


class LaneState(Row):
    """The state of a service at the last point, as on all pages."""

    health: Health
    condition: ConditionKind
    word: str
    stage: Stage | None


@dataclass
class Lane:
    """A service over time. intervals: start, end, and stage of each.

    slo: during a breach the metrics in breach beside their SLOs, else that of the sign, or closest to its SLO. part:
    at_risk is not degraded yet. order: place among the affected services, from 1. until: Unix seconds at which a
    suspected cause ended, None while it lasts. state: None where it is not known.
    """

    service: str
    part: Literal["suspect", "affected", "at_risk"]
    order: int | None
    first: float
    why: str
    intervals: list[list[float | None]]
    sign: LaneSign | None
    forecast: BreachSeconds | None
    slo: str = ""
    until: float | None = None
    state: LaneState | None = None


class TimelineEvent(Row):
    """When an incident warned or paged, or the last one began to recover, Unix seconds."""

    at: float
    kind: Literal["warning", "paged", "recovering"]


class Timeline(Row):
    """Lanes, their time axis, and the events of the incidents."""

    start: float | None
    now: float | None
    end: float | None
    stages: list[Stage]
    lanes: list[Lane]
    hidden: int
    changes: list[ChangeMark]
    events: list[TimelineEvent]


def _cause_start(lane: Lane, evidence: Evidence | None) -> float:
    """Unix seconds from which on the cause of an incident acts: its first anomaly, also where that is only evidence.

    Without any, it is that of the incident. An effect may be seen up to a minute before: so exact are onsets.
    lane, evidence: of the suspected service.
    """
    if evidence is None or not math.isfinite(evidence.since):
        return lane.first
    return min(evidence.since, lane.first) if lane.intervals else evidence.since


def _cause_end(world: World, incident: Incident) -> float | None:
    """Unix seconds at which the cause of an incident ended: of a noisy neighbor, when its GPU time was normal again."""
    if incident.recovering_since is None or (found := neighbor_time(world, incident)) is None:
        return incident.recovering_since
    return (found.since or incident.recovering_since) if found.is_back else None


def _end(incident: Incident) -> float:
    """Unix seconds at which the symptoms of a resolved incident ended."""
    return incident.recovering_since or incident.resolved or 0.0


def timeline(
    world: World,
    start: float,
    history: ServiceHistory,
    chosen: ChosenIncidents,
    max_lanes: int = MAX_LANES,
    order: Sequence[str] = (),
    figures: Mapping[tuple[str, str], str] = MappingProxyType({}),
    rows: Sequence[ServiceFigures] = (),
) -> Timeline:
    """Lanes: suspected causes, affected services in the order of the first anomaly, then those at risk by forecast.

    start: Unix seconds. order: the result of `affected_order`; other services are not affected by an incident.
    figures: of `lane_figures`. Times in Unix seconds; stages are indexes into `stages`. rows: the services with their
    state.
    """
    place = {service: i for i, service in enumerate(order, 1)}
    risks = chosen.risks
    named = {service for item in chosen.incidents for service in (item.service, *item.affected)}
    evidence = _first_evidence(chosen.incidents)
    symptoms = _first_evidence(chosen.incidents, symptoms=True)
    firing = _first_evidence([item for item in chosen.incidents if item.state == "firing"], symptoms=True)
    affected = _affected(history, named, chosen, firing)
    past = {item.service: item for item in chosen.ended if item.service in history.services and _end(item) > start}
    for service, item in past.items():
        affected.setdefault(service, (Interval(first_sign(item), _end(item), "early_warning"),))
    stated = ((item.stated_suspect.service, item) for item in chosen.incidents)
    suspects = {service: item for service, item in stated if service is not None}
    if place and chosen.onset is not None:  # a longer range has a coarser resolution, and might show others
        affected = {
            service: intervals
            for service, intervals in affected.items()
            if str(service) in place or service in suspects or _worst(intervals) < 2
        }
    lanes = [
        _affected_lane(
            service,
            _until_now(intervals, history, firing.get(str(service))),
            history,
            risks,
            symptoms.get(str(service)),
        )
        for service, intervals in affected.items()
    ]
    by_name = {lane.service: lane for lane in lanes}
    for service in past:
        by_name[str(service)].part = "affected"
    for service, item in suspects.items():
        lane = by_name.get(str(service))
        if lane is None:
            lane = _lane(service, first_sign(item), risks)
            row = evidence.get(str(service))
            lane.sign = row and _sign(row.name, row.entity, row.since, row.value, row.baseline, row.unit)
            lanes.append(lane)
        lane.until = number_of_time(_cause_end(world, item))
        lane.part, lane.first = "suspect", round(_cause_start(lane, evidence.get(str(service))), 3)
        symptom = symptoms.get(str(service))  # requests that it sends begin the cause, and are no anomaly
        if symptom is not None and lane.intervals and symptom.since < (first := lane.intervals[0][0] or 0.0):
            lane.intervals.insert(0, [round(symptom.since, 3), first, STAGES.index("early_warning")])
        is_first = item == chosen.incidents[0]
        lane.why = suspicion(item, world) if is_first else f"cause of the incident of {in_words(item.service)}"
    for service, risk in risks.items():
        if service not in affected and service not in suspects and _soon(risk):
            lanes.append(_lane(service, world.time, risks, "at_risk"))
    last, soonest = len(place) + 1, {str(service): risk.p50 for service, risk in risks.items()}
    lanes.sort(
        key=lambda lane: (
            _PARTS.index(lane.part),
            place.get(lane.service, last),
            soonest.get(lane.service, math.inf) if lane.part == "at_risk" else 0.0,
            lane.first,
            lane.service,
        )
    )
    further = count(last)
    for lane in lanes:
        if lane.part == "affected":
            lane.order = place.get(lane.service) or next(further)
    present = {str(sign.service) for sign in history.signs}
    states = {row.id: LaneState(row.health, row.condition, row.word, row.stage) for row in rows}
    for lane in lanes:
        lane.state = states.get(lane.service)
        is_past = lane.part != "suspect" and lane.service not in firing and lane.service not in present
        sign = "p95" if is_past else lane.sign.text if lane.sign and not lane.until else ""
        names = ("", sign, *(("SLO",) if is_past or (lane.sign is None and lane.part != "suspect") else ()))
        lane.slo = next((shown for name in names if (shown := figures.get((lane.service, name)))), "")
    end = world.time + _forecast_seconds(lanes)
    axis = number_of_time(start), number_of_time(world.time), number_of_time(end)
    changes = change_mark_rows(world.changes, start, world.time)
    return Timeline(*axis, list(STAGES), lanes[:max_lanes], max(0, len(lanes) - max_lanes), changes, _events(chosen))


def hop_lanes(
    lanes: Timeline, hops: Sequence[str], chosen: ChosenIncidents, rows: Sequence[ServiceFigures]
) -> Timeline:
    """The same with services that pass on an extra load, where the incident has the anomalous rate of their calls.

    Their other signals may be normal. hops: these services, in order. rows: the services with their state.
    """
    shown = {lane.service for lane in lanes.lanes if lane.part != "at_risk" or lane.intervals}
    states = {row.id: LaneState(row.health, row.condition, row.word, row.stage) for row in rows}
    found = []
    for hop in dict.fromkeys(hops):
        firing = (item for item in chosen.incidents if item.state == "firing")
        calls = [row for item in firing for row in item.evidence if row.entity.startswith(f"{hop} -> ")]
        first = min((row for row in calls if math.isfinite(row.since)), key=lambda row: row.since, default=None)
        if first is None or hop in shown:
            continue
        callee = in_words(first.entity.removeprefix(f"{hop} -> "))
        sign = _sign(f"calls to {callee}", first.entity, first.since, first.value, first.baseline, first.unit)
        interval = [number_of_time(first.since), lanes.now, STAGES.index("early_warning")]
        since = round(first.since, 3)
        found.append(Lane(hop, "at_risk", None, since, "", [interval], sign, None, state=states.get(hop)))
    added = {lane.service for lane in found}
    return replace(lanes, lanes=[*(lane for lane in lanes.lanes if lane.service not in added), *found])


def _events(chosen: ChosenIncidents) -> list[TimelineEvent]:
    """When the incidents warned and paged, and when all of them recovered; a page may have no early warning before."""
    warned = [TimelineEvent(item.opened, "warning") for item in chosen.incidents if item.opened != item.paged]
    found = warned + [TimelineEvent(item.paged, "paged") for item in chosen.incidents if item.paged is not None]
    recovered = [item.recovering_since for item in chosen.incidents if item.recovering_since is not None]
    if recovered and len(recovered) == len(chosen.incidents):
        found.append(TimelineEvent(max(recovered), "recovering"))
    return sorted(found, key=lambda event: event.at)


def _forecast_seconds(lanes: Sequence[Lane]) -> float:
    """Time beyond now that holds the forecasts of the lanes, within bounds; 0 without any."""
    ends = [lane.forecast.p90 or lane.forecast.p80 or FORECAST_SECONDS for lane in lanes if lane.forecast]
    return min(FORECAST_SECONDS, max(MIN_FORECAST_SECONDS, *ends)) if ends else 0.0


def _worst(intervals: Sequence[Interval]) -> int:
    """The worst stage of some intervals, by index."""
    return max((STAGES.index(interval.stage) for interval in intervals), default=0)


def _affected(
    history: ServiceHistory, named: set[Service], chosen: ChosenIncidents, firing: Mapping[str, Evidence]
) -> dict[Service, tuple[Interval, ...]]:
    """The affected services and their related intervals: the named ones, and those with a stage beyond early.

    firing: the first evidence of firing incidents, by service: a named service with evidence is anomalous since then.
    """
    found = {}
    for service in filter(chosen.may_have, history.anomalous_services()):
        intervals, onset = history.intervals(service), chosen.onset
        if onset is not None:
            intervals = tuple(interval for interval in intervals if interval.end >= onset - RELATED_BEFORE_SECONDS)
        worst = _worst(intervals)
        if worst >= 2 or (worst and service in named):
            found[service] = intervals
    for service in sorted(named - found.keys()):
        row = firing.get(str(service))
        if row is not None and math.isfinite(row.since) and service in history.services and len(history.times):
            found[service] = (Interval(row.since, float(history.times[-1]), "early_warning"),)
    return found


def _first_evidence(incidents: Sequence[Incident], *, symptoms: bool = False) -> dict[str, Evidence]:
    """The first evidence by service. symptoms: without requests that a suspected cause sends, which are no anomaly."""
    first: dict[str, Evidence] = {}
    for item in incidents:
        sent = ("rate", str(item.suspect.service)) if symptoms and item.suspect.service != item.service else None
        for row in item.evidence if item.resolved is None else ():
            if (row.metric, row.entity) == sent:
                continue
            service = row.entity.partition(" ")[0] if " -> " not in row.entity else ""
            if service and (service not in first or row.since < first[service].since):
                first[service] = row
    return first


def _until_now(
    intervals: tuple[Interval, ...], history: ServiceHistory, evidence: Evidence | None
) -> tuple[Interval, ...]:
    """The intervals, without gaps while an incident has evidence: single signals may be normal for a moment."""
    if evidence is None:
        return intervals
    filled: list[Interval] = []
    for interval, following in zip(intervals, (*intervals[1:], None), strict=True):
        start, end = max(interval.end, evidence.since), following.start if following else float(history.times[-1])
        filled += [interval, *([Interval(start, end, "early_warning")] if start < end else ())]
    return tuple(filled)


def _joined(intervals: Sequence[Interval]) -> list[Interval]:
    """The intervals, with those of one stage joined where they touch."""
    joined: list[Interval] = []
    for interval in intervals:
        if joined and joined[-1].stage == interval.stage and joined[-1].end >= interval.start:
            joined[-1] = joined[-1]._replace(end=interval.end)
        else:
            joined.append(interval)
    return joined


def _affected_lane(
    service: Service,
    intervals: Sequence[Interval],
    history: ServiceHistory,
    risks: Mapping[Service, AtRisk],
    evidence: Evidence | None,
) -> Lane:
    last = [intervals[-1]]
    for interval in reversed(intervals[:-1]):
        if last[0].start - interval.end > MAX_GAP_SECONDS:
            break
        last.insert(0, interval)
    sign = next((sign for sign in history.signs if sign.service == service), None)
    shown = sign and _sign(sign.text, sign.entity, sign.since, sign.value, sign.baseline, sign.unit)
    if evidence is not None and last[0].start - MAX_GAP_SECONDS < evidence.since < last[0].start:
        intervals = (*intervals[: -len(last)], Interval(evidence.since, last[0].start, "early_warning"), *last)
        last = [intervals[-len(last) - 1]]
        shown = None
    if shown is None and evidence is not None:
        name, value, baseline, unit, since, entity, *_ = evidence
        shown = _sign(name, entity, since, value, baseline, unit)
    lane = _lane(service, last[0].start, risks, "affected" if _worst(intervals) >= 2 else "at_risk")
    lane.intervals = [
        [number_of_time(s.start), number_of_time(s.end), STAGES.index(s.stage)] for s in _joined(intervals)
    ]
    lane.sign = shown
    return lane


def _lane(
    service: Service, first: float, risks: Mapping[Service, AtRisk], part: Literal["affected", "at_risk"] = "affected"
) -> Lane:
    risk = risks.get(service)
    forecast = breach_seconds(risk) if risk is not None and _soon(risk) else None
    return Lane(str(service), part, None, round(first, 3), "", [], None, forecast)


def _sign(name: str, entity: str, since: float, value: float, baseline: float, unit: str) -> LaneSign:
    return LaneSign(name, entity, number_of_time(since), number(value), number(baseline), unit)


def _soon(risk: AtRisk) -> bool:
    """Whether a breach is still to come, and near enough to be drawn."""
    return risk.p50 > 0 and risk.p20 <= FORECAST_SECONDS
