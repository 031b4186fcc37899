"""The verdict of the Now page: the worst incident, a healthy platform, or the reason for no verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from typing_extensions import TypedDict

from foreshock_dashboard.analysis.incidents.change_cause import recent_changes
from foreshock_dashboard.analysis.incidents.lifecycle import RESOLVE_AFTER_SECONDS
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.verdict.course import Breach
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.action import action_clauses
from foreshock_dashboard.render.change import no_changes, recent_change_clauses
from foreshock_dashboard.render.clause import Text, filled, filled_text, listed, text, time
from foreshock_dashboard.render.units import counted, minutes_of
from foreshock_dashboard.render.verdict import platform
from foreshock_dashboard.render.verdict.incident_course import (
    badge,
    contention_text,
    latent_risk,
    lead,
    recovering_action,
    recovery_text,
)
from foreshock_dashboard.render.verdict.reading_text import figure_text, limit_text, reading_text, risk_reason
from foreshock_dashboard.render.words.panels import EMPTY, NOW_TEXTS, PLATFORM_TEXTS
from foreshock_dashboard.render.words.shell import CONNECTION_TEXTS
from foreshock_dashboard.render.words.status import DATA_STATES
from foreshock_dashboard.web.pages.now.contention_check import contention_check
from foreshock_dashboard.web.pages.now.course import lost_replicas, recovery
from foreshock_dashboard.web.pages.now.headline import SLO_METRICS, headline
from foreshock_dashboard.web.pages.now.healthy import coverage, healthy_since
from foreshock_dashboard.web.pages.now.impact import impact
from foreshock_dashboard.web.panels.at_risk import AtRiskRow, at_risk_next
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incident
from foreshock_dashboard.web.panels.limits import judged, readings, worst
from foreshock_dashboard.web.panels.suspected_cause import suspected
from foreshock_dashboard.web.panels.vitals import services_by_cluster, slo_status
from foreshock_dashboard.web.state.conditions import IncidentStatus, conditions, incident_status, open_incidents
from foreshock_dashboard.web.state.freshness import Freshness, fresh_seconds, freshness
from foreshock_dashboard.web.state.incident_json import (
    ClauseJson,
    IncidentJson,
    clauses,
    incident,
)
from foreshock_dashboard.web.state.numbers import Row, number_of_time
from foreshock_dashboard.web.state.stages import ServiceHistory

State = Literal["critical", "warning", "recovering", "healthy", "unknown", "learning", "empty", "error"]
MIN_FAILING_RATIO = 0.5
"""Error rate from which a service fails most of its requests."""
MAX_CHANGES = 20
"""Changes before an incident in the payload, the newest ones; the page names fewer."""
MAX_CLOSEST = 3
"""Readings of a healthy platform that are listed, the closest to their limit first."""
MAX_FURTHER = 3
"""Further open incidents that are named, the most urgent first; the page counts the others."""


class Breached(Row):
    """A service that breaches its SLO, or is degraded, and its metric that uses most of it; None if unknown.

    fails: whether it fails most of its requests; the metric is then its error rate. figure, limit: texts.
    """

    service: str
    reading: Reading | None
    fails: bool
    figure: str
    limit: str


class FurtherIncident(Row):
    """Another open incident in a line: severity and state, headline with value and limit. since: Unix seconds."""

    id: str
    status: IncidentStatus
    badge: str
    clauses: list[ClauseJson]
    since: float


class Situation(TypedDict):
    """Details of an open incident.

    service: the one of the headline. While the incident's own is within its SLO, it is the affected one that is
    furthest beyond its SLO. reading: the metric of the headline, of that service, and below it if the headline is a
    forecast. interval: of the forecast in the headline. learned: whether its SLO is. figure, badge, lead, suspected,
    gpu_wait, recovery_text, action_text: sentences. gpu_wait: whether GPU contention is ruled out, if it is no cause.
    origin: the metric of the incident's own service that uses most of its SLO, if that is another one. first_breach: of
    any of its services. breached: other services that breach their SLO: those that fail most requests first, then the
    furthest beyond it. degraded: those that do not, but are slower or fail more than normally, without those at_risk.
    at_risk: services that will breach it, the soonest first, without the forecast of the headline; none_at_risk: the
    text without any. changes: those that may have led to the first anomaly, the newest of change_count. further: the
    most urgent other incidents; more: the number of those that are left out.
    """

    incident: IncidentJson
    service: str
    reading: Reading | None
    figure: str
    interval: str
    learned: bool
    badge: str
    badge_note: str
    lead: list[ClauseJson]
    suspected: list[ClauseJson]
    gpu_wait: list[ClauseJson]
    recovery_text: list[ClauseJson]
    action_text: list[ClauseJson]
    origin: Reading | None
    origin_text: str
    first_breach: Breach | None
    breached: list[Breached]
    degraded: list[Breached]
    at_risk: list[AtRiskRow]
    none_at_risk: str
    changes: list[list[ClauseJson]]
    change_count: int
    no_changes: str
    further: list[FurtherIncident]
    more: int


class Fact(Row):
    """A fact with its label."""

    label: str
    clauses: list[ClauseJson]


class VerdictJson(TypedDict):
    """The verdict as JSON.

    title: the headline without values, of an incident. lead: the counts behind it without one. coverage: the data on
    which a healthy one rests. closest, facts: without an incident; the readings are closest to their limit. remedy:
    the first action against a latent risk.
    """

    state: State
    clauses: list[ClauseJson]
    title: str
    lead: str
    coverage: list[ClauseJson]
    notes: list[list[ClauseJson]]
    risks: list[list[ClauseJson]]
    since: float | None
    situation: Situation | None
    remedy: list[ClauseJson]
    closest: list[Reading]
    facts: list[Fact]
    resolved: IncidentJson | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline and the notes below it.

    The headline changes only with its meaning, as screen readers read it aloud; all else may change with every
    evaluation. clauses: the headline in parts that link to their evidence. title: it without values, of an incident.
    lead: the counts behind it, without one. coverage: the data on which a healthy one rests. risks: latent ones, which
    affect no service yet; remedy: the first action against them. since: Unix seconds of the last data where there
    is none now. resolved: the incident that ended last.
    """

    state: State
    clauses: Text
    title: str = ""
    lead: str = ""
    coverage: Text = ()
    notes: tuple[Text, ...] = ()
    risks: tuple[Text, ...] = ()
    since: float | None = None
    situation: Situation | None = None
    closest: tuple[Reading, ...] = ()
    facts: tuple[tuple[str, Text], ...] = ()
    remedy: Text = ()
    resolved: Incident | None = None

    def payload(self) -> VerdictJson:
        """As JSON."""
        return {
            "state": self.state,
            "clauses": clauses(self.clauses),
            "title": self.title,
            "lead": self.lead,
            "coverage": clauses(self.coverage),
            "notes": list(map(clauses, self.notes)),
            "risks": list(map(clauses, self.risks)),
            "since": number_of_time(self.since),
            "situation": self.situation,
            "remedy": clauses(self.remedy),
            "closest": list(self.closest),
            "facts": [Fact(label, clauses(fact)) for label, fact in self.facts],
            "resolved": incident(self.resolved) if self.resolved else None,
        }


