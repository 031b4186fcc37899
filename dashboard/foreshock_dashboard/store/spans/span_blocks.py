"""Spans ↔ blocks: a TracesData of OTLP with a few spans, deflated (RFC 1951), behind its length and their number.

A block is made once, when spans are accepted: an inbox row is a run of blocks, and a segment holds those runs as they
came. A span's *place* is the byte at which its block begins, times `SPANS`, plus its number in the block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol

from google.protobuf.message import DecodeError
from isal import isal_zlib

from foreshock_dashboard.ingest.otlp import Pickers, SpanBatch, joined, read
from foreshock_dashboard.model.span import Span

SPANS = 128
"""Spans in a block at most: few enough to read a block for one of them, enough to compress well."""

_LEVEL, _RAW = 1, -isal_zlib.MAX_WBITS  # raw: an inbox row and a segment's file have a checksum of their own
_Error: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an exception
_HEAD = struct.Struct("<IH")


def pack(spans: SpanBatch) -> tuple[bytes, list[int]]:
    """The blocks, one behind the other, and the spans' places in them."""
    parts: list[bytes] = []
    places: list[int] = []
    at = 0
    for first in range(0, len(spans), SPANS):
        some = spans.came[first : first + SPANS]
        block = isal_zlib.compress(joined(some), _LEVEL, _RAW)
        parts += (_HEAD.pack(len(block), len(some)), block)
        places += range(at * SPANS, at * SPANS + len(some))
        at += _HEAD.size + len(block)
    return b"".join(parts), places


def unpack(body: bytes, pickers: Pickers) -> tuple[SpanBatch, list[int]]:
    """The reverse.

    Raises:
        ValueError: these are no blocks.
    """
    parts: list[bytes] = []
    places: list[int] = []
    at = 0
    try:
        while at < len(body):
            size, count = _HEAD.unpack_from(body, at)
            block = body[at + _HEAD.size : at + _HEAD.size + size]
            if len(block) != size or not 0 < count <= SPANS:
                raise ValueError("not a row of spans: a block is cut off, or has no spans or too many")
            parts.append(isal_zlib.decompress(block, _RAW))
            places += range(at * SPANS, at * SPANS + count)
            at += _HEAD.size + size
        spans = read(b"".join(parts), pickers, checked=False).spans  # messages behind each other are one
    except (DecodeError, _Error, struct.error) as error:
        raise ValueError(f"not a row of spans: {error}") from error
    if len(spans) != len(places):
        raise ValueError(f"not a row of spans: there are {len(spans)}, not {len(places)}")
    return spans, places


class Seekable(Protocol):
    """Where blocks lie: a file, or what looks like one."""

    def seek(self, at: int, /) -> object:
        """Go to a byte."""
        ...

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        ...


def spans_at(blocks: Seekable, places: Iterable[int]) -> Iterator[Span]:
    """The spans at places, each of whose blocks is read once."""
    for at, of_block in groupby(sorted(places), key=lambda place: place // SPANS):
        blocks.seek(at)
        size, _ = _HEAD.unpack(blocks.read(_HEAD.size))
        found = read(isal_zlib.decompress(blocks.read(size), _RAW), checked=False).spans
        yield from (found[place % SPANS] for place in of_block)
