"""Fast remote write of evenly spaced samples: requests are encoded once, and only times and values are put in."""

from __future__ import annotations

from collections.abc import Sequence

import cramjam
import httpx
import numpy as np

from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats

SERIES_PER_REQUEST = 5000
_SAMPLE = 18
"""Bytes of a Sample within its series: two tags with a length, a double, and six bytes of milliseconds."""
HEADERS = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, data: bytes) -> bytes:
    """A field of bytes as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(data)) + data


class WriteTemplate:
    """A `prometheus.WriteRequest` (prompb/remote.proto) of series with `points` samples each, without their values."""

    def __init__(self, metrics: Sequence[str], labels: Sequence[Labels], points: int) -> None:
        blank = (b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6)) * points
        parts, starts, size = [], [], 0
        for metric, own in zip(metrics, labels, strict=True):
            pairs = sorted((("__name__", metric), *own))
            head = b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in pairs)
            parts.append(field(1, head + blank))
            size += len(parts[-1])
            starts.append(size - len(blank))
        self._buffer = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
        self._at = np.array(starts)[:, None] + _SAMPLE * np.arange(points)

    def filled(self, times: Floats, values: Floats) -> bytes:
        """The request with samples at Unix seconds, shape (series, points), as compressed bytes."""
        self._buffer[self._at[:, :, None] + 3 + np.arange(8)] = (
            np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(*values.shape, 8)
        )
        milliseconds = np.rint(times * 1000).astype(np.int64)
        varints = (milliseconds[:, None] >> 7 * np.arange(6)) & 0x7F
        varints[:, :5] |= 0x80
        self._buffer[self._at[:, :, None] + 12 + np.arange(6)] = varints.astype(np.uint8)
        return bytes(cramjam.snappy.compress_raw(self._buffer.tobytes()))


def write(client: httpx.Client, url: str, body: bytes) -> None:
    """Send a request to the server; raises httpx.HTTPStatusError if it refuses it."""
    client.post(f"{url}/api/v1/write", content=body, headers=HEADERS).raise_for_status()
