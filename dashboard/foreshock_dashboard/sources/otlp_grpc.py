"""The OTLP/gRPC door."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import grpc

from foreshock_dashboard.sources.guard import Keys
from foreshock_dashboard.sources.gunzip import MAGIC
from foreshock_dashboard.sources.otlp import SERVICE
from foreshock_dashboard.sources.receiver import Door, Receiver, RefusedError

WORKERS = 32
"""Requests handled at once; further ones wait in their connections' flow control, not in memory."""
GRACE = 5.0

_IDENTITY_AND_GZIP = 0b101
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def serve_grpc(receiver: Receiver, host: str, port: int, keys: Keys | None = None) -> Door:
    """Listen for `TraceService/Export` in threads of its own; port 0 takes a free one. `keys`: over TLS.

    Raises:
        OSError: the address cannot be listened on.
        GuardError: a file of `keys` cannot be used.
    """
    return _GrpcDoor(receiver, host, port, keys)


class _GrpcDoor:
    def __init__(self, receiver: Receiver, host: str, port: int, keys: Keys | None) -> None:
        self._receiver = receiver
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, "otlp-grpc"),
            options=(
                ("grpc.max_receive_message_length", receiver.max_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
                # gRPC would decompress without a bound: the handler does it with one.
                ("grpc.per_message_decompression", 0),
                ("grpc.keepalive_time_ms", 30_000),
            ),
        )
        # Without serializers: bytes in, bytes out.
        export: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": export}),))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if keys is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, keys.credentials())
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} for OTLP/gRPC; is the port in use?") from error
        self._server.start()

    def close(self) -> None:
        """Stop listening; requests under way have a few seconds to end."""
        self._server.stop(GRACE).wait()

    def _export(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            with self._receiver.request() as request:
                self._receiver.admit(_authorization(context))
                request.hold(len(body))
                # A protobuf request begins with the tag 0x0a, so gzip's two bytes tell the two apart.
                return request.answer(body, gzip=body[:2] == MAGIC)
        except RefusedError as refused:
            _abort(context, refused)


def _authorization(context: grpc.ServicerContext) -> str:
    return next((str(value) for key, value in context.invocation_metadata() if key == "authorization"), "")


def _abort(context: grpc.ServicerContext, refused: RefusedError) -> NoReturn:
    context.set_trailing_metadata((("grpc-status-details-bin", refused.status(json=False)),))
    context.abort(_CODES[refused.refusal.grpc], refused.message)
    raise AssertionError("abort always raises")
