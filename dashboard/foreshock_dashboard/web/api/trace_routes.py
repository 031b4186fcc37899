"""API routes of traces."""

from __future__ import annotations

from typing import Annotated

from fastapi import HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.web.api.answers import RouteContext, get
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters, trace_id_of
from foreshock_dashboard.web.pages.traces.trace_json import Trace, Traces


def add_trace_routes(context: RouteContext) -> None:
    """Register the routes."""
    api, hub, responder, reads = context.api, context.hub, context.responder, context.traces

    @get(api, "/traces", "Traces that have a matching span", Traces)
    async def traces(request: Request, query: Annotated[TraceParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        return responder.json_response(request, snapshot, await reads.listed(query, snapshot.services))

    @get(
        api,
        "/traces/{trace_id}",
        "All spans of a trace, what was running on its GPUs, and how long it waited for them",
        Trace,
    )
    async def trace(request: Request, trace_id: str, page: Annotated[SpanPage, Query()]) -> Response:
        snapshot, full_id = hub.snapshot, trace_id_of(trace_id)
        body = await reads.whole(full_id, page)
        if body is None:
            raise HTTPException(404, f"unknown trace {full_id}: past the retention, or not received yet")
        return responder.json_response(request, snapshot, body)
