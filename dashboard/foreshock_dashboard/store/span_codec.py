"""Spans ↔ blocks of encoded spans, and the columns by which they are found.

A block is a TracesData of OTLP with a few spans, compressed, behind its length. It is made once, when spans are
accepted: an inbox row is a run of blocks, and a segment holds those runs as they came. A span's `place` is where its
block begins and which of the block's spans it is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from foreshock_dashboard.model.otlp import LONGEST_TEXT, Picker, encode, index_of, read, some, text_of
from foreshock_dashboard.model.span import Attributes, AttributeValue, Kind, Span, Status
from foreshock_dashboard.store.chunk import SPANS, Chunk, Columns

LONGEST_NAME = 512
"""Characters of a span's or a service's name that are searched by and listed; the span itself has them all."""
ROW = 240
"""Bytes of a row's columns in memory, roughly."""

_LEVEL = 1
_LATEST = 1 << 63
_HEAD = struct.Struct("<I")
KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")
_KINDS = {kind: number for number, kind in enumerate(KINDS)}
_STATUSES = {status: number for number, status in enumerate(STATUSES)}

_COLUMNS = {
    "trace_hi": "UBIGINT", "trace_lo": "UBIGINT", "span": "UBIGINT", "root": "BOOLEAN", "kind": "UTINYINT",
    "status": "UTINYINT", "start_ns": "BIGINT", "end_ns": "BIGINT", "name": "VARCHAR", "namespace": "VARCHAR",
    "service": "VARCHAR", "place": "BIGINT",
}  # fmt: skip


def span_columns(keys: Collection[str]) -> dict[str, str]:
    """The columns of a table of spans that are searched by these attributes."""
    return {**_COLUMNS, **{column_of(key): "VARCHAR" for key in keys}}


def column_of(key: str) -> str:
    """The column that holds an attribute's texts."""
    return f"a:{key}"


