"""Limits of an HTTP server: its number of connections, and the time that each may take.

uvicorn's options do not cover them. `limit_concurrency` refuses new clients instead of closing idle ones, and
`timeout_keep_alive` applies only after an answer. uvicorn therefore waits without limit for a request's head, for the
rest of a refused body, and for a client that does not read, until no file descriptor is left for the store.
hypercorn has a read timeout, but no limit of connections and no write timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ConnectionProblem = Literal["crowded", "malformed", "timeout"]
"""Why a connection was closed: for another one, because it sent no HTTP, or because it took too long."""
OnProblem = Callable[[ConnectionProblem, str], None]

MAX_CONNECTIONS = 4096
LISTEN_BACKLOG = 128
"""Connections that the system queues before they are accepted."""

_REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_quiet = logging.getLogger(f"{__name__}.uvicorn")
_quiet.setLevel(logging.ERROR)  # uvicorn logs a line for each request that is not HTTP; `on_problem` counts them


def max_connections() -> int:
    """Connections that a server accepts: a quarter of the files that may be open, at most `MAX_CONNECTIONS`.

    Raises the soft limit of open files to the hard one first. The soft one is as low as 1,024 for programs that use
    select(2), which this is not (getrlimit(2); systemd's "File Descriptor Limits").
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # some systems have a lower limit that they do not report
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 4)


class Connections:
    """All connections of a server.

    None stays open for longer than `seconds` after it was accepted, a request began, or an answer ended. At the limit,
    the connection that has been idle longest is closed for a new one; connections in a TLS handshake are limited apart.
    `on_problem` is called with each connection that is closed for a reason.
    """

    def __init__(self, limit: int, seconds: float, on_problem: OnProblem) -> None:
        self._limit = limit
        self.seconds = seconds
        self.on_problem = on_problem
        self._handshaking: dict[int, socket.socket] = {}
        """By file descriptor, in the order of acceptance."""
        self._open: dict[Connection, None] = {}
        """In the order of their last progress."""

    def listener(self, bound: socket.socket) -> socket.socket:
        """A listening socket that counts connections from acceptance on, before their TLS handshake."""
        return _Listener(self, bound)

    def protocol(self, **arguments: Any) -> Connection:  # noqa: ANN401 - uvicorn's own
        """The protocol of one connection, for uvicorn's option `http`."""
        return Connection(self, **arguments)

    def mark_active(self, connection: Connection) -> None:
        """Move a connection to the end of the order of progress."""
        self._open.pop(connection, None)
        self._open[connection] = None

    def begin_handshake(self, accepted: socket.socket) -> None:
        """Count an accepted connection; beyond the limit, close the oldest one in a handshake."""
        self._handshaking[accepted.fileno()] = accepted
        limit = max(LISTEN_BACKLOG, self._limit)
        if len(self._handshaking) > limit:
            oldest = self._handshaking.pop(next(iter(self._handshaking)))
            self._report_crowded(limit)
            with contextlib.suppress(OSError):  # it may be closed already
                oldest.shutdown(socket.SHUT_RDWR)

    def end_handshake(self, descriptor: int) -> None:
        """Forget a handshake that succeeded or failed."""
        self._handshaking.pop(descriptor, None)

    def enforce_limit(self) -> None:
        """Close the connection that has been idle longest, if there are too many."""
        if len(self._open) > self._limit:
            idle = next((item for item in self._open if not item.is_answering), next(iter(self._open)))
            self._report_crowded(self._limit)
            idle.transport.abort()
            self.discard(idle)

    def discard(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._open.pop(connection, None)

    def _report_crowded(self, limit: int) -> None:
        self.on_problem("crowded", f"more than {limit} connections; one made room for another")


class _Listener(socket.socket):
    def __init__(self, connections: Connections, bound: socket.socket) -> None:
        super().__init__(fileno=bound.detach())
        self._connections = connections

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        accepted = _Accepted(self._connections, connection)
        self._connections.begin_handshake(accepted)
        return accepted, address


class _Accepted(socket.socket):
    def __init__(self, connections: Connections, connection: socket.socket) -> None:
        super().__init__(fileno=connection.detach())
        self._connections = connections

    def close(self) -> None:
        self._connections.end_handshake(self.fileno())
        super().close()


class Connection(H11Protocol):
    """uvicorn's protocol of one connection, with a deadline.

    It overrides callbacks of a class that uvicorn does not document: `test_hostile_connections.py` fails if an upgrade
    changes them.
    """

    def __init__(self, connections: Connections, **arguments: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**arguments)
        self.logger = _quiet
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a complete request has arrived and its answer has not ended."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin: the TLS handshake, if any, is over."""
        super().connection_made(transport)
        self._connections.end_handshake(transport.get_extra_info("socket").fileno())
        self._renew_deadline()
        self._connections.enforce_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the connection is closed."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._connections.discard(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Parse received data; a new request renews the deadline."""
        cycle = self.cycle
        super().handle_events()
        if self.cycle is not cycle:
            self._renew_deadline()

    def on_response_complete(self) -> None:
        """Renew the deadline for the next request."""
        self._renew_deadline()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP."""
        self._connections.on_problem("malformed", "not an HTTP request")
        if self.cycle is not None and not self.cycle.response_complete:  # the request's body is malformed
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # the answer has begun already
            self.transport.abort()

    def _renew_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._connections.seconds, self._end)
            self._connections.mark_active(self)

    def _end(self) -> None:
        """Close at the deadline; a request that began, or an answer that was not read, counts as a problem."""
        head_begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        unread = self.transport.get_write_buffer_size() > 0
        if head_begun or unread or self.is_answering or self.conn.their_state is h11.SEND_BODY:
            message = f"no whole request came, or its answer was not read, within {self._connections.seconds:g} s"
            self._connections.on_problem("timeout", message)
        if unread:
            self.transport.abort()
            return
        if head_begun:
            self.transport.write(_REQUEST_TIMEOUT)
        self.transport.close()
