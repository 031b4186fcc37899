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
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.change import no_changes, recent_change_clauses
from foreshock_dashboard.render.clause import Text, in_words, listed, place, text, time
from foreshock_dashboard.render.incident_summary import (
    BREACHES_SLO,
    condition_clauses,
    headline_clauses,
    is_forecast,
    is_load_condition,
    slo_outlook,
    summary_clauses,
)
from foreshock_dashboard.render.units import counted, minutes_of, plural
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.pages.now.course import Breach, breach, lost_replicas, peak, recovery, whole_breach
from foreshock_dashboard.web.pages.now.healthy import healthy_since
from foreshock_dashboard.web.pages.now.impact import impact
from foreshock_dashboard.web.pages.now.sentences import (
    badge,
    headline_figure,
    healthy_facts,
    lead,
    recovering_action,
    recovery_text,
)
from foreshock_dashboard.web.panels.at_risk import AtRiskRow, at_risk_next
from foreshock_dashboard.web.panels.limit_text import figure_text, limit_text, reading_text
from foreshock_dashboard.web.panels.limits import Metric, Reading, judged, readings, worst
from foreshock_dashboard.web.panels.suspected_cause import suspected
from foreshock_dashboard.web.panels.timeline import ChosenIncidents, chosen_incident
from foreshock_dashboard.web.panels.vitals import cluster_summary, slo_status, slo_summary
from foreshock_dashboard.web.state.conditions import conditions, open_incidents
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
WITHIN_SLO_AGAIN = "is within its SLO again"
SLO_METRICS: tuple[Metric, ...] = ("p95", "error rate")
MIN_FAILING_RATIO = 0.5
"""Error rate from which a service fails most of its requests."""
MAX_CHANGES = 20
"""Changes before an incident in the payload, the newest ones; the page names fewer."""
MAX_CLOSEST = 3
"""Readings of a healthy platform that are listed, the closest to their limit first."""


class Breached(Row):
    """A service that breaches its SLO, and its metric that is furthest beyond it; None if unknown.

    fails: whether it fails most of its requests; the metric is then its error rate. figure, limit: texts.
    """

    service: str
    reading: Reading | None
    fails: bool
    figure: str
    limit: str


class Situation(TypedDict):
    """Details of an open incident.

    service: the one of the headline. While the incident's own is within its SLO, it is the affected one that is
    furthest beyond its SLO. reading: the metric of the headline, of that service, and below it if the headline is a
    forecast. learned: whether its SLO is. figure, badge, lead, suspected, recovery_text, action_text: sentences.
    origin: the metric of the incident's own service that uses most of its SLO, if that is another one. first_breach:
    of any of its services. breached: other services that breach their SLO: those that fail most requests first, then
    the furthest beyond it. at_risk: services that will breach it, the soonest first. changes: those that may have led
    to the first anomaly, the newest of change_count. others: number of further open incidents.
    """

    incident: IncidentJson
    service: str
    reading: Reading | None
    figure: str
    learned: bool
    badge: str
    badge_note: str
    lead: list[ClauseJson]
    suspected: list[ClauseJson]
    recovery_text: list[ClauseJson]
    action_text: list[ClauseJson]
    origin: Reading | None
    origin_text: str
    first_breach: Breach | None
    breached: list[Breached]
    at_risk: list[AtRiskRow]
    changes: list[list[ClauseJson]]
    change_count: int
    no_changes: str
    others: int


class Fact(Row):
    """A fact with its label."""

    label: str
    clauses: list[ClauseJson]


