"""The OTLP/HTTP door: protobuf and JSON on one port."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any

import uvicorn

from foreshock_dashboard.common.http_limits import LISTEN_BACKLOG, ConnectionProblem, Connections, max_connections
from foreshock_dashboard.sources.otlp.auth import TlsFiles, reloading_context
from foreshock_dashboard.sources.otlp.receiver import Listener, Receiver, Request
from foreshock_dashboard.sources.otlp.refusal import Refusal, RefusedError

PATH = "/v1/traces"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
BODY_SECONDS = 30.0
"""How long a sender may take for a request's body."""
IDLE_SECONDS = 75.0
"""How long a connection may be open without a request that begins or is answered."""
SHUTDOWN_GRACE_SECONDS = 5

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def serve_http(
    receiver: Receiver,
    host: str,
    port: int,
    keys: TlsFiles | None = None,
    *,
    body_seconds: float = BODY_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
    connections: int | None = None,
) -> Listener:
    """Listen for POST /v1/traces in a thread of its own; port 0 takes a free one. `keys`: over TLS.

    `connections`: how many at most; as many as `most_connections` says unless given.

    On a loopback address, only requests to a loopback Host are answered: a web page in a browser on this machine, whose
    name an attacker points at 127.0.0.1, cannot send spans.

    Raises:
        OSError: the address cannot be listened on.
        GuardError: a file of `keys` cannot be used.
    """

    def note(trouble: ConnectionProblem, message: str) -> None:
        receiver.note(RefusedError(Refusal[trouble.upper()], message))

    open_ = Connections(connections or max_connections(), idle_seconds, note)
    return _HttpDoor(receiver, body_seconds, open_, host, port, keys)


class _HttpDoor:
    def __init__(
        self,
        receiver: Receiver,
        body_seconds: float,
        connections: Connections,
        host: str,
        port: int,
        keys: TlsFiles | None,
    ) -> None:
        context, renew = reloading_context(keys) if keys else (None, None)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        self._socket = connections.listener(bound) if keys else bound
        address: str = self._socket.getsockname()[0]
        self.port: int = self._socket.getsockname()[1]
        local = ip_address(address.partition("%")[0]).is_loopback
        app = _App(receiver, body_seconds, local=local and keys is None, renew=renew)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                ssl_context_factory=(lambda _config, _default: context) if context else None,
                http=connections.protocol,  # type: ignore[arg-type]  # it makes a protocol, as the class would
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=LISTEN_BACKLOG,
                timeout_keep_alive=math.ceil(connections.seconds),
                timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="otlp-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; requests under way have a few seconds to end."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class _App:
    """The ASGI application; where it is `local`, it answers to loopback's names only."""

    def __init__(
        self, receiver: Receiver, body_seconds: float, *, local: bool, renew: Callable[[], None] | None = None
    ) -> None:
        self._receiver = receiver
        self._body_seconds = body_seconds
        self._local = local
        self._renew = renew

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        json = kind != PROTOBUF
        try:
            with self._receiver.request() as request:
                if self._renew is not None:
                    self._renew()
                if self._local:
                    _check_host(headers.get("host", ""))
                self._receiver.admit(headers.get("authorization", ""))
                gzip = _check(scope, headers, kind)
                body = await self._body(request, headers, receive)
                answer = await asyncio.to_thread(request.answer, body, json=json, gzip=gzip)
        except RefusedError as refused:
            await _send(send, refused.refusal.http, refused.status(json=json), _headers(refused, json=json))
        else:
            await _send(send, 200, answer, [(b"content-type", _type(json=json))])

    async def _body(self, request: Request, headers: dict[str, str], receive: _Receive) -> bytes:
        request.expect(int(headers.get("content-length", "0")))  # refused before a byte of it is read
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise RefusedError(Refusal.CANCELLED, "its sender hung up before all of it had come")
                    some = event.get("body", b"")
                    request.hold(len(some))
                    body += some
                    if not event.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            message = f"the body did not arrive within {self._body_seconds:g} s"
            raise RefusedError(Refusal.TIMEOUT, message) from None


def _check_host(host: str) -> None:
    """Raise RefusedError unless the request was sent to a name or an address of loopback."""
    name, bracket, _ = host.partition("]") if host.startswith("[") else (host.partition(":")[0], "", "")
    if name.lower() in ("localhost", "localhost."):
        return
    try:
        loopback = ip_address(name.removeprefix("[") if bracket else name).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        message = f"this door listens on loopback and does not answer to Host {host[:100]!r}; send to localhost"
        raise RefusedError(Refusal.MISDIRECTED, message)


def _check(scope: _Scope, headers: dict[str, str], kind: str) -> bool:
    """Whether the body is gzip.

    Raises:
        RefusedError: the path, the method, the type or the encoding is not OTLP's.
    """
    if scope["path"] != PATH:
        raise RefusedError(Refusal.NOT_FOUND, f"there is nothing at {scope['path'][:100]}; traces go to {PATH}")
    if scope["method"] != "POST":
        raise RefusedError(Refusal.METHOD, f"{scope['method'][:20]} is not allowed; send traces with POST")
    if kind not in (PROTOBUF, JSON):
        raise RefusedError(Refusal.CONTENT_TYPE, f"content type {kind[:100]!r} is neither {PROTOBUF} nor {JSON}")
    encoding = headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ("gzip", "identity"):
        raise RefusedError(Refusal.CONTENT_TYPE, f"content encoding {encoding[:100]!r} is neither gzip nor identity")
    return encoding == "gzip"


def _type(*, json: bool) -> bytes:
    return (JSON if json else PROTOBUF).encode()


def _headers(refused: RefusedError, *, json: bool) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", _type(json=json))]
    if refused.refusal is Refusal.METHOD:
        headers.append((b"allow", b"POST"))
    if refused.refusal is Refusal.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b'Bearer realm="OTLP"'))
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(refused.retry_after)).encode()))
    return headers


async def _send(send: _Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
