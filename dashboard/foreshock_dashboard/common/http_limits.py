"""The connections of an HTTP server: so many at most, and each answers or ends in time.

uvicorn waits for ever for the head of a first request, for a client that does not read its answer, and for the rest of
a body that was refused; and it takes any number of connections, until the process has no file descriptor for its store.
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
"""Why a connection was ended: it made room for another, or what came was no HTTP, or did not come in time."""
OnProblem = Callable[[ConnectionProblem, str], None]

MAX_CONNECTIONS = 4096
LISTEN_BACKLOG = 128
"""Connections that are accepted in one go."""

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_quiet = logging.getLogger(f"{__name__}.uvicorn")
_quiet.setLevel(logging.ERROR)  # it would write a line for each request that is not HTTP; `note` is told of them


def max_connections() -> int:
    """How many connections a server takes: a quarter of the files that may be open, `MAX_CONNECTIONS` at most.

    The soft limit of open files is raised to the hard one first: it is as low as 1,024 for programs that use select(2),
    which this is none of (getrlimit(2); systemd's "File Descriptor Limits").
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # some systems have a lower one that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 4)


class Connections:
    """All of a server; none is open for longer than `seconds` since it was made, a request began or one was answered.

    When there are `most`, the one that has had nothing to answer for the longest time makes room for the next; and when
    there are as many with which TLS has not been agreed on, the first of those.
    """

    def __init__(self, most: int, seconds: float, note: OnProblem) -> None:
        self._most = most
        self.seconds = seconds
        self.note = note
        self._greeting: dict[int, socket.socket] = {}
        """By their file descriptors, in the order in which they were accepted."""
        self._open: dict[Connection, None] = {}
        """In the order in which they had something to answer last."""

    def listener(self, bound: socket.socket) -> socket.socket:
        """A listening socket of which connections are counted before TLS has been agreed on with them."""
        return _Listener(self, bound)

    def protocol(self, **given: Any) -> Connection:  # noqa: ANN401 - uvicorn's own
        """What uvicorn makes for each connection."""
        return Connection(self, **given)

    def rank_last(self, connection: Connection) -> None:
        """It is new, or has something to answer or has just answered it."""
        self._open.pop(connection, None)
        self._open[connection] = None

    def greet(self, accepted: socket.socket) -> None:
        """It is accepted, and TLS comes first."""
        self._greeting[accepted.fileno()] = accepted
        most = max(LISTEN_BACKLOG, self._most)
        if len(self._greeting) > most:
            first = self._greeting.pop(next(iter(self._greeting)))
            self._crowded(most)
            with contextlib.suppress(OSError):  # it may be gone already
                first.shutdown(socket.SHUT_RDWR)

    def greeted(self, descriptor: int) -> None:
        """It is a connection now, or will be none."""
        self._greeting.pop(descriptor, None)

    def make_room(self) -> None:
        """End one, if there are too many."""
        if len(self._open) > self._most:
            idle = next((each for each in self._open if not each.answering), next(iter(self._open)))
            self._crowded(self._most)
            idle.transport.abort()
            self.forget(idle)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)

    def _crowded(self, most: int) -> None:
        self.note("crowded", f"more than {most} connections; one made room for another")


class _Listener(socket.socket):
    def __init__(self, door: Connections, bound: socket.socket) -> None:
        super().__init__(fileno=bound.detach())
        self._door = door

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        accepted = _Accepted(self._door, connection)
        self._door.greet(accepted)
        return accepted, address


class _Accepted(socket.socket):
    def __init__(self, door: Connections, connection: socket.socket) -> None:
        super().__init__(fileno=connection.detach())
        self._door = door

    def close(self) -> None:
        self._door.greeted(self.fileno())
        super().close()


class Connection(H11Protocol):
    """One of them."""

    def __init__(self, door: Connections, **given: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**given)
        self.logger = _quiet
        self._door = door
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def answering(self) -> bool:
        """Whether a request has come whole and has not been answered."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take it in."""
        super().connection_made(transport)
        self._door.greeted(transport.get_extra_info("socket").fileno())
        self._renew()
        self._door.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._door.forget(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Look for requests in what has come."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._renew()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._renew()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._door.note("malformed", "not an HTTP request")
        if self.cycle is not None and not self.cycle.response_complete:  # what is wrong is its body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # the answer has begun already
            self.transport.abort()

    def _renew(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._door.seconds, self._end)
            self._door.rank_last(self)

    def _end(self) -> None:
        """Its time is over: nothing came, or no whole request, or its answers are not read."""
        head_begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        unread = self.transport.get_write_buffer_size() > 0
        if head_begun or unread or self.answering or self.conn.their_state is h11.SEND_BODY:
            message = f"no whole request came, or its answer was not read, within {self._door.seconds:g} s"
            self._door.note("timeout", message)
        if unread:
            self.transport.abort()
            return
        if head_begun:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
