"""Samples ↔ the bytes of an inbox row, and the columns that DuckDB takes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.store.blocks.chunk import Chunk, Columns
from foreshock_dashboard.store.samples.series import SeriesIndex

_LEVEL = 1
_Error: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an exception

SAMPLE_COLUMNS = {"metric": "INTEGER", "series": "INTEGER", "time": "BIGINT", "bits": "BIGINT"}
"""`time` in ms; `bits` is the float64's bit pattern, so that a staleness marker stays one in every encoding."""


def sample_chunk(batches: Sequence[SampleBatch], index: SeriesIndex) -> Chunk:
    """Columns of scrapes. Series beyond the index's limit are refused and counted.

    Raises:
        ValueError: a batch's time is no time.
    """
    named = [(sample.metric, sample.labels) for batch in batches for sample in batch.samples]
    series = np.array(index.intern(named), dtype=np.int32)
    values = np.array([s.value for batch in batches for s in batch.samples], dtype=np.float64)
    times = np.repeat(
        np.array([_milliseconds(batch) for batch in batches], dtype=np.int64), [len(b.samples) for b in batches]
    )
    return _sample_chunk(series, times, values.view(np.int64), index)


def _milliseconds(batch: SampleBatch) -> int:
    if not (math.isfinite(batch.time) and abs(batch.time) < 1e12):
        raise ValueError(f"target {batch.target}: a scrape's time cannot be {batch.time}")
    return round(batch.time * 1000)


def _sample_chunk(series: NDArray[np.int32], times: NDArray[Any], bits: NDArray[Any], index: SeriesIndex) -> Chunk:
    taken = series >= 0
    refused = int(len(series) - np.count_nonzero(taken))
    if refused:
        series, times, bits = series[taken], times[taken], bits[taken]
    metric = np.fromiter(map(index.metric_of.__getitem__, series.tolist()), np.int32, len(series))
    start, end = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    columns: Columns = {"metric": metric, "series": series, "time": times, "bits": bits}
    return Chunk(columns, len(series), start, end, 24 * len(series), refused)


def pack_samples(chunk: Chunk, index: SeriesIndex) -> bytes:
    """Bytes of an inbox row: the series' texts once each, then numbers, times and bit patterns."""
    used, local = np.unique(chunk.columns["series"], return_inverse=True)
    texts = index.texts
    names = "\n".join([texts[number] for number in used.tolist()]).encode()  # JSON texts hold no line feed
    body = (
        struct.pack("<II", len(names), chunk.rows),
        names,
        local.astype("<i4").tobytes(),
        chunk.columns["time"].astype("<i8").tobytes(),
        chunk.columns["bits"].astype("<i8").tobytes(),
    )
    return isal_zlib.compress(b"".join(body), _LEVEL)


def unpack_samples(payload: bytes, index: SeriesIndex) -> Chunk:
    """The reverse.

    Raises:
        ValueError: these are not such bytes.
    """
    try:
        body = isal_zlib.decompress(payload)
        length, rows = struct.unpack_from("<II", body)
        names = body[8 : 8 + length].decode().split("\n")
        at = 8 + length
        local = np.frombuffer(body, "<i4", rows, at)
        times = np.frombuffer(body, "<i8", rows, at + 4 * rows)
        bits = np.frombuffer(body, "<i8", rows, at + 12 * rows)
        known = np.array(index.intern_texts(names) if length else [], np.int32)
        series = known[local] if rows else np.empty(0, np.int32)
    except (_Error, struct.error, IndexError, TypeError) as error:
        raise ValueError(f"not a row of samples: {error}") from error
    return _sample_chunk(series, times, bits, index)
