"""One client's connection: TLS, request heads and answers, each with a deadline and a bound."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from foreshock_exporter.web.request import MAX_HEAD_BYTES, RefusedError

if TYPE_CHECKING:
    import ssl

IO_TIMEOUT_SECONDS = 10.0
"""Seconds that a TLS handshake, the head of a request, and sending an answer may each take."""
KEEP_ALIVE_SECONDS = 75.0
"""Seconds that a connection may wait for its next request; scrapes are usually at most a minute apart."""
DRAIN_SECONDS = 0.1
"""Seconds for which what a client still sends is read before closing: unread bytes would reset the connection."""

TEXT_PLAIN = "text/plain; charset=utf-8"
_TLS_HANDSHAKE = b"\x16"
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back. `headers` come besides Content-Type, Content-Length, Date and Connection."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Connection:
    """A connection that has been accepted; for one thread, but for `hang_up`."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._buffer = b""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def secure(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Do the TLS handshake.

        Raises:
            RefusedError: the client speaks plain HTTP; it can still be answered.
            OSError: the handshake failed or took too long.
        """
        self._socket.settimeout(IO_TIMEOUT_SECONDS)
        if self._socket.recv(1, socket.MSG_PEEK) not in (_TLS_HANDSHAKE, b""):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "This port speaks HTTPS; ask it with https://")
        secured = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = secured
        secured.settimeout(IO_TIMEOUT_SECONDS)
        secured.do_handshake()
        return secured

    def head(self, wait: float) -> bytes | None:
        """The next request's head without its empty line; None where the client left or said nothing for `wait` s.

        Raises:
            RefusedError: the head is too long, or did not arrive in time.
            OSError: the connection broke.
        """
        deadline = time.monotonic() + wait
        if self._buffer:
            deadline = time.monotonic() + IO_TIMEOUT_SECONDS
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                break
            got = self._receive(deadline)
            if not got:
                return None
            if not self._buffer:
                deadline = time.monotonic() + IO_TIMEOUT_SECONDS
            self._buffer = (self._buffer + got).lstrip(b"\r\n")
        if not 0 <= end <= MAX_HEAD_BYTES:
            raise RefusedError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"A request's head has at most {MAX_HEAD_BYTES} bytes"
            )
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :].lstrip(b"\r\n")
        return head

    def _receive(self, deadline: float) -> bytes:
        """Some bytes; none where the client left or, between two requests, was silent until the deadline."""
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return self._socket.recv(_CHUNK)
        except TimeoutError:
            if not self._buffer:
                return b""
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time") from None

    def send(self, answer: Response, *, close: bool, head_only: bool = False) -> None:
        """Send an answer.

        Raises:
            OSError: the client left, or did not read it in time.
        """
        self._socket.settimeout(IO_TIMEOUT_SECONDS)
        self._socket.sendall(encode(answer, close=close, head_only=head_only))

    def hang_up(self) -> None:
        """Read nothing more; what is being answered is still sent. Called from another thread."""
        # The method of socket, since that of SSLSocket would go on in plain text.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def drop(self) -> None:
        """End the connection at once, waiting for nothing."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        self._socket.close()

    def close(self) -> None:
        """End the connection so that the client can read what it was sent last."""
        deadline = time.monotonic() + DRAIN_SECONDS
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not socket.socket.recv(self._socket, 65_536):
                    break
        self._socket.close()


def encode(answer: Response, *, close: bool, head_only: bool = False) -> bytes:
    """The bytes of an answer in HTTP/1.1."""
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n"
        f"{''.join(f'{name}: {value}' + chr(13) + chr(10) for name, value in answer.headers)}\r\n"
    ).encode("latin-1")
    return head if head_only else head + answer.body
