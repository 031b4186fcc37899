"""`foreshock mcp`: tools for agents over standard input and output."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import click
from anyio import CapacityLimiter, create_task_group, run, to_thread

from foreshock_dashboard import __version__
from foreshock_dashboard.cli.options import GroupedCommand
from foreshock_dashboard.cli.source import Source, reads_source
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.settings.settings import HubError


class SourceApi:
    """The API of a source. Queries run one after another in a thread: the first one may start a hub."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._one = CapacityLimiter(1)

    async def get(self, path: str, **parameters: str) -> Json:
        """The JSON object at a path. Raises AnswerError."""
        return await to_thread.run_sync(partial(self._source.get, path, **parameters), limiter=self._one)

    async def warm_up(self) -> None:
        """Ask once before the first query, which would wait for the start of a hub over a recording."""
        with suppress(SourceError, HubError):  # the first query says it
            await self.get("/api/incidents")


@click.command(cls=GroupedCommand)
@reads_source
def mcp(source: Source) -> None:
    """Serve read-only tools for agents over the Model Context Protocol (MCP), on stdin and stdout.

    MCP clients start this command. A hub with --mcp serves the same tools over HTTP at /mcp.

    \b
    Examples:
      foreshock mcp
      foreshock mcp --from https://hub.example.com --http-config http.yml
      foreshock mcp --from ./incident                         over a recording
    """
    from foreshock_dashboard.mcp.tools import server  # takes a second, which `mcp --help` does not need

    api = SourceApi(source)

    async def serve() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(api.warm_up)
            await server(api, __version__).run_stdio_async()

    run(serve)
