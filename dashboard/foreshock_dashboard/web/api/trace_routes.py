"""API routes of traces."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.web.api.parameters import ExemplarParameters
from foreshock_dashboard.web.api.response_models import ExemplarsAnswer, TraceAnswer, TracesAnswer
from foreshock_dashboard.web.http.responses import Responder
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.pages.traces.exemplars import exemplar_query
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters, trace_id_of
from foreshock_dashboard.web.pages.traces.reader import TraceReads


def add_trace_routes(api: APIRouter, hub: HubView, responder: Responder, reads: TraceReads) -> None:
    """Register the routes of traces on `api`."""

    @api.get("/traces", summary="Traces that have a matching span", response_model=TracesAnswer)
    async def traces(request: Request, query: Annotated[TraceParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        body = await reads.listed(query, snapshot.world.services if snapshot.world else ())
        return responder.json_response(request, snapshot, body)

    @api.get(
        "/traces/{trace_id}",
        summary="All spans of one trace, what ran on its GPUs meanwhile, and how long it waited for them",
        response_model=TraceAnswer,
    )
    async def trace(request: Request, trace_id: str, page: Annotated[SpanPage, Query()]) -> Response:
        snapshot, full_id = hub.snapshot, trace_id_of(trace_id)
        body = await reads.whole(full_id, page)
        if body is None:
            raise HTTPException(
                404, f"no trace {full_id}: it may be older than the store keeps, or not have arrived yet"
            )
        return responder.json_response(request, snapshot, body)

    @api.get(
        "/pages/contention/traces",
        summary="Traces of a victim that waited longest for an aggressor, among its 40 slowest",
        response_model=ExemplarsAnswer,
        name="page_exemplars",
    )
    async def exemplars(request: Request, query: Annotated[ExemplarParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        known = snapshot.world.services if snapshot.world else ()
        victim, aggressor = find_service(query.victim, known), find_service(query.aggressor, known)
        if victim is None or aggressor is None:
            raise HTTPException(404, "victim and aggressor have to be services; /api/services lists those known")
        body = await reads.exemplars(exemplar_query(victim, query.start, query.end, hub.now()), aggressor)
        return responder.json_response(request, snapshot, body)
