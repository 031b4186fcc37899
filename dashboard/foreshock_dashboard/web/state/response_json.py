"""What people did about incidents, as JSON for API and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from typing_extensions import TypedDict

from foreshock_dashboard.model.incident import Cause, Incident
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.render.incident_timeline import EventKind, incident_timeline
from foreshock_dashboard.response.fold import Responses
from foreshock_dashboard.response.values import FeedbackVerdict, Silence, Stamp
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number_of_time

MAX_EVENTS = 200
"""Events of a timeline, notes, and feedback of an incident in one answer, the newest; the journal keeps the others."""


class StampJson(Row):
    """Who, "" if unknown, and when (Unix seconds)."""

    by: str
    at: float | None


class AssignmentJson(Row):
    """The person responsible, and who assigned the incident when."""

    assignee: str
    by: str
    at: float | None


class NoteJson(Row):
    """A note."""

    text: str
    by: str
    at: float | None


class FeedbackJson(Row):
    """What a person says about the analysis."""

    verdict: FeedbackVerdict
    cause: Cause | None
    service: str | None
    text: str
    by: str
    at: float | None


class SilenceJson(Row):
    """A silence. incident, service, noisy_neighbor: null unless it is for one; all null for all incidents."""

    id: int
    start: float | None
    end: float | None
    incident: str | None
    service: str | None
    noisy_neighbor: str | None
    comment: str
    maintenance: bool
    by: str
    at: float | None


class EventJson(Row):
    """An event of an incident."""

    at: float | None
    kind: EventKind
    by: str
    text: list[ClauseJson]


class ResponseJson(TypedDict):
    """What people did about one incident. acknowledged, assignment, silence: null if not.

    silence: the one that the incident is under now. inhibited: whether Alertmanager inhibits its alert. notes,
    feedback, timeline: the newest 200.
    """

    acknowledged: StampJson | None
    assignment: AssignmentJson | None
    notes: list[NoteJson]
    feedback: list[FeedbackJson]
    silence: SilenceJson | None
    inhibited: bool
    timeline: list[EventJson]


class OwnershipJson(Row):
    """Owner, tier, and links of a service by name; empty if unknown."""

    owner: str
    tier: str
    links: dict[str, str]


class WithResponses(TypedDict):
    """What people did about the incidents of a page, by id, and the known owners of their services."""

    responses: dict[str, ResponseJson]
    owners: dict[str, OwnershipJson]


class WithOwnership(TypedDict):
    """The owner of a page's service."""

    ownership: OwnershipJson


class Silences(TypedDict):
    """Silences and maintenance windows that are active or to come, the newest first."""

    silences: list[SilenceJson]


def response(incident: Incident, responses: Responses, now: float) -> ResponseJson:
    """What people did about an incident. now: Unix seconds."""
    known, silence = responses.of(incident.id), responses.silence_of(incident, now)
    assigned = known.assignment
    events = incident_timeline(incident, replace(known, entries=known.entries[-MAX_EVENTS:]), responses.silences, now)
    return {
        "acknowledged": _stamp(known.acknowledged) if known.acknowledged else None,
        "assignment": AssignmentJson(assigned.assignee, *_by(assigned.stamp)) if assigned else None,
        "notes": [NoteJson(item.text, *_by(item.stamp)) for item in known.notes[-MAX_EVENTS:]],
        "feedback": [
            FeedbackJson(
                item.verdict, item.cause, str(item.service) if item.service else None, item.text, *_by(item.stamp)
            )
            for item in known.feedback[-MAX_EVENTS:]
        ],
        "silence": silence_row(silence) if silence else None,
        "inhibited": incident.id in responses.inhibited,
        "timeline": [
            EventJson(number_of_time(event.at), event.kind, event.by, clauses(event.text))
            for event in events[-MAX_EVENTS:]
        ],
    }


def with_responses(
    incidents: Sequence[Incident], responses: Responses, owner: Callable[[Service], Ownership], now: float
) -> WithResponses:
    """What people did about incidents, and the owners of their services. now: Unix seconds."""
    services = {service for item in incidents for service in (item.service, item.suspect.service) if service}
    owners = {str(service): ownership(owner(service)) for service in sorted(services)}
    return {
        "responses": {item.id: response(item, responses, now) for item in incidents},
        "owners": {name: found for name, found in owners.items() if found.owner or found.tier or found.links},
    }


def ownership(found: Ownership) -> OwnershipJson:
    """Owner, tier, and links of a service."""
    return OwnershipJson(found.owner, found.tier, dict(found.links))


def silences(responses: Responses, now: float, shown: Callable[[Silence], bool] = lambda _: True) -> Silences:
    """The silences that are active or to come, of those that are shown. now: Unix seconds."""
    return {"silences": [silence_row(item) for item in responses.silences if item.end > now and shown(item)]}


def silence_row(item: Silence) -> SilenceJson:
    """A silence."""
    return SilenceJson(
        item.id,
        number_of_time(item.start),
        number_of_time(item.end),
        item.incident or None,
        str(item.service) if item.service else None,
        str(item.noisy_neighbor) if item.noisy_neighbor else None,
        item.comment,
        item.maintenance,
        *_by(item.stamp),
    )


def _stamp(stamp: Stamp) -> StampJson:
    return StampJson(*_by(stamp))


def _by(stamp: Stamp) -> tuple[str, float | None]:
    return stamp.by, number_of_time(stamp.at)
