"""Recordings from and to what other tools read: OpenMetrics with times, and OTLP's JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from foreshock_dashboard.recording import openmetrics, otlp_lines
from foreshock_dashboard.recording.atomic_files import sync
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of it (0…1) is over."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What an import or export has taken over; `rejected` spans by reason."""

    samples: int = 0
    spans: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def import_files(metrics: Path | None, spans: Path | None, out: Path, progress: Progress) -> Converted:
    """Make a recording of an OpenMetrics file and a file of OTLP requests, either of which may be None.

    Raises:
        RecordingError: a file cannot be read (the message gives its line), or the folder cannot be written.
    """
    rejected: Counter[str] = Counter()
    count = told = 0
    with RecordingWriter(out, RecordingMeta()) as writer:
        if metrics is not None:
            with open_file(metrics) as (file, size):
                for found in openmetrics.parse(
                    file, str(metrics), writer.series, lambda at: progress(f"reading {metrics.name}", at / size)
                ):
                    writer.add(*found)
                    count += len(found.series)
        if spans is not None:
            with open_file(spans) as (file, size):
                for request in otlp_lines.parse(file, str(spans)):
                    writer.add_spans(request.spans)
                    rejected.update(request.reasons)
                    told += len(request.spans)
                    progress(f"reading {spans.name}", file.tell() / size)
        if not count and not told:
            names = " and ".join(str(path) for path in (metrics, spans) if path is not None)
            raise RecordingError(f"{names}: neither a sample nor a span is in there; nothing was written")
        progress("sorting", 1.0)
    return Converted(count, told, rejected)


def export(recording: Recording, metrics: Path | None, spans: Path | None, progress: Progress) -> Converted:
    """Write a recording's samples and spans; the files must not exist.

    Raises:
        RecordingError: a file exists or cannot be written, or the recording cannot be read.
    """
    count = told = 0
    if metrics is not None:
        with new_file(metrics) as file:
            whole = max(1, recording.meta.samples)
            count = openmetrics.write(recording, file, lambda at: progress(f"writing {metrics.name}", at / whole))
    if spans is not None:
        with new_file(spans) as file:
            whole_spans = max(1, recording.meta.spans)
            told = otlp_lines.write(recording, file, lambda at: progress(f"writing {spans.name}", at / whole_spans))
    return Converted(count, told)


@contextmanager
def open_file(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """A file to read, and its size (1 at least).

    Raises:
        RecordingError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file, max(1, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there, whole, once the block has ended well.

    Raises:
        RecordingError: it exists, or cannot be written.
    """
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    if path.exists():
        raise RecordingError(f"{path} exists; remove it or name another file")
    try:
        with part.open("xb") as file:
            yield file
        sync(part)
        part.rename(path)
        sync(path.absolute().parent)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
