"""API routes of lists, of the hub's status, of postmortems, and of traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.web.api import answers, load_balancing
from foreshock_dashboard.web.api.answers import get, get_snapshot
from foreshock_dashboard.web.api.parameters import (
    CompareParameters,
    ExemplarParameters,
    ExplainParameters,
    HeadroomParameters,
    IncidentsParameters,
    ReportParameters,
)
from foreshock_dashboard.web.documents import runbooks as runbook_pages
from foreshock_dashboard.web.documents.postmortem import find_incident, report, zipped
from foreshock_dashboard.web.http.responses import ZIP, Payload, Responder, download
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.pages.traces.lists import Exemplars, TraceReads, exemplar_query
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters, trace_id_of
from foreshock_dashboard.web.pages.traces.trace_json import Trace, Traces
from foreshock_dashboard.web.panels.topology import Topology, TopologyCache
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.comparison import Comparison, comparison
from foreshock_dashboard.web.state.incident_json import Explained, explained
from foreshock_dashboard.web.state.parameters import (
    MIN_RANGE_SECONDS,
    AsOf,
    BadParameterError,
    NoParameters,
    time_parameter,
)

COMPARED_SECONDS = 900.0
"""Length of a compared time range where its start is not given."""
BASELINE_LAG_SECONDS = 3600.0
"""Time between the baseline's end and the range, where it is not given."""
MAX_COMPARED_SECONDS = 7 * 86_400.0
MAX_EXPLAINED = 100
"""Cached explanations."""
MAX_PENDING = 4
"""Explanations that may wait at once."""


def add_list_routes(
    api: APIRouter,
    hub: HubView,
    responder: Responder,
    topologies: TopologyCache,
    responses: ResponseReader,
    version: str,
) -> None:
    """Register the routes of lists, of the hub's status, and of postmortems on `api`."""

    explained_cache: SingleFlightCache[Explanation] = SingleFlightCache(MAX_EXPLAINED, lambda _: 1, MAX_PENDING)

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
        time = snapshot.world.time if past and snapshot.world else hub.now()
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

    @get(
        api,
        "/explain",
        "Likely root causes of an anomaly at a time, ranked, and what was compared; takes seconds",
        Explained,
    )
    def explain(request: Request, query: Annotated[ExplainParameters, Query()]) -> Response:
        now = hub.now()
        at = time_parameter("at", query.at, now, now)
        body = explained_cache.get((query.service, round(at)), lambda: hub.explain(query.service or None, at))
        return responder.json_response(request, hub.snapshot, explained(body))

    @get(
        api,
        "/compare",
        "Services, calls, GPUs, and pairs in two time ranges, the largest changes first; takes seconds",
        Comparison,
    )
    def compare(request: Request, query: Annotated[CompareParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        current, baseline = _compared_ranges(query, hub.now())
        service = _service(snapshot, query.service) if query.service else None
        return responder.json_response(request, snapshot, comparison(hub.over(*baseline), hub.over(*current), service))

    @get(api, "/report/{incident}", "A postmortem of one incident: Markdown, and its plots as SVG", answers.Report)
    def report_(request: Request, incident: str, query: Annotated[ReportParameters, Query()]) -> Response:
        snapshot, _ = responder.snapshot_at(query.at)
        if snapshot.world is None:
            raise HTTPException(404, "no incidents: waiting for the first evaluation")
        try:
            item = find_incident(incident, snapshot.incidents)
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        written = report(snapshot.world, item, _at_page(hub, item), responses.current())
        if query.format == "zip":
            return download(f"foreshock-{item.id}.zip", zipped(written, item.id), ZIP)
        body = {"id": item.id, "markdown": written.markdown, "plots": dict(written.plots)}
        return responder.json_response(request, snapshot, body)

    @get(
        api,
        "/headroom",
        "Pools and replicas by the load that they can still take, bursts included",
        load_balancing.Headroom,
    )
    def headroom(request: Request, query: Annotated[HeadroomParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        service = _service(snapshot, query.service) if query.service else None
        return responder.json_response(request, snapshot, load_balancing.headroom(snapshot, service))

    @get(
        api,
        "/health/{service:path}",
        "How a service is for those who call it: ok, degraded or shed, and when to come again",
        load_balancing.Health,
    )
    def health(request: Request, service: str, _: Annotated[NoParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        body = load_balancing.health(snapshot, _service(snapshot, service))
        answer = responder.json_response(request, snapshot, body)
        if body["retry_after"] is not None:
            answer.headers["Retry-After"] = str(body["retry_after"])
        return answer


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


def _compared_ranges(query: CompareParameters, now: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The range and its baseline, Unix seconds. Raises BadParameterError for one that is too short or too long."""
    end = time_parameter("end", query.end, now, now)
    start = time_parameter("start", query.start, now, end - COMPARED_SECONDS)
    baseline_end = time_parameter("baseline_end", query.baseline_end, now, start - BASELINE_LAG_SECONDS)
    baseline_start = time_parameter("baseline_start", query.baseline_start, now, baseline_end - (end - start))
    for name, seconds in (("start", end - start), ("baseline_start", baseline_end - baseline_start)):
        if not MIN_RANGE_SECONDS <= seconds <= MAX_COMPARED_SECONDS:
            raise BadParameterError(f"{name}: the time range is not between 1 minute and 7 days long")
    return (start, end), (baseline_start, baseline_end)


def _service(snapshot: Snapshot, text: str) -> Service:
    """The service with a name. Before the first evaluation, any valid name is accepted."""
    known = snapshot.world.services if snapshot.world else None
    return answers.known_service(text, known, lambda: f"unknown service {text}. /api/services lists all")