class VerdictJson(TypedDict):
    """The verdict as JSON.

    lead: the counts behind the headline without an incident. closest, facts: without an incident; the readings are
    closest to their limit.
    """

    state: State
    clauses: list[ClauseJson]
    lead: str
    notes: list[list[ClauseJson]]
    risks: list[list[ClauseJson]]
    since: float | None
    situation: Situation | None
    closest: list[Reading]
    facts: list[Fact]
    resolved: IncidentJson | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline and the notes below it.

    The headline changes only with its meaning, as screen readers read it aloud; all else may change with every
    evaluation. clauses: the headline in parts that link to their evidence. lead: the counts behind it, without an
    incident. risks: latent ones, which affect no service yet. since: Unix seconds of the last data where there is none
    now. resolved: the incident that ended last.
    """

    state: State
    clauses: Text
    lead: str = ""
    notes: tuple[Text, ...] = ()
    risks: tuple[Text, ...] = ()
    since: float | None = None
    situation: Situation | None = None
    closest: tuple[Reading, ...] = ()
    facts: tuple[tuple[str, Text], ...] = ()
    resolved: Incident | None = None

    def payload(self) -> VerdictJson:
        """As JSON."""
        return {
            "state": self.state,
            "clauses": clauses(self.clauses),
            "lead": self.lead,
            "notes": list(map(clauses, self.notes)),
            "risks": list(map(clauses, self.risks)),
            "since": number_of_time(self.since),
            "situation": self.situation,
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
            return Verdict("error", text(f"Cannot read the source: {snapshot.error}"))
        return Verdict("empty", text("Waiting for the first evaluation"), notes=(text(_FIRST_STEPS),))
    risks = tuple(map(_latent_risk, (item for item in open_incidents(snapshot) if not item.affected)))
    return replace(_verdict(snapshot, world, now, history), risks=risks)


def _latent_risk(item: Incident) -> Text:
    """A latent risk in a sentence, with the time of its values."""
    at = text(" Values at ", time(item.evidence_at), ".") if item.evidence_at is not None else ()
    return text(summary_clauses(item), at)


def _verdict(snapshot: Snapshot, world: World, now: float | None, history: ServiceHistory | None) -> Verdict:
    """The same without the latent risks."""
    seen = freshness(world)
    gaps = _gaps(snapshot, world, seen)
    frozen = bool(snapshot.error) and now is not None and now - world.time > fresh_seconds(world.step)
    since = world.time if frozen else seen.since
    unknown = _unknown("any target" if frozen else seen.no_data and f"any {seen.no_data}", since)
    current = tuple(item for item in open_incidents(snapshot) if item.affected)
    if current:
        notes = (text("The state may have changed. ", unknown), *gaps) if unknown else gaps
        return replace(_of_incidents(snapshot, world, current, history), notes=notes)
    if not world.services and not world.gpus and not seen.stale_targets:
        return Verdict("empty", text("No services and no GPUs yet"), notes=(text(_FIRST_STEPS), *gaps))
    if unknown and (since is not None or snapshot.learning.done or seen.stale_targets):
        return Verdict("unknown", unknown, notes=gaps, since=since)
    if not snapshot.learning.done:
        size = f"{counted(seen.services, 'service')} on {counted(seen.gpus, 'GPU')}"
        live = text(f"Incidents are not detected until then. Receiving data from {size}.")
        if snapshot.is_preview:
            return Verdict("learning", text("Reading the history"), notes=(live, *gaps))
        return Verdict("learning", text(f"Building baseline: {minutes_of(*snapshot.learning)}"), notes=(live, *gaps))
    has_risk = bool(open_incidents(snapshot))
    found = _without_incident(snapshot, world, history, seen, gaps)
    healthy = None if found.state != "healthy" or history is None else healthy_since(snapshot, history)
    facts = healthy_facts(healthy, found.closest, world.time, has_risk=has_risk)
    return replace(found, facts=tuple(facts))


_FIRST_STEPS = (
    "Start foreshock-exporter on the GPU hosts and pass them as --targets (FORESHOCK_TARGETS). Let the services "
    "send OTLP spans to this hub: gRPC on port 4317, HTTP on port 4318."
)


def _of_incidents(
    snapshot: Snapshot, world: World, current: tuple[Incident, ...], history: ServiceHistory | None
) -> Verdict:
    item, stages = current[0], history.now() if history else {}
    found = readings(snapshot, stages)
    own = worst(found, *SLO_METRICS, service=item.service)
    subject = _subject(item, own, found)
    reading = worst(found, *SLO_METRICS, service=subject)
    breaches_slo = reading is not None and reading.usage > 1
    stage = stages.get(subject)
    if item.stage is None:  # a breach that paused is none in the headline, beside its value
        stage = "breached" if breaches_slo else "degraded" if stage == "breached" else stage
    headline = condition_clauses(item, stage)
    if item.stage == "breached" and not breaches_slo and subject == item.service:
        headline, reading = headline_clauses(item), None  # an operation breaches its SLO, not all requests together
    if subject != item.service:
        headline = text(subject, f" {BREACHES_SLO}")
    elif is_load_condition(item):
        reading = worst(found, "load", service=subject) or reading
    chosen = chosen_incident(snapshot, item)
    beyond = [service for service, stage in stages.items() if stage == "breached" and chosen.may_have(service)]
    breaches = _breaches(history, chosen)
    whole = whole_breach(breaches.values())
    breached = sorted((breached_row(service, found) for service in beyond if service != subject), key=by_impact)
    in_headline = {name for clause in headline for name in clause.services}
    breached = [row for row in breached if row.service not in in_headline]
    # the incident fires until its signals are normal again, a little longer than the last breach
    is_over = whole is not None and whole.until is not None
    if is_over and item.state == "firing" and subject == item.service:
        headline = text(subject, f" {WITHIN_SLO_AGAIN}")
    cost = impact(
        world,
        tuple(breaches) or (subject,),
        _slos(snapshot),
        whole.since if whole else item.since,
        math.inf if whole is None or whole.until is None else whole.until,
    )
    has_peak = item.state == "recovering" or is_over
    metric = reading.metric if reading and is_over else None
    top = peak(world, item, _slos(snapshot).get(item.service), metric) if has_peak else None
    state_word, state_note = badge(item, whole)
    subjects = tuple(dict.fromkeys((item.suspect.service or item.service, item.service)))
    untracked = [str(service) for service in subjects if service not in world.change_tracked]
    origin = own if subject != item.service else None
    ahead_of_breach = subject == item.service and not breaches_slo and is_forecast(item) and not is_over
    slo = _slos(snapshot).get(subject)
    learned = slo is not None and slo.learned
    figure = headline_figure(reading, top, learned=learned) if reading and not ahead_of_breach else ""
    if reading and reading.metric == "load" and not is_over:
        figure += slo_outlook(item, reading_text(own, learned=learned) if own else "")
    resolves = item.recovering_since and item.recovering_since + RESOLVE_AFTER_SECONDS
    named = item.suspect.change  # may be later than the first anomaly, where that had another cause
    changes = recent_changes(world.changes, max(item.since, named.at if named else 0.0), world.time)
    situation: Situation = {
        "incident": incident(item),
        "service": str(subject),
        "reading": reading,
        "figure": figure,
        "learned": learned and "learned" in figure,
        "badge": state_word,
        "badge_note": state_note,
        "lead": clauses(
            lead(
                reading if ahead_of_breach else None,
                top,
                whole,
                cost,
                world.time,
                learned=learned,
                replicas=lost_replicas(world, item),
                first="" if whole is None or whole.service == str(subject) else whole.service,
            )
        ),
        "suspected": clauses(suspected(item, world)),
        "recovery_text": clauses(recovery_text(recovery(world, item))),
        "action_text": clauses(recovering_action(resolves)),
        "origin": origin,
        "origin_text": reading_text(origin) if origin else "",
        "first_breach": whole,
        "breached": breached,
        "at_risk": [
            with_metric(row, found) if row.state or not history else with_callee(row, world, history, item)
            for row in at_risk_next(chosen, stages)
            if not (ahead_of_breach and row.service == str(subject))
            and not (is_over and Service.parse(row.service) in breaches)
        ],
        "changes": [clauses(recent_change_clauses(change, item.since)) for change in changes[:MAX_CHANGES]],
        "change_count": len(changes),
        "no_changes": "" if changes else no_changes(untracked, len(subjects), "30 min before the first anomaly"),
        "others": len(current) - 1,
    }
    state: State = "recovering" if item.state == "recovering" else item.severity
    return Verdict(state, headline, since=item.since, situation=situation)


def _subject(item: Incident, own: Reading | None, found: list[Reading]) -> Service:
    """The service of the headline: the incident's own, or an affected one that breaches its SLO before it."""
    if item.state != "firing" or (own is not None and own.usage > 1):
        return item.service
    near = {*item.affected, *(risk.service for risk in item.at_risk)} - {item.service}
    usages = {service: reading for service in near if (reading := worst(found, *SLO_METRICS, service=service))}
    beyond = [service for service, reading in usages.items() if reading.status == "critical"]
    return max(beyond, key=lambda service: (usages[service].usage, service), default=item.service)


