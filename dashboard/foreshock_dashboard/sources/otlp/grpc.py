"""The OTLP/gRPC listener.

Coroutines wait for requests. gRPC's threaded server occupies a thread per request, so a few senders that start a
message and never finish it would block all others.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import grpc
import grpc.aio

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.common.gunzip import GZIP_MAGIC
from foreshock_dashboard.common.http_limits import max_connections
from foreshock_dashboard.sources.otlp.codec import METRICS_SERVICE, TRACE_SERVICE
from foreshock_dashboard.sources.otlp.receiver import Receiver, Refusal, RefusedError, Request

MAX_WORKERS = 32
"""Messages that are decoded or stored at the same time."""
MAX_RECEIVING = 8
"""Messages that are received at the same time; gRPC buffers each. Further ones wait in the network."""
MIN_MESSAGE_BYTES = 4 << 20
"""Least limit of a message, gRPC's own default; with more memory, an eighth of the bytes that may be pending."""
MAX_STREAMS_PER_CONNECTION = 4
"""Concurrent requests of one connection, less than `MAX_RECEIVING`, so that one connection cannot block the others."""
BODY_SECONDS = 30.0
"""Longest time for sending the message of a request."""
CONTENDED_BODY_SECONDS = 2.0
"""Longest time for sending the message while other requests wait."""
IDLE_SECONDS = 75.0
"""Longest time that a connection may be open without a request."""
HANDSHAKE_SECONDS = 5.0
KEEPALIVE_SECONDS = 30.0
SHUTDOWN_GRACE_SECONDS = 5.0

_IDENTITY_AND_GZIP = 0b101
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcListener:
    """Listens for `Export` of traces and metrics in a new thread; port 0 takes a free one. No TLS without `tls`.

    A message may take `body_seconds`, or `contended_body_seconds` while other requests wait. `connections` is their
    limit; by default that of `max_connections`.

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
        contended_body_seconds: float = CONTENDED_BODY_SECONDS,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        connections: int | None = None,
    ) -> None:
        self._receiver = receiver
        self._body_seconds, self._contended_body_seconds = body_seconds, contended_body_seconds
        # gRPC gives no size before the whole message has arrived, so those of all slots have to fit.
        fitting = receiver.admission.max_pending_bytes // MAX_RECEIVING
        self._max_bytes = min(receiver.max_bytes, max(MIN_MESSAGE_BYTES, fitting))
        self._receiving, self._receiving_alone = asyncio.Semaphore(MAX_RECEIVING), asyncio.Semaphore(1)
        self._waiting = 0
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._options = (
            ("grpc.max_receive_message_length", self._max_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
            ("grpc.per_message_decompression", 0),  # gRPC's has no limit; the handler decompresses with one
            ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
            ("grpc.max_allowed_incoming_connections", connections or max_connections()),
            ("grpc.server_handshake_timeout_ms", round(handshake_seconds * 1000)),
            ("grpc.max_connection_idle_ms", round(IDLE_SECONDS * 1000)),
            ("grpc.keepalive_time_ms", round(KEEPALIVE_SECONDS * 1000)),
        )
        self._credentials = tls.credentials() if tls else None
        listening: Future[int] = Future()
        serving = self._serve(listening)
        self._thread = threading.Thread(target=asyncio.run, args=(serving,), name="otlp-grpc", daemon=True)
        self._thread.start()
        try:
            self.port = listening.result()
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address} for OTLP/gRPC; is the port in use?") from error

    def close(self) -> None:
        """Stop listening; requests in progress have a few seconds to finish."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self, listening: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_default_executor(ThreadPoolExecutor(MAX_WORKERS, "otlp-grpc"))
        try:
            server, port = self._bind()
            await server.start()
        except Exception as error:  # noqa: BLE001 - raised by the constructor
            listening.set_exception(error)
            return
        listening.set_result(port)
        await self._stop.wait()
        await server.stop(SHUTDOWN_GRACE_SECONDS)

    def _bind(self) -> tuple[grpc.aio.Server, int]:
        """Return the server and its port."""
        server = grpc.aio.server(options=self._options)
        # Without serializers: bytes in, bytes out. As a stream, the one request message can be awaited with a timeout.
        for service, handle in ((TRACE_SERVICE, self._export), (METRICS_SERVICE, self._export_metrics)):
            export: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(handle)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": export}),))
        if self._credentials is None:
            return server, server.add_insecure_port(self._address)
        return server, server.add_secure_port(self._address, self._credentials)

    async def _export_metrics(self, _: object, context: _Context) -> bytes:
        """Accept the data points of a request and return the response."""
        return await self._export(_, context, metrics=True)

    async def _export(self, _: object, context: _Context, *, metrics: bool = False) -> bytes:
        """Accept the spans of a request and return the response."""
        try:
            with self._receiver.request() as request:
                metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
                self._receiver.authorize(metadata.get("authorization", ""))
                body = await self._receive_message(request, context)
                # A protobuf request begins with the tag 0x0a, so gzip's magic bytes distinguish the two.
                return await request.handle_in_thread(body, gzip=body[:2] == GZIP_MAGIC, metrics=metrics)
        except RefusedError as refused:
            await _abort(context, refused)
        except asyncio.CancelledError:
            message = f"the sender disconnected, or its message has more than {self._max_bytes} bytes"
            self._receiver.record_refusal(RefusedError(Refusal.CANCELLED, message))
            raise

    async def _receive_message(self, request: Request, context: _Context) -> bytes:
        """Return the message of a request. A slow sender is refused sooner while other requests wait.

        The size of a message is known once it is read. Where there is no room for the largest, one at a time is read.
        """
        has_room = self._receiver.admission.has_room(self._max_bytes)
        slots = self._receiving if has_room else self._receiving_alone
        self._waiting += 1
        try:
            await slots.acquire()
        finally:
            self._waiting -= 1
        reading = asyncio.ensure_future(self._read_message(request, context))
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieves it, against a warning
        waited = 0.0
        try:
            while waited < self._body_seconds and not (waited and self._waiting):
                timeout = min(self._contended_body_seconds, self._body_seconds - waited)
                if (await asyncio.wait({reading}, timeout=timeout))[0]:
                    return reading.result()
                waited += timeout
            raise RefusedError(Refusal.TIMEOUT, f"the message did not arrive within {waited:g} s")
        finally:
            reading.cancel()
            slots.release()

    async def _read_message(self, request: Request, context: _Context) -> bytes:
        """Return the one message of a unary call. Raises RefusedError for another number, or if there is no room."""
        message = await context.read()
        if not isinstance(message, bytes):
            raise RefusedError(Refusal.CARDINALITY, "the call has no message; send exactly one")
        request.hold(len(message))
        if isinstance(await context.read(), bytes):
            raise RefusedError(Refusal.CARDINALITY, "the call has several messages; send one in each")
        return message


async def _abort(context: _Context, refused: RefusedError) -> NoReturn:
    details = (("grpc-status-details-bin", refused.status(json=False)),)
    await context.abort(_CODES[refused.refusal.grpc], refused.message, details)
    raise AssertionError("abort always raises")
