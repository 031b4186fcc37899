"""Streamable HTTP at the hub: the tools over the hub's own API, in process, behind the hub's middleware."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.mcp.tools import DOWNLOADS, server
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json

PATH = "/mcp"
TIMEOUT_SECONDS = 60.0
"""How long a tool waits for the API. A query that takes longer ends on its own."""


class InProcessApi:
    """The API of an app, called without a socket. routes: an app without middleware, because the request to the
    endpoint has passed it."""

    def __init__(self, routes: FastAPI, timeout: float = TIMEOUT_SECONDS) -> None:
        self._transport = httpx.ASGITransport(routes, raise_app_exceptions=False)
        self._timeout = timeout
        self._running: set[asyncio.Task[httpx.Response]] = set()

    async def get(self, path: str, **parameters: str) -> Json:
        """The JSON object at a path. Raises SourceError."""
        task = asyncio.create_task(self._answer(path, parameters))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait({task}, timeout=self._timeout)  # a cancelled task would wait for its thread
        if not task.done():
            raise SourceError(f"no answer within {self._timeout:g} s. Name a service, or a shorter time range")
        answer = task.result()
        content: Json = answer.json()
        if answer.status_code != httpx.codes.OK:
            raise SourceError(str(content.get("error", f"HTTP {answer.status_code}")))
        return content

    async def _answer(self, path: str, parameters: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
            return await client.get(path, params=parameters)


class Audited:
    """Middleware of the SDK: records in the audit log which authenticated principal got a document by a tool."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Answer, and record the tool and its arguments."""
        result = await call_next(ctx)
        request: Request | None = ctx.request
        params = ctx.params or {}
        if request and "principal" in request.scope and params.get("name") in DOWNLOADS:
            status = 404 if isinstance(result, dict) and result.get("isError") else 200
            details = f" {params['name']} {json.dumps(params.get('arguments', {}))}"
            scope = request.scope
            self._audit.record_request(
                "download", scope, scope["principal"], scope["role"], status=status, details=details
            )
        return result


class McpEndpoint:
    """ASGI app of `/mcp`: each POST is answered on its own with JSON, without sessions and streams.

    The specification demands a check of the Origin header against DNS rebinding: `SameSite` and `KnownHost` of
    `web.http.security` make it for every address of the hub.
    """

    def __init__(self, routes: FastAPI, version: str, audit: AuditLog) -> None:
        lowlevel = server(InProcessApi(routes), version)
        lowlevel.middleware.append(Audited(audit))
        lowlevel.streamable_http_app(
            stateless_http=True,
            json_response=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._manager: StreamableHTTPSessionManager = lowlevel.session_manager

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Serve from the start to the end of the web server."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a message; 405 for GET and DELETE, which clients send to open a stream and to end a session."""
        if scope["method"] == "POST":
            await self._manager.handle_request(scope, receive, send)
        else:
            await JSONResponse({"error": "use POST"}, 405, {"Allow": "POST"})(scope, receive, send)
