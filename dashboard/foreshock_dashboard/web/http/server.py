"""The web server: uvicorn in a thread of its own, on a socket that is bound at once."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from foreshock_dashboard.common.http_limits import LISTEN_BACKLOG, ConnectionProblem, Connections, max_connections

IDLE_SECONDS = 75.0
"""Time for which a connection may be open without a request."""
LOG_INTERVAL_SECONDS = 60.0
"""Time between two log lines about the same connection problem."""

_log = logging.getLogger(__name__)


class WebServer:
    """Binds when made, answers after `start`.

    `connections`: how many at most; as many as `most_connections` says unless given. Beyond it, the one that has been
    idle longest makes room for the next.

    Raises:
        OSError: the address is in use or cannot be listened on.
    """

    def __init__(self, app: FastAPI, host: str, port: int, connections: int | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._logged: dict[ConnectionProblem, float] = {}
        open_ = Connections(connections or max_connections(), IDLE_SECONDS, self._note)
        config = uvicorn.Config(
            app,
            http=open_.protocol,  # type: ignore[arg-type]  # it makes a protocol, as the class would
            ws="none",
            proxy_headers=False,  # X-Forwarded-For would let anybody say from where he asks
            log_level="warning",
            access_log=False,
            backlog=LISTEN_BACKLOG,
            timeout_keep_alive=math.ceil(open_.seconds),
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="web", daemon=True
        )

    def _note(self, trouble: ConnectionProblem, message: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(trouble, -LOG_INTERVAL_SECONDS) >= LOG_INTERVAL_SECONDS:
            self._logged[trouble] = now
            _log.warning("a connection to the page was ended: %s", message)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the answers in flight."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._socket.close()
