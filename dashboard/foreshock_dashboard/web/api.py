"""The JSON API. Payloads are pure functions elsewhere; here are addresses, parameters, caching and status codes."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from foreshock_dashboard.model.partial import note_of
from foreshock_dashboard.model.query import Json, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.span import UnsearchableError
from foreshock_dashboard.web import guidance, payloads, traces_json
from foreshock_dashboard.web import now as live
from foreshock_dashboard.web.encode import SHORTEST, Body, PerTick, encode, stamped, stamped_gzip
from foreshock_dashboard.web.feeds import Answers, Feeds
from foreshock_dashboard.web.gpu_time import GpuTimes
from foreshock_dashboard.web.params import (
    BadParameterError,
    only,
    service_named,
    span_page,
    time_parameter,
    trace_id_of,
    trace_query,
    wait_filter,
    waits_wanted,
)
from foreshock_dashboard.web.reference import document
from foreshock_dashboard.web.report import chosen, report, zipped
from foreshock_dashboard.web.service_feeds import ServiceFeeds
from foreshock_dashboard.web.trace_search import Waits, by_wait

AT_ONCE = 2
"""Traces that are read at once: one of many spans takes 150 MiB until it is told. Further requests wait."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
Make = Callable[[Snapshot], Json]


class Api:
    """Answers from one hub."""

    def __init__(self, hub: HubView, version: str) -> None:
        self._hub = hub
        self._version = version
        self._cache = PerTick()
        self._gpu_times = GpuTimes(hub)
        self._waits = Waits(hub.traces, self._gpu_times)
        self._reading = asyncio.Semaphore(AT_ONCE)
        self._start = secrets.token_hex(6)  # ticks count from 1 after each start, so they alone name no answer
        self._topology: tuple[tuple[object, ...], Json] | None = None

    def register(self, app: FastAPI) -> None:
        """Add all addresses to the app."""
        pages: dict[str, Make] = {
            "services": payloads.services,
            "gpus": payloads.gpus,
            "contention": payloads.contention,
            "pools": lambda snapshot: payloads.pools(snapshot.world),
            "warnings": payloads.warnings,
            "incidents": payloads.incidents,
            "now": self._now,
        }
        for name, make in pages.items():
            app.add_api_route(f"/api/{name}", self._tick(name, make), name=name, **document(name))
        app.add_api_route("/api/headroom", self._headroom, name="headroom", **document("headroom"))
        app.add_api_route("/api/health/{service:path}", self._health, name="health", **document("health"))
        app.add_api_route("/api/report/{incident}", self._report, name="report", **document("report"))
        app.add_api_route("/api/topology", self._topology_answer, name="topology", **document("topology"))
        app.add_api_route("/api/status", self._status, name="status", **document("status"))
        app.add_api_route("/api/traces", self._traces, name="traces", **document("traces"))
        app.add_api_route("/api/traces/{trace_id}", self._trace, name="trace", **document("trace"))
        answers = Answers(self._snapshot_at, self._answer, self._identities, self._start)
        Feeds(self._hub, answers).register(app)
        ServiceFeeds(self._hub, answers, self._version).register(app)
        app.add_api_route("/metrics", self._metrics, include_in_schema=False)
        app.add_api_route("/healthz", _alive, include_in_schema=False)
        app.add_api_route("/readyz", self._ready, include_in_schema=False)
        app.add_api_route("/api", _unknown, methods=_ALL, include_in_schema=False)
        app.add_api_route("/api/{rest:path}", _unknown, methods=_ALL, include_in_schema=False)
        app.add_exception_handler(BadParameterError, _bad_parameter)
        app.add_exception_handler(UnsearchableError, _bad_parameter)
        app.add_exception_handler(SourceError, _source_error)
        app.add_exception_handler(HTTPException, _http_error)

    def _tick(self, name: str, make: Make) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            only(request.query_params, ("at",))
            snapshot, past = self._snapshot_at(request)
            if past:
                body = encode(payloads.envelope(snapshot) | make(snapshot))
            else:
                body = self._cache.get(snapshot, name, lambda: payloads.envelope(snapshot) | make(snapshot))
            return self._answer(request, body, f'"{name}-{self._start}-{snapshot.seq}"')

        return answer

    def _snapshot_at(self, request: Request) -> tuple[Snapshot, bool]:
        """The newest tick, or that of the instant that `at` names; and whether it is one of the past."""
        newest, now = self._hub.snapshot, self._hub.now()
        at = time_parameter(request.query_params, "at", now, now)
        if newest.world is None or at >= newest.world.time:
            return newest, False
        return self._hub.at(at), True

    def _now(self, snapshot: Snapshot) -> Json:
        if snapshot.seq == self._hub.snapshot.seq:
            return live.now(snapshot, self._identities(snapshot)["id"], self._hub.now())
        return live.now(snapshot, live.topology(snapshot.world)["id"], snapshot.world.time if snapshot.world else 0.0)

    def _answer(self, request: Request, body: bytes, etag: str = "") -> Response:
        time = self._hub.now()
        headers = {"Cache-Control": "no-cache", "Foreshock-Time": f"{time:.3f}"} | ({"ETag": etag} if etag else {})
        if etag and etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if isinstance(body, Body) and len(body) >= SHORTEST and "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(stamped_gzip(body, time), media_type="application/json", headers=headers)
        return Response(stamped(body, time), media_type="application/json", headers=headers)

    def _identities(self, snapshot: Snapshot) -> Json:
        """The topology, laid out anew only when the World's identities changed."""
        world = snapshot.world
        key = (world.services, world.edges, world.gpus, world.tenants, world.stalls, world.pool) if world else ()
        kept = self._topology
        if kept is None or kept[0] != key:
            kept = self._topology = (key, live.topology(world))
        return kept[1]

    def _topology_answer(self, request: Request) -> Response:
        only(request.query_params, ("at",))
        snapshot, past = self._snapshot_at(request)
        identities = live.topology(snapshot.world) if past else self._identities(snapshot)
        body = encode(payloads.envelope(snapshot) | identities)
        return self._answer(request, body, f'"{identities["id"]}"')

    def _status(self, request: Request) -> Response:
        only(request.query_params, ())
        snapshot = self._hub.snapshot
        body = payloads.status(snapshot, self._hub.status(), *self._hub.ready(), self._version)
        return self._answer(request, encode(payloads.envelope(snapshot) | body))

    def _headroom(self, request: Request) -> Response:
        only(request.query_params, ("service",))
        snapshot = self._hub.snapshot
        wanted = request.query_params.get("service", "").strip()
        body = guidance.headroom(snapshot, self._known(snapshot, wanted) if wanted else None)
        return self._answer(request, encode(payloads.envelope(snapshot) | body))

    def _health(self, request: Request, service: str) -> Response:
        only(request.query_params, ())
        snapshot = self._hub.snapshot
        body = guidance.health(snapshot, self._known(snapshot, service))
        answer = self._answer(request, encode(payloads.envelope(snapshot) | body))
        if body["retry_after"] is not None:
            answer.headers["Retry-After"] = str(body["retry_after"])
        return answer

    def _report(self, request: Request, incident: str) -> Response:
        only(request.query_params, ("at", "as"))
        form = request.query_params.get("as", "json").strip()
        if form not in ("json", "zip"):
            raise BadParameterError(f"as={form[:40]!r}: use json or zip")
        snapshot, _ = self._snapshot_at(request)
        if snapshot.world is None:
            raise HTTPException(404, "there is no incident: the first tick has not ended")
        try:
            item = chosen(incident, snapshot.incidents)
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        found = report(snapshot.world, item)
        if form == "zip":
            return _download(f"foreshock-{item.id}.zip", zipped(found, item.id))
        body = {"id": item.id, "markdown": found.markdown, "plots": dict(found.plots)}
        return self._answer(request, encode(payloads.envelope(snapshot) | body))

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
        known = snapshot.world.services if snapshot.world else ()
        query = trace_query(request.query_params, self._hub.now(), known)
        if wait := wait_filter(request.query_params):
            waited = await run_in_threadpool(by_wait, self._hub.traces, self._gpu_times, query, wait)
            body = traces_json.traces_by_wait(query, wait, waited)
            return self._answer(request, encode(payloads.envelope(snapshot) | body))
        found = await run_in_threadpool(self._hub.traces.search, query)
        wanted = waits_wanted(request.query_params)
        waits = await run_in_threadpool(self._waits.of, found, self._hub.now()) if wanted else None
        body = traces_json.traces(query, found, waits) | {"note": note_of(found)}
        return self._answer(request, encode(payloads.envelope(snapshot) | body))

    async def _trace(self, request: Request, trace_id: str) -> Response:
        async with self._reading:
            return await self._whole_trace(request, trace_id)

    async def _whole_trace(self, request: Request, trace_id: str) -> Response:
        page = span_page(request.query_params)
        wanted = trace_id_of(trace_id)
        snapshot = self._hub.snapshot
        spans = await run_in_threadpool(self._hub.traces.get, wanted)
        if not spans:
            text = f"no trace {wanted}: it may be older than the store keeps, or not have arrived yet"
            return JSONResponse({"error": text}, 404)
        found = await run_in_threadpool(self._gpu_times.of, spans)
        body = await run_in_threadpool(traces_json.trace, wanted, spans, found, page) | {"note": note_of(spans)}
        return self._answer(request, encode(payloads.envelope(snapshot) | body))

    def _metrics(self, request: Request) -> Response:
        openmetrics = OPENMETRICS in request.headers.get("accept", "")  # all who know of exemplars say so
        text = self._hub.metrics_text(openmetrics=openmetrics)
        return Response(text, headers={"Content-Type": OPENMETRICS_TYPE if openmetrics else METRICS_TYPE})

    def _ready(self) -> Response:
        ready, reason = self._hub.ready()
        return PlainTextResponse("ready\n" if ready else f"not ready: {reason}\n", 200 if ready else 503)


def _download(name: str, body: bytes) -> Response:
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"', "Cache-Control": "no-cache"}
    return Response(body, media_type="application/zip", headers=headers)


_ALL = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


async def _alive() -> Response:
    return PlainTextResponse("alive\n")


async def _unknown(request: Request) -> Response:
    text = f"there is no {request.method} {request.url.path}; /api/openapi.json lists all addresses"
    return JSONResponse({"error": text}, 404)


async def _bad_parameter(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _source_error(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    return JSONResponse({"error": detail}, status, headers=getattr(error, "headers", None))
