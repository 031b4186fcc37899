"""Block metadata: the JSON file of a block, and the choice of blocks to compact.

`<kind>/<sequence>.<level>/` holds Parquet files and the metadata file. The first line of that file is the CRC-32 of the
rest. Block files are written once and never changed.
"""

from __future__ import annotations

import itertools
import zlib
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from foreshock_dashboard.store.blocks.disk import DamagedBlock, Disk

FORMAT_VERSION = 3
META_FILE = "segment.json"
"""Stores of 0.1 name the file so; in its JSON a sequence number is a `rank` and the WAL an `inbox`."""


class WalRange(NamedTuple):
    """The records `first` to `last` (of the block's kind) of one WAL."""

    wal: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """Metadata of a block.

    kind: `metrics` or `spans`.
    sequences: first and last sequence number of the blocks merged into it. Ordered by the first one, blocks are in
    order of arrival.
    level: 0 for a block cut from the head; one more for each compaction.
    start, end: earliest and latest time, in the kind's unit.
    metrics: metric names, of samples only. files: name → (bytes, CRC-32).
    """

    kind: str
    sequences: tuple[int, int]
    level: int
    rows: int
    start: int
    end: int
    wal_ranges: tuple[WalRange, ...]
    metrics: tuple[str, ...] = ()
    files: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the block's folder."""
        return f"{self.sequences[0]:010d}.{self.level}"

    @property
    def bytes(self) -> int:
        """Size on disk, without the metadata file."""
        return sum(size for size, _ in self.files.values())

    def replaces(self, old: BlockMeta) -> bool:
        """Whether `old` was merged into this block."""
        first, last = self.sequences
        return self.level > old.level and first <= old.sequences[0] and old.sequences[1] <= last


def contiguous_ranges(ids: Sequence[int], present: Sequence[int]) -> list[tuple[int, int]]:
    """Return the fewest ranges first … last that cover `ids` and no other element of `present`.

    Both sequences ascend. Numbers in neither (records of another kind, or deleted ones) do not split a range.
    """
    ranges: list[tuple[int, int]] = []
    others = sorted(set(present) - set(ids))
    for number in ids:
        joins = ranges and bisect(others, ranges[-1][1]) == bisect(others, number)
        ranges[-1:] = [(ranges[-1][0], number)] if joins else [*ranges[-1:], (number, number)]
    return ranges


def write_meta(folder: Path, meta: BlockMeta, disk: Disk) -> None:
    """Write the metadata file of a block."""
    content = {
        "format": FORMAT_VERSION,
        "kind": meta.kind,
        "ranks": meta.sequences,
        "level": meta.level,
        "rows": meta.rows,
        "start": meta.start,
        "end": meta.end,
        "held": [{"inbox": held.wal, "first": held.first, "last": held.last} for held in meta.wal_ranges],
        "metrics": meta.metrics,
        "files": meta.files,
    }
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2)
    disk.write(folder / META_FILE, f"{zlib.crc32(body):08x}\n".encode() + body + b"\n")


def read_meta(folder: Path) -> BlockMeta:
    """Read the metadata file of a block.

    Raises DamagedBlock if a file is missing, or has another size or checksum, and OSError if it cannot be read.
    """
    try:
        crc, _, body = (folder / META_FILE).read_bytes().partition(b"\n")
        body = body.removesuffix(b"\n")
        if crc != f"{zlib.crc32(body):08x}".encode():
            raise DamagedBlock(f"{META_FILE} does not match its checksum")
        content = orjson.loads(body)
        if content["format"] != FORMAT_VERSION:
            raise DamagedBlock(f"format {content['format']} is not {FORMAT_VERSION}")
        first, last = content["ranks"]
        meta = BlockMeta(
            kind=content["kind"],
            sequences=(first, last),
            level=content["level"],
            rows=content["rows"],
            start=content["start"],
            end=content["end"],
            wal_ranges=tuple(WalRange(held["inbox"], held["first"], held["last"]) for held in content["held"]),
            metrics=tuple(content["metrics"]),
            files={name: (size, crc) for name, (size, crc) in content["files"].items()},
        )
        for name, (size, _) in meta.files.items():
            if (actual := (folder / name).stat().st_size) != size:
                raise DamagedBlock(f"{name} has {actual} bytes, not {size}")
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
        raise DamagedBlock(str(error)) from error
    return meta


def compaction_candidates(blocks: list[BlockMeta], count: int, max_bytes: int, max_span: int) -> list[BlockMeta]:
    """Return the next `count` neighboring blocks of one level to merge; empty if there are none.

    Together they have up to `max_bytes` and span up to `max_span` units of time, so that retention stays fine-grained.
    Their sequences adjoin: a merged block replaces all within its sequences, also a block that is back from `damaged/`.
    """
    for first in range(len(blocks) - count + 1):
        run = blocks[first : first + count]
        if any(left.sequences[1] + 1 != right.sequences[0] for left, right in itertools.pairwise(run)):
            continue
        span = max(meta.end for meta in run) - min(meta.start for meta in run)
        if len({meta.level for meta in run}) == 1 and sum(meta.bytes for meta in run) <= max_bytes and span <= max_span:
            return run
    return []


def merged_meta(run: list[BlockMeta]) -> BlockMeta:
    """Return the metadata of the block that holds all rows of neighboring blocks."""
    return BlockMeta(
        kind=run[0].kind,
        sequences=(run[0].sequences[0], run[-1].sequences[1]),
        level=run[0].level + 1,
        rows=sum(meta.rows for meta in run),
        start=min(meta.start for meta in run),
        end=max(meta.end for meta in run),
        wal_ranges=tuple(held for meta in run for held in meta.wal_ranges),
        metrics=tuple(sorted({metric for meta in run for metric in meta.metrics})),
    )
