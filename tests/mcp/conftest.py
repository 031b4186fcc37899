"""A hub with tools for agents on a socket, and the SDK's client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeVar

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool
from tests.web.worlds import FakeHub

from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.server import WebServer

Serve = Callable[..., str]
Answer = TypeVar("Answer")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a hub, and gives the address of its tools."""
    with ExitStack() as opened:

        def at(hub: FakeHub, access: Access | None = None) -> str:
            app = create_app(hub, version="1.2.3", access=access, mcp=True)
            server = opened.enter_context(closing(WebServer(app, "127.0.0.1", 0)))
            server.start()
            return f"{server.url}mcp"

        yield at


class Agent:
    """A client over HTTP, with a connection for each request. mode: `legacy` for the protocol with a handshake."""

    def __init__(self, url: str, token: str = "", mode: str = "auto") -> None:
        self._url, self._mode = url, mode
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, name: str, **arguments: Any) -> CallToolResult:  # noqa: ANN401 - JSON
        """The result of a tool."""

        async def ask(client: Client) -> CallToolResult:
            return await client.call_tool(name, arguments)

        return self._run(ask)

    def answer(self, name: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """The structured content of a tool's result, which the client has compared with its schema."""
        result = self.call(name, **arguments)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    def tools(self) -> list[Tool]:
        """The tools."""

        async def ask(client: Client) -> list[Tool]:
            return (await client.list_tools()).tools

        return self._run(ask)

    def _run(self, ask: Callable[[Client], Awaitable[Answer]]) -> Answer:
        async def connected() -> Answer:
            async with (
                httpx2.AsyncClient(headers=self._headers, trust_env=False) as http,
                Client(streamable_http_client(self._url, http_client=http), mode=self._mode) as client,
            ):
                return await ask(client)

        return anyio.run(connected)
