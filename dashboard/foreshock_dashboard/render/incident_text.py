"""Incidents as text for a terminal or a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import AtRisk, Candidate, Evidence, Incident, SuspectedCause
from foreshock_dashboard.render.action import action_text, reasons_text
from foreshock_dashboard.render.command import action_command
from foreshock_dashboard.render.incident_summary import incident_sentence
from foreshock_dashboard.render.units import breach_bucket, breach_interval, clock, duration, rate, significant
from foreshock_dashboard.render.words import CAUSES, CONFIDENCE_LEVELS, in_sentence

MAX_LISTED = 3
"""Candidates and services at risk that are listed."""


def utc_timestamp(seconds: float) -> str:
    """Unix seconds as text: `2026-01-05 08:41:20 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def state_changes(history: Sequence[tuple[float, tuple[Incident, ...]]]) -> Iterator[tuple[float, Incident]]:
    """Each change of severity or state: the time in Unix seconds, and the incident as of then.

    history: per evaluation, in order of time, Unix seconds and all incidents of that evaluation.
    """
    states: dict[str, tuple[str, str]] = {}
    for time, incidents in history:
        for item in incidents:
            if states.get(item.id) != (state := (item.severity, item.state)):
                states[item.id] = state
                yield time, item


def change_line(time: float, item: Incident) -> str:
    """One change of severity or state on one line."""
    suspect = suspected_cause(item.suspect)
    where = f"{item.service}: {in_sentence(CAUSES[item.cause])}{f', {suspect}' if suspect else ''}"
    return f"{utc_timestamp(time)}  {item.severity:<8}  {item.state:<10}  {where}"


def suspected_cause(culprit: SuspectedCause) -> str:
    """The suspected cause and where it acts, as far as known: `ml/batch-embed on pool chat`."""
    edge = " -> ".join(map(str, culprit.edge)) if culprit.edge else ""
    service = str(culprit.service) if culprit.service else edge or culprit.host
    where = f"pool {culprit.pool}" if culprit.pool else edge or culprit.host
    return f"{service} on {where}" if service and where and where != service else service or where


def incident_text(item: Incident) -> str:
    """An incident in full: summary, actions, services at risk, candidates, and evidence."""
    ended = f" to {clock(item.resolved)}" if item.resolved is not None else ", ongoing"
    paged = f", paged {clock(item.paged)}" if item.paged is not None else ", no page sent"
    lines = [
        item.id,
        f"  {utc_timestamp(item.opened)}{ended}{paged}, {CONFIDENCE_LEVELS[item.confidence_level]}, {item.quality}",
        f"  {incident_sentence(item)}",
        *(line for action in item.actions for line in _action_lines(action)),
        *(f"  at risk: {risk_line(one)}" for one in item.at_risk[:MAX_LISTED]),
        *(f"  candidate: {candidate_line(one)}" for one in item.candidates[:MAX_LISTED]),
        *(f"  {evidence_line(one)}" for one in item.evidence),
    ]
    return "\n".join(lines)


def _action_lines(action: Action) -> Iterator[str]:
    yield f"  action: {action_text(action)}"
    if command := action_command(action):
        yield f"    example, to adapt: {command}"


def candidate_line(candidate: Candidate) -> str:
    """A suspected service with the reasons and its score, which is no probability."""
    why = f"{reasons_text(candidate.reasons)}, " if candidate.reasons else ""
    return f"{candidate.service} ({why}score {candidate.score:.2f})"


def risk_line(risk: AtRisk) -> str:
    """A service at risk, and when it breaches its SLO."""
    if risk.p50 <= 0:
        return f"{risk.service} in SLO breach"
    interval = f", {breach_interval(risk.p10, risk.p90)}" if risk.p10 == risk.p10 else ""
    return f"{risk.service} ({breach_bucket(risk.p50)}{interval})"


def evidence_line(item: Evidence) -> str:
    """A figure with its baseline, and since when it differs."""
    name = f"{item.name} of {item.entity}" if item.entity else item.name
    return (
        f"{name}: {figure(item.value, item.unit)} (baseline {figure(item.baseline, item.unit)}) "
        f"since {clock(item.since)}"
    )


def figure(value: float, unit: str) -> str:
    """A value with its unit: `412 ms`, `46%`, `3.2 req/s`; `unknown` for NaN."""
    if value != value:
        return "unknown"
    match unit:
        case "s":
            return duration(value)
        case "ratio":
            return f"{value * 100:.3g}%"
        case "req/s":
            return rate(value)
        case "1/s":
            return f"{significant(value)}/s"
        case _:
            return f"{value:.3g} {unit}".rstrip()
