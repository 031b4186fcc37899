"""API routes of the capacity forecast. It is of the present: a past time has none."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.api.answers import RouteContext, get, get_snapshot, known_service
from foreshock_dashboard.web.api.parameters import CapacityParameters, CaseParameters, ForecastParameters
from foreshock_dashboard.web.http.responses import Payload
from foreshock_dashboard.web.pages.capacity.current import current_rows, measured
from foreshock_dashboard.web.pages.capacity.data import CapacityPage, capacity
from foreshock_dashboard.web.pages.capacity.what_if import NOTHING, WhatIf
from foreshock_dashboard.web.state.capacity_json import Forecast, forecast, is_replay


def add_forecast_routes(context: RouteContext) -> None:
    """Register the routes on `api`."""
    api, hub, responder = context.api, context.hub, context.responder

    @get(
        api,
        "/forecast",
        "Forecast load of the next hours and days against safe limits: shortages, and resources that will fill up",
        Forecast,
    )
    def forecast_(request: Request, query: Annotated[ForecastParameters, Query()]) -> Response:
        world = hub.snapshot.world
        case = what_if(hub.capacity, world, query)
        found = case.applied(hub.capacity, world)
        service = _service(query.service, {load.subject.service for load in found.loads}) if query.service else None
        current = [] if found.loads or case.text else current_rows(hub.snapshot, measured(hub.snapshot))
        body = forecast(
            found,
            hub.now(),
            service,
            case.text,
            replay=is_replay(hub.snapshot, found),
            world=world,
            current=current,
        )
        return responder.json_response(request, hub.snapshot, body)

    @get_snapshot(
        api,
        responder,
        "/pages/capacity",
        "All values of the Capacity page",
        CapacityPage,
        parameters=CapacityParameters,
    )
    def page_capacity(snapshot: Snapshot, past: bool, query: CapacityParameters) -> Payload:
        case = NOTHING if past else what_if(hub.capacity, snapshot.world, query)
        return capacity(snapshot, hub.capacity, hub.now(), case, past=past)


def what_if(found: CapacityForecast, world: World | None, query: CaseParameters) -> WhatIf:
    """The what-if case of an address. Raises BadParameterError."""
    return WhatIf.of(found, world, query.traffic, query.lost, query.move, query.replicas, query.move_to)


def _service(text: str, known: set[Service | None]) -> Service:
    """The service with a name that has a forecast."""
    problem = f"{text}: no forecast for this service. /api/forecast lists all"
    return known_service(text, [service for service in known if service], lambda: problem)
