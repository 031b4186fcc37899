"""Decompression that can be made neither to fill the memory nor to take long."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

GZIP_MAGIC = b"\x1f\x8b"
MAX_GZIP_MEMBERS = 1024
"""Members of one body (RFC 1952, 2.2); senders make one, or one for each of their threads."""
_GZIP = 16 + zlib.MAX_WBITS
_STEP = 1 << 14
"""Bytes looked at at once: what follows a member is copied, which for all of the rest would take time squared."""


class TooLargeError(Exception):
    """There are more bytes than allowed. The message gives the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")


def gunzip(data: bytes, limit: int) -> bytes:
    """All of `parts` at once."""
    return b"".join(gunzip_chunks(data, limit))


def gunzip_chunks(data: bytes, limit: int) -> Iterator[bytes]:
    """Decompress gzip members part by part, never making more than `limit` bytes and one.

    Raises:
        TooLargeError: they are more than `limit` bytes.
        ValueError: the data are not gzip, end early, or are more than `MAX_MEMBERS` members.
    """
    view = memoryview(data)
    at = size = members = 0
    while at < len(view):
        members += 1
        if members > MAX_GZIP_MEMBERS:
            raise ValueError(f"more than {MAX_GZIP_MEMBERS} gzip members; send one")
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            step = view[at : at + _STEP]
            if not step:
                raise ValueError("not gzip: it ends early")
            try:
                part = member.decompress(step, limit - size + 1)
            except zlib.error as error:
                raise ValueError(f"not gzip: {error}") from error
            size += len(part)
            if size > limit:
                raise TooLargeError(limit)
            at += len(step) - len(member.unused_data)
            yield part
