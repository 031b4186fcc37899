"""Reads requests of Prometheus' remote write, version 1.

https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

import cramjam
from google.protobuf.message import DecodeError

from foreshock_dashboard.ingest.otlp.wire_format import BYTES, FIXED64, VARINT, fields
from foreshock_dashboard.model.samples import (
    MAX_LABEL_CHARACTERS,
    MAX_LABELS,
    Labels,
    Sample,
    SampleBatch,
    labels_of,
)

MAX_BYTES = 4 << 20
"""Largest request after decompression; Prometheus sends 2,000 samples by default, some 100 KiB."""
MAX_AGE_SECONDS, MAX_AHEAD_SECONDS = 3600.0, 60.0
"""A sample may be that much older or newer than the hub's time."""
TARGET = "remote write"
_SERIES, _LABELS, _SAMPLES = 1, 1, 2


def decode_write_request(body: bytes, now: float) -> tuple[list[SampleBatch], Counter[str]]:
    """The samples of a WriteRequest, compressed with Snappy, by time; and the rejected ones by reason.

    now: Unix seconds. Exemplars, native histograms, and metadata are left out.

    Raises:
        ValueError: it is not such a request, or is larger than `MAX_BYTES`.
    """
    try:
        if cramjam.snappy.decompress_raw_len(body) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB after decompression; lower max_samples_per_send")
        data = bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise ValueError(f"not compressed with Snappy: {error}") from error
    try:
        return _by_time(memoryview(data), now)
    except DecodeError as error:
        raise ValueError(f"not a WriteRequest: {error}") from error


def _by_time(data: memoryview, now: float) -> tuple[list[SampleBatch], Counter[str]]:
    rejected: Counter[str] = Counter()
    by_time: dict[float, list[Sample]] = {}
    for series in _messages(data, _SERIES):
        pairs, samples = _series(series)
        name, labels = pairs.pop("__name__", ""), labels_of(pairs)
        reason = _problem(name, labels)
        for time, amount in samples:
            if reason or not now - MAX_AGE_SECONDS <= time <= now + MAX_AHEAD_SECONDS:
                rejected[reason or "time too far from the hub's"] += 1
            else:
                by_time.setdefault(time, []).append(Sample(name, labels, amount))
    return [SampleBatch(time, TARGET, tuple(samples)) for time, samples in by_time.items()], rejected


def _problem(name: str, labels: Labels) -> str:
    if not name:
        return "no name"
    if len(labels) > MAX_LABELS or any(len(text) > MAX_LABEL_CHARACTERS for pair in labels for text in pair):
        return "too many or too long labels"
    return ""


def _series(data: memoryview) -> tuple[dict[str, str], list[tuple[float, float]]]:
    """Labels, and samples as Unix seconds and value, of a TimeSeries."""
    labels = [{number: value for number, _, value in fields(label)} for label in _messages(data, _LABELS)]
    pairs = {_text(label.get(1, b"")): _text(label.get(2, b"")) for label in labels}
    samples = []
    for sample in _messages(data, _SAMPLES):
        found = {(number, wire_type): value for number, wire_type, value in fields(sample)}
        (amount,) = struct.unpack("<d", found.get((1, FIXED64), bytes(8)))  # type: ignore[arg-type]  # eight bytes
        samples.append((found.get((2, VARINT), 0) / 1000, amount))  # type: ignore[operator]  # an int
    return pairs, samples


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    return (value for found, kind, value in fields(data) if found == number and kind == BYTES)  # type: ignore[misc]


def _text(value: memoryview | int | bytes) -> str:
    if isinstance(value, int):
        raise DecodeError("a label that is a number")
    return bytes(value).decode()