class SpanCodec:
    """Turns spans into rows that are searched by `keys`, and back."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = frozenset(keys)
        self._picker = Picker(keys)

    def chunk(self, spans: Sequence[Span]) -> Chunk:
        """Rows of spans, and the inbox row as their body. Spans that cannot be kept are refused and counted."""
        kept = [span for span in spans if 0 <= span.start_ns <= span.end_ns < _LATEST]
        if not (ids := _ids(kept)):
            kept = [span for span in kept if _ids([span])]
            ids = _ids(kept)
        body, places = _blocks(kept)
        return self._rows(kept, ids, body, places, len(spans) - len(kept))

    def unpack(self, body: bytes) -> Chunk:
        """The same of an inbox row.

        Raises:
            ValueError: these are not such bytes.
        """
        spans: list[Span] = []
        places: list[int] = []
        at = 0
        try:
            for block in _split(body):
                found = _read(block, self._picker)
                spans += found
                places += range(at * SPANS, at * SPANS + len(found))
                at += _HEAD.size + len(block)
            return self._rows(spans, _ids(spans), body, places, 0)
        except (DecodeError, zlib.error, struct.error) as error:
            raise ValueError(f"not a row of spans: {error}") from error

    def _rows(
        self, spans: list[Span], ids: tuple[NDArray[Any], ...], body: bytes, places: list[int], refused: int
    ) -> Chunk:
        if not spans:
            return Chunk({}, 0, 0, 0, 0, refused)
        owners = [id(span.resource) for span in spans]
        one_of = dict(zip(owners, spans, strict=True))
        services = {owner: span.service for owner, span in one_of.items()}
        of = [services[owner] for owner in owners]
        starts = np.array([span.start_ns for span in spans], np.int64)
        ends = np.array([span.end_ns for span in spans], np.int64)
        trace_hi, trace_lo, own = ids
        columns: Columns = {
            "trace_hi": trace_hi,
            "trace_lo": trace_lo,
            "span": own,
            "root": np.array([not span.parent_id for span in spans], np.bool_),
            "kind": np.array([_KINDS[span.kind] for span in spans], np.uint8),
            "status": np.array([_STATUSES[span.status] for span in spans], np.uint8),
            "start_ns": starts,
            "end_ns": ends,
            "name": _texts([span.name for span in spans]),
            "namespace": _texts([service.namespace for service in of]),
            "service": _texts([service.name for service in of]),
            "place": np.array(places, np.int64),
            **self._attributes(spans, owners, {owner: span.resource for owner, span in one_of.items()}),
        }
        size = len(body) + ROW * len(spans)
        return Chunk(columns, len(spans), int(starts.min()), int(ends.max()), size, refused, body)

    def _attributes(self, spans: list[Span], owners: list[int], resources: dict[int, Attributes]) -> Columns:
        """The columns of those attributes that any of the spans has; a span's own holds before its resource's."""
        keys = self.keys
        own = [some(span.attributes, keys) for span in spans]
        indexed = {owner: index_of(resource, keys) for owner, resource in resources.items()}
        shared = set().union(*indexed.values())
        behind = [indexed[owner] for owner in owners] if shared else []
        columns: Columns = {}
        for key in keys.intersection(set().union(*own)) | shared:
            values: list[Any] = [found.get(key) for found in own]
            if key in shared:
                values = [there.get(key) if mine is None else mine for mine, there in zip(values, behind, strict=True)]
            columns[column_of(key)] = _values(values)
        return columns


def _ids(spans: Sequence[Span]) -> tuple[NDArray[Any], ...]:
    """Both halves of the trace ids, and the span ids, as numbers; () where one is no id."""
    try:
        traces = bytes.fromhex("".join([span.trace_id for span in spans]))
        own = bytes.fromhex("".join([span.span_id for span in spans]))
    except ValueError:
        return ()
    if len(traces) != 16 * len(spans) or len(own) != 8 * len(spans):
        return ()
    halves = np.frombuffer(traces, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0].copy(), halves[:, 1].copy(), np.frombuffer(own, ">u8").astype(np.uint64)


def _texts(values: list[str]) -> NDArray[Any]:
    return np.array([_sound(text) for text in values] if not _plain(values) else values, object)


def _plain(values: list[str]) -> bool:
    """Whether all are short and valid Unicode, as nearly always."""
    unique = set(values)
    return max(map(len, unique)) <= LONGEST_NAME and "".join(unique).isascii()


def _sound(text: str) -> str:
    return text[:LONGEST_NAME].encode("utf-8", "replace").decode()


def _values(values: list[AttributeValue]) -> NDArray[Any]:
    texts: list[Any] = values
    if not _TEXT.issuperset(map(type, values)):
        texts = [value if value is None else text_of(value) for value in values]
    unique = set(texts) - {None}
    if max(map(len, unique)) > LONGEST_TEXT or not "".join(unique).isascii():
        texts = [text if text is None else _sound(text_of(text)) for text in texts]
    return np.array(texts, object)


_TEXT = frozenset({str, type(None)})


# --- blocks


def _blocks(spans: Sequence[Span]) -> tuple[bytes, list[int]]:
    parts: list[bytes] = []
    places: list[int] = []
    at = 0
    for first in range(0, len(spans), SPANS):
        some_ = spans[first : first + SPANS]
        block = zlib.compress(encode(some_), _LEVEL)
        parts += (_HEAD.pack(len(block)), block)
        places += range(at * SPANS, at * SPANS + len(some_))
        at += _HEAD.size + len(block)
    return b"".join(parts), places


def _split(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        (size,) = _HEAD.unpack_from(body, at)
        block = body[at + _HEAD.size : at + _HEAD.size + size]
        if len(block) != size:
            raise ValueError("not a row of spans: it is cut off")
        yield block
        at += _HEAD.size + size


def _read(block: bytes, picker: Picker) -> list[Span]:
    return read(zlib.decompress(block), picker, checked=False).spans


_FRUGAL = Picker()


def block_at(body: bytes, at: int) -> list[Span]:
    """The spans of the block that begins at `at`."""
    (size,) = _HEAD.unpack_from(body, at)
    return _read(body[at + _HEAD.size : at + _HEAD.size + size], _FRUGAL)


def spans_at(file: IO[bytes], at: int) -> list[Span]:
    """The same of a file of blocks."""
    file.seek(at)
    (size,) = _HEAD.unpack(file.read(_HEAD.size))
    return _read(file.read(size), _FRUGAL)
