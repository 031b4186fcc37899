"""API routes of the pages' values."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.web.api.parameters import CascadeParameters, ContentionParameters, FleetParameters
from foreshock_dashboard.web.api.response_models import (
    CascadeAnswer,
    ContentionPageAnswer,
    FleetAnswer,
    NowAnswer,
    ServicePageAnswer,
    ServicesPageAnswer,
    StatusPageAnswer,
)
from foreshock_dashboard.web.http.responses import MakePayload, Payload, Responder
from foreshock_dashboard.web.pages.cascade.data import cascade as cascade_payload
from foreshock_dashboard.web.pages.contention.data import contention as contention_payload
from foreshock_dashboard.web.pages.fleet.data import fleet as fleet_payload
from foreshock_dashboard.web.pages.fleet.gpu import gpu_detail
from foreshock_dashboard.web.pages.fleet.gpu_queries import GpuReadings
from foreshock_dashboard.web.pages.now.data import now as now_payload
from foreshock_dashboard.web.pages.services.data import service as service_payload
from foreshock_dashboard.web.pages.services.data import services as services_payload
from foreshock_dashboard.web.pages.status.data import status as status_payload
from foreshock_dashboard.web.panels.topology import TopologyCache
from foreshock_dashboard.web.state.history_cache import HistoryCache
from foreshock_dashboard.web.state.parameters import (
    MAX_VALUE_LENGTH,
    AsOf,
    BadParameterError,
    service_named,
    time_parameter,
)
from foreshock_dashboard.web.state.time_range import DEFAULT_RANGE_SECONDS, MIN_RANGE_SECONDS

MAX_SUGGESTIONS = 3
MIN_SIMILARITY = 0.5


def add_page_routes(
    api: APIRouter, hub: HubView, responder: Responder, topologies: TopologyCache, readings: GpuReadings, version: str
) -> None:
    """Register the routes of the pages' values on `api`."""
    histories = HistoryCache()

    def with_topology(payload: MakePayload) -> MakePayload:
        """Add the id of the topology that the payload's indexes refer to."""
        return lambda snapshot, past: {
            "topology": topologies.get(snapshot, past)["id"],
            **payload(snapshot, past),
        }

    @api.get("/now", summary="All values of the Now page; indexes point into /api/topology", response_model=NowAnswer)
    async def now(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        def payload(snapshot: Snapshot, past: bool) -> Payload:
            time = snapshot.world.time if past and snapshot.world else hub.now()
            return now_payload(snapshot, topologies.get(snapshot, past)["id"], time, histories)

        return await responder.snapshot_response(request, query, payload)

    @api.get(
        "/pages/contention",
        summary="All values of the Contention page",
        response_model=ContentionPageAnswer,
        name="page_contention",
    )
    async def contention(request: Request, query: Annotated[ContentionParameters, Query()]) -> Response:
        return await responder.snapshot_response(
            request,
            query,
            with_topology(lambda snapshot, _: contention_payload(snapshot, query.victim, query.aggressor)),
        )

    @api.get(
        "/pages/cascade",
        summary="All values of the Cascade page: lanes, early signs, time to breaches, how it spread",
        response_model=CascadeAnswer,
        name="page_cascade",
    )
    async def cascade(request: Request, query: Annotated[CascadeParameters, Query()]) -> Response:
        def payload(snapshot: Snapshot, _: bool) -> Payload:
            world, now = snapshot.world, hub.now()
            end = world.time if world else now
            start = min(end - MIN_RANGE_SECONDS, time_parameter("from", query.start, now, end - DEFAULT_RANGE_SECONDS))
            # A range beyond that of the snapshot needs another World.
            wide = hub.over(start, end) if world is not None and start < world.times[0] - world.step else None
            return cascade_payload(snapshot, start, query.incident, query.service, wide, histories)

        return await responder.snapshot_response(request, query, with_topology(payload))

    @api.get(
        "/pages/fleet",
        summary="All values of the Fleet page: one byte a GPU, rows of the inventory, the GPU that is open",
        response_model=FleetAnswer,
        name="page_fleet",
    )
    async def fleet(request: Request, query: Annotated[FleetParameters, Query()]) -> Response:
        def payload(snapshot: Snapshot, _: bool) -> Payload:
            selection = query.selection
            nvlink = readings.nvlink(snapshot) if selection.needs_nvlink else None
            detail = gpu_detail(snapshot, query.gpu, readings.hardware(snapshot, query.gpu)) if query.gpu else None
            return {**fleet_payload(snapshot, selection, nvlink), "open": detail}

        return await responder.snapshot_response(request, query, with_topology(payload))

    @api.get(
        "/pages/services",
        summary="All values of the Services page",
        response_model=ServicesPageAnswer,
        name="page_services",
    )
    async def services(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(request, query, lambda snapshot, _: services_payload(snapshot))

    @api.get(
        "/pages/services/{service:path}",
        summary="All about one service: objective, GPUs and neighbours, calls, model servers, replicas, incidents",
        response_model=ServicePageAnswer,
        name="page_service",
    )
    async def service(request: Request, service: str, query: Annotated[AsOf, Query()]) -> Response:
        return await responder.snapshot_response(
            request, query, lambda snapshot, _: service_payload(snapshot, _service_of(snapshot, service))
        )

    @api.get(
        "/pages/status",
        summary="Whether the pages can be trusted: targets, signals, what was dropped, store",
        response_model=StatusPageAnswer,
        name="page_status",
    )
    def status(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        snapshot, past = responder.snapshot_at(query.at)
        body = status_payload(snapshot, hub.status(), hub.ready(), hub.now(), version, past=past)
        return responder.json_response(request, snapshot, body)


def _service_of(snapshot: Snapshot, text: str) -> Service:
    """The service with a name. Before the first evaluation, any valid name is accepted.

    Raises:
        BadParameterError: the name is empty, or several services have it.
        HTTPException: 404, no service has this name; the message lists similar names.
    """
    known = snapshot.world.services if snapshot.world else ()
    try:
        service = service_named(text, known) if known else Service.parse(text)
    except ValueError as error:
        raise BadParameterError(f"service={text[:MAX_VALUE_LENGTH]!r}: {error}") from None
    if known and service not in known:
        names = [*map(str, known), *(other.name for other in known)]
        similar = get_close_matches(text[:MAX_VALUE_LENGTH], names, MAX_SUGGESTIONS, MIN_SIMILARITY)
        hint = f"; do you mean {', '.join(dict.fromkeys(similar))}?" if similar else ""
        raise HTTPException(404, f"No service {text[:MAX_VALUE_LENGTH]!r} is known{hint} All are under Services.")
    return service or Service.parse(text)
