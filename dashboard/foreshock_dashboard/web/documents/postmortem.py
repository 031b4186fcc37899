"""A postmortem of an incident as Markdown with plots. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.incidents.change_cause import CHANGE_LOOKBACK_SECONDS
from foreshock_dashboard.analysis.incidents.request_impact import (
    REACTION_SECONDS,
    RequestImpact,
    ingress_services,
    request_impacts,
)
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Evidence, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.action import action_text, reasons_text
from foreshock_dashboard.render.change import CHANGE_SIGN, change_text, change_tooltip
from foreshock_dashboard.render.clause import filled_text, in_sentence, in_words, joined, joined_text
from foreshock_dashboard.render.command import instructions
from foreshock_dashboard.render.incident_summary import (
    WITHIN_SLO_AGAIN,
    cause_name,
    incident_sentence,
    later_clauses,
)
from foreshock_dashboard.render.incident_text import evidence_figure, risk_line, suspected_cause, xid_note
from foreshock_dashboard.render.incident_timeline import by_line, feedback_text, incident_timeline
from foreshock_dashboard.render.units import clock, duration, elapsed, utc_timestamp
from foreshock_dashboard.render.words.actions import ACTION_TEXTS
from foreshock_dashboard.render.words.incidents import CONFIDENCE_LEVELS, REPORT_TEXTS
from foreshock_dashboard.render.words.services import CONDITIONS
from foreshock_dashboard.response.fold import NO_RESPONSES, Responses
from foreshock_dashboard.response.values import Response
from foreshock_dashboard.web.charts.svg import Axis, SvgLine, SvgMark, draw
from foreshock_dashboard.web.state.one_cluster import clusters_of_incident, world_of
from foreshock_dashboard.web.state.service_history import service_history

SECONDS_BEFORE, SECONDS_AFTER = 900.0, 600.0
"""Seconds before the first anomaly and after the end that the plots show."""
MAX_LINES = 5
"""Services in one plot."""


MAX_CHANGES = 20
"""Changes in the timeline, the newest ones."""
MAX_MARK_CHARS = 40
"""Characters of a change in a plot."""


@dataclass(frozen=True, slots=True)
class Report:
    """Markdown that shows each plot as an image by its key in `plots`, which hold SVG."""

    markdown: str
    plots: Mapping[str, str]


def report(
    world: World, incident: Incident, at_page: Incident | None = None, responses: Responses = NO_RESPONSES
) -> Report:
    """The postmortem of an incident.

    world: the data around it. at_page: the incident as of its page, if known. responses: what people did.
    """
    world = world_of(world, clusters_of_incident(incident))
    until = incident.resolved or world.time
    since = min(incident.since, *(figure.since for figure in incident.evidence), incident.opened)
    paged = at_page or incident
    affected = tuple(dict.fromkeys((*paged.affected, *incident.affected)))
    breaches = _breaches(world, incident, (*affected, *ingress_services(world)), since, until)
    impacts = request_impacts(world, since, until, incident.paged, _slos(incident))
    plots = dict(incident_plots(world, incident, since, until))
    parts = [
        f"# Incident {_text(incident.id)}",
        "## Summary",
        _text(incident_sentence(incident)),
        _summary(incident, affected, since, until, breaches, responses.of(incident.id)),
        "## Impact",
        _impact(impacts, until - since, incident.paged is not None),
        "## Timeline",
        _timeline(incident, since, _changes(world, incident, since, until), breaches, responses, world.time),
        *_feedback(responses.of(incident.id)),
        "## Root cause",
        _root_cause(incident, at_page),
        "## Actions",
        _actions(incident, at_page),
        "## Evidence",
        _evidence(incident),
        *(f"![{name.replace('-', ' ')}]({name}.svg)" for name in plots),
        f"_{filled_text(REPORT_TEXTS['simulated' if world.simulated else 'about'], quality=incident.quality)}_",
    ]
    return Report("\n\n".join(part for part in parts if part) + "\n", plots)


def _summary(
    incident: Incident,
    affected: Sequence[Service],
    since: float,
    until: float,
    breaches: Sequence[Breach],
    response: Response,
) -> str:
    paged, ended = incident.paged, incident.recovering_since
    rows = [
        ("Severity", incident.severity),
        ("State", incident.state),
        ("Service", in_words(incident.service)),
        ("Affected services", joined_text(joined(affected, ", ")) or "none"),
        ("Cause", cause_name(incident)),
        (CONDITIONS["suspected_cause"], suspected_cause(incident.stated_suspect) or "unknown"),
        ("Confidence", incident.confidence_level),
        ("First anomaly", utc_timestamp(since)),
        ("Opened", f"{utc_timestamp(incident.opened)}, {_apart(incident.opened, since, 'first anomaly')}"),
        ("Paged", _paged(paged, since)),
    ]
    for first in breaches[:1]:
        apart = f", {_apart(first.start, paged, 'page')}" if paged else ""
        rows.append(("First SLO breach", f"{utc_timestamp(first.start)} at {in_words(first.service)}{apart}"))
    rows += [
        *_people(response, paged),
        *([("Symptoms ended", utc_timestamp(ended))] if ended else []),
        ("Resolved", utc_timestamp(incident.resolved) if incident.resolved is not None else "ongoing"),
        ("Duration", f"{(until - incident.opened) / 60:.0f} min"),
    ]
    return _table(("", ""), rows)


def _apart(time: float, other: float, name: str) -> str:
    """`2 min after the page`."""
    if time == other:
        return f"at the {name}"
    return f"{elapsed(abs(time - other))} {'after' if time >= other else 'before'} the {name}"


class Breach(NamedTuple):
    """The SLO breaches of a service during an incident, Unix seconds: start of the first one.

    within: the first latency after the last one; None if the data end before. last_data: the last latency.
    """

    start: float
    service: Service
    within: float | None
    last_data: float


def _breaches(
    world: World, incident: Incident, services: Sequence[Service], since: float, until: float
) -> list[Breach]:
    """The breaches of some services during an incident, the first one first."""
    if not len(world.times):
        return []
    history = service_history(world, since, until, onset=incident.since, slo_by_service=_slos(incident))
    found = []
    for service in dict.fromkeys(services):
        intervals = history.intervals(service) if service in history.services else ()
        spans = [item for item in intervals if item.stage == "breached"]
        if spans:
            p95 = world.red.p95[world.services.index(service), np.searchsorted(world.times, history.times)]
            known = history.times[np.isfinite(p95)].tolist()
            is_over = history.now()[service] != "breached"
            within = next((time for time in known if is_over and time >= spans[-1].end), None)
            found.append(Breach(spans[0].start, service, within, max(known, default=spans[-1].end)))
    return sorted(found)


def _slos(incident: Incident) -> Mapping[Service, Slo]:
    """The SLOs that the incident was judged by."""
    return {slo.service: Slo(*slo[1:]) for slo in incident.slos}


def _people(response: Response, paged: float | None) -> Iterator[tuple[str, str]]:
    """Who acknowledged the incident when, and who is responsible. paged: Unix seconds."""
    if response.acknowledged:
        by, at = f" by {response.acknowledged.by}" if response.acknowledged.by else "", response.acknowledged.at
        apart = f", {_apart(at, paged, 'page')}" if paged else ""
        yield "Acknowledged", f"{utc_timestamp(at)}{by}{apart}"
    if response.assignment:
        yield "Assigned to", response.assignment.assignee


def _feedback(response: Response) -> Iterator[str]:
    """Feedback on the suspected cause, under a separate heading."""
    if response.feedback:
        yield "## Feedback"
        yield "\n".join(
            f"- {_text(feedback_text(item.verdict, item.cause, str(item.service or ''), item.text))}"
            + (f" ({_text(item.stamp.by)})" if item.stamp.by else "")
            for item in response.feedback
        )


def _changes(world: World, incident: Incident, since: float, until: float) -> list[Change]:
    """The changes in the half hour before the first anomaly and during the incident, the newest `MAX_CHANGES`."""
    start = since - CHANGE_LOOKBACK_SECONDS
    found = [change for change in world.changes if start <= change.at <= until][-MAX_CHANGES:]
    suspect = incident.suspect.change
    return [*found, suspect] if suspect and suspect not in found else found


def _change(change: Change) -> str:
    link = f" <{change.link}>" if change.link else ""
    return f"change: {_text(change_tooltip(change))}{link}"


def _timeline(
    incident: Incident,
    since: float,
    changes: Sequence[Change],
    breaches: Sequence[Breach],
    responses: Responses,
    now: float,
) -> str:
    """What happened, who did what, and what was sent, oldest first, from the cause or the first anomaly."""
    is_warned = incident.paged is None or incident.paged > incident.opened
    events = [(since, "**first anomaly**")]
    events += [(change.at, _change(change)) for change in changes]
    events += [
        (figure.since, _text(_name(figure) if figure.xid else f"{_name(figure)} becomes anomalous"))
        for figure in incident.evidence
    ]
    events.append((incident.opened, f"incident opened{' as an early warning' if is_warned else ''}"))
    if incident.paged is not None:
        events.append((incident.paged, f"paged, {elapsed(incident.paged - since)} after the first anomaly"))
    for item in breaches:
        service = _text(in_words(item.service))
        events.append((item.start, f"{service} breaches its SLO"))
        if item.within is None:
            events.append((item.last_data, f"{service} still breaches its SLO: no later data"))
        else:
            events.append((item.within, f"{service} {WITHIN_SLO_AGAIN}"))
    if incident.recovering_since is not None:
        events.append((incident.recovering_since, "symptoms ended"))
    if incident.resolved is not None:
        events.append((incident.resolved, "resolved"))
    known = incident_timeline(incident, responses.of(incident.id), responses.silences, now)
    events += [(event.at, _text(joined_text(by_line(event)))) for event in known if event.kind != "state"]
    lines = [f"- {clock(time)} {text}" for time, text in sorted(events, key=lambda event: event[0])]
    risks = [risk for risk in incident.at_risk if risk.p50 > 0] if incident.is_open else []
    return "\n".join([*lines, *(f"- at risk: {_text(risk_line(risk))}" for risk in risks)])


def _name(figure: Evidence) -> str:
    name = f"{figure.name}, {xid_note(figure.xid)}," if figure.xid else figure.name
    return f"{name} of {in_words(figure.entity).replace(' -> ', ' → ')}" if figure.entity else figure.name


def _root_cause(incident: Incident, at_page: Incident | None) -> str:
    confidence = CONFIDENCE_LEVELS[incident.confidence_level]
    parts = [_text(filled_text(REPORT_TEXTS["suspected"], cause=_cause(incident), confidence=confidence))]
    if at_page is not None and at_page.stated_suspect != incident.stated_suspect:
        then = _cause(at_page) if at_page.is_cause_stated else "unknown"
        parts.append(_text(filled_text(REPORT_TEXTS["suspected_then"], cause=then)))
    if incident.later is not None:
        parts.append(_text(f"{joined_text(later_clauses(incident))}."))
    if incident.candidates:
        rows = [
            (in_words(item.service), f"{item.score:.2f}", reasons_text(item.reasons)) for item in incident.candidates
        ]
        parts.append(_table(("Candidate", "Score", "Reasons"), rows))
    return "\n\n".join(parts)


def _cause(incident: Incident) -> str:
    """The suspected cause and its class: `ml/batch on pool chat: GPU contention`, or `Cause uncertain`."""
    if not incident.is_cause_stated:
        return cause_name(incident)
    return f"{suspected_cause(incident.suspect) or 'Unknown'}: {in_sentence(cause_name(incident))}"


def _paged(paged: float | None, since: float) -> str:
    return f"{utc_timestamp(paged)}, {_apart(paged, since, 'first anomaly')}" if paged else REPORT_TEXTS["not_paged"]


def _evidence(incident: Incident) -> str:
    rows = [
        (
            _name(item),
            *(evidence_figure(item.metric, value, item.unit) for value in (item.value, item.baseline)),
            clock(item.since),
        )
        for item in incident.evidence
    ]
    if not rows:
        return REPORT_TEXTS["no_evidence"]
    at = incident.evidence_at
    when = "" if at is None else "\n\n" + filled_text(REPORT_TEXTS["past_values"], time=clock(at))
    return _table(("Signal", "Value", "Baseline", "Since"), rows) + when


def _impact(impacts: Sequence[RequestImpact], seconds: float, paged: bool) -> str:
    if not impacts:
        return REPORT_TEXTS["no_impact"]
    head = ("Entry service", "Requests", "Failed", "Slowed", "Failed after the page", "Slowed after the page")
    table = _table(
        head, [(in_words(impact.service), *(f"{value:,.0f}" for value in impact[1:6])) for impact in impacts]
    )
    limits = ", ".join(
        f"{duration(impact.slo_seconds)} at {in_words(impact.service)}" for impact in impacts if impact.slo_seconds > 0
    )
    slowed = f"slower than the SLO ({limits})" if limits else "without an SLO, so unknown"
    notes = _text(filled_text(REPORT_TEXTS["impact"], minutes=round(seconds / 60), slowed=slowed))
    if not paged:
        return f"{table}\n\n{notes} {REPORT_TEXTS['no_page']}"
    saved = sum(impact.failed_after + impact.slowed_after for impact in impacts)
    said = filled_text(REPORT_TEXTS["saved"], minutes=round(REACTION_SECONDS / 60), requests=f"{saved:,.0f}")
    return f"{table}\n\n{notes}\n\n**{said}**"


def incident_plots(
    world: World, incident: Incident, since: float, until: float, max_lines: int = MAX_LINES
) -> Iterator[tuple[str, str]]:
    """Names and SVGs of the plots around the time of an incident (Unix seconds), as far as there is data.

    max_lines: services in one plot.
    """
    first = int(np.searchsorted(world.times, since - SECONDS_BEFORE))
    shown = slice(first, int(np.searchsorted(world.times, until + SECONDS_AFTER, side="right")))
    times = world.times[shown]
    if len(times) < 2:
        return
    moments = [
        ("first anomaly", since),
        ("opened", incident.opened),
        ("paged", incident.paged),
        ("resolved", incident.resolved),
    ]
    involved = {None, incident.service, incident.suspect.service, *incident.affected}
    changes = [change for change in _changes(world, incident, since, until) if change.service in involved]
    moments += [(f"{CHANGE_SIGN} {change_text(change)}"[:MAX_MARK_CHARS], change.at) for change in changes]
    marks = [SvgMark(when, name) for name, when in moments if when is not None and times[0] <= when <= times[-1]]
    affected = list(dict.fromkeys((*incident.affected, incident.service, *ingress_services(world))))[:max_lines]
    suspects = list(dict.fromkeys((*filter(None, [incident.suspect.service]), *affected)))[:max_lines]
    colors = {in_words(service): number for number, service in enumerate(dict.fromkeys((*affected, *suspects)))}
    waits = {
        in_words(pair.noisy_neighbor): world.gpu_wait_by[row]
        for row, pair in enumerate(world.gpu_wait_pairs)
        if pair.affected in incident.affected and pair.gpu in incident.suspect.gpus and pair.noisy_neighbor in suspects
    }
    for name, title, unit, rows in (
        ("latency", "p95 latency", "seconds", _rows(world, world.red.p95, affected)),
        ("error-rate", "Error rate", "share", _rows(world, world.red.error_rate, affected)),
        ("request-rate", "Request rate", "req/s", _rows(world, world.red.rate, suspects)),
        ("gpu-usage", "Usage of the contended GPUs", "share of one GPU", _busy(world, incident, suspects)),
        ("gpu-wait", "GPU wait of the affected services by neighbor", "share of time", waits),
    ):
        lines = [
            SvgLine(label, times.tolist(), values[shown].tolist(), color=colors[label])
            for label, values in rows.items()
            if np.isfinite(values[shown]).any()
        ]
        if lines:
            yield name, draw(title, Axis("time, UTC", clock=True), Axis(unit), lines, marks)


def _rows(world: World, values: Floats, services: Sequence[Service]) -> Mapping[str, Floats]:
    rows = {service: row for row, service in enumerate(world.services)}
    return {in_words(service): values[rows[service]] for service in services if service in rows}


def _busy(world: World, incident: Incident, services: Sequence[Service]) -> Mapping[str, Floats]:
    """Mean over the incident's GPUs of the time that each service has there."""
    rows: dict[str, list[Floats]] = {}
    for tenant, values in zip(world.tenants, world.busy, strict=True):
        if tenant.gpu in incident.suspect.gpus and tenant.service in services:
            rows.setdefault(in_words(tenant.service), []).append(values)
    return {name: np.mean(values, axis=0) for name, values in rows.items()}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_SPECIAL = str.maketrans({"&": "&amp;", "<": "&lt;"} | {letter: f"\\{letter}" for letter in "\\`[]!|"})


def _actions(incident: Incident, at_page: Incident | None) -> str:
    """The recommended actions as of the page if it is known, else of the incident, and how to take and revert each."""
    actions = (at_page or incident).actions
    if not actions:
        return ACTION_TEXTS["none"]
    lines = ["Recommended at the page:" if at_page else "Recommended:", ""]
    for number, action in enumerate(actions, 1):
        lines.append(f"{number}. {_text(action_text(action))}")
        for name, said, is_command in instructions(action).rows():
            lines.append(f"   {ACTION_TEXTS[name]}: {f'`{said}`' if is_command else f'{_text(said)}.'}")
    return "\n".join(lines)


def _text(raw: str) -> str:
    """One line of Markdown that renders as the text: no image, link, code, tag, or end of a cell."""
    return " ".join(raw.split()).translate(_SPECIAL)