def breached_row(service: Service, found: list[Reading]) -> Breached:
    """A service in breach, from the readings of all services."""
    rate = worst(found, "error rate", service=service)
    fails = rate is not None and rate.value >= MIN_FAILING_RATIO
    reading = rate if fails else worst(found, *SLO_METRICS, service=service)
    texts = (figure_text(reading), limit_text(reading)) if reading else ("", "")
    return Breached(str(service), reading, fails, *texts)


def with_metric(row: AtRiskRow, found: list[Reading]) -> AtRiskRow:
    """The row of a service at risk that is degraded already, with its metric closest to the SLO."""
    reading = worst([item for item in found if item.service == row.service], *SLO_METRICS)
    return replace(row, state=f"{figure_text(reading)}, {limit_text(reading)}") if row.state and reading else row


def with_callee(row: AtRiskRow, world: World, history: ServiceHistory, item: Incident) -> AtRiskRow:
    """The row of a service at risk; of one without an anomalous signal, with the callee that puts it at risk."""
    signs = {*(str(sign.service) for sign in history.signs), *(signal.entity for signal in item.evidence)}
    if row.service in signs:
        return row
    near = (item.service, *item.affected, *(risk.service for risk in item.at_risk))
    callees = {edge.server for edge in world.edges if str(edge.client) == row.service != str(edge.server)}
    callee = next((service for service in near if service in callees), None)
    return replace(row, state=f"calls {in_words(str(callee))}") if callee else row


