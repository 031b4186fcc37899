"""API routes of lists, of the hub's status, and of post-mortems."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.web.api import load_balancing
from foreshock_dashboard.web.api.parameters import HeadroomParameters, ReportParameters
from foreshock_dashboard.web.api.response_models import (
    ContentionAnswer,
    GpusAnswer,
    HeadroomAnswer,
    HealthAnswer,
    IncidentsAnswer,
    PoolsAnswer,
    ReportAnswer,
    RunbooksAnswer,
    ServicesAnswer,
    StatusAnswer,
    TopologyAnswer,
    WarningsAnswer,
)
from foreshock_dashboard.web.documents import runbooks as runbook_pages
from foreshock_dashboard.web.documents.postmortem import find_incident, report, zipped
from foreshock_dashboard.web.http.responses import ZIP, Responder, download
from foreshock_dashboard.web.panels.topology import TopologyCache
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.parameters import AsOf, BadParameterError, NoParameters, service_named


def add_list_routes(
    api: APIRouter, hub: HubView, responder: Responder, topologies: TopologyCache, version: str
) -> None:
    """Register the routes of lists, of the hub's status, and of post-mortems on `api`."""

    @api.get(
        "/services",
        summary="Every service: requests per second, share failed, p50, p95, p99, retries; every call edge",
        response_model=ServicesAnswer,
    )
    async def services(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: lists.services(snapshot))

    @api.get(
        "/gpus",
        summary="Every GPU: utilization, contention, memory, power, temperature, and the services on it",
        response_model=GpusAnswer,
    )
    async def gpus(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: lists.gpus(snapshot))

    @api.get(
        "/contention",
        summary="Which service waits for which, on which GPUs, for which share of time",
        response_model=ContentionAnswer,
    )
    async def contention(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: lists.contention(snapshot))

    @api.get(
        "/pools",
        summary="Which GPUs tiers share, and the fewest GPUs that carry each tier, bursts included",
        response_model=PoolsAnswer,
    )
    async def pools(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: lists.pools(snapshot.world))

    @api.get("/warnings", summary="The incidents that are open, the worst first", response_model=WarningsAnswer)
    async def warnings(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: lists.warnings(snapshot))

    @api.get(
        "/incidents",
        summary="Every incident that is remembered, also those that are over",
        response_model=IncidentsAnswer,
    )
    async def incidents(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: lists.incidents(snapshot))

    @api.get(
        "/topology", summary="Who and what there is, and the layout of the service map", response_model=TopologyAnswer
    )
    def topology(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        snapshot, past = responder.snapshot_at(query.at)
        body = topologies.get(snapshot, past)
        return responder.json_response(request, snapshot, body, f'"{body["id"]}"')

    @api.get("/status", summary="The hub's own health: targets, store, receiver", response_model=StatusAnswer)
    def status(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        body = lists.status(hub.snapshot, hub.status(), *hub.ready(), version)
        return responder.json_response(request, hub.snapshot, body)

    @api.get(
        "/runbooks",
        summary="Every alert rule that comes along, with what it means and the address of its runbook",
        response_model=RunbooksAnswer,
    )
    def runbooks(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        return responder.json_response(request, hub.snapshot, runbook_pages.listed())

    @api.get(
        "/report/{incident}",
        summary="A post-mortem of one incident: Markdown, and its plots as SVG",
        response_model=ReportAnswer,
    )
    def report_(request: Request, incident: str, query: Annotated[ReportParameters, Query()]) -> Response:
        snapshot, _ = responder.snapshot_at(query.at)
        if snapshot.world is None:
            raise HTTPException(404, "there is no incident: the first tick has not ended")
        try:
            item = find_incident(incident, snapshot.incidents)
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        written = report(snapshot.world, item)
        if query.format == "zip":
            return download(f"foreshock-{item.id}.zip", zipped(written, item.id), ZIP)
        body = {"id": item.id, "markdown": written.markdown, "plots": dict(written.plots)}
        return responder.json_response(request, snapshot, body)

    @api.get(
        "/headroom",
        summary="Pools and replicas by the load that they can still take, bursts included",
        response_model=HeadroomAnswer,
    )
    def headroom(request: Request, query: Annotated[HeadroomParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        service = _service_of(snapshot, query.service) if query.service else None
        return responder.json_response(request, snapshot, load_balancing.headroom(snapshot, service))

    @api.get(
        "/health/{service:path}",
        summary="How a service is for those who call it: ok, degraded or shed, and when to come again",
        response_model=HealthAnswer,
    )
    def health(request: Request, service: str, _: Annotated[NoParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        body = load_balancing.health(snapshot, _service_of(snapshot, service))
        answer = responder.json_response(request, snapshot, body)
        if body["retry_after"] is not None:
            answer.headers["Retry-After"] = str(body["retry_after"])
        return answer


def _service_of(snapshot: Snapshot, text: str) -> Service:
    """The service with a name. Before the first evaluation, any valid name is accepted.

    Raises:
        BadParameterError: the name is empty, or several services have it.
        HTTPException: 404, no service has this name.
    """
    try:
        if snapshot.world is None:
            return Service.parse(text)
        service = service_named(text, snapshot.world.services)
    except ValueError as error:
        raise BadParameterError(f"service={text!r}: {error}") from None
    if service is None or service not in snapshot.world.services:
        raise HTTPException(404, f"no service {text}; /api/services lists those that are known")
    return service
