"""Segments: folders of Parquet that are written once and never changed.

`<kind>/<rank>.<level>/` holds the Parquet files and `segment.json`: what is inside, the CRC-32 of every file, which
inbox rows it holds and which ranks went in. The marker's own first line is its CRC-32.
"""

from __future__ import annotations

import zlib
from bisect import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from foreshock_dashboard.store.blocks.disk import Disk

FORMAT = 3
MARKER = "segment.json"


class Damaged(Exception):  # noqa: N818 - it says what the segment is
    """The segment is not what was written."""


@dataclass(frozen=True, slots=True)
class Held:
    """Rows first … last (of the segment's kind) of one inbox."""

    inbox: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Meta:
    """What a segment says of itself. `start` and `end` in the kind's unit of time, both included.

    `ranks` are the first and last rank that went in: segments sort by the first, which is the order of arrival.
    """

    kind: str
    ranks: tuple[int, int]
    level: int
    rows: int
    start: int
    end: int
    held: tuple[Held, ...]
    metrics: tuple[str, ...] = ()
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    """name → (bytes, CRC-32)"""

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"{self.ranks[0]:010d}.{self.level}"

    @property
    def bytes(self) -> int:
        """Size on disk, without the marker."""
        return sum(size for size, _ in self.files.values())


def replaces(new: Meta, old: Meta) -> bool:
    """Whether all that `old` holds was merged into `new`."""
    return new.level > old.level and new.ranks[0] <= old.ranks[0] and old.ranks[1] <= new.ranks[1]


def runs(held: Sequence[int], present: Sequence[int]) -> list[tuple[int, int]]:
    """The fewest stretches first … last that cover every number of `held`, and of `present` none but those.

    Both ascend. Numbers in neither (other kinds' rows, rows long gone) do not break a stretch.
    """
    found: list[tuple[int, int]] = []
    strays = sorted(set(present) - set(held))
    for number in held:
        whole = found and bisect(strays, found[-1][1]) == bisect(strays, number)
        found[-1:] = [(found[-1][0], number)] if whole else [*found[-1:], (number, number)]
    return found


def rank_of(name: str) -> int | None:
    """The rank in a segment's name, `None` where it is no such name."""
    rank, dot, level = name.rpartition("-")[2].partition(".")
    return int(rank) if dot and rank.isdigit() and level.isdigit() else None


def write_meta(folder: Path, meta: Meta, disk: Disk) -> None:
    """Write the marker of a folder."""
    body = orjson.dumps({"format": FORMAT, **asdict(meta)}, option=orjson.OPT_INDENT_2)
    disk.write(folder / MARKER, f"{zlib.crc32(body):08x}\n".encode() + body + b"\n")


def read_meta(folder: Path) -> Meta:
    """Read the marker and compare the files' sizes with it.

    Raises:
        Damaged: the marker or a file is missing or is not what was written.
    """
    try:
        crc, _, body = (folder / MARKER).read_bytes().partition(b"\n")
        body = body.removesuffix(b"\n")
        if crc != f"{zlib.crc32(body):08x}".encode():
            raise Damaged(f"{MARKER} does not match its checksum")
        found = orjson.loads(body)
        if found["format"] != FORMAT:
            raise Damaged(f"format {found['format']} is not {FORMAT}")
        meta = _meta(found)
        for name, (size, _) in meta.files.items():
            if (actual := (folder / name).stat().st_size) != size:
                raise Damaged(f"{name} has {actual} bytes, not {size}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from error
    return meta


def _meta(found: dict[str, Any]) -> Meta:
    first, last = found["ranks"]
    return Meta(
        kind=found["kind"],
        ranks=(first, last),
        level=found["level"],
        rows=found["rows"],
        start=found["start"],
        end=found["end"],
        held=tuple(Held(**held) for held in found["held"]),
        metrics=tuple(found["metrics"]),
        files={name: (size, crc) for name, (size, crc) in found["files"].items()},
    )


def verify(folder: Path, meta: Meta, disk: Disk) -> None:
    """Compare every file with its checksum.

    Raises:
        Damaged: one differs or cannot be read.
    """
    for name, (_, crc) in meta.files.items():
        try:
            actual = disk.checksum(folder / name)
        except OSError as error:
            raise Damaged(f"{name}: {error}") from error
        if actual != crc:
            raise Damaged(f"{name} does not match its checksum")


def due(segments: list[Meta], fan: int, largest: int, span: int) -> list[Meta]:
    """The next segments to merge, if any: `fan` neighbours of one level.

    Together they have at most `largest` bytes and reach over at most `span` units of time: retention stays fine.
    """
    for at in range(len(segments) - fan + 1):
        run = segments[at : at + fan]
        reach = max(meta.end for meta in run) - min(meta.start for meta in run)
        if len({meta.level for meta in run}) == 1 and sum(meta.bytes for meta in run) <= largest and reach <= span:
            return run
    return []


def merged(run: list[Meta]) -> Meta:
    """What the segment says that holds all rows of a run of neighbours."""
    return Meta(
        kind=run[0].kind,
        ranks=(run[0].ranks[0], run[-1].ranks[1]),
        level=run[0].level + 1,
        rows=sum(meta.rows for meta in run),
        start=min(meta.start for meta in run),
        end=max(meta.end for meta in run),
        held=tuple(held for meta in run for held in meta.held),
        metrics=tuple(sorted({metric for meta in run for metric in meta.metrics})),
    )
