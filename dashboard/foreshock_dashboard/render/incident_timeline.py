"""The timeline of an incident: what happened, who did what, and what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.render.clause import Text, in_sentence, in_words, joined, minute, text
from foreshock_dashboard.render.words.incidents import CAUSES, FEEDBACK, NOTIFIED
from foreshock_dashboard.response.values import FeedbackVerdict, Response, Silence

EventKind = Literal["state", "response", "notification"]


class TimelineEvent(NamedTuple):
    """An event of an incident: Unix seconds, what it is about, who did it ("" for no person), and what."""

    at: float
    kind: EventKind
    by: str
    text: Text


def incident_timeline(
    incident: Incident, response: Response, silences: Sequence[Silence], now: float
) -> list[TimelineEvent]:
    """The events up to `now` (Unix seconds), oldest first.

    silences: all; those for this incident alone are among the response's entries. One that ended before its start
    covered nothing.
    """
    end = now if incident.resolved is None else incident.resolved
    events = [
        *_states(incident),
        *(event for entry in response.entries for event in _entry(entry)),
        *(
            TimelineEvent(max(item.start, item.stamp.at), "response", item.stamp.by, _silenced(item))
            for item in silences
            if not item.incident and item.matches(incident) and item.start < item.end
            if item.start <= end and item.end > incident.opened
        ),
    ]
    return sorted(events, key=lambda event: event.at)


def by_line(event: TimelineEvent) -> Text:
    """What happened, and who did it: `acknowledged by dana`."""
    return text(event.text, f" by {event.by}" if event.by else "")


def _states(incident: Incident) -> Iterator[TimelineEvent]:
    for at, what in (
        (incident.since, "first anomaly"),
        (incident.opened, "incident opened"),
        (incident.paged, "paged"),
        (incident.recovering_since, "symptoms ended"),
        (incident.resolved, "resolved"),
    ):
        if at is not None:
            yield TimelineEvent(at, "state", "", text(what))


def _entry(entry: Entry) -> Iterator[TimelineEvent]:
    data = entry.data
    if entry.kind == "notification":
        event, channel = NOTIFIED.get(str(data.get("event")), str(data.get("event"))), str(data.get("channel"))
        sent = "sent" if data.get("outcome") == "sent" else "not delivered"
        yield TimelineEvent(entry.at, "notification", "", text(f"{event} {sent} to {channel}"))
        return
    what = text(_said(entry)) if data["action"] != "silence" else text("silenced until ", minute(float(data["end"])))
    comment = str(data.get("comment") or "") if data["action"] == "silence" else ""
    yield TimelineEvent(entry.at, "response", entry.by, text(what, f" ({comment})" if comment else ""))


def _said(entry: Entry) -> str:
    data = entry.data
    match data["action"]:
        case "acknowledge":
            return "acknowledged"
        case "unacknowledge":
            return "acknowledgment withdrawn"
        case "assign":
            return f"assigned to {data['assignee']}" if data["assignee"] else "unassigned"
        case "note":
            return f"note “{data['text']}”"
        case "feedback":
            return feedback_text(data["verdict"], data.get("cause"), data.get("service"), str(data.get("text") or ""))
        case _:
            return "silence ended"


def feedback_text(verdict: FeedbackVerdict, cause: str | None, service: str | None, comment: str) -> str:
    """`feedback: wrong cause, it was ml/batch-embed (GPU contention)`."""
    words = next((in_sentence(word) for key, word in CAUSES.items() if key == cause), "")
    named = f"{in_words(service)} ({words})" if service and words else in_words(service or "") or words
    was = f", it was {named}" if named else ""
    return f"feedback: {in_sentence(FEEDBACK[verdict])}{was}{f' (“{comment}”)' if comment else ''}"


def _silenced(item: Silence) -> Text:
    what = "maintenance until " if item.maintenance else "silenced until "
    pair = [service for service in (item.service, item.noisy_neighbor) if service]
    return text(
        joined(pair, " / ") if pair else "all services",
        f" {what}",
        minute(item.end),
        f" ({item.comment})" if item.comment else "",
    )
