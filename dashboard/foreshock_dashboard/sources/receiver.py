"""What both OTLP doors share: limits, decoding, and answering only for what has been kept."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol

from foreshock_dashboard.clock import Now
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.gunzip import TooLargeError, gunzip
from foreshock_dashboard.sources.otlp import MalformedError, decode, decode_json, encode_response, encode_status

MAX_BYTES = 64 << 20
"""Bytes of one request, before and after decompression (recommended by the OTLP specification 1.11)."""
MAX_PENDING_BYTES = 4 * MAX_BYTES
"""Bytes of all requests being received, decoded or kept at one moment."""
LOG_EVERY = 60.0
"""Seconds between two log lines about the same kind of refusal."""

_log = logging.getLogger(__name__)


class Door(Protocol):
    """A listening server. `close` stops it, lets requests under way end, and may be called twice."""

    @property
    def port(self) -> int:
        """Where it listens, also if it was asked for port 0."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Refusal(Enum):
    """Why a request is refused, as gRPC's status code and HTTP's (OTLP specification, "Failures")."""

    MALFORMED = (3, 400)
    NOT_FOUND = (5, 404)
    TOO_LARGE = (8, 413)
    METHOD = (12, 405)
    CONTENT_TYPE = (3, 415)
    TIMEOUT = (4, 408)
    MISDIRECTED = (7, 421)
    UNAUTHENTICATED = (16, 401)
    UNAVAILABLE = (14, 503)

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


@dataclass(frozen=True, slots=True)
class ReceiverStats:
    """Counts since the start. `rejected` counts spans by reason, `refused` requests by kind of refusal."""

    requests: int
    spans: int
    rejected: Mapping[str, int]
    refused: Mapping[str, int]
    pending_bytes: int


def _jitter() -> float:
    return random.uniform(1.0, 5.0)  # noqa: S311 spreads senders in time, keeps no secret


class Receiver:
    """Takes requests from the doors, from any number of threads at once.

    `accept` gets the spans of one request and returns once they are kept; when it raises, the sender is asked to try
    again. `retry_after` gives the seconds after which it should. `allows` says of an Authorization header whether its
    sender may send; without it, all may.
    `now` is the time that spans must not be too far from (`model.otlp.read`).
    """

    def __init__(
        self,
        *,
        accept: Callable[[Sequence[Span]], None],
        max_bytes: int = MAX_BYTES,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        retry_after: Callable[[], float] = _jitter,
        allows: Callable[[str], bool] | None = None,
        now: Now | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self._allows = allows
        self._now = now
        self._accept = accept
        self._max_pending = max_pending_bytes
        self._retry_after = retry_after
        self._lock = threading.Lock()
        self._pending = 0
        self._requests = 0
        self._spans = 0
        self._rejected: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._logged: dict[Refusal, float] = {}

    def stats(self) -> ReceiverStats:
        """Counts since the start."""
        with self._lock:
            return ReceiverStats(self._requests, self._spans, dict(self._rejected), dict(self._refused), self._pending)

    def request(self) -> Request:
        """Begin with one request; a context manager, whose bytes count as pending until it ends."""
        return Request(self)

    def admit(self, authorization: str) -> None:
        """Look at the header of a request before its body.

        Raises:
            RefusedError: its sender may not send.
        """
        if self._allows is not None and not self._allows(authorization):
            what = "has no right bearer token" if authorization else "has no bearer token"
            raise RefusedError(Refusal.UNAUTHENTICATED, f"the request {what}; send Authorization: Bearer TOKEN")

    def reserve(self, size: int) -> None:
        """Count bytes as pending.

        Raises:
            RefusedError: too many are.
        """
        with self._lock:
            if self._pending + size > self._max_pending:
                raise RefusedError(
                    Refusal.UNAVAILABLE, "too many bytes wait to be kept; send again", self._retry_after()
                )
            self._pending += size

    def release(self, size: int) -> None:
        """Count bytes as pending no longer."""
        with self._lock:
            self._pending -= size

    def keep(self, payload: bytes, *, json: bool) -> bytes:
        """Decode a request, hand its spans to `accept`, and give the answer in the request's encoding.

        Raises:
            RefusedError: it is malformed, or was not kept.
        """
        try:
            decoded = (decode_json if json else decode)(payload, self._now() if self._now else None)
        except MalformedError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error
        if decoded.spans:
            try:
                self._accept(decoded.spans)
            except Exception as error:  # whatever it is, nothing was kept, and the sender must learn it
                _log.debug("spans were not kept", exc_info=True)
                raise RefusedError(
                    Refusal.UNAVAILABLE, f"the spans could not be kept: {error}; send again", self._retry_after()
                ) from error
        with self._lock:
            self._requests += 1
            self._spans += len(decoded.spans)
            self._rejected.update(decoded.reasons)
        return encode_response(decoded.rejected, _sentence(decoded.reasons), json=json)

    def note(self, refused: RefusedError) -> None:
        """Count a refusal, and log it unless one of its kind was logged a short while ago."""
        now = time.monotonic()
        with self._lock:
            self._refused[refused.refusal.name.lower()] += 1
            last = self._logged.get(refused.refusal)
            if last is not None and now - last < LOG_EVERY:
                return
            self._logged[refused.refusal] = now
        _log.warning("OTLP request refused with %d: %s", refused.refusal.http, refused.message)


class Request:
    """The bytes of one request, from its first to its answer."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._held = 0

    def __enter__(self) -> Request:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.release(self._held)
        if isinstance(error, RefusedError):
            self._receiver.note(error)

    def hold(self, size: int) -> None:
        """Announce that the request has this many bytes more.

        Raises:
            RefusedError: that is more than one request, or all together, may have.
        """
        if self._held + size > self._receiver.max_bytes:
            raise self._too_large("")
        self._receiver.reserve(size)
        self._held += size

    def answer(self, body: bytes, *, json: bool = False, gzip: bool = False) -> bytes:
        """Decompress and keep the body, and give the message that acknowledges it.

        Raises:
            RefusedError: it is malformed or too large, or was not kept.
        """
        if gzip:
            try:
                body = gunzip(body, self._receiver.max_bytes)
            except TooLargeError as error:
                raise self._too_large(" after decompression") from error
            except ValueError as error:
                raise RefusedError(Refusal.MALFORMED, str(error)) from error
            self._receiver.reserve(len(body))
            self._held += len(body)
        return self._receiver.keep(body, json=json)

    def _too_large(self, when: str) -> RefusedError:
        limit = self._receiver.max_bytes
        return RefusedError(Refusal.TOO_LARGE, f"the request has more than {limit} bytes{when}; send smaller batches")


def _sentence(reasons: Mapping[str, int]) -> str:
    return "spans rejected: " + ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
