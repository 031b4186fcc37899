"""API routes of lists, of the hub's status, of runbooks, of postmortems, and of traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.web.api import answers
from foreshock_dashboard.web.api.answers import get, get_snapshot
from foreshock_dashboard.web.api.parameters import (
    ExemplarParameters,
    IncidentsParameters,
    ReportParameters,
)
from foreshock_dashboard.web.documents import runbooks as runbook_pages
from foreshock_dashboard.web.documents.postmortem import report
from foreshock_dashboard.web.documents.report_forms import zipped
from foreshock_dashboard.web.http.responses import ZIP, Payload, Responder, download
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.pages.traces.lists import Exemplars, TraceReads, exemplar_query
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters, trace_id_of
from foreshock_dashboard.web.pages.traces.trace_json import Trace, Traces
from foreshock_dashboard.web.panels.topology import Topology, TopologyCache
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.parameters import (
    AsOf,
    NoParameters,
    incident_named,
)


def add_list_routes(
    api: APIRouter,
    hub: HubView,
    responder: Responder,
    topologies: TopologyCache,
    responses: ResponseReader,
    version: str,
) -> None:
    """Register the routes of lists and of the hub's status on `api`."""

    def add(name: str, payload: type, make: Callable[[Snapshot], Payload], summary: str) -> None:
        route = get_snapshot(api, responder, f"/{name}", summary, payload, name=name)
        route(lambda snapshot, _past, _query: make(snapshot))

    requests = "requests per second, share failed, p50, p95, p99, retries"
    add("services", lists.Services, lists.services, f"Every service: {requests}; every call edge")
    gpus = "utilization, contention, memory, power, temperature, and the services on it"
    add("gpus", lists.Gpus, lists.gpus, f"Every GPU: {gpus}")
    waits = "Which service waits for which, on which GPUs, for which share of time"
    add("contention", lists.Contention, lists.contention, waits)
    tiers = "Which GPUs tiers share, and the fewest GPUs that carry each tier, bursts included"
    add("pools", lists.Pools, lambda snapshot: lists.pools(snapshot.world), tiers)

    @get_snapshot(
        api,
        responder,
        "/incidents",
        "Open incidents, the worst first, then resolved ones",
        lists.Incidents,
        parameters=IncidentsParameters,
    )
    def incidents(snapshot: Snapshot, past: bool, query: IncidentsParameters) -> Payload:
        time = responder.time_of(snapshot, past)
        known = responses.at(time) if past else responses.current()
        return lists.incidents(snapshot, query.state, known, time, hub.ownership)

    @get(api, "/topology", "Services and GPUs, and the layout of the service map", Topology)
    def topology(request: Request, query: Annotated[AsOf, Query()]) -> Response:
        snapshot, past = responder.snapshot_at(query.at)
        body = topologies.get(snapshot, past)
        return responder.json_response(request, snapshot, body, f'"{body["id"]}"')

    @get(api, "/status", "The hub's own health: targets, store, receiver", lists.Status)
    def status(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        body = lists.status(hub.snapshot, hub.status(), *hub.ready(), version)
        return responder.json_response(request, hub.snapshot, body)

    @get(
        api,
        "/runbooks",
        "Every alert rule that comes along, with what it means and the address of its runbook",
        answers.Runbooks,
    )
    def runbooks(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        return responder.json_response(request, hub.snapshot, runbook_pages.listed())


def add_report_route(api: APIRouter, hub: HubView, responder: Responder, responses: ResponseReader) -> None:
    """Register the route of postmortems on `api`."""

    @get(api, "/report/{incident}", "A postmortem of one incident: Markdown, and its plots as SVG", answers.Report)
    def report_(request: Request, incident: str, query: Annotated[ReportParameters, Query()]) -> Response:
        snapshot, _ = responder.snapshot_at(query.at)
        if snapshot.world is None:
            raise HTTPException(404, "no incidents: waiting for the first evaluation")
        try:
            item = incident_named(incident, snapshot.incidents)
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        written = report(snapshot.world, item, _at_page(hub, item), responses.current())
        if query.format == "zip":
            return download(f"foreshock-{item.id}.zip", zipped(written, item.id), ZIP)
        body = {"id": item.id, "markdown": written.markdown, "plots": dict(written.plots)}
        return responder.json_response(request, snapshot, body)


def _at_page(hub: HubView, item: Incident) -> Incident | None:
    """An incident as of its page; None without one, or if the hub no longer has the data."""
    if item.paged is None:
        return None
    try:
        past = hub.at(item.paged).incidents
    except SourceError:
        return None
    return next((found for found in past if found.id == item.id), None)


def add_trace_routes(api: APIRouter, hub: HubView, responder: Responder, reads: TraceReads) -> None:
    """Register the routes of traces on `api`."""

    @get(api, "/traces", "Traces that have a matching span", Traces)
    async def traces(request: Request, query: Annotated[TraceParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        return responder.json_response(request, snapshot, await reads.listed(query, snapshot.services))

    @get(
        api,
        "/traces/{trace_id}",
        "All spans of one trace, what ran on its GPUs meanwhile, and how long it waited for them",
        Trace,
    )
    async def trace(request: Request, trace_id: str, page: Annotated[SpanPage, Query()]) -> Response:
        snapshot, full_id = hub.snapshot, trace_id_of(trace_id)
        body = await reads.whole(full_id, page)
        if body is None:
            raise HTTPException(404, f"unknown trace {full_id}: past the retention, or not received yet")
        return responder.json_response(request, snapshot, body)

    @get(
        api,
        "/pages/contention/traces",
        "The 40 slowest traces of an affected service, by GPU wait on a noisy neighbor",
        Exemplars,
        name="page_exemplars",
    )
    async def exemplars(request: Request, query: Annotated[ExemplarParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        victim, aggressor = (find_service(name, snapshot.services) for name in (query.victim, query.aggressor))
        if victim is None or aggressor is None:
            raise HTTPException(404, "victim, aggressor: unknown service. /api/services lists all")
        body = await reads.exemplars(exemplar_query(victim, query.start, query.end, hub.now()), aggressor)
        return responder.json_response(request, snapshot, body)