def by_impact(row: Breached) -> tuple[bool, float]:
    """Sort key: most requests that fail, then the furthest beyond the SLO."""
    return not row.fails, -row.reading.usage if row.reading else 0.0


def _breaches(history: ServiceHistory | None, chosen: ChosenIncidents) -> dict[Service, Breach]:
    """The SLO breaches of the services that an incident may have, since its first anomaly."""
    (item,) = chosen.incidents
    services = filter(chosen.may_have, history.anomalous_services()) if history else ()
    return {
        service: found
        for service in services
        if history and (found := breach(history, service, item.since)) is not None
    }


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
    if breached:
        verb = plural(len(breached), "is breaching its", "are breaching their")
        headline = f"{len(breached)} of {counted(len(tracked), 'service')} {verb} SLO: "
        return Verdict("warning", text(headline, listed(breached)), notes=gaps, closest=closest, resolved=resolved)
    if erring:
        headline = f"Elevated errors in {counted(len(erring), 'service')}: "
        return Verdict("warning", text(headline, listed(erring)), notes=gaps, closest=closest, resolved=resolved)
    if tracked and history:
        status = slo_status(snapshot, history)
        headline, lead_ = f"No service {BREACHES_SLO}", slo_summary(status)
        if status.is_all_within:
            headline, lead_ = lead_, ""
        lead_ = ". ".join(filter(None, (lead_, cluster_summary(snapshot, history))))
    else:
        headline, lead_ = f"No incidents: {counted(seen.services, 'service')} on {counted(seen.gpus, 'GPU')}", ""
    return Verdict("healthy", text(headline), lead_, gaps, closest=closest, resolved=resolved)


def _slos(snapshot: Snapshot) -> Mapping[Service, ServiceSlo]:
    return {slo.service: slo for slo in snapshot.forecast.slos}


def _unknown(source: str, since: float | None) -> Text:
    """Why nothing is known; empty if no data is missing. since: Unix seconds of the last data."""
    if not source:
        return ()
    if since is None:
        return text(f"No data: nothing received from {source} yet")
    return text(f"No data: no fresh samples from {source} since ", time(since))


def _gaps(snapshot: Snapshot, world: World, seen: Freshness) -> tuple[Text, ...]:
    """Missing and stale data, one sentence each: no data must not look healthy."""
    sentences: list[str | Text] = []
    if snapshot.error:
        problem = "The last evaluation failed" if snapshot.is_preview else "Data is frozen"
        sentences.append(f"{problem}: {snapshot.error}")
    stale = (
        ("target", len(world.targets), [target.instance for target in seen.stale_targets]),
        ("GPU", len(world.gpus), [gpu.label for gpu in seen.stale_gpus]),
        ("service", len(world.services), [str(service) for service in seen.stale_services]),
    )
    for noun, count, names in stale:
        if names:
            start = f"No fresh data from {len(names)} of {count} {plural(count, noun)}: "
            sentences.append(text(start, listed(list(map(place, names))), "."))
    if not world.gpus:
        sentences.append(EMPTY["gpus"])
    if world.gpus and not world.services:
        sentences.append("No services: no spans received.")
    return tuple(map(text, sentences))
