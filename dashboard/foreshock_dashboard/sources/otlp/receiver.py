"""The part that both OTLP listeners share: limits, decoding, and a response only after the spans are stored."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from google.protobuf.message import DecodeError

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.common.gunzip import TooLargeError, gunzip_chunks
from foreshock_dashboard.common.process import CPU_LOCK
from foreshock_dashboard.ingest.otlp.attribute_reader import AttributeReader
from foreshock_dashboard.ingest.otlp.split import MAX_SLICE_BYTES, TooManyFieldsError, check_field_count, split_request
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.admission import MAX_REQUEST_BYTES, Admission
from foreshock_dashboard.sources.otlp.codec import (
    DEFAULT_ATTRIBUTES,
    MalformedError,
    decode,
    encode_metrics_response,
    encode_response,
    encode_status,
    json_to_protobuf,
    metrics_json_to_protobuf,
)  # fmt: skip
from foreshock_dashboard.sources.prometheus.remote_write import decode_write_request

JSON_SIZE_FACTOR = 4
"""Ratio of the size limits of protobuf and JSON. JSON is decoded as a whole, into several times its size."""
PENDING_PER_JSON_VALUE = 256
"""Pending bytes per value of one JSON request: each takes up to 230 bytes when decoded."""
Body = bytes | bytearray
"""What was received: a large body is not copied."""
LOG_INTERVAL_SECONDS = 60.0
"""Shortest time between two log lines about the same kind of refusal."""
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 5.0

_log = logging.getLogger(__name__)


class Refusal(Enum):
    """Reasons for a refusal, with the status codes of gRPC and HTTP (OTLP specification, "Failures").

    An overload is RESOURCE_EXHAUSTED with RetryInfo, and 503. The specification lets senders retry after 429 as well,
    but earlier exporters for Python drop their spans after it (opentelemetry-python, issue 3122).
    `CARDINALITY` is another number of messages than one in a unary call (gRPC's `doc/statuscodes.md`). The last two
    have no response: the sender has disconnected, or its connection was closed in favor of another.
    """

    MALFORMED = (3, 400)
    NOT_FOUND = (5, 404)
    TOO_LARGE = (8, 413)
    METHOD = (12, 405)
    CARDINALITY = (12, 0)
    CONTENT_TYPE = (3, 415)
    TIMEOUT = (4, 408)
    READ_ONLY = (9, 403)
    MISDIRECTED = (7, 421)
    UNAUTHENTICATED = (16, 401)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    OVERLOADED = (8, 503)
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


class ReceiverStats(NamedTuple):
    """Counts since the start. `rejected` counts spans by reason, `refused` requests by kind of refusal.

    points, rejected_points: the same of data points of metrics.
    """

    requests: int
    spans: int
    rejected: Mapping[str, int]
    refused: Mapping[str, int]
    pending_bytes: int
    points: int = 0
    rejected_points: Mapping[str, int] = MappingProxyType({})


def _jitter() -> float:
    return random.uniform(MIN_RETRY_SECONDS, MAX_RETRY_SECONDS)  # noqa: S311 - it spreads retries, and is no secret


class Receiver:
    """Handles the requests of the listeners. Thread-safe.

    Args:
        accept: stores the spans of a request, slice by slice for a large one. If it raises `RefusedError`, the sender
            gets that refusal; after any other exception it has to retry.
        accept_metrics: stores an ExportMetricsServiceRequest, slice by slice for a large one, and returns the number of
            stored data points, and of rejected ones by reason. It may raise `DecodeError`, and what `accept` may.
        accept_samples: stores the samples of remote write.
        admission: limits the bytes of all requests at the same time.
        max_bytes: limit of one request; by default, what large requests may have together.
        retry_after: returns the seconds after which a sender should retry.
        allows: whether an Authorization header is accepted; without it, all senders are.
        now, attributes: see `decode_spans`.
    """

    def __init__(
        self,
        *,
        accept: Callable[[Sequence[Span]], None],
        accept_metrics: Callable[[bytes], tuple[int, Counter[str]]] | None = None,
        accept_samples: Callable[[Sequence[SampleBatch]], None] | None = None,
        admission: Admission | None = None,
        max_bytes: int | None = None,
        retry_after: Callable[[], float] = _jitter,
        allows: Callable[[str], bool] | None = None,
        now: Now | None = None,
        attributes: AttributeReader = DEFAULT_ATTRIBUTES,
    ) -> None:
        self.admission = admission or Admission()
        self.max_bytes = max_bytes or min(MAX_REQUEST_BYTES, self.admission.max_large_bytes)
        self._accept, self._allows, self._retry_after = accept, allows, retry_after
        self._now, self._attributes = now, attributes
        self._accept_metrics, self._accept_samples = accept_metrics, accept_samples
        self._lock = threading.Lock()
        # Decoding holds the interpreter lock anyway, so one at a time costs no time and needs the memory of one.
        self._json_lock = threading.Lock()
        self._requests = self._spans = self._points = 0
        self._rejected: Counter[str] = Counter()
        self._rejected_points: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._logged_at: dict[Refusal, float] = {}

    def stats(self) -> ReceiverStats:
        """Return the counts since the start."""
        with self._lock:
            return ReceiverStats(
                self._requests,
                self._spans,
                dict(self._rejected),
                dict(self._refused),
                self.admission.pending_bytes,
                self._points,
                dict(self._rejected_points),
            )

    @contextmanager
    def request(self) -> Iterator[Request]:
        """Give one request; its bytes are pending until the end of the block, and a refusal in it is recorded."""
        request = Request(self)
        try:
            yield request
        except RefusedError as refused:
            self.record_refusal(refused)
            raise
        finally:
            self.admission.release(request.held)

    def authorize(self, authorization: str) -> None:
        """Check the Authorization header of a request before its body is read. Raises RefusedError."""
        if self._allows is not None and not self._allows(authorization):
            problem = "has no right bearer token" if authorization else "has no bearer token"
            raise RefusedError(Refusal.UNAUTHENTICATED, f"the request {problem}; send Authorization: Bearer TOKEN")

    def reserve(self, size: int, held: int) -> None:
        """Add pending bytes for a request that has `held` of them already. Raises RefusedError beyond the limit."""
        if not self.admission.reserve(size, held):
            raise self.overloaded()

    def overloaded(self) -> RefusedError:
        """The refusal of a request for which there is no room."""
        message = "the hub has no room for more requests; send again"
        return RefusedError(Refusal.OVERLOADED, message, self._retry_after())

    def ingest_metrics(self, payload: Body, *, json: bool) -> bytes:
        """Store the data points of a request, and return the response, as `ingest` does for spans."""
        rejected: Counter[str] = Counter()
        stored = 0
        with _refusing_unreadable():
            for part in self._parts(payload, rejected, json=json, metrics=True):
                with self.admission.working(len(part)):
                    count, reasons = self._store_metrics(part)
                stored += count
                rejected.update(reasons)
        with self._lock:
            self._requests += 1
            self._points += stored
            self._rejected_points.update(rejected)
        return encode_metrics_response(rejected.total(), f"points rejected: {_counts_text(rejected)}", json=json)

    def _store_metrics(self, part: bytes) -> tuple[int, Counter[str]]:
        if self._accept_metrics is None:
            raise RefusedError(Refusal.NOT_FOUND, "metrics are not accepted here; send traces")
        try:
            return self._accept_metrics(part)
        except RefusedError:
            raise
        except DecodeError as error:
            raise RefusedError(Refusal.MALFORMED, f"not a protobuf ExportMetricsServiceRequest: {error}") from error
        except SourceError as error:
            raise self._unavailable(f"the points could not be stored: {error}; send again") from error

    def ingest_samples(self, payload: Body) -> bytes:
        """Store the samples of a request of remote write, and return an empty response. Raises RefusedError."""
        if self._accept_samples is None:
            raise RefusedError(Refusal.NOT_FOUND, "samples are not accepted here; send traces")
        try:
            with self.admission.working(len(payload)), CPU_LOCK:
                batches, rejected = decode_write_request(bytes(payload), self._now() if self._now else time.time())
        except ValueError as error:
            raise RefusedError(Refusal.MALFORMED, f"remote write: {error}") from error
        try:
            if batches:
                self._accept_samples(batches)
        except SourceError as error:
            raise self._unavailable(f"the samples could not be stored: {error}; send again") from error
        with self._lock:
            self._requests += 1
            self._points += sum(len(batch.samples) for batch in batches)
            self._rejected_points.update(rejected)
        return b""

    def ingest(self, payload: Body, *, json: bool) -> bytes:
        """Decode a request, pass its spans to `accept`, and return the response in the encoding of the request.

        A large request is passed slice by slice. If a slice fails, the sender has to retry all of it; spans that arrive
        twice are stored once. Raises RefusedError if it is malformed, or was not stored.
        """
        rejected: Counter[str] = Counter()
        with _refusing_unreadable():
            for part in self._parts(payload, rejected, json=json):
                with self.admission.working(len(part)):
                    self._store(part, rejected)
        with self._lock:
            self._requests += 1
            self._rejected.update(rejected)
        return encode_response(rejected.total(), _rejection_message(rejected, json=json), json=json)

    def _parts(self, payload: Body, rejected: Counter[str], *, json: bool, metrics: bool = False) -> Iterable[bytes]:
        """Return the slices of a request, each of bounded memory; invalid spans are added to `rejected`.

        Raises RefusedError if the request is malformed or too large.
        """
        try:
            body = self._to_protobuf(payload, rejected, metrics=metrics) if json else payload
            return self._split(body, rejected)  # groups of metrics have the same field numbers as those of spans
        except MalformedError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error

    def _store(self, part: bytes, rejected: Counter[str]) -> None:
        """Decode a slice and store its spans; invalid ones are added to `rejected`. Raises RefusedError."""
        try:
            with CPU_LOCK:
                decoded = decode(part, self._now() if self._now else None, self._attributes)
        except MalformedError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error
        rejected.update(decoded.reasons)
        self._accept_slice(decoded.spans)

    def _to_protobuf(self, payload: Body, rejected: Counter[str], *, metrics: bool) -> bytes:
        max_bytes = self.max_bytes // JSON_SIZE_FACTOR
        if len(payload) > max_bytes:
            raise _too_large(f"JSON of more than {max_bytes} bytes; send smaller batches, or protobuf")
        max_values = self.admission.max_pending_bytes // PENDING_PER_JSON_VALUE
        if sum(map(payload.count, (b"{", b"[", b","))) > max_values:
            raise _too_large(f"JSON of more than {max_values} values; send smaller batches, or protobuf")
        with self._json_lock:
            return metrics_json_to_protobuf(payload) if metrics else json_to_protobuf(payload, rejected)

    def _split(self, payload: Body, rejected: Counter[str]) -> Iterable[bytes]:
        if len(payload) <= MAX_SLICE_BYTES:
            return (bytes(payload),)
        try:
            check_field_count(payload)
        except TooManyFieldsError as error:
            raise _too_large(f"the request has {error}; send smaller batches") from error
        except DecodeError as error:
            raise MalformedError(f"not a protobuf request of OTLP: {error}") from error
        return split_request(payload, rejected)

    def _accept_slice(self, spans: Sequence[Span]) -> None:
        if not spans:
            return
        try:
            self._accept(spans)
        except RefusedError:
            raise
        except Exception as error:  # whatever it is, nothing was stored, and the sender has to retry
            _log.debug("spans were not kept", exc_info=True)
            raise self._unavailable(f"the spans could not be stored: {error}; send again") from error
        with self._lock:
            self._spans += len(spans)

    def _unavailable(self, message: str) -> RefusedError:
        return RefusedError(Refusal.UNAVAILABLE, message, self._retry_after())

    def record_refusal(self, refused: RefusedError) -> None:
        """Count a refusal, and log it unless the same kind was logged within `LOG_INTERVAL_SECONDS`."""
        now = time.monotonic()
        with self._lock:
            self._refused[refused.refusal.name.lower()] += 1
            logged_at = self._logged_at.get(refused.refusal)
            if logged_at is not None and now - logged_at < LOG_INTERVAL_SECONDS:
                return
            self._logged_at[refused.refusal] = now
        code = f" with {refused.refusal.http}" if refused.refusal.http else ""
        cause = refused.__cause__ if refused.refusal is Refusal.INTERNAL else None
        _log.warning("OTLP request refused%s: %s", code, refused.message, exc_info=cause)


class Request:
    """One request, from its first byte to its response."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.held = 0

    def expect(self, size: int) -> None:
        """Check an announced size before the first byte is read.

        It is not pending, so that a sender cannot block others by announcing bytes.

        Raises RefusedError if it exceeds the limit of one request, or there is no room for it.
        """
        if size > self._receiver.max_bytes:
            raise self._too_large("")
        if not self._receiver.admission.admits(size):
            raise self._receiver.overloaded()

    def hold(self, size: int) -> None:
        """Add received bytes to the pending ones. Raises RefusedError beyond the limit of one request, or of all."""
        if self.held + size > self._receiver.max_bytes:
            raise self._too_large("")
        self._receiver.reserve(size, self.held)
        self.held += size

    def handle(
        self, body: Body, *, json: bool = False, gzip: bool = False, metrics: bool = False, samples: bool = False
    ) -> bytes:
        """Decompress and ingest the body, and return the response. Raises RefusedError if it was not stored."""
        if samples:
            return self._receiver.ingest_samples(body)
        ingest = self._receiver.ingest_metrics if metrics else self._receiver.ingest
        return ingest(self._decompressed(body) if gzip else body, json=json)

    async def handle_in_thread(
        self, body: Body, *, json: bool = False, gzip: bool = False, metrics: bool = False, samples: bool = False
    ) -> bytes:
        """`handle`, which lasts until its end even if the caller is cancelled: its bytes are pending until then."""
        handle = partial(self.handle, body, json=json, gzip=gzip, metrics=metrics, samples=samples)
        response = asyncio.get_running_loop().run_in_executor(None, handle)
        try:
            return await asyncio.shield(response)
        finally:
            if not response.done():
                await asyncio.gather(response, return_exceptions=True)

    def _decompressed(self, body: Body) -> Body:
        decompressed = bytearray()
        try:
            for chunk in gunzip_chunks(body, self._receiver.max_bytes):
                self._receiver.reserve(len(chunk), self.held)
                self.held += len(chunk)
                decompressed += chunk
        except TooLargeError as error:
            raise self._too_large(" after decompression") from error
        except ValueError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error
        return decompressed

    def _too_large(self, when: str) -> RefusedError:
        return _too_large(f"the request is larger than {self._receiver.max_bytes} bytes{when}; send smaller batches")


@contextmanager
def _refusing_unreadable() -> Iterator[None]:
    """Refuse a request for any error that reading it has."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:
        message = f"the request could not be read: {type(error).__name__}: {error}"
        raise RefusedError(Refusal.INTERNAL, message) from error


def _too_large(message: str) -> RefusedError:
    return RefusedError(Refusal.TOO_LARGE, message)


def _counts_text(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))


def _rejection_message(reasons: Mapping[str, int], *, json: bool) -> str:
    counts = _counts_text(reasons)
    hint = "; ids in OTLP's JSON are hex digits" if json and "_id" in counts else ""
    return f"spans rejected: {counts}{hint}"
