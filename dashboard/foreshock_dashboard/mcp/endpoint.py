"""Streamable HTTP at the hub: the tools over the hub's own API, in process, behind the hub's middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from foreshock_dashboard.mcp.tools import server
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json

PATH = "/mcp"
TIMEOUT_SECONDS = 60.0


class InProcessApi:
    """The API of an app, called without a socket. routes: an app without middleware, because the request to the
    endpoint has passed it."""

    def __init__(self, routes: FastAPI) -> None:
        self._transport = httpx.ASGITransport(routes, raise_app_exceptions=False)

    async def get(self, path: str, **parameters: str) -> Json:
        """The JSON object at a path. Raises SourceError."""
        async with httpx.AsyncClient(
            transport=self._transport, base_url="http://localhost", timeout=TIMEOUT_SECONDS
        ) as client:
            answer = await client.get(path, params=parameters)
        content: Json = answer.json()
        if answer.status_code != httpx.codes.OK:
            raise SourceError(str(content.get("error", f"HTTP {answer.status_code}")))
        return content


class McpEndpoint:
    """ASGI app of `/mcp`: each POST is answered on its own with JSON, without sessions and streams.

    The specification demands a check of the Origin header against DNS rebinding: `SameSite` and `KnownHost` of
    `web.http.security` make it for every address of the hub.
    """

    def __init__(self, routes: FastAPI, version: str) -> None:
        lowlevel = server(InProcessApi(routes), version)
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
