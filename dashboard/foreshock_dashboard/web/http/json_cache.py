"""JSON bytes of a snapshot's payloads, made and compressed once a tick however many read them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import orjson

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json

SHORTEST = 1000
"""Bytes from which compressing pays."""
LEVEL = 5
MOST_BYTES = 32 * 2**20
"""Of one tick's payloads that are kept: their names have parameters in them that anybody may write. Of those that were
sent compressed, that is kept too: a tenth to a third more."""
_RAW = -zlib.MAX_WBITS
_HEAD = b"\x1f\x8b\x08" + bytes(5) + b"\x00\xff"
"""Of a gzip member without name and time (RFC 1952)."""


def encode(payload: Json) -> bytes:
    """JSON as UTF-8."""
    return orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)


class Body(bytes):
    """An encoded object that is sent many times, each time with another beginning."""

    _deflated: bytes | None = None

    def deflated(self) -> bytes:
        """All but the first byte, as the last part of a deflate stream (RFC 1951)."""
        if self._deflated is None:
            packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
            self._deflated = packer.compress(self[1:]) + packer.flush()
        return self._deflated


def _head(time: float) -> bytes:
    return b'{"time":' + orjson.dumps(round(time, 3))


def stamped(body: bytes, time: float) -> bytes:
    """An encoded object with the hub's time put in front, since the rest of it is kept from tick to tick."""
    return _head(time) + (b"}" if body == b"{}" else b"," + body[1:])


def stamped_gzip(body: Body, time: float) -> bytes:
    """The same as `gzip` would have it, with only the beginning compressed anew: the rest was, for another reader.

    A deflate stream may be flushed to a whole byte, and what follows need not refer to what was before.
    """
    head = _head(time) + b","
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
    begun = packer.compress(head) + packer.flush(zlib.Z_SYNC_FLUSH)
    check = zlib.crc32(memoryview(body)[1:], zlib.crc32(head))
    length = len(head) + len(body) - 1
    return b"".join((_HEAD, begun, body.deflated(), struct.pack("<LL", check, length & 0xFFFFFFFF)))


class PerTick:
    """Keeps what was made of a snapshot until another one comes. Safe to call from several threads."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._kept: SingleFlightCache[Body] = SingleFlightCache(most, len)

    def get(self, snapshot: Snapshot, name: str, make: Callable[[], Json]) -> Body:
        """The encoded payload `name` of this snapshot, made by `make` unless it was made before, or is being made."""
        return self._kept.get(name, lambda: Body(encode(make())), snapshot)
