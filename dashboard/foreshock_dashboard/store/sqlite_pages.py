"""Raw pages of a SQLite file and of its journal, for what SQLite does not read once a page is damaged.

Formats: https://www.sqlite.org/fileformat2.html and https://www.sqlite.org/walformat.html. Every record that is found
here has a checksum (see `wal`), so pages of any age may be searched: a stale or damaged one has no match.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = 0x377F0682
"""The lowest bit is 1 if the checksums are of big-endian words."""
_JOURNAL_HEADER, _FRAME_HEADER = struct.Struct(">8I"), struct.Struct(">6I")
_TABLE_LEAF, _INDEX_LEAF = 0x0D, 0x0A
_SECTOR_BYTES = 4096
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))

Value = int | str | bytes | None


class Frame(NamedTuple):
    """A page in the journal. `commit`: it says that it ends a transaction. `data` is empty if the frame is damaged."""

    page: int
    commit: bool
    data: bytes


class SqliteJournal(NamedTuple):
    """The frames that SQLite wrote since it last restarted the journal.

    `lost` says whether SQLite would leave out a finished transaction. It syncs the journal at each commit, so only the
    last transaction can be cut short by a power loss: what is behind a commit shows that it was finished.
    """

    frames: list[Frame]
    page_bytes: int
    lost: bool


def read_journal(path: Path, page_bytes: int, *, partial: bool = False) -> SqliteJournal:
    """Read the journal of a SQLite file. `page_bytes` is the page size if the journal's header is damaged.

    partial: as in `Pages`.
    """
    content = b""
    if path.exists():
        with path.open("rb") as file:
            content = _read(file.fileno(), path.stat().st_size, 0, partial=partial)
    frames: list[Frame] = []
    intact_header = False
    if len(content) >= _JOURNAL_HEADER.size:
        magic, _, size, _, *salts, first, second = _JOURNAL_HEADER.unpack_from(content)
        words = ">u4" if magic & 1 else "<u4"
        intact_header = magic | 1 == _JOURNAL_MAGIC | 1 and _checksum(content[:24], (0, 0), words) == (first, second)
        if intact_header:
            page_bytes, checksum = size, (first, second)
        else:
            words, checksum = "<u4", (first, second)
            salts = list(struct.unpack_from(">2I", content, _JOURNAL_HEADER.size + 8)) if len(content) >= 48 else []
        frames = _frames(content, page_bytes, salts, checksum, words)
    damaged = next((number for number, frame in enumerate(frames) if not frame.data), len(frames))
    commits = [number for number, frame in enumerate(frames) if frame.commit and number >= damaged]
    lost = bool(commits) and any(frame.data for frame in frames[commits[0] + 1 :])
    if not intact_header:  # it was synced before the first frame, and without it SQLite ignores all of them
        lost = any(frame.commit and frame.data for frame in frames)
    return SqliteJournal(frames, page_bytes, lost)


def _frames(content: bytes, page_bytes: int, salts: list[int], checksum: tuple[int, int], words: str) -> list[Frame]:
    """Return the frames up to the last one with these salts. Older frames behind it have others.

    A checksum continues that of the frame before. Behind a damaged frame, the stored checksum is taken for it.
    """
    frames: list[Frame] = []
    last = 0
    step = _FRAME_HEADER.size + page_bytes
    for number, offset in enumerate(range(_JOURNAL_HEADER.size, len(content) - step + 1, step)):
        page, size, *own_salts, first, second = _FRAME_HEADER.unpack_from(content, offset)
        data = content[offset + _FRAME_HEADER.size : offset + step]
        actual = _checksum(content[offset : offset + 8] + data, checksum, words)
        intact = actual == (first, second) and own_salts == salts
        frames.append(Frame(page, bool(size) and own_salts == salts, data if intact else b""))
        if own_salts == salts:
            last = number + 1
        checksum = (first, second)
    return frames[:last]


def _checksum(data: bytes, start: tuple[int, int], words: str) -> tuple[int, int]:
    """Continue a journal checksum: for each pair of words, s1 += x0 + s2 and s2 += x1 + s1 (modulo 2^32).

    A step is the matrix ((1, 1), (1, 2)), so that all steps together are a sum over its powers.
    """
    pairs = np.frombuffer(data, words).astype(np.uint32).reshape(-1, 2)
    even, odd = pairs[:, 0], pairs[:, 0] + pairs[:, 1]
    powers = _powers(len(pairs))
    a, b, c, d = (powers[: len(pairs), column][::-1] for column in range(4))
    a_n, b_n, c_n, d_n = (int(power) for power in powers[len(pairs)])
    first = a_n * start[0] + b_n * start[1] + int((a * even + b * odd).sum(dtype=np.uint32))
    second = c_n * start[0] + d_n * start[1] + int((c * even + d * odd).sum(dtype=np.uint32))
    return first % 2**32, second % 2**32


@lru_cache(maxsize=8)
def _powers(count: int) -> NDArray[np.uint32]:
    """Powers 0 … count of the matrix ((1, 1), (1, 2)) modulo 2^32, one in each row."""
    rows = [(1, 0, 0, 1)]
    for _ in range(count):
        a, b, c, d = rows[-1]
        rows.append(((a + c) % 2**32, (b + d) % 2**32, (a + 2 * c) % 2**32, (b + 2 * d) % 2**32))
    return np.array(rows, np.uint32)


class Pages:
    """The newest intact version of each page: of the committed frames of the journal, else of the file.

    partial: take sectors that the disk cannot read for zeros; otherwise they raise OSError.
    """

    def __init__(self, path: Path, default_page_bytes: int, *, partial: bool = False) -> None:
        self._partial = partial
        self._file = os.open(path, os.O_RDONLY) if path.exists() else None
        header = b"" if self._file is None else _read(self._file, 18, 0, partial=partial)
        size = int.from_bytes(header[16:18], "big")
        size = 65_536 if size == 1 else size
        is_header = header.startswith(_MAGIC) and size in _PAGE_SIZES
        journal = read_journal(
            path.with_name(f"{path.name}-wal"), size if is_header else default_page_bytes, partial=partial
        )
        self.bytes = journal.page_bytes
        self.journal_lost = journal.lost
        commits = (number for number, frame in enumerate(journal.frames) if frame.commit and frame.data)
        committed = max(commits, default=-1) + 1
        self._newest = {frame.page: frame.data for frame in journal.frames[:committed] if frame.data}
        in_file = 0 if self._file is None else os.fstat(self._file).st_size // self.bytes
        self.count = max([in_file, *self._newest])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)

    def __getitem__(self, number: int) -> bytes:
        """Return a page, or what is there of it."""
        page = self._newest.get(number)
        if page is None and self._file is not None:
            page = _read(self._file, self.bytes, (number - 1) * self.bytes, partial=self._partial)
        return page or b""

    def rows(self) -> Iterator[tuple[int, list[Value]]]:
        """Yield (rowid, columns) of each readable table row on any page; its order and its table are unknown."""
        for number in range(1, self.count + 1):
            page = self[number]
            for cell in _cells(page, number, _TABLE_LEAF):
                try:
                    size, at = _varint(page, cell)
                    rowid, at = _varint(page, at)
                    yield rowid, _columns(self._payload(page, at, size))
                except (ValueError, IndexError, struct.error):
                    continue

    def keyed_rows(self) -> Iterator[list[Value]]:
        """Yield the columns of each readable short row of tables `without rowid`."""
        for number in range(1, self.count + 1):
            page = self[number]
            for cell in _cells(page, number, _INDEX_LEAF):
                try:
                    size, at = _varint(page, cell)
                    yield _columns(page[at : at + size])
                except (ValueError, IndexError, struct.error):
                    continue

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        """Return a payload that begins at an offset of a leaf and may continue on overflow pages."""
        if size > self.count * self.bytes:
            raise ValueError("longer than the file")
        most, least = self.bytes - 35, (self.bytes - 12) * 32 // 255 - 23
        local = size
        if size > most:
            local = least + (size - least) % (self.bytes - 4)
            local = local if local <= most else least
        parts = [page[at : at + local]]
        remaining = size - local
        number = int.from_bytes(page[at + local : at + local + 4], "big")
        while remaining > 0:
            overflow = self[number] if number else b""
            if len(overflow) < self.bytes:
                raise ValueError("the chain of overflow pages is broken")
            parts.append(overflow[4 : 4 + remaining])
            remaining -= self.bytes - 4
            number = int.from_bytes(overflow[:4], "big")
        return b"".join(parts)


def _read(file: int, size: int, at: int, *, partial: bool) -> bytes:
    """Read a part of a file. If `partial`, sectors that the disk cannot read are zeros. Raises OSError."""
    try:
        return os.pread(file, size, at)
    except OSError as error:
        if not partial or error.errno != errno.EIO:
            raise
    if size <= _SECTOR_BYTES:
        return bytes(size)
    starts = range(0, size, _SECTOR_BYTES)
    return b"".join(_read(file, min(_SECTOR_BYTES, size - start), at + start, partial=True) for start in starts)


def _cells(page: bytes, number: int, page_type: int) -> tuple[int, ...]:
    """Return the offsets of the cells of a leaf; none for a page of another type."""
    start = 100 if number == 1 else 0
    if len(page) < start + 8 or page[start] != page_type:
        return ()
    count = min(int.from_bytes(page[start + 3 : start + 5], "big"), (len(page) - start - 8) // 2)
    return struct.unpack_from(f">{count}H", page, start + 8)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a big-endian base-128 integer of up to nine bytes, and the offset behind it."""
    value = 0
    for position in range(at, at + 8):
        value = value << 7 | data[position] & 0x7F
        if data[position] < 0x80:
            return value, position + 1
    return value << 8 | data[at + 8], at + 9


def _columns(record: bytes) -> list[Value]:
    """Return the values of a record. Raises ValueError, IndexError or struct.error if it is malformed."""
    end, at = _varint(record, 0)
    types: list[int] = []
    while at < end:
        serial_type, at = _varint(record, at)
        types.append(serial_type)
    values: list[Value] = []
    for serial_type in types:
        if serial_type >= 12:
            size = (serial_type - 12) // 2
            data = record[at : at + size]
            values.append(data.decode() if serial_type % 2 else data)
        elif serial_type in (8, 9):
            size = 0
            values.append(serial_type - 8)
        else:
            size = (0, 1, 2, 3, 4, 6, 8, 8)[serial_type]
            values.append(int.from_bytes(record[at : at + size], "big", signed=True) if serial_type else None)
        if at + size > len(record):
            raise ValueError("cut off")
        at += size
    return values
