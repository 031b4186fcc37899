"""API routes of what people do about incidents: acknowledge, assign, note, silence, give feedback."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Cause, Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.response import entries
from foreshock_dashboard.response.entries import Data
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.response.values import FeedbackVerdict, Silence
from foreshock_dashboard.web.api.answers import RouteContext, get, post, sender
from foreshock_dashboard.web.http.responses import Responder
from foreshock_dashboard.web.state.parameters import BadParameterError, NoParameters, time_parameter
from foreshock_dashboard.web.state.response_json import (
    ResponseJson,
    SilenceJson,
    Silences,
    response,
    silence_row,
    silences,
)
from foreshock_exporter.common.durations import parse_duration

MAX_NAME, MAX_COMMENT, MAX_NOTE = 200, 500, 4000
"""Characters of a name, of a comment, and of a note."""
MAX_SILENCE_SECONDS = 90 * 86_400.0
MAX_OPEN_SILENCES = 500
"""Silences that are active or to come; each evaluation compares every incident with each."""
FOUND_AFTER_SECONDS = 60.0
"""Time after its opening at which an incident of the past is looked up."""


def _line(text: str) -> str:
    """One line without control characters, as terminals and messages show it."""
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text):
        raise ValueError("contains control characters. Use a single line of text")
    return text.strip()


def _paragraphs(text: str) -> str:
    return "\n".join(_line(line) for line in text.splitlines()).strip()


def _seconds(value: object) -> float:
    seconds = parse_duration(str(value))
    if not 0 < seconds <= MAX_SILENCE_SECONDS:
        raise ValueError(f"is not a duration of up to {MAX_SILENCE_SECONDS / 86_400:.0f} days, such as 2h")
    return seconds


def _service(value: object) -> Service | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError(f"is not a name of up to {MAX_NAME} characters")
    return Service.parse(_line(value))


Line = Annotated[str, Field(max_length=MAX_COMMENT), AfterValidator(_line)]
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_line)]
Named = Annotated[Service | None, BeforeValidator(_service), WithJsonSchema({"type": "string", "maxLength": MAX_NAME})]
Seconds = Annotated[float | None, BeforeValidator(_seconds), WithJsonSchema({"type": "string"})]


class Body(BaseModel):
    """The body of a request that changes something. by: who, where the hub has no authentication."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Name = ""


class Acknowledge(Body):
    """acknowledged: false withdraws an acknowledgment."""

    acknowledged: bool = True


class Assign(Body):
    """assignee: null is the sender, and an empty text is for no one."""

    assignee: Name | None = None


