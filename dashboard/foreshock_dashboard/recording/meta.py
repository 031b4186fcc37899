"""`meta.json`: what a recording says of itself."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.errors import RecordingError

FORMAT = "foreshock-recording"
VERSION = 1
META, METRICS, SPANS, TRUTH = "meta.json", "metrics.parquet", "spans.parquet", "truth.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """Size in bytes and CRC-32 of a file."""

    bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class RecordingMeta:
    """A recording's own words. Times in Unix seconds; None where it does not say.

    `start`, `end`: of its samples, or of its spans where it has no samples. `scrape_interval` in seconds. `files` are
    checked where they are named; a recording that some other tool wrote need not name any.
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
    files: dict[str, Checked] = field(default_factory=dict)


def dump(meta: RecordingMeta) -> bytes:
    """The bytes of the file."""
    body: Json = {"format": FORMAT, "version": VERSION}
    body |= {name: getattr(meta, name) for name in RecordingMeta.__slots__ if name != "files"}
    body["files"] = {name: {"bytes": of.bytes, "crc32": f"{of.crc32:08x}"} for name, of in meta.files.items()}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read(folder: Path) -> RecordingMeta:
    """Read a folder's `meta.json`, and compare with it the files that it names.

    Raises:
        RecordingError: the folder is no recording, one of a newer version, half-written or damaged.
    """
    if not folder.is_dir():
        raise RecordingError(f"recording {folder}: there is no such folder")
    try:
        found = orjson.loads((folder / META).read_bytes())
    except FileNotFoundError:
        half = (folder / METRICS).exists() or (folder / SPANS).exists()
        why = f"it has no {META}: it was not written to its end; record or import it again" if half else _FOREIGN
        raise RecordingError(f"recording {folder}: {why}") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RecordingError(f"recording {folder}: {META} cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RecordingError(f"recording {folder}: {_FOREIGN}")
    if found.get("version") != VERSION:
        raise RecordingError(
            f"recording {folder}: it has version {found.get('version')!r}, and this foreshock reads {VERSION}; "
            "use the one that wrote it"
        )
    try:
        meta = _meta(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"recording {folder}: {META} says what makes no sense: {error}") from None
    _check(folder, meta)
    return meta


_FOREIGN = f'it is no recording: those have a {META} with "format": "{FORMAT}"'


def _meta(found: Json) -> RecordingMeta:
    return RecordingMeta(
        start=_number(found, "start"),
        end=_number(found, "end"),
        scenario=None if found.get("scenario") is None else str(found["scenario"]),
        seed=None if found.get("seed") is None else int(found["seed"]),
        simulated=bool(found.get("simulated", False)),
        scrape_interval=_number(found, "scrape_interval"),
        span_sampling=_number(found, "span_sampling"),
        **{name: int(found.get(name) or 0) for name in ("samples", "series", "spans")},
        files={
            name: Checked(int(of["bytes"]), int(of["crc32"], 16)) for name, of in (found.get("files") or {}).items()
        },
    )


def _number(found: Json, key: str) -> float | None:
    value: Any = found.get(key)
    return None if value is None else float(value)


def _check(folder: Path, meta: RecordingMeta) -> None:
    if not any((folder / name).exists() for name in (METRICS, SPANS)):
        raise RecordingError(f"recording {folder}: neither {METRICS} nor {SPANS} is there; copy the whole folder")
    for name, wanted in meta.files.items():
        try:
            actual = checked(folder / Path(name).name)
        except OSError as error:
            raise RecordingError(f"recording {folder}: {name}: {error.strerror}; copy the whole folder") from None
        if actual != wanted:
            raise RecordingError(
                f"recording {folder}: {name} is damaged ({actual.bytes} bytes where {wanted.bytes} were written, or a "
                "checksum that differs); copy it again"
            )


def checked(path: Path) -> Checked:
    """Size and CRC-32 of a file.

    Raises:
        OSError: it cannot be read.
    """
    crc = size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return Checked(size, crc)
