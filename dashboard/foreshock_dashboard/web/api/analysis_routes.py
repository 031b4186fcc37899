"""API routes of what is analyzed on request, and of advice to load balancers."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.api import load_balancing
from foreshock_dashboard.web.api.answers import RouteContext, get, known_service
from foreshock_dashboard.web.api.parameters import CompareParameters, ExplainParameters, HeadroomParameters
from foreshock_dashboard.web.state.comparison import Comparison, comparison
from foreshock_dashboard.web.state.incident_json import Explained, explained
from foreshock_dashboard.web.state.parameters import (
    MIN_RANGE_SECONDS,
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


def add_analysis_routes(context: RouteContext) -> None:
    """Register the routes of root causes and of comparisons on `api`."""
    api, hub, responder = context.api, context.hub, context.responder
    explained_cache: SingleFlightCache[Explanation] = SingleFlightCache(MAX_EXPLAINED, lambda _: 1, MAX_PENDING)

    @get(
        api,
        "/explain",
        "Likely root causes of an anomaly at a point in time, ranked, and what was compared; takes seconds",
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
        "Services, calls, GPUs, and pairs compared between two time ranges, largest changes first; takes seconds",
        Comparison,
    )
    def compare(request: Request, query: Annotated[CompareParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        current, baseline = _compared_ranges(query, hub.now())
        service = _service(snapshot, query.service) if query.service else None
        return responder.json_response(request, snapshot, comparison(hub.over(*baseline), hub.over(*current), service))


def add_load_balancing_routes(context: RouteContext) -> None:
    """Register the routes of advice to load balancers on `api`."""
    api, hub, responder = context.api, context.hub, context.responder

    @get(
        api,
        "/headroom",
        "Remaining headroom of pools and replicas, with room for bursts",
        load_balancing.Headroom,
    )
    def headroom(request: Request, query: Annotated[HeadroomParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        service = _service(snapshot, query.service) if query.service else None
        return responder.json_response(request, snapshot, load_balancing.headroom(snapshot, service))

    @get(
        api,
        "/health/{service:path}",
        "Health of a service for its callers: ok, degraded, or shed, and when to retry",
        load_balancing.Health,
    )
    def health(request: Request, service: str, _: Annotated[NoParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        body = load_balancing.health(snapshot, _service(snapshot, service))
        answer = responder.json_response(request, snapshot, body)
        if body["retry_after"] is not None:
            answer.headers["Retry-After"] = str(body["retry_after"])
        return answer


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
    return known_service(text, known, lambda: f"unknown service {text}. /api/services lists all")
