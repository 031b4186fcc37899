"""The web server: uvicorn in a background thread, on a socket that is bound immediately."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.common.http_limits import LISTEN_BACKLOG, ConnectionProblem, Connections, max_connections

IDLE_SECONDS = 75.0
"""Longest time that a connection stays open without a request."""
LOG_INTERVAL_SECONDS = 60.0
"""Time between two log lines about the same connection problem."""

_log = logging.getLogger(__name__)


class WebServer:
    """Binds the socket when constructed; serves requests after `start`.

    connections: largest number of open connections; default: `max_connections()`. Above it, a new connection closes
    the one that has been idle longest. tls: its files; plain HTTP without them.

    Raises:
        OSError: the address is in use or cannot be bound.
        FileError: a TLS file cannot be used.
    """

    def __init__(
        self, app: FastAPI, host: str, port: int, connections: int | None = None, tls: TlsFiles | None = None
    ) -> None:
        context = tls.context() if tls else None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        self.host = host
        self.port: int = bound.getsockname()[1]
        self._scheme = "https" if tls else "http"
        self._logged: dict[ConnectionProblem, float] = {}
        limited = Connections(connections or max_connections(), IDLE_SECONDS, self._log_problem)
        self._socket = limited.listener(bound) if tls else bound
        config = uvicorn.Config(
            app,
            ssl_context_factory=(lambda _config, _default: context) if context else None,
            http=limited.protocol,  # type: ignore[arg-type]  # a factory of protocols, called like the class
            ws="none",
            log_config=None,
            proxy_headers=False,  # any client could forge X-Forwarded-For
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=LISTEN_BACKLOG,
            timeout_keep_alive=math.ceil(limited.seconds),
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="web", daemon=True
        )

    def _log_problem(self, problem: ConnectionProblem, message: str) -> None:
        """Log a problem, at most once per `LOG_INTERVAL_SECONDS` and kind."""
        now = time.monotonic()
        if now - self._logged.get(problem, -LOG_INTERVAL_SECONDS) >= LOG_INTERVAL_SECONDS:
            self._logged[problem] = now
            _log.warning("web server: connection closed: %s", message)

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        return f"{self._scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def start(self) -> None:
        """Start serving in the background thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving, after the requests in progress, and close the socket."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._socket.close()
