"""API routes of the pages' values."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from typing import Annotated

from fastapi import HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.access.roles import Role
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.api.answers import RouteContext, WithAudit, WithTopology, get, get_snapshot, known_service
from foreshock_dashboard.web.api.parameters import (
    CascadeParameters,
    ContentionParameters,
    ExemplarParameters,
    FleetParameters,
    NowParameters,
)
from foreshock_dashboard.web.http.responses import Payload
from foreshock_dashboard.web.pages.cascade import data as cascade_page
from foreshock_dashboard.web.pages.contention import data as contention_page
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.pages.fleet import data as fleet_page
from foreshock_dashboard.web.pages.fleet.gpu import GpuDetail, gpu_detail
from foreshock_dashboard.web.pages.now import data as now_page
from foreshock_dashboard.web.pages.services import data as services_page
from foreshock_dashboard.web.pages.status import data as status_page
from foreshock_dashboard.web.pages.traces.lists import Exemplars, exemplar_query
from foreshock_dashboard.web.state.parameters import (
    DEFAULT_RANGE_SECONDS,
    MAX_VALUE_LENGTH,
    MIN_RANGE_SECONDS,
    AsOf,
    time_parameter,
)
from foreshock_dashboard.web.state.placement import NO_SHARING
from foreshock_dashboard.web.state.response_json import WithOwnership, WithResponses, ownership, with_responses
from foreshock_dashboard.web.state.service_history import HistoryCache

MAX_SUGGESTIONS = 3
MAX_AUDIT_EVENTS = 100
"""On the Status page; `/api/audit` has more."""
MIN_SIMILARITY = 0.5


class OpenGpu(WithTopology):
    """The side panel of the Fleet page."""

    open: GpuDetail | None


def add_page_routes(context: RouteContext) -> None:
    """Register the routes of the pages' values."""
    api, hub, responder = context.api, context.hub, context.responder
    _add_incident_pages(context, context.histories)
    _add_gpu_pages(context)
    _add_service_pages(context, context.histories)

    @get(
        api,
        "/pages/status",
        "Data health: targets, signals, dropped data, store",
        status_page.StatusPage,
        WithAudit,
    )
    def page_status(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        snapshot, past = responder.snapshot_at(query.at)
        time = responder.time_of(snapshot, past)
        newest = status_page.newest_trace(hub.traces, time, remote=hub.remote_traces)
        known = hub.status(), hub.ready(), hub.now(), context.version
        body = status_page.status(snapshot, *known, newest_trace=newest, past=past)
        events = context.access.audit.recent()[:MAX_AUDIT_EVENTS] if request.scope.get("role") is Role.ADMIN else None
        return responder.json_response(request, snapshot, {**body, "audit": events})


def _add_incident_pages(context: RouteContext, histories: HistoryCache) -> None:
    """The pages with incidents in a time range: Now and Cascade."""
    hub, responder, topologies, responses = context.hub, context.responder, context.topologies, context.responses
    page = partial(get_snapshot, context.api, responder)

    def with_people(snapshot: Snapshot, past: bool) -> WithResponses:
        time = responder.time_of(snapshot, past)
        known = responses.at(time) if past else responses.current()
        return with_responses(snapshot.incidents, known, hub.ownership, time)

    def range_of(text: str, world: World | None) -> tuple[float, float]:
        """Start and end of the time range of a page, Unix seconds."""
        time = hub.now()
        end = world.time if world else time
        return min(end - MIN_RANGE_SECONDS, time_parameter("from", text, time, end - DEFAULT_RANGE_SECONDS)), end

    @page(
        "/now",
        "All values of the Now page; indexes point into /api/topology",
        now_page.Now,
        WithResponses,
        parameters=NowParameters,
    )
    def now(snapshot: Snapshot, past: bool, query: NowParameters) -> Payload:
        start, end = range_of(query.start, snapshot.world)
        capacity, topology = None if past else hub.capacity, topologies.get(snapshot, past)["id"]
        time = responder.time_of(snapshot, past)
        payload = now_page.now(snapshot, topology, time, histories, end - start, capacity)
        return {**payload, **with_people(snapshot, past)}

    @page(
        "/pages/cascade",
        "All values of the Cascade page: lanes, early signs, times to SLO breaches, and propagation",
        cascade_page.Cascade,
        WithResponses,
        WithTopology,
        parameters=CascadeParameters,
    )
    def page_cascade(snapshot: Snapshot, past: bool, query: CascadeParameters) -> Payload:
        world = snapshot.world
        start, end = range_of(query.start, world)
        # A range beyond that of the snapshot needs another World.
        wide = hub.over(start, end) if world is not None and start < world.times[0] - world.step else None
        body = cascade_page.cascade(
            snapshot, start, query.incident, query.service, wide, histories, zoom=not query.start
        )
        return {**body, "topology": topologies.get(snapshot, past)["id"], **with_people(snapshot, past)}


def _add_gpu_pages(context: RouteContext) -> None:
    """The pages of GPUs: Contention and Fleet."""
    hub, responder, topologies, readings = context.hub, context.responder, context.topologies, context.gpus
    page = partial(get_snapshot, context.api, responder)

    @page(
        "/pages/contention",
        "All values of the Contention page",
        contention_page.ContentionPage,
        WithTopology,
        parameters=ContentionParameters,
    )
    def page_contention(snapshot: Snapshot, past: bool, query: ContentionParameters) -> Payload:
        body = contention_page.contention(snapshot, query.victim, query.aggressor, context.limits)
        return {**body, "topology": topologies.get(snapshot, past)["id"]}

    @get(
        context.api,
        "/pages/contention/traces",
        "The 40 slowest traces of an affected service, by GPU wait on a noisy neighbor",
        Exemplars,
    )
    async def page_exemplars(request: Request, query: Annotated[ExemplarParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        victim, aggressor = (find_service(name, snapshot.services) for name in (query.victim, query.aggressor))
        if victim is None or aggressor is None:
            raise HTTPException(404, "victim, aggressor: unknown service. /api/services lists all")
        body = await context.traces.exemplars(exemplar_query(victim, query.start, query.end, hub.now()), aggressor)
        return responder.json_response(request, snapshot, body)

    @page(
        "/pages/fleet",
        "All values of the Fleet page: one byte per GPU, inventory rows, and the open GPU",
        fleet_page.Fleet,
        OpenGpu,
        parameters=FleetParameters,
    )
    def page_fleet(snapshot: Snapshot, past: bool, query: FleetParameters) -> Payload:
        nvlink = readings.nvlink(snapshot) if query.selection.needs_nvlink else None
        sharing = context.sharing.by_gpu(snapshot) if query.gpu else NO_SHARING
        detail = gpu_detail(snapshot, query.gpu, readings.hardware(snapshot, query.gpu), sharing) if query.gpu else None
        body = fleet_page.fleet(snapshot, query.selection, nvlink)
        return {**body, "topology": topologies.get(snapshot, past)["id"], "open": detail}


def _add_service_pages(context: RouteContext, histories: HistoryCache) -> None:
    """The page of services, and that of each."""
    api, hub, responder = context.api, context.hub, context.responder

    @get_snapshot(api, responder, "/pages/services", "All values of the Services page", services_page.ServicesPage)
    def page_services(snapshot: Snapshot, _past: bool, _: AsOf) -> Payload:
        return services_page.services(snapshot, histories)

    @get(
        api,
        "/pages/services/{service:path}",
        "One service: SLO, GPUs and neighbors, calls, model servers, replicas, incidents",
        services_page.ServicePage,
        WithOwnership,
    )
    async def page_service(request: Request, service: str, query: Annotated[AsOf, Query()]) -> Response:
        def payload(snapshot: Snapshot, _: bool) -> Payload:
            found = _service(snapshot, service)
            body = services_page.service(snapshot, found, histories, context.sharing.by_gpu(snapshot))
            return {**body, "ownership": ownership(hub.ownership(found))}

        return await responder.snapshot_response(request, query, payload)


def _service(snapshot: Snapshot, text: str) -> Service:
    """The service with a name. Before services are known, any valid name is accepted."""
    known = snapshot.services

    def problem() -> str:
        names = [*map(str, known), *(other.name for other in known)]
        similar = get_close_matches(text[:MAX_VALUE_LENGTH], names, MAX_SUGGESTIONS, MIN_SIMILARITY)
        hint = f" Did you mean {', '.join(dict.fromkeys(similar))}?" if similar else ""
        return f"Unknown service {text[:MAX_VALUE_LENGTH]!r}.{hint} The Services page lists all."

    return known_service(text, known or None, problem)
