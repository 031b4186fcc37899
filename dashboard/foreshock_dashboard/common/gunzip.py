"""Gzip decompression with bounded memory and time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

GZIP_MAGIC = b"\x1f\x8b"
MAX_GZIP_MEMBERS = 1024
"""Members of one body (RFC 1952, 2.2). Senders write one, or one per thread."""
_WBITS = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 1 << 14
"""Input per step. zlib copies the input that follows a member; with the whole rest, that would be quadratic."""


class TooLargeError(Exception):
    """The data exceed the limit, which the message names."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")


def gunzip(data: bytes, limit: int) -> bytes:
    """The decompressed data; see `gunzip_chunks`."""
    return b"".join(gunzip_chunks(data, limit))


def gunzip_chunks(data: bytes | bytearray, limit: int) -> Iterator[bytes]:
    """Decompress gzip members in chunks, producing at most `limit` + 1 bytes.

    Raises TooLargeError if the decompressed data exceed `limit` bytes, and ValueError if the data are not gzip, end
    early, or have more than `MAX_GZIP_MEMBERS` members.
    """
    view = memoryview(data)
    position = size = members = 0
    while position < len(view):
        members += 1
        if members > MAX_GZIP_MEMBERS:
            raise ValueError(f"more than {MAX_GZIP_MEMBERS} gzip members; send one")
        member = zlib.decompressobj(_WBITS)
        while not member.eof:
            chunk = view[position : position + _CHUNK_BYTES]
            if not chunk:
                raise ValueError("not gzip: it ends early")
            try:
                part = member.decompress(chunk, limit - size + 1)
            except zlib.error as error:
                raise ValueError(f"not gzip: {error}") from error
            size += len(part)
            if size > limit:
                raise TooLargeError(limit)
            position += len(chunk) - len(member.unused_data)
            yield part
