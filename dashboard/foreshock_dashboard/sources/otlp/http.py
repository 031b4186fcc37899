"""The OTLP/HTTP listener: protobuf and JSON on one port."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.common.http_limits import LISTEN_BACKLOG, ConnectionProblem, Connections, max_connections
from foreshock_dashboard.sources.otlp.receiver import Receiver, Refusal, RefusedError, Request

TRACES, METRICS, WRITE = "/v1/traces", "/v1/metrics", "/api/v1/write"
"""Paths of OTLP, and that of Prometheus' remote write."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
GZIP_NAMES = ("gzip", "x-gzip")
"""Both mean the same (RFC 9110, 8.4.1.3)."""
BODY_SECONDS = 30.0
"""Longest time for sending the body of a request."""
IDLE_SECONDS = 75.0
"""Longest time that a connection may be open without a request or response."""
SHUTDOWN_GRACE_SECONDS = 5
MAX_QUOTED = 100
"""Characters of a request that a refusal repeats."""

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HttpListener:
    """Listens for POST to its two paths in a new thread; port 0 takes a free one. Without `tls`, it has no TLS.

    On a loopback address without TLS, only requests to a loopback Host are accepted. So a web page cannot send spans,
    even if its host name resolves to 127.0.0.1. `connections` is their limit; by default that of `max_connections`.

    Raises:
        OSError: the address cannot be listened on.
        FileError: a TLS file cannot be used.
    """

    def __init__(
        self,
        receiver: Receiver,
        host: str,
        port: int,
        tls: TlsFiles | None = None,
        *,
        body_seconds: float = BODY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        connections: int | None = None,
    ) -> None:
        self._receiver, self._body_seconds = receiver, body_seconds
        context = tls.context() if tls else None
        limited = Connections(connections or max_connections(), idle_seconds, self._record)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        self._socket = limited.listener(bound) if tls else bound
        address: str = self._socket.getsockname()[0]
        self.port: int = self._socket.getsockname()[1]
        self._loopback_only = tls is None and is_loopback(address.partition("%")[0])
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                ssl_context_factory=(lambda _config, _default: context) if context else None,
                http=limited.protocol,  # type: ignore[arg-type]  # it makes a protocol, as the class would
                interface="asgi3",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=LISTEN_BACKLOG,
                timeout_keep_alive=math.ceil(idle_seconds),
                timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="otlp-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; requests in progress have a few seconds to finish."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _record(self, problem: ConnectionProblem, message: str) -> None:
        self._receiver.record_refusal(RefusedError(Refusal[problem.upper()], message))

    async def _answer(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a request, as an ASGI application."""
        received = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        kind = received.get("content-type", "").partition(";")[0].strip().lower()
        json = kind != PROTOBUF
        try:
            with self._receiver.request() as request:
                if self._loopback_only:
                    _check_host(received.get("host", ""))
                self._receiver.authorize(received.get("authorization", ""))
                gzip = _check_request(scope, received, kind)
                body = await self._body(request, received, receive)
                path = scope["path"]
                response = await request.handle_in_thread(
                    body, json=json, gzip=gzip, metrics=path == METRICS, samples=path == WRITE
                )
        except RefusedError as refused:
            status, response, extra = refused.refusal.http, refused.status(json=json), _refusal_headers(refused)
        else:
            status, extra = 200, []
        content_type, length = (JSON if json else PROTOBUF).encode(), str(len(response)).encode()
        headers = [(b"content-type", content_type), *extra, (b"content-length", length)]
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": response})

    async def _body(self, request: Request, headers: dict[str, str], receive: _Receive) -> bytearray:
        request.expect(int(headers.get("content-length", "0")))  # refused before any byte is read
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise RefusedError(Refusal.CANCELLED, "the sender disconnected before the request was complete")
                    chunk = event.get("body", b"")
                    request.hold(len(chunk))
                    body += chunk
                    if not event.get("more_body"):
                        return body
        except TimeoutError:
            message = f"the body did not arrive within {self._body_seconds:g} s"
            raise RefusedError(Refusal.TIMEOUT, message) from None


def _check_host(host: str) -> None:
    """Raise RefusedError unless the Host is a loopback name or address."""
    name, bracket, _ = host.partition("]") if host.startswith("[") else (host.partition(":")[0], "", "")
    name = name.removeprefix("[") if bracket else name.lower()
    if name != "localhost." and not is_loopback(name):
        message = f"this receiver listens on loopback and does not accept Host {host[:MAX_QUOTED]!r}; send to localhost"
        raise RefusedError(Refusal.MISDIRECTED, message)


def _check_request(scope: _Scope, headers: dict[str, str], kind: str) -> bool:
    """Return whether the body is gzip.

    Raises RefusedError if the path, method, content type or content encoding is not one of OTLP.
    """
    if scope["path"] not in (TRACES, METRICS, WRITE):
        path = scope["path"][:MAX_QUOTED]
        raise RefusedError(Refusal.NOT_FOUND, f"unknown path {path!r}; send traces to {TRACES}, metrics to {METRICS}")
    if scope["method"] != "POST":
        raise RefusedError(Refusal.METHOD, f"method {scope['method'][:MAX_QUOTED]!r} is not allowed; send with POST")
    if kind not in (PROTOBUF, JSON):
        raise RefusedError(Refusal.CONTENT_TYPE, f"content type {kind[:MAX_QUOTED]!r} is neither {PROTOBUF} nor {JSON}")
    if scope["path"] == WRITE:
        if "write.v2" in headers.get("content-type", ""):
            raise RefusedError(Refusal.CONTENT_TYPE, "remote write 2.0 is not supported; use prometheus.WriteRequest")
        return False
    encoding = headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in (*GZIP_NAMES, "identity"):
        raise RefusedError(
            Refusal.CONTENT_TYPE, f"content encoding {encoding[:MAX_QUOTED]!r} is neither gzip nor identity"
        )
    return encoding in GZIP_NAMES


def _refusal_headers(refused: RefusedError) -> list[tuple[bytes, bytes]]:
    headers = []
    if refused.refusal is Refusal.METHOD:
        headers.append((b"allow", b"POST"))
    if refused.refusal is Refusal.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b'Bearer realm="OTLP"'))
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(refused.retry_after)).encode()))
    return headers
