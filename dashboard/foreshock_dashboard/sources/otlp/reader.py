"""Decodes OTLP requests slice by slice, so that any number of requests needs the memory of one slice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import DecodeError

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.common.cpu_lock import CPU_LOCK
from foreshock_dashboard.ingest.otlp import AttributeReader
from foreshock_dashboard.ingest.otlp.split import MAX_SLICE_BYTES, TooManyFieldsError, check_field_count, split_request
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.codec import DEFAULT_ATTRIBUTES, MalformedError, decode
from foreshock_dashboard.sources.otlp.json_request import json_to_protobuf
from foreshock_dashboard.sources.otlp.refusal import Refusal, RefusedError

JSON_SIZE_FACTOR = 4
"""Ratio of the size limits of protobuf and JSON. JSON is decoded as a whole, into several times its size."""
MAX_JSON_VALUES = 1 << 20
"""Values of one JSON request, each of which takes up to 230 bytes when decoded."""


class RequestReader:
    """Decodes requests of at most `max_bytes`. Thread-safe. `now` and `attributes` as in `Receiver`."""

    def __init__(self, max_bytes: int, now: Now | None, attributes: AttributeReader = DEFAULT_ATTRIBUTES) -> None:
        self._max_json_bytes = max_bytes // JSON_SIZE_FACTOR
        self._now, self._attributes = now, attributes
        # Decoding holds the interpreter lock anyway, so one at a time costs no time and needs the memory of one.
        self._json_lock = threading.Lock()

    def spans(self, payload: bytes, rejected: Counter[str], *, json: bool) -> Iterator[Sequence[Span]]:
        """Yield the spans of a request by slice; invalid ones are added to `rejected` by reason.

        Raises:
            RefusedError: it is malformed or too large. It is raised before the first slice.
        """
        try:
            for part in self._split(self._to_protobuf(payload, rejected) if json else payload, rejected):
                with CPU_LOCK:
                    decoded = decode(part, self._now() if self._now else None, self._attributes)
                rejected.update(decoded.reasons)
                yield decoded.spans
        except MalformedError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error

    def _to_protobuf(self, payload: bytes, rejected: Counter[str]) -> bytes:
        if len(payload) > self._max_json_bytes:
            raise _too_large(f"JSON of more than {self._max_json_bytes} bytes; send smaller batches, or protobuf")
        if sum(map(payload.count, (b"{", b"[", b","))) > MAX_JSON_VALUES:
            raise _too_large(f"JSON of more than {MAX_JSON_VALUES} values; send smaller batches, or protobuf")
        with self._json_lock:
            return json_to_protobuf(payload, rejected)

    def _split(self, payload: bytes, rejected: Counter[str]) -> Iterable[bytes]:
        if len(payload) <= MAX_SLICE_BYTES:
            return (payload,)
        try:
            check_field_count(payload)
        except TooManyFieldsError as error:
            raise _too_large(f"the request has {error}; send smaller batches") from error
        except DecodeError as error:
            raise MalformedError(f"not a protobuf ExportTraceServiceRequest: {error}") from error
        return split_request(payload, rejected)


def _too_large(message: str) -> RefusedError:
    return RefusedError(Refusal.TOO_LARGE, message)
