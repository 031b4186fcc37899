"""What both OTLP doors share: limits, decoding, and answering only for what has been kept."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.common.gunzip import TooLargeError, gunzip_chunks
from foreshock_dashboard.ingest.otlp import AttributeReader
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.codec import DEFAULT_ATTRIBUTES, encode_response
from foreshock_dashboard.sources.otlp.reader import RequestReader
from foreshock_dashboard.sources.otlp.refusal import Refusal, RefusedError

MAX_REQUEST_BYTES = 64 << 20
"""Bytes of one request, before and after decompression (recommended by the OTLP specification 1.11)."""
MAX_PENDING_BYTES = 4 * MAX_REQUEST_BYTES
"""Bytes of all requests being received, decoded or kept at one moment."""
SMALL_REQUEST_BYTES = 1 << 20
"""Bytes of a request up to which it may take the last quarter of those: so large ones that come slowly, or wait for the
disk, do not keep out everybody else."""
LOG_INTERVAL_SECONDS = 60.0
"""Seconds between two log lines about the same kind of refusal."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """A listening server. `close` stops it, lets requests under way end, and may be called twice."""

    @property
    def port(self) -> int:
        """Where it listens, also if it was asked for port 0."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


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

    `accept` gets the spans of a request, those of a large one in slices, and returns once they are kept; when it
    raises, the sender is asked to try again. `retry_after` gives the seconds after which it should. `allows` says of an
    Authorization header whether its sender may send; without it, all may. `now` is the time that spans must not be too
    far from (`model.otlp.read`), and `attributes` which of their attributes are read at once.
    """

    def __init__(
        self,
        *,
        accept: Callable[[Sequence[Span]], None],
        max_bytes: int = MAX_REQUEST_BYTES,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        retry_after: Callable[[], float] = _jitter,
        allows: Callable[[str], bool] | None = None,
        now: Now | None = None,
        attributes: AttributeReader = DEFAULT_ATTRIBUTES,
    ) -> None:
        self.max_bytes = max_bytes
        self._allows = allows
        self._reader = RequestReader(max_bytes, now, attributes)
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

    def reserve(self, size: int, held: int) -> None:
        """Count bytes as pending, for a request of which `held` are already.

        Raises:
            RefusedError: too many are.
        """
        most = self._max_pending if held + size <= SMALL_REQUEST_BYTES else self._max_pending * 3 // 4
        with self._lock:
            if self._pending + size > most:
                raise self._unavailable("too many bytes wait to be kept; send again")
            self._pending += size

    def release(self, size: int) -> None:
        """Count bytes as pending no longer."""
        with self._lock:
            self._pending -= size

    def keep(self, payload: bytes, *, json: bool) -> bytes:
        """Decode a request, hand its spans to `accept`, and give the answer in the request's encoding.

        The spans of a large request are handed over slice by slice. When a slice is not kept, the sender is asked to
        send all of it again: spans that come twice are there once.

        Raises:
            RefusedError: it is malformed, or was not kept.
        """
        rejected: Counter[str] = Counter()
        try:
            for spans in self._reader.spans(payload, rejected, json=json):
                self._hand_over(spans)
        except RefusedError:
            raise
        except Exception as error:
            message = f"the request could not be read: {type(error).__name__}: {error}"
            raise RefusedError(Refusal.INTERNAL, message) from error
        with self._lock:
            self._requests += 1
            self._rejected.update(rejected)
        return encode_response(rejected.total(), _sentence(rejected, json=json), json=json)

    def _hand_over(self, spans: Sequence[Span]) -> None:
        if not spans:
            return
        try:
            self._accept(spans)
        except Exception as error:  # whatever it is, nothing was kept, and the sender must learn it
            _log.debug("spans were not kept", exc_info=True)
            raise self._unavailable(f"the spans could not be kept: {error}; send again") from error
        with self._lock:
            self._spans += len(spans)

    def _unavailable(self, message: str) -> RefusedError:
        return RefusedError(Refusal.UNAVAILABLE, message, self._retry_after())

    def note(self, refused: RefusedError) -> None:
        """Count a refusal, and log it unless one of its kind was logged a short while ago."""
        now = time.monotonic()
        with self._lock:
            self._refused[refused.refusal.name.lower()] += 1
            last = self._logged.get(refused.refusal)
            if last is not None and now - last < LOG_INTERVAL_SECONDS:
                return
            self._logged[refused.refusal] = now
        code = f" with {refused.refusal.http}" if refused.refusal.http else ""
        unforeseen = refused.__cause__ if refused.refusal is Refusal.INTERNAL else None
        _log.warning("OTLP request refused%s: %s", code, refused.message, exc_info=unforeseen)


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

    def expect(self, size: int) -> None:
        """Look at the size that is announced. It is not held: who announces much and sends nothing keeps nobody out.

        Raises:
            RefusedError: that is more than one request may have.
        """
        if size > self._receiver.max_bytes:
            raise self._too_large("")

    def hold(self, size: int) -> None:
        """Count bytes that have come.

        Raises:
            RefusedError: that is more than one request, or all together, may have.
        """
        self.expect(self._held + size)
        self._receiver.reserve(size, self._held)
        self._held += size

    def answer(self, body: bytes, *, json: bool = False, gzip: bool = False) -> bytes:
        """Decompress and keep the body, and give the message that acknowledges it.

        Raises:
            RefusedError: it is malformed or too large, or was not kept.
        """
        return self._receiver.keep(self._decompressed(body) if gzip else body, json=json)

    def _decompressed(self, body: bytes) -> bytes:
        found: list[bytes] = []
        try:
            for part in gunzip_chunks(body, self._receiver.max_bytes):
                self._receiver.reserve(len(part), self._held)
                self._held += len(part)
                found.append(part)
        except TooLargeError as error:
            raise self._too_large(" after decompression") from error
        except ValueError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error
        return b"".join(found)

    def _too_large(self, when: str) -> RefusedError:
        limit = self._receiver.max_bytes
        return RefusedError(Refusal.TOO_LARGE, f"the request has more than {limit} bytes{when}; send smaller batches")


def _sentence(reasons: Mapping[str, int], *, json: bool) -> str:
    told = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
    hint = "; ids in OTLP's JSON are hex digits" if json and "_id" in told else ""
    return f"spans rejected: {told}{hint}"
