"""Notifications of an incident for each channel, and the annotations of its alert."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from foreshock_dashboard.model.capacity.load import Shortage
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.render.action import action_clauses, action_expected
from foreshock_dashboard.render.capacity_text import act_text, moment, shortage_text
from foreshock_dashboard.render.clause import in_words, joined_text, sentences, text
from foreshock_dashboard.render.command import action_command
from foreshock_dashboard.render.incident_summary import details_sentences, headline, later_clauses, suspicion_clauses
from foreshock_dashboard.render.units import clock, elapsed, printable

MENTION = "@\u200b"
"""An at sign that no chat service takes for a mention: names from telemetry must not call a whole channel."""


class MessageText(NamedTuple):
    """A message: its title in one line, and its text in lines."""

    title: str
    text: str


def alert_name(incident: Incident) -> str:
    """The name of the incident's alert, as in the rules of `alerts/`."""
    if incident.severity == "critical":
        return "ForeshockIncident"
    return "ForeshockMetastableRisk" if incident.summary.latent else "ForeshockEarlyWarning"


def incident_url(base: str, incident_id: str) -> str:
    """The page of an incident on the hub at a URL."""
    return f"{base}/cascade?incident={quote(incident_id, safe='')}"


def runbook_url(base: str, incident: Incident) -> str:
    """The runbook of the incident's alert on the hub at a URL."""
    return f"{base}/runbooks/{alert_name(incident)}"


def action_line(incident: Incident) -> str:
    """The first recommended action with its expected effect; "" for none."""
    if not incident.actions:
        return ""
    action = incident.actions[0]
    expected = action_expected(action)
    return f"{joined_text(action_clauses(action))}.{f' Expected: {expected}.' if expected else ''}"


def open_message(incident: Incident, kind: str, base: str, owner: str = "") -> MessageText:
    """The message about an open incident. kind: what the title begins with, such as `critical` or `update`.

    base: URL of the hub. owner: of the service; "" if unknown.
    """
    action, command = action_line(incident), action_command(incident.actions[0]) if incident.actions else None
    lines = [
        details_sentences(incident),
        f"Action: {action}" if action else "",
        f"Command: {command}" if command else "",
        f"Owner: {owner}" if owner else "",
    ]
    return _message(f"[{kind}] {headline(incident)}", lines, incident.id, base, runbook_url(base, incident))


def resolved_message(incident: Incident, base: str) -> MessageText:
    """The message about a resolved incident."""
    end = incident.resolved if incident.resolved is not None else incident.opened
    lasted = f"Open for {elapsed(end - incident.opened)}, from {clock(incident.opened)} to {clock(end)} UTC."
    causes = sentences(suspicion_clauses(incident), later_clauses(incident))
    cause = joined_text(causes, incident.service.cluster)
    return _message(f"[resolved] {headline(incident)}", [f"{lasted} {cause}"], incident.id, base)


def gone_message(service: str, incident_id: str, base: str) -> MessageText:
    """The message about an incident that the analysis no longer reports, for example after a gap in the data."""
    return _message(f"[resolved] {in_words(service)}: incident no longer reported", [], incident_id, base)


def shortage_message(shortage: Shortage, now: float, base: str, owner: str = "") -> MessageText:
    """The early warning of a capacity shortage. now: Unix seconds. base: URL of the hub. owner: "" if unknown."""
    service, pool = shortage.subject
    said, action = joined_text(shortage_text(shortage, now)), joined_text(act_text(shortage, now))
    query = "&".join(
        f"{key}={quote(str(value), safe='')}" for key, value in (("service", service or ""), ("pool", pool))
    )
    lines = [
        _safe(said),
        _safe(action),
        _safe(f"Owner: {owner}" if owner else ""),
        f"Capacity: {base}/capacity?{query}",
        f"Runbook: {base}/runbooks/ForeshockCapacityShortage",
    ]
    name = in_words(service) if service else f"pool {in_words(pool)}"
    title = f"[warning] {name}: capacity shortage {joined_text(text(moment(shortage.at, now)))}"
    return MessageText(_safe(title), "\n".join(filter(None, lines)))


def no_shortage_message(name: str, base: str) -> MessageText:
    """The end of such a warning. name: of the service or pool."""
    title = f"[resolved] {in_words(name)}: no capacity shortage forecast"
    return MessageText(_safe(title), f"Capacity: {base}/capacity")


def _message(title: str, lines: list[str], incident_id: str, base: str, runbook: str = "") -> MessageText:
    links = [f"Incident: {incident_url(base, incident_id)}", f"Runbook: {runbook}" if runbook else ""]
    shown = [_safe(line) for line in lines if line]
    return MessageText(_safe(title), "\n".join([*shown, *filter(None, links)]))


def _safe(text: str) -> str:
    """Text from the network without control characters and without mentions."""
    return printable(text).replace("@", MENTION)
