"""Chunks: up to 128 spans as deflated OTLP TracesData (RFC 1951), behind a header with length and number of spans.

Chunks are made once, when spans are accepted. A WAL record is a sequence of chunks; a block's file holds the sequences
of its records unchanged. The *place* of a span is the byte offset of its chunk times `CHUNK_SPANS`, plus its position
in the chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from google.protobuf.message import DecodeError
from isal import isal_zlib

from foreshock_dashboard.ingest.otlp.attribute_reader import AttributeReader
from foreshock_dashboard.ingest.otlp.batch import SpanBatch
from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import join_spans
from foreshock_dashboard.model.span import Span

CHUNK_SPANS = 128
"""Spans of a chunk: small enough to be read for a single span, large enough to compress well."""

_COMPRESSION_LEVEL = 1
_RAW_DEFLATE = -isal_zlib.MAX_WBITS  # without a checksum: WAL records and block files have their own
_CompressionError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an exception
_HEADER = struct.Struct("<IH")


def pack(spans: SpanBatch) -> tuple[bytes, list[int]]:
    """Return the concatenated chunks, and the place of each span."""
    parts: list[bytes] = []
    places: list[int] = []
    offset = 0
    for first in range(0, len(spans), CHUNK_SPANS):
        some = spans.raw_spans[first : first + CHUNK_SPANS]
        chunk = isal_zlib.compress(join_spans(some), _COMPRESSION_LEVEL, _RAW_DEFLATE)
        parts += (_HEADER.pack(len(chunk), len(some)), chunk)
        places += range(offset * CHUNK_SPANS, offset * CHUNK_SPANS + len(some))
        offset += _HEADER.size + len(chunk)
    return b"".join(parts), places


def unpack(body: bytes, attributes: AttributeReader) -> tuple[SpanBatch, list[int]]:
    """Inverse of `pack`. Raises ValueError if the chunks are malformed."""
    parts: list[bytes] = []
    places: list[int] = []
    offset = 0
    try:
        while offset < len(body):
            size, count = _HEADER.unpack_from(body, offset)
            chunk = body[offset + _HEADER.size : offset + _HEADER.size + size]
            if len(chunk) != size or not 0 < count <= CHUNK_SPANS:
                raise ValueError("not a row of spans: a block is cut off, or has no spans or too many")
            parts.append(isal_zlib.decompress(chunk, _RAW_DEFLATE))
            places += range(offset * CHUNK_SPANS, offset * CHUNK_SPANS + count)
            offset += _HEADER.size + size
        spans = decode_spans(b"".join(parts), attributes, checked=False).spans  # concatenated messages are one message
    except (DecodeError, _CompressionError, struct.error) as error:
        raise ValueError(f"not a row of spans: {error}") from error
    if len(spans) != len(places):
        raise ValueError(f"not a row of spans: there are {len(spans)}, not {len(places)}")
    return spans, places


Read = Callable[[int, int], bytes]
"""Returns the bytes at an offset, by offset and size."""


def spans_at(read: Read, places: Iterable[int]) -> Iterator[Span]:
    """Yield the spans at the given places, by ascending place. Each chunk is read once."""
    for offset, places_of_chunk in groupby(sorted(places), key=lambda place: place // CHUNK_SPANS):
        size, _ = _HEADER.unpack(read(offset, _HEADER.size))
        chunk = read(offset + _HEADER.size, size)
        spans = decode_spans(isal_zlib.decompress(chunk, _RAW_DEFLATE), checked=False).spans
        yield from (spans[place % CHUNK_SPANS] for place in places_of_chunk)
