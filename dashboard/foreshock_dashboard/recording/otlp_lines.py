"""Spans as the Collector's file exporter writes them: one JSON ExportTraceServiceRequest a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError, decode_json, encode_json

MAX_LINE = 64 << 20
"""Bytes of a line: a request larger than what a receiver takes was sent by nobody."""


def parse(file: IO[bytes], where: str) -> Iterator[DecodedRequest]:
    """What each line holds; one of metrics or logs holds no spans.

    Raises:
        RecordingError: a line is no request. The message gives file and line.
    """
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise RecordingError(f"{where}:{number}: the line is longer than {MAX_LINE >> 20} MiB: that is no request")
        if not line.strip():
            continue
        try:
            yield decode_json(line)
        except MalformedError as error:
            raise RecordingError(f"{where}:{number}: {error}; is it of the Collector's file exporter?") from None


def write(recording: Recording, file: IO[bytes], told: Callable[[int], None] = lambda _: None) -> int:
    """Write all spans, some thousand a line; gives their number, and tells it now and then."""
    count = 0
    for spans in recording.spans():
        file.write(encode_json(spans) + b"\n")
        count += len(spans)
        told(count)
    return count
