"""All routes of the hub: its API, errors, metrics, and health."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from foreshock_dashboard.access.roles import Principal, Role
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.query import NoDataError, SourceError
from foreshock_dashboard.model.span import UnsearchableError
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.web.api.analysis_routes import add_analysis_routes, add_load_balancing_routes
from foreshock_dashboard.web.api.answers import ERRORS, AuditEvents, RouteContext, User, describe_errors, get
from foreshock_dashboard.web.api.change_routes import add_change_routes
from foreshock_dashboard.web.api.cost_routes import add_cost_routes
from foreshock_dashboard.web.api.csv import add_csv_routes
from foreshock_dashboard.web.api.document_routes import add_document_routes
from foreshock_dashboard.web.api.forecast_routes import add_forecast_routes
from foreshock_dashboard.web.api.list_routes import add_list_routes
from foreshock_dashboard.web.api.page_routes import add_page_routes
from foreshock_dashboard.web.api.response_routes import add_response_routes
from foreshock_dashboard.web.api.trace_routes import add_trace_routes
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.responses import Responder
from foreshock_dashboard.web.pages.contention.limits import LimitReader
from foreshock_dashboard.web.pages.fleet.gpu import GpuReadings
from foreshock_dashboard.web.pages.traces.lists import TraceReads
from foreshock_dashboard.web.panels.gpu_sharing import SharingReader
from foreshock_dashboard.web.panels.topology import TopologyCache
from foreshock_dashboard.web.state.parameters import BadParameterError, NoParameters, problem_of
from foreshock_dashboard.web.state.service_history import HistoryCache

log = logging.getLogger(__name__)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def register(app: FastAPI, hub: HubView, version: str, access: Access) -> None:
    """Register all routes of a hub on the app, before the pages, which match every other address."""
    context = RouteContext(
        APIRouter(prefix="/api", responses=ERRORS, generate_unique_id_function=lambda route: route.name),
        hub,
        version,
        access,
        Responder(hub),
        ResponseReader(hub.journal, hub.silenced_until),
        TopologyCache(),
        TraceReads(hub),
        GpuReadings(hub),
        LimitReader(hub),
        SharingReader(hub),
        HistoryCache(),
    )
    for add in (
        add_list_routes,
        add_document_routes,
        add_trace_routes,
        add_analysis_routes,
        add_load_balancing_routes,
        add_page_routes,
        add_forecast_routes,
        add_cost_routes,
        add_csv_routes,
        add_response_routes,
        add_change_routes,
        _add_access,
    ):
        add(context)
    app.include_router(context.api)
    describe_errors(app)
    _add_operations(app, hub, shows_reason=not access.required)
    app.add_api_route("/api", _unknown, methods=METHODS, include_in_schema=False)
    app.add_api_route("/api/{rest:path}", _unknown, methods=METHODS, include_in_schema=False)
    add_error_handlers(app)


def add_error_handlers(app: FastAPI) -> None:
    """Answer errors as JSON, with the sentence that names the input and the remedy."""
    app.add_exception_handler(BadParameterError, _error_handler(400))
    app.add_exception_handler(UnsearchableError, _error_handler(400))
    app.add_exception_handler(NoDataError, _error_handler(404))
    app.add_exception_handler(SourceError, _error_handler(503))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)


def _add_access(context: RouteContext) -> None:
    api, hub, responder = context.api, context.hub, context.responder

    @get(api, "/user", "The name, sign-in method, and role of the user", User)
    def user(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        principal: Principal | None = request.scope.get("principal")
        role: Role = request.scope.get("role", Role.ADMIN)
        name, method = (principal.name, principal.method) if principal else ("", "")
        return responder.json_response(
            request, hub.snapshot, {"name": name, "method": method, "role": role.name.lower()}
        )

    @get(api, "/audit", "Sign-ins, refusals, downloads, and changes since the start; for admins", AuditEvents)
    def events(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        return responder.json_response(request, hub.snapshot, {"events": context.access.audit.recent()})


def _add_operations(app: FastAPI, hub: HubView, *, shows_reason: bool) -> None:
    """shows_reason: whether a client without credentials may read why the hub is not ready: it names paths and URLs."""

    @app.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        openmetrics = OPENMETRICS in request.headers.get("accept", "")  # clients that read exemplars accept it
        text = hub.metrics_text(openmetrics=openmetrics)
        return Response(text, headers={"Content-Type": OPENMETRICS_TYPE if openmetrics else METRICS_TYPE})

    @app.get("/healthz", include_in_schema=False)
    async def alive() -> Response:
        return PlainTextResponse("alive\n")

    readiness = LogOnChange(log, recovered="ready")

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Response:  # on the event loop: answers even if all threads are busy
        is_ready, reason = hub.ready()
        readiness.update("" if is_ready else f"not ready: {reason}")
        if not is_ready and not shows_reason:
            reason = "see the Status page and the log for the reason"
        return PlainTextResponse("ready\n" if is_ready else f"not ready: {reason}\n", 200 if is_ready else 503)


def _error_response(status: int, problem: str) -> JSONResponse:
    return JSONResponse({"error": problem}, status)


def _error_handler(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(_: Request, error: Exception) -> Response:
        return _error_response(status, str(error))

    return handler


async def _unknown(request: Request) -> Response:
    return _error_response(404, f"unknown address {request.method} {request.url.path}. /api/openapi.json lists all")


async def _invalid(_: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    return _error_response(400, problem_of(problems[0]) if problems else str(error))


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    return JSONResponse({"error": detail}, status, headers=getattr(error, "headers", None))
