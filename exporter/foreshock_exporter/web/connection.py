"""One client connection: TLS, request heads, and responses, each with a deadline and a size limit."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from foreshock_exporter.web.request import MAX_HEAD_BYTES, RefusedError

if TYPE_CHECKING:
    import ssl

DRAIN_SECONDS = 0.1
"""Time for which input is read before closing; unread bytes would reset the connection."""

TEXT_PLAIN = "text/plain; charset=utf-8"
_TLS_HANDSHAKE = b"\x16"
_CHUNK_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Response:
    """HTTP response. `headers` are in addition to Content-Type, Content-Length, Date, and Connection."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Connection:
    """Accepted connection. For one thread, except `stop_reading` and `abort`.

    `timeout`: seconds for a TLS handshake, for receiving a request head, and for sending a response.
    """

    def __init__(self, client: socket.socket, timeout: float) -> None:
        self._socket = client
        self._timeout = timeout
        self._buffer = b""
        self._aborted = False
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Perform the TLS handshake.

        Raises:
            RefusedError: the client speaks plain HTTP; it can still receive a response.
            OSError: the handshake failed or timed out.
        """
        self._socket.settimeout(self._timeout)
        if self._socket.recv(1, socket.MSG_PEEK) not in (_TLS_HANDSHAKE, b""):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "This port speaks HTTPS; use https://")
        tls_socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = tls_socket
        tls_socket.settimeout(self._timeout)
        tls_socket.do_handshake()
        return tls_socket

    def read_head(self, wait: float) -> bytes | None:
        """Next request head without the empty line; None if the client left or sent nothing for `wait` seconds.

        Raises:
            RefusedError: the head is too long or incomplete.
            OSError: the connection broke.
        """
        deadline = time.monotonic() + wait
        if self._buffer:
            deadline = time.monotonic() + self._timeout
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                break
            data = self._receive(deadline)
            if not data:
                return None
            if not self._buffer:
                deadline = time.monotonic() + self._timeout
            self._buffer = (self._buffer + data).lstrip(b"\r\n")
        if not 0 <= end <= MAX_HEAD_BYTES:
            raise RefusedError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"A request's head has at most {MAX_HEAD_BYTES} bytes"
            )
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :].lstrip(b"\r\n")
        return head

    def _receive(self, deadline: float) -> bytes:
        """Received bytes; empty if the client left, or was idle between two requests."""
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return self._socket.recv(_CHUNK_BYTES)
        except TimeoutError:
            if not self._buffer:
                return b""
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time") from None

    def send(self, response: Response, *, close: bool, head_only: bool = False) -> None:
        """Send a response.

        Raises:
            OSError: the client left, or did not read in time.
        """
        self._socket.settimeout(self._timeout)
        self._socket.sendall(encode(response, close=close, head_only=head_only))

    def stop_reading(self) -> None:
        """Stop reading; a response in progress is still sent. Thread-safe."""
        # The method of socket, since that of SSLSocket would go on in plain text.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def abort(self) -> None:
        """End the connection: whatever its thread waits for fails. Thread-safe."""
        self._aborted = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Close so that the client can read the last response."""
        deadline = time.monotonic() + (0.0 if self._aborted else drain_seconds)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not socket.socket.recv(self._socket, 65_536):
                    break
        self._socket.close()


def encode(response: Response, *, close: bool, head_only: bool = False) -> bytes:
    """Response as HTTP/1.1 bytes."""
    head = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n"
        f"{''.join(f'{name}: {value}' + chr(13) + chr(10) for name, value in response.headers)}\r\n"
    ).encode("latin-1")
    return head if head_only else head + response.body
