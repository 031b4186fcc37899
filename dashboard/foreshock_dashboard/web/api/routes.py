"""The JSON API. Payloads are pure functions elsewhere; here are addresses, parameters and status codes."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from foreshock_dashboard.model.query import NothingKnownError, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.span import UnsearchableError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.api import load_balancing
from foreshock_dashboard.web.api.openapi import document
from foreshock_dashboard.web.api.page_routes import Feeds
from foreshock_dashboard.web.api.service_routes import ServiceFeeds
from foreshock_dashboard.web.documents import runbooks
from foreshock_dashboard.web.documents.postmortem import chosen, report, zipped
from foreshock_dashboard.web.http.json_cache import encode
from foreshock_dashboard.web.http.responses import ZIP, Answers, Make, download
from foreshock_dashboard.web.pages.now import data as live
from foreshock_dashboard.web.pages.traces.reader import TraceReads
from foreshock_dashboard.web.panels.topology import TopologyCache
from foreshock_dashboard.web.state import conditions
from foreshock_dashboard.web.state.params import BadParameterError, only, service_named, span_page, trace_id_of

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"


class Api:
    """Answers from one hub."""

    def __init__(self, hub: HubView, version: str) -> None:
        self._hub = hub
        self._version = version
        self.answers = Answers(hub)
        self._topology = TopologyCache()
        self._reads = TraceReads(hub)

    def register(self, app: FastAPI) -> None:
        """Add all addresses to the app."""
        pages: dict[str, Make] = {
            "services": lambda snapshot, _: conditions.services(snapshot),
            "gpus": lambda snapshot, _: conditions.gpus(snapshot),
            "contention": lambda snapshot, _: conditions.contention(snapshot),
            "pools": lambda snapshot, _: conditions.pools(snapshot.world),
            "warnings": lambda snapshot, _: conditions.warnings(snapshot),
            "incidents": lambda snapshot, _: conditions.incidents(snapshot),
            "now": self._now,
        }
        for name, make in pages.items():
            app.add_api_route(f"/api/{name}", self._tick(name, make), name=name, **document(name))
        app.add_api_route("/api/headroom", self._headroom, name="headroom", **document("headroom"))
        app.add_api_route("/api/health/{service:path}", self._health, name="health", **document("health"))
        app.add_api_route("/api/report/{incident}", self._report, name="report", **document("report"))
        app.add_api_route("/api/topology", self._topology_answer, name="topology", **document("topology"))
        app.add_api_route("/api/status", self._status, name="status", **document("status"))
        app.add_api_route("/api/runbooks", self._runbooks, name="runbooks", **document("runbooks"))
        app.add_api_route("/api/traces", self._traces, name="traces", **document("traces"))
        app.add_api_route("/api/traces/{trace_id}", self._trace, name="trace", **document("trace"))
        Feeds(self._hub, self.answers, self._topology, self._reads).register(app)
        ServiceFeeds(self._hub, self.answers, self._version).register(app)
        app.add_api_route("/metrics", self._metrics, include_in_schema=False)
        app.add_api_route("/healthz", _alive, include_in_schema=False)
        app.add_api_route("/readyz", self._ready, include_in_schema=False)
        app.add_api_route("/api", _unknown, methods=_ALL, include_in_schema=False)
        app.add_api_route("/api/{rest:path}", _unknown, methods=_ALL, include_in_schema=False)
        app.add_exception_handler(BadParameterError, _bad_parameter)
        app.add_exception_handler(UnsearchableError, _bad_parameter)
        app.add_exception_handler(NothingKnownError, _nothing_known)
        app.add_exception_handler(SourceError, _source_error)
        app.add_exception_handler(HTTPException, _http_error)

    def _tick(self, name: str, make: Make) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            only(request.query_params, ("at",))
            return self.answers.tick(request, name, make)

        return answer

    def _now(self, snapshot: Snapshot, past: bool) -> Json:
        time = snapshot.world.time if past and snapshot.world else self._hub.now()
        return live.now(snapshot, self._topology.of(snapshot, past)["id"], time)

    def _topology_answer(self, request: Request) -> Response:
        only(request.query_params, ("at",))
        snapshot, past = self.answers.at(request)
        identities = self._topology.of(snapshot, past)
        body = self.answers.made(snapshot, "topology", lambda: identities, past=past)
        return self.answers.send(request, body, f'"{identities["id"]}"')

    def _status(self, request: Request) -> Response:
        only(request.query_params, ())
        snapshot = self._hub.snapshot
        body = conditions.status(snapshot, self._hub.status(), *self._hub.ready(), self._version)
        return self.answers.send(request, encode(conditions.envelope(snapshot) | body))

    def _runbooks(self, request: Request) -> Response:
        only(request.query_params, ())
        return self.answers.send(request, encode(conditions.envelope(self._hub.snapshot) | runbooks.listed()))

    def _headroom(self, request: Request) -> Response:
        only(request.query_params, ("service",))
        snapshot = self._hub.snapshot
        wanted = request.query_params.get("service", "").strip()
        body = load_balancing.headroom(snapshot, self._known(snapshot, wanted) if wanted else None)
        return self.answers.send(request, encode(conditions.envelope(snapshot) | body))

    def _health(self, request: Request, service: str) -> Response:
        only(request.query_params, ())
        snapshot = self._hub.snapshot
        body = load_balancing.health(snapshot, self._known(snapshot, service))
        answer = self.answers.send(request, encode(conditions.envelope(snapshot) | body))
        if body["retry_after"] is not None:
            answer.headers["Retry-After"] = str(body["retry_after"])
        return answer

    def _report(self, request: Request, incident: str) -> Response:
        only(request.query_params, ("at", "as"))
        form = request.query_params.get("as", "json").strip()
        if form not in ("json", "zip"):
            raise BadParameterError(f"as={form[:40]!r}: use json or zip")
        snapshot, _ = self.answers.at(request)
        if snapshot.world is None:
            raise HTTPException(404, "there is no incident: the first tick has not ended")
        try:
            item = chosen(incident, snapshot.incidents)
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        found = report(snapshot.world, item)
        if form == "zip":
            return download(f"foreshock-{item.id}.zip", zipped(found, item.id), ZIP)
        body = {"id": item.id, "markdown": found.markdown, "plots": dict(found.plots)}
        return self.answers.send(request, encode(conditions.envelope(snapshot) | body))

    def _known(self, snapshot: Snapshot, text: str) -> Service:
        """The service that is meant; before the first tick, whatever it is called.

        Raises:
            BadParameterError: it has no name, or several have it.
            HTTPException: 404, nobody knows of it.
        """
        try:
            if snapshot.world is None:
                return Service.parse(text)
            found = service_named(text, snapshot.world.services)
        except ValueError as error:
            raise BadParameterError(f"service={text!r}: {error}") from None
        if found not in snapshot.world.services:
            raise HTTPException(404, f"no service {text}; /api/services lists those that are known")
        return found

    async def _traces(self, request: Request) -> Response:
        snapshot = self._hub.snapshot
        body = await self._reads.listed(request.query_params, snapshot.world.services if snapshot.world else ())
        return self.answers.send(request, encode(conditions.envelope(snapshot) | body))

    async def _trace(self, request: Request, trace_id: str) -> Response:
        page, wanted = span_page(request.query_params), trace_id_of(trace_id)
        snapshot = self._hub.snapshot
        body = await self._reads.whole(wanted, page)
        if body is None:
            text = f"no trace {wanted}: it may be older than the store keeps, or not have arrived yet"
            return JSONResponse({"error": text}, 404)
        return self.answers.send(request, encode(conditions.envelope(snapshot) | body))

    def _metrics(self, request: Request) -> Response:
        openmetrics = OPENMETRICS in request.headers.get("accept", "")  # all who know of exemplars say so
        text = self._hub.metrics_text(openmetrics=openmetrics)
        return Response(text, headers={"Content-Type": OPENMETRICS_TYPE if openmetrics else METRICS_TYPE})

    async def _ready(self) -> Response:
        """On the loop itself, so that it answers although all threads are taken."""
        ready, reason = self._hub.ready()
        return PlainTextResponse("ready\n" if ready else f"not ready: {reason}\n", 200 if ready else 503)


_ALL = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


async def _alive() -> Response:
    return PlainTextResponse("alive\n")


async def _unknown(request: Request) -> Response:
    text = f"there is no {request.method} {request.url.path}; /api/openapi.json lists all addresses"
    return JSONResponse({"error": text}, 404)


async def _bad_parameter(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _nothing_known(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 404)


async def _source_error(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    return JSONResponse({"error": detail}, status, headers=getattr(error, "headers", None))