def verdict(snapshot: Snapshot, now: float | None = None, history: ServiceHistory | None = None) -> Verdict:
    """The verdict on a snapshot.

    now: the hub's time in Unix seconds; default: the World's. history: the stages of the services during the incident.
    """
    if (world := snapshot.world) is None:
        if snapshot.error:
            return Verdict("error", filled(CONNECTION_TEXTS["unreadable"], error=snapshot.error))
        return Verdict("empty", text(EMPTY["first_evaluation"]), notes=(text(PLATFORM_TEXTS["first_steps"]),))
    risks = tuple(latent_risk(item, world.time) for item in open_incidents(snapshot) if not item.affected)
    return replace(_verdict(snapshot, world, now, history), risks=risks)


def _verdict(snapshot: Snapshot, world: World, now: float | None, history: ServiceHistory | None) -> Verdict:
    """The same without the latent risks."""
    seen = freshness(world)
    gaps = _gaps(snapshot, world, seen)
    frozen = bool(snapshot.error) and now is not None and now - world.time > fresh_seconds(world.step)
    since = world.time if frozen else seen.since
    unknown = platform.no_data("target" if frozen else seen.no_data, since)
    current = tuple(item for item in open_incidents(snapshot) if item.affected)
    if current:
        notes = (text(PLATFORM_TEXTS["may_have_changed"], " ", unknown), *gaps) if unknown else gaps
        return replace(_of_incidents(snapshot, world, current, history), notes=notes)
    if not world.services and not world.gpus and not seen.stale_targets:
        return Verdict(
            "empty", text(PLATFORM_TEXTS["nothing_seen"]), notes=(text(PLATFORM_TEXTS["first_steps"]), *gaps)
        )
    if unknown and (since is not None or snapshot.learning.done or seen.stale_targets):
        return Verdict("unknown", unknown, notes=gaps, since=since)
    if not snapshot.learning.done:
        said = DATA_STATES["reading" if snapshot.is_preview else "building"]
        live = filled(DATA_STATES["receiving"], **_size(seen))
        return Verdict("learning", filled(said, progress=minutes_of(*snapshot.learning)), notes=(live, *gaps))
    remedies = [action for item in open_incidents(snapshot) for action in item.actions[:1]]
    found = _without_incident(snapshot, world, history, seen, gaps)
    is_healthy = found.state == "healthy"
    since_when = healthy_since(snapshot, history) if is_healthy and history else None
    none_at_risk = bool(is_healthy and history and snapshot.forecast.slos and not slo_status(snapshot, history).at_risk)
    return replace(
        found,
        facts=tuple(platform.healthy_facts(since_when, found.closest, world.time, none_at_risk=none_at_risk)),
        coverage=platform.coverage_text(coverage(snapshot, world, seen)) if is_healthy else (),
        remedy=action_clauses(remedies[0]) if is_healthy and remedies else (),
    )


