"""Reads requests of Prometheus' remote write, version 1.

https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

import cramjam

from foreshock_dashboard.model.samples import Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.prometheus.text_format import MAX_LABEL_CHARACTERS, MAX_LABELS

MAX_BYTES = 4 << 20
"""Largest request after decompression; Prometheus sends 2,000 samples by default, some 100 KiB."""
MAX_AGE_SECONDS, MAX_AHEAD_SECONDS = 3600.0, 60.0
"""A sample may be that much older or newer than the hub's time."""
TARGET = "remote write"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
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
    rejected: Counter[str] = Counter()
    by_time: dict[float, list[Sample]] = {}
    for number, value in _fields(memoryview(data)):
        if number != _SERIES or not isinstance(value, memoryview):
            continue
        pairs, samples = _series(value)
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
    pairs, samples = {}, []
    for number, value in _fields(data):
        if number == _LABELS and isinstance(value, memoryview):
            fields = dict(_fields(value))
            name, text = (bytes(fields.get(key, b"")).decode() for key in (1, 2))  # type: ignore[arg-type]  # bytes
            pairs[name] = text
        elif number == _SAMPLES and isinstance(value, memoryview):
            fields = dict(_fields(value))
            amount, milliseconds = fields.get(1, 0.0), fields.get(2, 0)
            if isinstance(amount, float) and isinstance(milliseconds, int):
                samples.append((milliseconds / 1000, amount))
    return pairs, samples


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int | float]]:
    """Number and value of each field of a protobuf message. Raises ValueError if it is malformed."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        kind = tag & 7
        value: memoryview | int | float | None = None
        if kind == _VARINT:
            value, position = _varint(data, position)
        elif kind == _FIXED64 and position + 8 <= end:
            (value,) = struct.unpack_from("<d", data, position)
            position += 8
        elif kind == _BYTES:
            size, position = _varint(data, position)
            value = data[position : position + size]
            position += size
        elif kind == _FIXED32:
            position += 4
            value = 0
        if value is None or position > end:
            raise ValueError(f"not a WriteRequest: byte {position} of {end}")
        yield tag >> 3, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    raise ValueError("not a WriteRequest: a number that does not end")