class Note(Body):
    """A note of one or more lines."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_NOTE), AfterValidator(_paragraphs)]


class Feedback(Body):
    """cause, service: the real ones, where the verdict is `wrong_cause`."""

    verdict: FeedbackVerdict
    cause: Cause | None = None
    service: Named = None
    text: Line = ""


class Period(Body):
    """A time range: `end`, or `duration` from `start`. start: now by default."""

    start: str = ""
    end: str = ""
    duration: Seconds = None
    comment: Line = ""

    def times(self, now: float) -> tuple[float, float]:
        """Start and end, Unix seconds.

        Raises:
            BadParameterError: a time cannot be read, or the range is empty, over, or too long.
        """
        start = time_parameter("start", self.start, now, now)
        if bool(self.end) == (self.duration is not None):
            raise BadParameterError("end, duration: pass one of them, such as duration=2h")
        end = start + self.duration if self.duration is not None else time_parameter("end", self.end, now, now)
        if end <= max(start, now):
            raise BadParameterError(f"end={self.end!r}: is not after the start and the present. Use a later time")
        if end - start > MAX_SILENCE_SECONDS or start - now > MAX_SILENCE_SECONDS:
            raise BadParameterError(f"end: more than {MAX_SILENCE_SECONDS / 86_400:.0f} days ahead. Use a nearer time")
        return start, end


class NewSilence(Period):
    """A silence of an incident, of a service, or of the pair of an affected service and its noisy neighbor."""

    incident: Name = ""
    service: Named = None
    noisy_neighbor: Named = None


class Maintenance(Period):
    """A maintenance window of a service, or of all where none is given."""

    service: Named = None


class ChangedResponse(TypedDict):
    """What people did about the incident, after the change."""

    incident: str
    response: ResponseJson


class ChangedSilence(TypedDict):
    """The silence, after the change."""

    silence: SilenceJson


@dataclass(frozen=True, slots=True)
class _Journal:
    """What the routes that write entries have in common."""

    hub: HubView
    responder: Responder
    reader: ResponseReader

    def append(self, request: Request, body: Body, data: Data) -> int:
        """Write an entry; the number of it. Raises BadParameterError."""
        try:
            return self.hub.journal.append("incident", self.hub.now(), sender(request) or body.by, data)
        except ValueError as error:
            raise BadParameterError(str(error)) from None

    def silence(self, request: Request, body: Period, **target: Any) -> SilenceJson:  # noqa: ANN401 - of `entries.silence`
        """Write a silence. Raises BadParameterError, and HTTPException where there are too many."""
        now = self.hub.now()
        start, end = body.times(now)
        opened = sum(item.end > now for item in self.reader.current().silences)
        if opened >= MAX_OPEN_SILENCES:
            raise HTTPException(409, f"{opened} silences are active or upcoming (limit {MAX_OPEN_SILENCES}). End some")
        number = self.append(request, body, entries.silence(start, end, comment=body.comment, **target))
        return next(silence_row(item) for item in self.reader.current().silences if item.id == number)

    def answer(self, request: Request, item: Incident) -> Response:
        """What people did about an incident by now."""
        body = {"incident": item.id, "response": response(item, self.reader.current(), self.hub.now())}
        return self.responder.json_response(request, self.hub.snapshot, body)


def add_response_routes(context: RouteContext) -> None:
    """Register the routes. Those that change something need the role responder (see `access.roles`)."""
    journal = _Journal(context.hub, context.responder, context.responses)
    _add_incident_routes(context, journal)
    _add_silence_routes(context, journal)


def _add_incident_routes(context: RouteContext, journal: _Journal) -> None:
    """What people do about one incident."""
    api, hub = context.api, context.hub

    def add(action: str, summary: str, body_type: type[Body], data: Callable[[Request, Incident, Any], Data]) -> None:
        def route(request: Request, incident: str, body: Body) -> Response:
            item = _found(hub, incident)
            journal.append(request, body, data(request, item, body))
            return journal.answer(request, item)

        route.__annotations__["body"] = body_type
        post(api, hub, f"/incidents/{{incident}}/{action}", summary, ChangedResponse, name=f"incident_{action}")(route)

    add(
        "acknowledge",
        "Acknowledge an incident, or withdraw the acknowledgment",
        Acknowledge,
        lambda _, item, body: entries.acknowledge(item.id, acknowledged=body.acknowledged),
    )
    add(
        "assign",
        "Assign an incident to a person",
        Assign,
        lambda request, item, body: entries.assign(
            item.id, (sender(request) or body.by) if body.assignee is None else body.assignee
        ),
    )
    add("notes", "Add a note to an incident", Note, lambda _, item, body: entries.note(item.id, body.text))
    add(
        "feedback",
        "Rate the suspected cause",
        Feedback,
        lambda _, item, body: entries.feedback(item.id, body.verdict, body.cause, body.service, body.text),
    )

    @post(api, hub, "/incidents/{incident}/silence", "Silence one incident until a time", ChangedResponse)
    def incident_silence(request: Request, incident: str, body: Period) -> Response:
        item = _found(hub, incident)
        journal.silence(request, body, incident=item.id)
        return journal.answer(request, item)


def _add_silence_routes(context: RouteContext, journal: _Journal) -> None:
    """Silences and maintenance windows."""
    api, hub, responder, reader = context.api, context.hub, context.responder, context.responses

    @get(api, "/silences", "Active and upcoming silences and maintenance windows", Silences, name="silences")
    def listed(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        incidents = {item.id for item in hub.snapshot.incidents}

        def in_cluster(item: Silence) -> bool:
            if not hub.cluster:
                return True
            return item.incident in incidents if item.incident else item.is_in(hub.cluster)

        return responder.json_response(request, hub.snapshot, silences(reader.current(), hub.now(), in_cluster))

    @post(api, hub, "/silences", "Silence an incident, a service, or a GPU pair until a time", ChangedSilence)
    def silences_(request: Request, body: NewSilence) -> Response:
        if bool(body.incident) == bool(body.service):
            raise BadParameterError("incident, service: pass one of them")
        if body.noisy_neighbor and not body.service:
            raise BadParameterError("noisy_neighbor: pass the affected service as service as well")
        if body.incident:
            _found(hub, body.incident)
        target = {"incident": body.incident, "service": body.service, "noisy_neighbor": body.noisy_neighbor}
        row = journal.silence(request, body, **target)
        return responder.json_response(request, hub.snapshot, {"silence": row})

    @post(api, hub, "/maintenance", "Plan a maintenance window for one service or for all services", ChangedSilence)
    def maintenance(request: Request, body: Maintenance) -> Response:
        row = journal.silence(request, body, service=body.service, maintenance=True)
        return responder.json_response(request, hub.snapshot, {"silence": row})

    @post(api, hub, "/silences/{silence_id}", "End a silence or a maintenance window", ChangedSilence, method="DELETE")
    def end_silence(request: Request, silence_id: str) -> Response:
        known = {str(item.id): item for item in reader.current().silences if item.id and item.end > hub.now()}
        if silence_id not in known:
            raise HTTPException(404, f"no active silence {silence_id[:MAX_NAME]!r}. /api/silences lists all")
        item = known[silence_id]
        journal.append(request, Body(), entries.end_silence(item.id, item.incident))
        ended = next(row for row in reader.current().silences if row.id == item.id)
        return responder.json_response(request, hub.snapshot, {"silence": silence_row(ended)})


def _found(hub: HubView, incident_id: str) -> Incident:
    """An incident of the hub, also of a past time. Raises HTTPException: 404, there is none with this id."""
    found = next((item for item in hub.snapshot.incidents if item.id == incident_id), None)
    if found is None and (opened := re.match(r"(\d{8}T\d{6})Z-", incident_id)):
        try:
            time = datetime.strptime(opened[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
            past = hub.at(min(time + FOUND_AFTER_SECONDS, hub.now())).incidents
        except (ValueError, SourceError):
            past = ()
        found = next((item for item in past if item.id == incident_id), None)
    if found is None:
        raise HTTPException(404, f"no incident {incident_id[:MAX_NAME]!r}. /api/incidents lists those of the last hour")
    return found