def _of_incidents(
    snapshot: Snapshot, world: World, current: tuple[Incident, ...], history: ServiceHistory | None
) -> Verdict:
    item, stages = current[0], history.now() if history else {}
    found = readings(snapshot, stages)
    first, *others = (
        headline(snapshot, world, each, history, found, is_first=each is item) for each in current[: MAX_FURTHER + 1]
    )
    subject, reading, whole = first.service, first.reading, first.whole
    in_headline = {str(subject), *(name for clause in first.clauses for name in clause.services)}
    breached = [breached_row(service, found) for service in first.beyond if str(service) not in in_headline]
    chosen = chosen_incident(snapshot, item)
    at_risk = [
        with_reason(row, world, item, found)
        for row in at_risk_next(chosen, stages)
        if not (first.has_forecast and row.service == str(subject))
        and not (first.is_over and Service.parse(row.service) in first.breached)
    ]
    listed_already = in_headline | {row.service for row in at_risk}
    degraded = [
        service
        for service, stage in stages.items()
        if stage == "degraded" and str(service) not in listed_already and chosen.may_have(service)
    ]
    cost = impact(
        world,
        first.breached or (subject,),
        _slos(snapshot),
        whole.since if whole else item.since,
        math.inf if whole is None or whole.until is None else whole.until,
    )
    if cost is not None:  # those that still breach their SLO are listed below
        cost = cost._replace(behind=tuple(service for service in cost.behind if service not in first.beyond))
    state_word, state_note = badge(item, whole, len(first.beyond))
    subjects = tuple(dict.fromkeys((item.suspect.service or item.service, item.service)))
    untracked = [str(service) for service in subjects if service not in world.change_tracked]
    origin = first.own if subject != item.service else None
    resolves = item.recovering_since and item.recovering_since + RESOLVE_AFTER_SECONDS
    named = item.suspect.change  # may be later than the first anomaly, where that had another cause
    changes = recent_changes(world.changes, max(item.since, named.at if named else 0.0), world.time)
    contention = contention_check(snapshot, world, item)
    situation: Situation = {
        "incident": incident(item),
        "service": str(subject),
        "reading": reading,
        "figure": first.figure,
        "interval": first.interval,
        "learned": "learned" in first.figure,
        "badge": state_word,
        "badge_note": state_note,
        "lead": clauses(
            lead(
                reading if first.is_forecast else first.own if first.outlook else None,
                first.peak,
                whole,
                cost,
                world.time,
                slo=first.slo,
                replicas=lost_replicas(world, item),
                subject=str(subject),
            )
        ),
        "suspected": clauses(suspected(item, world)),
        "gpu_wait": clauses(contention_text(contention) if contention else ()),
        "recovery_text": clauses(recovery_text(recovery(world, item))),
        "action_text": clauses(recovering_action(resolves)),
        "origin": origin,
        "origin_text": reading_text(origin) if origin else "",
        "first_breach": whole,
        "breached": sorted(breached, key=by_impact),
        "degraded": sorted(
            (with_past(breached_row(service, found), history, chosen.onset or item.since) for service in degraded),
            key=by_impact,
        ),
        "at_risk": at_risk,
        "none_at_risk": NOW_TEXTS["no_other_at_risk" if first.has_forecast or first.beyond else "none_at_risk"],
        "changes": [clauses(recent_change_clauses(change, item.since)) for change in changes[:MAX_CHANGES]],
        "change_count": len(changes),
        "no_changes": "" if changes else no_changes(untracked, len(subjects), "30 min before the first anomaly"),
        "further": [
            FurtherIncident(
                other.id, incident_status(other), badge(other, line.whole)[0], clauses(line.line), round(other.since, 3)
            )
            for other, line in zip(current[1:], others, strict=False)
        ],
        "more": max(0, len(current) - 1 - MAX_FURTHER),
    }
    state: State = "recovering" if item.state == "recovering" else item.severity
    return Verdict(state, first.clauses, first.title, since=item.since, situation=situation)


