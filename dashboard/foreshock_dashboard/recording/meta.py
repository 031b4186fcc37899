"""The metadata file of a recording, `meta.json`."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.store.blocks.disk import Disk

FORMAT = "foreshock-recording"
VERSION = 2
"""Increases when the metrics that the analysis reads are renamed (see `renamed_metrics`)."""
READABLE_VERSIONS = (1, VERSION)
"""Version 1 is that of 0.1."""
META, METRICS, SPANS, TRUTH = "meta.json", "metrics.parquet", "spans.parquet", "truth.json"
MAX_META_BYTES = 1 << 20
MAX_TIME = 1e12
"""Unix seconds, as in OpenMetrics files."""
_FOREIGN = f'it is not a recording: those have a {META} with "format": "{FORMAT}"'


class FileChecksum(NamedTuple):
    """Size and CRC-32 of a file."""

    bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class RecordingMeta:
    """Metadata of a recording; None for missing values.

    Args:
        start: earliest time of samples, or of spans if there are no samples, in Unix seconds.
        end: latest time of these.
        scenario: name of the simulated scenario.
        simulated: whether a simulation wrote it.
        scrape_interval: seconds between two scrapes.
        span_sampling: ratio of recorded traces.
        samples, series, spans: their numbers.
        files: checksums by file name. Recordings of other tools may leave them out.
    """

    start: float | None = None
    end: float | None = None
    scenario: str | None = None
    seed: int | None = None
    simulated: bool = False
    scrape_interval: float | None = None
    span_sampling: float | None = None
    samples: int = 0
    series: int = 0
    spans: int = 0
    files: dict[str, FileChecksum] = field(default_factory=dict)


def _number(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:  # noqa: ANN401 - JSON
        if not least <= float(value) <= most:
            raise ValueError(f"{value} is not a number from {least:g} to {most:g}")
        return float(value)

    return parse


def _count(value: Any) -> int:  # noqa: ANN401 - JSON
    return int(_number(0, 2**53)(value))


_TYPES: Mapping[str, Callable[[Any], object]] = {
    "start": _number(-MAX_TIME, MAX_TIME),
    "end": _number(-MAX_TIME, MAX_TIME),
    "scenario": str,
    "seed": int,
    "simulated": bool,
    "scrape_interval": _number(0.001, MAX_TIME),
    "span_sampling": _number(0, 1),
    "samples": _count,
    "series": _count,
    "spans": _count,
}


def dump(meta: RecordingMeta) -> bytes:
    """Return the content of the file."""
    body: Json = {"format": FORMAT, "version": VERSION} | {name: getattr(meta, name) for name in _TYPES}
    body["files"] = {name: {"bytes": size, "crc32": f"{crc32:08x}"} for name, (size, crc32) in meta.files.items()}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read(folder: Path) -> RecordingMeta:
    """Read the metadata of a folder and verify the checksums in it.

    Raises:
        RecordingError: the folder is not a recording, or one that is damaged, incomplete or of another version.
    """
    if not folder.is_dir():
        raise RecordingError(f"recording {folder}: there is no such folder")
    try:
        content = orjson.loads(_read_small(folder / META))
    except FileNotFoundError:
        incomplete = (folder / METRICS).exists() or (folder / SPANS).exists()
        why = f"it has no {META}: it was not written to its end; record or import it again" if incomplete else _FOREIGN
        raise RecordingError(f"recording {folder}: {why}") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RecordingError(f"recording {folder}: {META} cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordingError(f"recording {folder}: {_FOREIGN}")
    if content.get("version") not in READABLE_VERSIONS:
        raise RecordingError(
            f"recording {folder}: it has version {content.get('version')!r}, and this foreshock reads up to {VERSION}; "
            "replay it with the foreshock version that wrote it, or record or simulate it again"
        )
    try:
        meta = _meta(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordingError(f"recording {folder}: {META} has an invalid value: {error}") from None
    _check(folder, meta)
    return meta


def _meta(content: Json) -> RecordingMeta:
    values: Json = {name: parse(content[name]) for name, parse in _TYPES.items() if content.get(name) is not None}
    files = content.get("files") or {}
    checksums = {name: FileChecksum(int(file["bytes"]), int(file["crc32"], 16)) for name, file in files.items()}
    return RecordingMeta(**values, files=checksums)


def _check(folder: Path, meta: RecordingMeta) -> None:
    present = [name for name in (METRICS, SPANS) if (folder / name).exists()]
    if not present:
        raise RecordingError(f"recording {folder}: neither {METRICS} nor {SPANS} is there; copy the whole folder")
    for name in dict.fromkeys((*present, *meta.files)):
        expected, path = meta.files.get(name), folder / Path(name).name
        try:
            size = _size(path)
            is_whole = expected is None or (size == expected.bytes and checksum(path) == expected)
        except OSError as error:
            raise RecordingError(f"recording {folder}: {name}: {error.strerror}; copy the whole folder") from None
        if expected and not is_whole:
            raise RecordingError(
                f"recording {folder}: {name} is damaged ({size} bytes where {expected.bytes} were written, "
                "or a checksum that differs); copy it again"
            )


def checksum(path: Path) -> FileChecksum:
    """Return size and CRC-32 of a file.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    return FileChecksum(_size(path), Disk().checksum(path))


def _size(path: Path) -> int:
    """Return the size of a regular file: reading a pipe or device may never end. Raises OSError for another file."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status.st_size


def _read_small(path: Path) -> bytes:
    """Return the content of a file. Raises OSError if it is larger than `MAX_META_BYTES`, or cannot be read."""
    if _size(path) > MAX_META_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_META_BYTES >> 20} MiB")
    return path.read_bytes()


class RecordingError(SourceError):
    """A recording, or a file to convert, cannot be read or written. The message names the file and the remedy."""
