"""Documented JSON routes: answer models for OpenAPI, errors, and routes of payloads that a snapshot determines."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import new_class
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict

from foreshock_dashboard.access.audit import AuditEvent
from foreshock_dashboard.access.roles import Principal
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.responses import Envelope, Payload, Responder
from foreshock_dashboard.web.pages.contention.limits import LimitReader
from foreshock_dashboard.web.pages.fleet.gpu import GpuReadings
from foreshock_dashboard.web.pages.traces.lists import TraceReads
from foreshock_dashboard.web.panels.gpu_sharing import SharingReader
from foreshock_dashboard.web.panels.topology import TopologyCache
from foreshock_dashboard.web.state.parameters import MAX_VALUE_LENGTH, AsOf, BadParameterError, service_named
from foreshock_dashboard.web.state.service_history import HistoryCache

MakePayload = Callable[[Snapshot, bool, Any], Payload]
"""Payload of a snapshot, whether it is one of time travel, and parameters."""


class RouteContext(NamedTuple):
    """What routes share: the router that has them, and what their answers are made of."""

    api: APIRouter
    hub: HubView
    version: str
    access: Access
    responder: Responder
    responses: ResponseReader
    topologies: TopologyCache
    traces: TraceReads
    gpus: GpuReadings
    limits: LimitReader
    sharing: SharingReader
    histories: HistoryCache


class Error(TypedDict):
    """An error: a sentence that names the input and the remedy."""

    error: str


class Described:
    """A model that only describes an answer: pydantic reads it for the first request of the description.

    Answers are responses, which FastAPI does not check; reading 50 models takes half a second of CPU at each start.
    """

    def __init__(self, model: type) -> None:
        self._model = model

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = TypeAdapter(self._model).core_schema
        return handler(core_schema.definitions_schema(described, []))  # as a reference, not in place


_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "content": _ERROR,
        "description": "400: invalid parameter. 404: not found. 409: not possible now. The message states the remedy",
    },
    503: {"content": _ERROR, "description": "the data source is unavailable"},
}
"""Errors of every route, in place of FastAPI's 422. `describe_errors` adds what they refer to."""


def describe_errors(app: FastAPI) -> None:
    """Add the model of an error to the OpenAPI document; FastAPI would build it twice for each route at each start."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        document["components"]["schemas"]["Error"] = TypeAdapter(Error).json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's guide does


class WithTopology(TypedDict):
    """The id of the topology that indexes of a payload point into."""

    topology: str


class Report(TypedDict):
    """A postmortem."""

    id: str
    markdown: Annotated[str, Field(description="each plot is an image NAME.svg")]
    plots: Annotated[dict[str, str], Field(description="SVG by name")]


class RunbookRow(TypedDict):
    """An alert rule and its runbook."""

    alert: str
    meaning: str
    address: str


class Runbooks(TypedDict):
    """The runbooks."""

    runbooks: list[RunbookRow]


class User(TypedDict):
    """Who sends the request, how they signed in, and their role; without authentication no name and every right."""

    name: str
    method: Literal["token", "password", "proxy", "oidc", ""]
    role: Literal["viewer", "responder", "admin"]


class WithAudit(TypedDict):
    """The newest events of the audit log, newest first; null unless for an admin."""

    audit: list[AuditEvent] | None


class AuditEvents(TypedDict):
    """The newest events of the audit log, newest first."""

    events: list[AuditEvent]


def get(
    api: APIRouter, path: str, summary: str, *payload: type, name: str | None = None
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Decorator of the function behind a GET route. payload: the TypedDicts of its answer besides the envelope."""
    return api.get(path, summary=summary, response_model=_answer_model(api, path, payload), name=name)


def post(
    api: APIRouter, hub: HubView, path: str, summary: str, *payload: type, name: str | None = None, method: str = "POST"
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Decorator of the function behind a route that changes something; a hub of the past answers 409.

    payload: as of `get`.
    """

    async def only_live() -> None:
        if hub.snapshot.bounds is not None:
            raise HTTPException(409, "this hub shows the past and is read-only. Use the live hub")

    model = _answer_model(api, f"{path} {method}", payload)
    live = [Depends(only_live)]
    return api.api_route(path, methods=[method], summary=summary, response_model=model, name=name, dependencies=live)


def sender(request: Request) -> str:
    """The name of the authenticated principal; "" without one."""
    principal: Principal | None = request.scope.get("principal")
    return principal.name if principal else ""


def _answer_model(api: APIRouter, path: str, payload: tuple[type, ...]) -> object:
    """The envelope and the payload as one model, which is named after the payload."""
    address = api.prefix + path.replace(":path", "")

    def document(namespace: dict[str, Any]) -> None:
        namespace["__doc__"] = f"`{address}`."

    model = new_class(f"{payload[0].__name__}Answer", (Envelope, *payload), exec_body=document)
    return Annotated[Any, Described(model)]


def get_snapshot(
    api: APIRouter,
    responder: Responder,
    path: str,
    summary: str,
    *payload: type,
    parameters: type[AsOf] = AsOf,
    name: str | None = None,
) -> Callable[[MakePayload], MakePayload]:
    """Decorator of the function behind a GET route with time travel.

    The payload is made once per snapshot, address, and parameters (see `Responder.snapshot_response`).
    """

    def add(make: MakePayload) -> MakePayload:
        async def answer(request: Request, query: AsOf) -> Response:
            return await responder.snapshot_response(request, query, lambda snapshot, past: make(snapshot, past, query))

        answer.__annotations__["query"] = Annotated[parameters, Query()]
        get(api, path, summary, *payload, name=name or make.__name__)(answer)
        return make

    return add


def known_service(text: str, known: Collection[Service] | None, problem: Callable[[], str]) -> Service:
    """The service with a name. known: None accepts any valid name. problem: the message for an unknown one.

    Raises:
        BadParameterError: the name is empty, or several services have it.
        HTTPException: 404, no service has this name.
    """
    try:
        service = Service.parse(text) if known is None else service_named(text, known)
    except ValueError as error:
        raise BadParameterError(f"service={text[:MAX_VALUE_LENGTH]!r}: {error}") from None
    if service is None or (known is not None and service not in known):
        raise HTTPException(404, problem())
    return service
