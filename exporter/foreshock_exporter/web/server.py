"""HTTP server of the exporter: read-only, with a limit of connections and a deadline for each."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from foreshock_exporter.common.log import ProblemLog, log
from foreshock_exporter.common.version import version
from foreshock_exporter.web.config import WatchedConfig
from foreshock_exporter.web.connection import TEXT_PLAIN, Connection, Response, encode
from foreshock_exporter.web.connections import Connections, client_of
from foreshock_exporter.web.request import RefusedError, Request, parse
from foreshock_exporter.web.routes import MetricsSource, Routes

IO_TIMEOUT_SECONDS = 10.0
"""Timeout of a TLS handshake, of receiving a request head, and of sending a response."""
KEEP_ALIVE_SECONDS = 75.0
"""Longest wait for the next request; scrape intervals are up to a minute."""
CLOSE_TIMEOUT_SECONDS = 0.5
"""Time for responses in progress when the server closes."""
_ACCEPT_PAUSE = 0.1
"""Seconds to pause when the system is out of file descriptors."""
_BUSY = encode(
    Response(HTTPStatus.SERVICE_UNAVAILABLE, TEXT_PLAIN, b"Too many connections\n", (("Retry-After", "1"),)), close=True
)


class Server:
    """Running server. `port` is the actual port, also if 0 was requested."""

    def __init__(
        self,
        routes: Routes,
        listener: socket.socket,
        watched: WatchedConfig,
        connections: Connections,
        io_timeout: float = IO_TIMEOUT_SECONDS,
        close_timeout: float = CLOSE_TIMEOUT_SECONDS,
    ) -> None:
        self._routes = routes
        self._listener = listener
        self._watched = watched
        self._io_timeout = io_timeout
        self._close_timeout = close_timeout
        self._problems = ProblemLog()
        self._connections = connections
        self._closing = threading.Event()
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True, name="http")
        self._thread.start()

    @property
    def secure(self) -> bool:
        return self._watched.current().context is not None

    def close(self) -> None:
        """Stop listening. Responses in progress get `CLOSE_TIMEOUT_SECONDS`; idle connections end immediately."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join()
        self._connections.close(self._close_timeout)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, address = self._listener.accept()
            except OSError as error:
                if not self._closing.is_set():
                    self._problems.report("accepting connections", str(error))
                    self._closing.wait(_ACCEPT_PAUSE)
                continue
            self._problems.resolve("accepting connections")
            self._start_connection(client, address)

    def _start_connection(self, client: socket.socket, address: Any) -> None:  # noqa: ANN401 - a family's own kind of address
        """Serve the connection in a thread, or reject it."""
        connection = Connection(client, self._io_timeout)
        if not self._connections.admit(connection, address[0]):
            self._reject(client, connection)
            return
        thread = threading.Thread(
            target=self._serve_connection, args=(connection, address[0]), daemon=True, name="http-client"
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread to give
            self._problems.report("threads for connections", str(error))
            self._end(connection)

    def _reject(self, client: socket.socket, connection: Connection) -> None:
        """Reject a connection. With TLS it is only closed: a handshake would cost too much now."""
        if self._watched.current().context is None:
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.send(_BUSY)
        connection.close(0.0)

    def _end(self, connection: Connection) -> None:
        connection.close()
        self._connections.discard(connection)

    def _serve_connection(self, connection: Connection, address: str) -> None:
        try:
            self._serve_requests(connection, address)
        except OSError as error:
            log.debug("connection from %s ended early: %s", address, error)
        except Exception:  # noqa: BLE001 - an error in one connection must not stop the server
            log.exception("connection from %s failed", address)
        finally:
            self._end(connection)

    def _serve_requests(self, connection: Connection, address: str) -> None:
        """Serve requests until either side closes."""
        try:
            config = self._watched.current()
            if config.context is not None:
                config.check_client(connection.start_tls(config.context))
            wait = self._io_timeout
            while (head := connection.read_head(wait)) is not None:
                self._connections.mark_active(connection)
                request = parse(head)
                response = self._respond(request, connection, address)
                last = not request.keeps_alive or self._closing.is_set()
                connection.send(response, close=last, head_only=request.method == "HEAD")
                if last:
                    return
                wait = KEEP_ALIVE_SECONDS
        except RefusedError as refused:
            connection.send(Response(refused.status, TEXT_PLAIN, f"{refused}\n".encode()), close=True)

    def _respond(self, request: Request, connection: Connection, address: str) -> Response:
        config = self._watched.current()
        authorization, client = request.headers.get("authorization", ""), client_of(address)
        try:
            with self._connections.answering(connection):
                refusal = self._watched.authenticate(config, authorization, client) if config.users else None
                response = refusal or self._routes.respond(request)
        except Exception:  # noqa: BLE001 - a failed rendering is logged and answered, and the next is tried
            log.exception("answering %s failed", request.path)
            response = Response(
                HTTPStatus.INTERNAL_SERVER_ERROR, TEXT_PLAIN, b"This failed; the exporter's log says why\n"
            )
        log.debug("%s %s %s: %d", address, request.method, request.path, response.status)
        return replace(response, headers=(*config.headers, *response.headers)) if config.headers else response


def serve(
    exporter: MetricsSource,
    host: str,
    port: int,
    *,
    metrics_path: str = "/metrics",
    web_config: Path | None = None,
    connections: Connections | None = None,
    **timeouts: float,
) -> Server:
    """Serve an exporter. An empty `host` means all interfaces, including IPv6 if available; port 0 picks a free port.

    Args:
        web_config: file with TLS, users, and headers; reloaded on change.
        connections: limits of connections; by default its own.
        timeouts: `io_timeout` and `close_timeout` of the server in seconds.

    Raises:
        OSError: the address cannot be bound.
        ConfigError: `web_config` is unusable.
    """
    watched = WatchedConfig(web_config)
    routes = Routes(exporter, metrics_path, version())
    limits = Connections() if connections is None else connections
    return Server(routes, _bound(host, port), watched, limits, **timeouts)


def _bound(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        except OSError as error:
            # A kernel may offer IPv6 and refuse its addresses; a taken port is refused again below.
            log.debug("listening on IPv4 alone: %s", error)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=64)
