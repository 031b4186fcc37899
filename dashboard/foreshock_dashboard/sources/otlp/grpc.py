"""The OTLP/gRPC door.

Its requests are waited for by coroutines. gRPC's threaded server has a thread wait for each, so that as many senders as
there are threads, each of whom begins with a message and does not end it, keep everybody out.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NoReturn

import grpc
import grpc.aio

from foreshock_dashboard.common.gunzip import GZIP_MAGIC
from foreshock_dashboard.common.http_limits import max_connections
from foreshock_dashboard.sources.otlp.auth import TlsFiles
from foreshock_dashboard.sources.otlp.codec import TRACE_SERVICE
from foreshock_dashboard.sources.otlp.receiver import Listener, Receiver, Request
from foreshock_dashboard.sources.otlp.refusal import Refusal, RefusedError

MAX_WORKERS = 32
"""Messages that are decoded or kept at once."""
MAX_RECEIVING = 8
"""Messages that are received at once; gRPC holds what has come of each. Further ones wait on the wire."""
MAX_STREAMS_PER_CONNECTION = 4
"""Requests of one connection at once, so that one connection cannot take all of those."""
BODY_SECONDS = 30.0
"""How long a sender may take for a request's message."""
CONTENDED_BODY_SECONDS = 2.0
"""The same while others wait."""
IDLE_SECONDS = 75.0
"""How long a connection may be open without a request."""
HANDSHAKE_SECONDS = 5.0
SHUTDOWN_GRACE_SECONDS = 5.0

_IDENTITY_AND_GZIP = 0b101
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_Context = grpc.aio.ServicerContext[bytes, bytes]


def serve_grpc(
    receiver: Receiver, host: str, port: int, keys: TlsFiles | None = None, *, body_seconds: float = BODY_SECONDS
) -> Listener:
    """Listen for `TraceService/Export` in a thread of its own; port 0 takes a free one. `keys`: over TLS.

    Raises:
        OSError: the address cannot be listened on.
        GuardError: a file of `keys` cannot be used.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _GrpcDoor(_TraceService(receiver, body_seconds), receiver.max_bytes, address, keys)


class _GrpcDoor:
    def __init__(self, service: _TraceService, max_bytes: int, address: str, keys: TlsFiles | None) -> None:
        self._service, self._max_bytes, self._address = service, max_bytes, address
        self._credentials = keys.credentials() if keys else None
        listening: Future[int] = Future()
        serving = self._serve(listening)
        self._thread = threading.Thread(target=asyncio.run, args=(serving,), name="otlp-grpc", daemon=True)
        self._thread.start()
        try:
            self.port = listening.result()
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} for OTLP/gRPC; is the port in use?") from error

    def close(self) -> None:
        """Stop listening; requests under way have a few seconds to end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self, listening: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_default_executor(ThreadPoolExecutor(MAX_WORKERS, "otlp-grpc"))
        try:
            server, port = self._listening()
            await server.start()
        except Exception as error:  # noqa: BLE001 - it is raised where the door is made
            listening.set_exception(error)
            return
        listening.set_result(port)
        await self._stop.wait()
        await server.stop(SHUTDOWN_GRACE_SECONDS)

    def _listening(self) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", self._max_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
                # gRPC would decompress without a bound: the handler does it with one.
                ("grpc.per_message_decompression", 0),
                ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
                ("grpc.max_allowed_incoming_connections", max_connections()),
                ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_SECONDS * 1000)),
                ("grpc.max_connection_idle_ms", round(IDLE_SECONDS * 1000)),
                ("grpc.keepalive_time_ms", 30_000),
            )
        )
        # Without serializers: bytes in, bytes out. The request is one message; as a stream, it can be waited for here.
        export: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._service.export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(TRACE_SERVICE, {"Export": export}),))
        if self._credentials is None:
            return server, server.add_insecure_port(self._address)
        return server, server.add_secure_port(self._address, self._credentials)


class _TraceService:
    """What is called."""

    def __init__(self, receiver: Receiver, body_seconds: float) -> None:
        self._receiver, self._body_seconds = receiver, body_seconds
        self._receiving = asyncio.Semaphore(MAX_RECEIVING)
        self._waiting = 0

    async def export(self, _: object, context: _Context) -> bytes:
        """Keep the spans of a request and acknowledge it."""
        try:
            with self._receiver.request() as request:
                self._receiver.admit(_authorization(context))
                body = await self._message(request, context)
                return await _answer(request, body)
        except RefusedError as refused:
            await _abort(context, refused)
        except asyncio.CancelledError:
            message = f"its sender hung up, or its message has more than {self._receiver.max_bytes} bytes"
            self._receiver.note(RefusedError(Refusal.CANCELLED, message))
            raise

    async def _message(self, request: Request, context: _Context) -> bytes:
        """The request's message. Who takes long to send it makes room for those who wait."""
        self._waiting += 1
        try:
            await self._receiving.acquire()
        finally:
            self._waiting -= 1
        coming = asyncio.ensure_future(context.read())
        coming.add_done_callback(lambda done: done.cancelled() or done.exception())  # a call that ended is no news
        waited = 0.0
        try:
            while waited < self._body_seconds and not (waited and self._waiting):
                more = min(CONTENDED_BODY_SECONDS, self._body_seconds - waited)
                if (await asyncio.wait({coming}, timeout=more))[0]:
                    return self._held(request, coming.result())
                waited += more
            raise RefusedError(Refusal.TIMEOUT, f"the message did not arrive within {waited:g} s")
        finally:
            coming.cancel()
            self._receiving.release()

    def _held(self, request: Request, message: object) -> bytes:
        if not isinstance(message, bytes):
            raise RefusedError(Refusal.MALFORMED, "the request has no message")
        request.hold(len(message))
        return message


async def _answer(request: Request, body: bytes) -> bytes:
    # A protobuf request begins with the tag 0x0a, so gzip's two bytes tell the two apart.
    answering = partial(request.answer, body, gzip=body[:2] == GZIP_MAGIC)
    answer = asyncio.get_running_loop().run_in_executor(None, answering)
    try:
        return await asyncio.shield(answer)
    finally:
        if not answer.done():
            await asyncio.gather(answer, return_exceptions=True)  # its bytes are held until then


def _authorization(context: _Context) -> str:
    return next((str(value) for key, value in context.invocation_metadata() or () if key == "authorization"), "")


async def _abort(context: _Context, refused: RefusedError) -> NoReturn:
    details = (("grpc-status-details-bin", refused.status(json=False)),)
    await context.abort(_CODES[refused.refusal.grpc], refused.message, details)
    raise AssertionError("abort always raises")
