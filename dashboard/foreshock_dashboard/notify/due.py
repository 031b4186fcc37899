"""Which message about an incident is due on a channel, as a function of what was sent there before. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from foreshock_dashboard.model.incident import Incident, Severity
from foreshock_dashboard.render.incident_text import suspected_cause

Event = Literal["early_warning", "page", "cause", "resolved"]

MIN_UPDATE_SECONDS = 300.0
"""Time between two messages about the cause of one incident: a ranking that alternates is not worth a message each."""
LATENT_SECONDS = 900.0
"""Time for which a latent risk must last, as in the rule of its alert: it is not news."""


class Mute(NamedTuple):
    """Why an incident is not to notify: silenced, or under maintenance, until a time (Unix seconds)."""

    until: float
    by: str = ""
    comment: str = ""


class Sent(NamedTuple):
    """The last message about an incident on a channel. severity: the one it was sent with. at: Unix seconds.

    cause: `cause_of` at that time. delivered: False while it waits in the outbox.
    """

    event: Event
    severity: Severity
    at: float
    cause: str
    delivered: bool = True


def cause_of(incident: Incident) -> str:
    """The stated cause as a text to compare: class and suspect; "" while it is uncertain."""
    if not incident.is_cause_stated:
        return ""
    return f"{incident.cause} {suspected_cause(incident.suspect)}"


def is_worth_sending(incident: Incident, now: float) -> bool:
    """Whether an open incident is due at all at a time (Unix seconds): a latent risk may be gone in a minute."""
    return not incident.summary.latent or now - incident.opened >= LATENT_SECONDS


def alert_event(incident: Incident, last: str | None) -> Event | None:
    """What an accepted alert of an incident is the first to say, or None. last: what the one before it said.

    An incident that paged and is a warning again does not notify again.
    """
    if not incident.is_open:
        return None if last in (None, "resolved") else "resolved"
    if incident.severity == "critical":
        return None if last == "page" else "page"
    return "early_warning" if last in (None, "resolved") else None


def due(incident: Incident, last: Sent | None, now: float, *, early: bool, muted: bool) -> Event | None:
    """The message that is due, or None.

    last: the last message about the incident on the channel. now: Unix seconds. early: whether the channel takes
    early warnings. muted: whether the incident is silenced or under maintenance, which holds back all but the
    resolution of what was sent: it closes the page.
    """
    if not incident.is_open:
        return "resolved" if last is not None and last.event != "resolved" else None
    if last is not None and last.event == "resolved":  # it was gone for a while, and is back
        last = None
    if muted or incident.state == "recovering" or not is_worth_sending(incident, now):
        return None
    if incident.severity == "critical":
        if last is None or last.severity != "critical":
            return "page"
    elif last is None:
        return "early_warning" if early else None
    if cause_of(incident) in ("", last.cause):
        return None
    if not last.delivered:
        return last.event  # with the new cause
    return "cause" if now - last.at >= MIN_UPDATE_SECONDS else None
