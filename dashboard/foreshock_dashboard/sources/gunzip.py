"""Decompression that cannot be made to fill the memory."""

from __future__ import annotations

import zlib

MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


class TooLargeError(Exception):
    """There are more bytes than allowed. The message gives the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress gzip members, never making more than `limit` bytes and one.

    Raises:
        TooLargeError: they are more than `limit` bytes.
        ValueError: the data are not gzip, or end early.
    """
    parts: list[bytes] = []
    size = 0
    while data:
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(data, limit - size + 1)
        except zlib.error as error:
            raise ValueError(f"not gzip: {error}") from error
        size += len(part)
        if size > limit:
            raise TooLargeError(limit)
        if not member.eof:
            raise ValueError("not gzip: it ends early")
        parts.append(part)
        data = member.unused_data
    return b"".join(parts)
