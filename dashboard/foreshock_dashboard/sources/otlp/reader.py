"""The spans of a request, slice by slice: in the memory of one slice, however many requests come at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import DecodeError

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.common.cpu_lock import CPU_LOCK
from foreshock_dashboard.ingest.otlp import AttributeReader
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.codec import DEFAULT_ATTRIBUTES, MalformedError, decode
from foreshock_dashboard.sources.otlp.json_request import json_to_protobuf
from foreshock_dashboard.sources.otlp.refusal import Refusal, RefusedError
from foreshock_dashboard.sources.otlp.slices import (
    MAX_SLICE_BYTES,
    TooManyFieldsError,
    check_field_count,
    split_request,
)

JSON_SIZE_FACTOR = 4
"""How many times fewer bytes than in protobuf a request may have in JSON: it has to be read whole, into several times
its size."""
MAX_JSON_VALUES = 1 << 20
"""Values of one request in JSON, each of which takes up to 230 bytes once read."""


class RequestReader:
    """Reads requests of at most `max_bytes`. Thread-safe. `now` and `attributes` as in `Receiver`."""

    def __init__(self, max_bytes: int, now: Now | None, attributes: AttributeReader = DEFAULT_ATTRIBUTES) -> None:
        self._max_json = max_bytes // JSON_SIZE_FACTOR
        self._now, self._attributes = now, attributes
        # Reading holds the interpreter anyway, so one at a time costs nothing and takes the memory of one.
        self._reading_json = threading.Lock()

    def spans(self, payload: bytes, rejected: Counter[str], *, json: bool) -> Iterator[Sequence[Span]]:
        """The spans of a request; those that cannot be used are counted with their reason.

        Raises:
            RefusedError: it is malformed or has too much, which shows before the first slice.
        """
        try:
            for piece in self._pieces(self._protobuf(payload, rejected) if json else payload, rejected):
                with CPU_LOCK:
                    decoded = decode(piece, self._now() if self._now else None, self._attributes)
                rejected.update(decoded.reasons)
                yield decoded.spans
        except MalformedError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from error

    def _protobuf(self, payload: bytes, rejected: Counter[str]) -> bytes:
        if len(payload) > self._max_json:
            raise _too_large(f"JSON of more than {self._max_json} bytes; send smaller batches, or protobuf")
        if sum(map(payload.count, (b"{", b"[", b","))) > MAX_JSON_VALUES:
            raise _too_large(f"JSON of more than {MAX_JSON_VALUES} values; send smaller batches, or protobuf")
        with self._reading_json:
            return json_to_protobuf(payload, rejected)

    def _pieces(self, payload: bytes, rejected: Counter[str]) -> Iterable[bytes]:
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