def breached_row(service: Service, found: list[Reading]) -> Breached:
    """A service in breach, from the readings of all services."""
    rate = worst(found, "error rate", service=service)
    fails = rate is not None and rate.value >= MIN_FAILING_RATIO
    reading = rate if fails else worst(found, *SLO_METRICS, service=service)
    texts = (figure_text(reading), limit_text(reading)) if reading else ("", "")
    return Breached(str(service), reading, fails, *texts)


def with_past(row: Breached, history: ServiceHistory | None, since: float) -> Breached:
    """The row of a degraded service; of one that breached its SLO since some Unix seconds, this after its limit."""
    intervals = history.intervals(Service.parse(row.service)) if history else ()
    if not any(each.stage == "breached" and each.end > since for each in intervals):
        return row
    return replace(
        row, limit=f"{row.limit}, {NOW_TEXTS['breached_before']}" if row.limit else NOW_TEXTS["breached_before"]
    )


def with_reason(row: AtRiskRow, world: World, item: Incident, found: list[Reading]) -> AtRiskRow:
    """The row of a service at risk with why: its metric, where it is degraded or calls no service of the incident.

    The suspected cause says so first.
    """
    near = (item.service, *item.affected, *(risk.service for risk in item.at_risk))
    callees = {edge.server for edge in world.edges if str(edge.client) == row.service != str(edge.server)}
    callee = next((service for service in near if service in callees), None)
    reading = None if callee and not row.state else worst(found, *SLO_METRICS, service=Service.parse(row.service))
    is_suspect = row.service == str(item.stated_suspect.service)
    return replace(row, state=risk_reason(reading, callee, row.state, is_suspect=is_suspect))


def by_impact(row: Breached) -> tuple[bool, float]:
    """Sort key: most requests that fail, then the furthest beyond the SLO."""
    return not row.fails, -row.reading.usage if row.reading else 0.0


def _without_incident(
    snapshot: Snapshot, world: World, history: ServiceHistory | None, seen: Freshness, gaps: tuple[Text, ...]
) -> Verdict:
    stages: Mapping[Service, Stage | None] = history.now() if history else {}
    tracked = [service for service in _slos(snapshot) if stages.get(service) is not None]
    breached = [service for service in tracked if stages[service] == "breached"]
    erring = [service for service, state in conditions(snapshot).items() if state.kind == "errors"]
    found = [reading for reading in judged(world, readings(snapshot, stages)) if math.isfinite(reading.usage)]
    closest = tuple(sorted(found, key=lambda reading: -reading.usage)[:MAX_CLOSEST])
    ended = [item for item in snapshot.incidents if item.resolved is not None and item.affected]
    resolved = max(ended, key=lambda item: item.resolved or 0.0, default=None)
    if breached or erring:
        warned = filled(PLATFORM_TEXTS["errors"], services=counted(len(erring), "service"), names=listed(erring))
        warned = platform.in_breach(breached, len(tracked)) if breached else warned
        return Verdict("warning", warned, notes=gaps, closest=closest, resolved=resolved)
    said, counts = filled_text(PLATFORM_TEXTS["no_incidents"], **_size(seen)), ""
    if tracked and history:
        said, counts = platform.within_slo(slo_status(snapshot, history))
        clusters = platform.cluster_summary(services_by_cluster(snapshot, history))
        counts = ". ".join(filter(None, (counts, clusters)))
    return Verdict("healthy", text(said), lead=counts, notes=gaps, closest=closest, resolved=resolved)


def _size(seen: Freshness) -> dict[str, str]:
    return {"services": counted(seen.services, "service"), "gpus": counted(seen.gpus, "GPU")}


def _slos(snapshot: Snapshot) -> Mapping[Service, ServiceSlo]:
    return {slo.service: slo for slo in snapshot.forecast.slos}


def _gaps(snapshot: Snapshot, world: World, seen: Freshness) -> tuple[Text, ...]:
    """Missing and stale data, one sentence each: no data must not look healthy."""
    sentences: list[str | Text] = []
    if snapshot.error:
        sentences.append(filled(DATA_STATES["stale"], time=time(world.time), error=snapshot.error))
    stale = (
        ("scrape target", len(world.targets), [target.instance for target in seen.stale_targets]),
        ("GPU", len(world.gpus), [gpu.label for gpu in seen.stale_gpus]),
        ("service", len(world.services), [str(service) for service in seen.stale_services]),
    )
    sentences += filter(None, (platform.not_fresh(noun, names, count) for noun, count, names in stale))
    if not world.gpus:
        sentences.append(EMPTY["gpus"])
    if world.gpus and not world.services:
        sentences.append(EMPTY["requests"])
    return tuple(map(text, sentences))
