"""Conversion of recordings from and to OpenMetrics text with timestamps and OTLP JSON lines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.recording import openmetrics
from foreshock_dashboard.recording.atomic_files import new_file
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.renamed_metrics import current_names
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError, decode_json, encode_json

MAX_OTLP_LINE_BYTES = 64 << 20
"""Larger than any request that a receiver accepts."""
Progress = Callable[[str, float], None]
"""Called with the current task and its completed ratio (0…1)."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Numbers of converted samples and spans, of series renamed from 0.1, of samples counted from spans, and of
    rejected spans by reason."""

    samples: int = 0
    spans: int = 0
    renamed: int = 0
    counted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def import_files(metrics: Path | None, spans: Path | None, out: Path, progress: Progress) -> Converted:
    """Write a recording from an OpenMetrics file, a file of OTLP JSON lines, or both.

    Spans become metrics as well, except those that the samples already have.

    Raises:
        RecordingError: a file cannot be read (the message gives its line), or the folder cannot be written.
    """
    rejected: Counter[str] = Counter()
    counted = 0
    sample_count = span_count = renamed = 0
    with RecordingWriter(out, RecordingMeta()) as writer:

        def series(metric: str, labels: Labels) -> int:
            nonlocal renamed
            current = current_names(metric, labels)
            renamed += current != (metric, labels)
            return writer.series(*current)

        if metrics is not None:
            with _open(metrics) as (file, size):
                for batch in openmetrics.parse(file, str(metrics), series):
                    writer.add(*batch)
                    sample_count += len(batch.series)
                    progress(f"reading {metrics.name}", file.tell() / size)
        if spans is not None:
            with _open(spans) as (file, size):
                for request in parse_otlp_lines(file, str(spans)):
                    writer.add_spans(request.spans)
                    rejected.update(request.reasons)
                    span_count += len(request.spans)
                    progress(f"reading {spans.name}", file.tell() / size)
        if not sample_count and not span_count:
            names = " and ".join(str(path) for path in (metrics, spans) if path is not None)
            raise RecordingError(f"{names}: neither a sample nor a span is in there; nothing was written")
        if span_count:
            progress("counting spans", 1.0)
            counted = writer.count_spans()
        progress("sorting", 1.0)
    return Converted(sample_count, span_count, renamed, counted, rejected)


def export(recording: Recording, metrics: Path | None, spans: Path | None, progress: Progress) -> Converted:
    """Write a recording's samples as OpenMetrics and its spans as OTLP JSON lines, to files that do not exist yet.

    Raises:
        RecordingError: a file exists or cannot be written, or the recording cannot be read.
    """
    sample_count = span_count = 0
    if metrics is not None:
        with new_file(metrics) as file:
            for count in openmetrics.write(recording, file):
                sample_count += count
                progress(f"writing {metrics.name}", sample_count / max(1, recording.meta.samples))
    if spans is not None:
        with new_file(spans) as file:
            for batch in recording.spans():
                file.write(encode_json(batch) + b"\n")
                span_count += len(batch)
                progress(f"writing {spans.name}", span_count / max(1, recording.meta.spans))
    return Converted(sample_count, span_count)


def parse_otlp_lines(file: IO[bytes], name: str) -> Iterator[DecodedRequest]:
    """Yield the spans of each line: one JSON ExportTraceServiceRequest, as the Collector's file exporter writes it.

    Lines of metrics or logs hold no spans.

    Raises:
        RecordingError: a line is not a request. The message gives file and line.
    """
    for number, line in enumerate(iter(lambda: file.readline(MAX_OTLP_LINE_BYTES + 1), b""), 1):
        if len(line) > MAX_OTLP_LINE_BYTES:
            limit = f"{MAX_OTLP_LINE_BYTES >> 20} MiB"
            raise RecordingError(f"{name}:{number}: the line is longer than {limit}: that is not a request")
        if not line.strip():
            continue
        try:
            yield decode_json(line)
        except MalformedError as error:
            raise RecordingError(f"{name}:{number}: {error}; is it of the Collector's file exporter?") from None


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Give a file to read, and its size (at least 1).

    Raises:
        RecordingError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file, max(1, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None
