"""The exporter's HTTP server: read-only, a bounded number of connections at a time, every one with a deadline."""

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
from foreshock_exporter.web.config import PLAIN_HTTP, WatchedConfig, WebConfig
from foreshock_exporter.web.connection import (
    IO_TIMEOUT_SECONDS,
    KEEP_ALIVE_SECONDS,
    TEXT_PLAIN,
    Connection,
    Response,
    encode,
)
from foreshock_exporter.web.request import RefusedError, Request, parse
from foreshock_exporter.web.routes import MetricsSource, Routes

MAX_CONNECTIONS = 32
"""Connections answered at once; the next is told 503."""
CLOSE_TIMEOUT_SECONDS = 0.5
"""Seconds that answers on their way have to finish when the server closes."""
_ACCEPT_PAUSE = 0.1
"""Seconds of rest where the system has no more connections to give (too many open files)."""
_BUSY = encode(
    Response(HTTPStatus.SERVICE_UNAVAILABLE, TEXT_PLAIN, b"Too many connections\n", (("Retry-After", "1"),)), close=True
)


class Server:
    """A running server. `port` is the one it listens on, also where 0 was asked for."""

    def __init__(self, site: Routes, listener: socket.socket, web: WatchedConfig | None) -> None:
        self._site = site
        self._listener = listener
        self._web = web
        self._problems = ProblemLog()
        self._changed = threading.Condition()
        self._open: set[Connection] = set()
        self._closing = threading.Event()
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True, name="http")
        self._thread.start()

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self._config().context is not None

    def close(self) -> None:
        """Stop listening. Answers on their way have `CLOSE_WITHIN` seconds; idle connections end at once."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join()
        with self._changed:
            for connection in self._open:
                connection.hang_up()
            self._changed.wait_for(lambda: not self._open, CLOSE_TIMEOUT_SECONDS)

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
            self._begin(client, address)

    def _begin(self, client: socket.socket, address: Any) -> None:  # noqa: ANN401 - a family's own kind of address
        """Give the connection a thread of its own, or turn it away."""
        connection = Connection(client)
        with self._changed:
            if full := len(self._open) >= MAX_CONNECTIONS:
                log.debug("a connection beyond the limit of %d was turned away", MAX_CONNECTIONS)
            else:
                self._open.add(connection)
        if full:
            self._turn_away(client, connection)
            return
        thread = threading.Thread(target=self._talk, args=(connection, address[0]), daemon=True, name="http-client")
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread to give
            self._problems.report("threads for connections", str(error))
            self._end(connection)

    def _turn_away(self, client: socket.socket, connection: Connection) -> None:
        """A client that was promised TLS is only hung up on: a handshake is work that is not to be had now."""
        if self._config().context is None:
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.send(_BUSY)
        connection.drop()

    def _end(self, connection: Connection) -> None:
        connection.close()
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def _talk(self, connection: Connection, address: str) -> None:
        try:
            self._answer_all(connection, address)
        except OSError as error:
            log.debug("connection from %s ended early: %s", address, error)
        except Exception:  # noqa: BLE001 - outermost loop of the thread: what one connection meets, others do not
            log.exception("connection from %s failed", address)
        finally:
            self._end(connection)

    def _answer_all(self, connection: Connection, address: str) -> None:
        """Answer one request after the other until either side has had enough."""
        try:
            self._secure(connection)
            wait = IO_TIMEOUT_SECONDS
            while (head := connection.head(wait)) is not None:
                request = parse(head)
                answer = self._answer(request, address)
                last = not request.keeps_alive or self._crowded() or self._closing.is_set()
                connection.send(answer, close=last, head_only=request.method == "HEAD")
                if last:
                    return
                wait = KEEP_ALIVE_SECONDS
        except RefusedError as refused:
            connection.send(Response(refused.status, TEXT_PLAIN, f"{refused}\n".encode()), close=True)

    def _secure(self, connection: Connection) -> None:
        config = self._config()
        if config.context is not None:
            config.check_client(connection.secure(config.context))

    def _config(self) -> WebConfig:
        return self._web.current() if self._web else PLAIN_HTTP

    def _crowded(self) -> bool:
        """Whether places are so few that a client should not keep one between two scrapes."""
        return len(self._open) > MAX_CONNECTIONS // 2

    def _answer(self, request: Request, address: str) -> Response:
        config = self._config()
        answer = None
        if self._web and config.users:
            answer = self._web.refusal(config, request.headers.get("authorization", ""), address)
        if answer is None:
            try:
                answer = self._site.answer(request)
            except Exception:  # noqa: BLE001 - a failed rendering is logged and answered, and the next is tried
                log.exception("answering %s failed", request.path)
                answer = Response(
                    HTTPStatus.INTERNAL_SERVER_ERROR, TEXT_PLAIN, b"This failed; the exporter's log says why\n"
                )
        log.debug("%s %s %s: %d", address, request.method, request.path, answer.status)
        return replace(answer, headers=(*config.headers, *answer.headers)) if config.headers else answer


def serve(
    exporter: MetricsSource, host: str, port: int, *, metrics_path: str = "/metrics", web_config: Path | None = None
) -> Server:
    """Serve an exporter. An empty `host` is every interface, IPv6 as well where the system has it; port 0 a free one.

    Args:
        exporter: what is shown.
        host: where to listen.
        port: where to listen.
        metrics_path: the path of the metrics.
        web_config: file with TLS, users and headers; read again whenever it changes.

    Raises:
        OSError: the address cannot be listened on.
        ConfigError: `web_config` cannot be used.
    """
    web = WatchedConfig(web_config) if web_config else None
    return Server(Routes(exporter, metrics_path, version()), _bound(host, port), web)


def _bound(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        except OSError as error:
            # A kernel may offer IPv6 and refuse its addresses; a taken port is refused again below.
            log.debug("listening on IPv4 alone: %s", error)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=64)
