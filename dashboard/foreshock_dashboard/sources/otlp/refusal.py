"""Why an OTLP request is not taken, and how its sender is told."""

from __future__ import annotations

from enum import Enum

from foreshock_dashboard.sources.otlp.codec import encode_status


class Refusal(Enum):
    """Why a request is refused, as gRPC's status code and HTTP's (OTLP specification, "Failures").

    Nobody is there to be told of the last two: the sender has gone, or its connection made room for another.
    """

    MALFORMED = (3, 400)
    NOT_FOUND = (5, 404)
    TOO_LARGE = (8, 413)
    METHOD = (12, 405)
    CONTENT_TYPE = (3, 415)
    TIMEOUT = (4, 408)
    MISDIRECTED = (7, 421)
    UNAUTHENTICATED = (16, 401)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    CANCELLED = (1, 499)
    CROWDED = (14, 0)

    @property
    def grpc(self) -> int:
        """The number of gRPC's status code."""
        return self.value[0]

    @property
    def http(self) -> int:
        """HTTP's status code."""
        return self.value[1]


class RefusedError(Exception):
    """A request was not taken. `retry_after` in seconds says when to send it again; None: never."""

    def __init__(self, refusal: Refusal, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message
        self.retry_after = retry_after

    def status(self, *, json: bool) -> bytes:
        """The google.rpc.Status that answers the request."""
        return encode_status(self.refusal.grpc, self.message, self.retry_after, json=json)
