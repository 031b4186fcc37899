"""Reasons for refusing an OTLP request, and their status codes."""

from __future__ import annotations

from enum import Enum

from foreshock_dashboard.sources.otlp.codec import encode_status


class Refusal(Enum):
    """Reasons for a refusal, with the status codes of gRPC and HTTP (OTLP specification, "Failures").

    The last two have no response: the sender has disconnected, or its connection was closed in favor of another.
    """

    MALFORMED = (3, 400)
    NOT_FOUND = (5, 404)
    TOO_LARGE = (8, 413)
    METHOD = (12, 405)
    CONTENT_TYPE = (3, 415)
    TIMEOUT = (4, 408)
    READ_ONLY = (9, 403)
    MISDIRECTED = (7, 421)
    UNAUTHENTICATED = (16, 401)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    CANCELLED = (1, 499)
    CROWDED = (14, 0)

    def __init__(self, grpc: int, http: int) -> None:
        self.grpc, self.http = grpc, http


class RefusedError(Exception):
    """A request was refused. `retry_after`: seconds until the sender should retry; None if it should not."""

    def __init__(self, refusal: Refusal, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.refusal, self.message, self.retry_after = refusal, message, retry_after

    def status(self, *, json: bool) -> bytes:
        """Return the google.rpc.Status of the response."""
        return encode_status(self.refusal.grpc, self.message, self.retry_after, json=json)
