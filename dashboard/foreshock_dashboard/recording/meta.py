"""The metadata file of a recording, `meta.json`."""

from __future__ import annotations

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
"""Increases when the metrics that the analysis reads are renamed."""
META, METRICS, SPANS, TRUTH = "meta.json", "metrics.parquet", "spans.parquet", "truth.json"
_FOREIGN = f'it is no recording: those have a {META} with "format": "{FORMAT}"'


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


_TYPES: Mapping[str, Callable[[Any], object]] = {
    "start": float,
    "end": float,
    "scenario": str,
    "seed": int,
    "simulated": bool,
    "scrape_interval": float,
    "span_sampling": float,
    "samples": int,
    "series": int,
    "spans": int,
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
        content = orjson.loads((folder / META).read_bytes())
    except FileNotFoundError:
        incomplete = (folder / METRICS).exists() or (folder / SPANS).exists()
        why = f"it has no {META}: it was not written to its end; record or import it again" if incomplete else _FOREIGN
        raise RecordingError(f"recording {folder}: {why}") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RecordingError(f"recording {folder}: {META} cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordingError(f"recording {folder}: {_FOREIGN}")
    if content.get("version") != VERSION:
        raise RecordingError(
            f"recording {folder}: it has version {content.get('version')!r}, and this foreshock reads {VERSION}; "
            "replay it with the foreshock version that wrote it, or record or simulate it again"
        )
    try:
        meta = _meta(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"recording {folder}: {META} says what makes no sense: {error}") from None
    _check(folder, meta)
    return meta


def _meta(content: Json) -> RecordingMeta:
    values: Json = {name: parse(content[name]) for name, parse in _TYPES.items() if content.get(name) is not None}
    files = content.get("files") or {}
    checksums = {name: FileChecksum(int(file["bytes"]), int(file["crc32"], 16)) for name, file in files.items()}
    return RecordingMeta(**values, files=checksums)


def _check(folder: Path, meta: RecordingMeta) -> None:
    if not any((folder / name).exists() for name in (METRICS, SPANS)):
        raise RecordingError(f"recording {folder}: neither {METRICS} nor {SPANS} is there; copy the whole folder")
    for name, expected in meta.files.items():
        try:
            actual = checksum(folder / Path(name).name)
        except OSError as error:
            raise RecordingError(f"recording {folder}: {name}: {error.strerror}; copy the whole folder") from None
        if actual != expected:
            raise RecordingError(
                f"recording {folder}: {name} is damaged ({actual.bytes} bytes where {expected.bytes} were written, "
                "or a checksum that differs); copy it again"
            )


def checksum(path: Path) -> FileChecksum:
    """Return size and CRC-32 of a file.

    Raises:
        OSError: it cannot be read.
    """
    return FileChecksum(path.stat().st_size, Disk().checksum(path))


class RecordingError(SourceError):
    """A recording, or a file to convert, cannot be read or written. The message names the file and the remedy."""
