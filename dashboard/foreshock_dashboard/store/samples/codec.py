"""Encoding of samples: scrapes to row batches, and row batches to WAL payloads and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.store.blocks.format import Columns, RowBatch
from foreshock_dashboard.store.samples.series_index import SeriesIndex

_COMPRESSION_LEVEL = 1
_ROW_BYTES = 24
_MAX_TIME_SECONDS = 1e12
_CompressionError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an exception

SAMPLE_COLUMNS = {"metric": "INTEGER", "series": "INTEGER", "time": "BIGINT", "bits": "BIGINT"}
"""DuckDB types of the columns. `time` is in ms; `bits` is the bit pattern of the float64, which keeps staleness markers
intact in every encoding."""


def sample_rows(batches: Sequence[SampleBatch], index: SeriesIndex) -> RowBatch:
    """Return the rows of scrapes; those beyond the index's limit are refused. Raises ValueError for an invalid time."""
    series = [(sample.metric, sample.labels) for batch in batches for sample in batch.samples]
    refs = np.array(index.intern(series), dtype=np.int32)
    values = np.array([sample.value for batch in batches for sample in batch.samples], dtype=np.float64)
    scrape_times = np.array([_milliseconds(batch) for batch in batches], dtype=np.int64)
    times = np.repeat(scrape_times, [len(batch.samples) for batch in batches])
    return _row_batch(refs, times, values.view(np.int64), index)


def _milliseconds(batch: SampleBatch) -> int:
    if not (math.isfinite(batch.time) and abs(batch.time) < _MAX_TIME_SECONDS):
        raise ValueError(f"target {batch.target}: a scrape's time cannot be {batch.time}")
    return round(batch.time * 1000)


def _row_batch(refs: NDArray[np.int32], times: NDArray[Any], bits: NDArray[Any], index: SeriesIndex) -> RowBatch:
    accepted = refs >= 0
    refused = int(len(refs) - np.count_nonzero(accepted))
    if refused:
        refs, times, bits = refs[accepted], times[accepted], bits[accepted]
    metric = np.fromiter(map(index.metric_refs.__getitem__, refs.tolist()), np.int32, len(refs))
    start, end = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    columns: Columns = {"metric": metric, "series": refs, "time": times, "bits": bits}
    return RowBatch(columns, len(refs), start, end, _ROW_BYTES * len(refs), refused)


def pack_samples(batch: RowBatch, index: SeriesIndex) -> bytes:
    """Return the WAL payload of a batch: each series' text once, then series numbers, times and bit patterns."""
    refs, local = np.unique(batch.columns["series"], return_inverse=True)
    texts = index.texts
    names = "\n".join([texts[ref] for ref in refs.tolist()]).encode()  # the texts are JSON without line feeds
    parts = (
        struct.pack("<II", len(names), batch.rows),
        names,
        local.astype("<i4").tobytes(),
        batch.columns["time"].astype("<i8").tobytes(),
        batch.columns["bits"].astype("<i8").tobytes(),
    )
    return isal_zlib.compress(b"".join(parts), _COMPRESSION_LEVEL)


def unpack_samples(payload: bytes, index: SeriesIndex) -> RowBatch:
    """Inverse of `pack_samples`. Raises ValueError if the payload is malformed."""
    try:
        body = isal_zlib.decompress(payload)
        length, rows = struct.unpack_from("<II", body)
        names = body[8 : 8 + length].decode().split("\n")
        offset = 8 + length
        local = np.frombuffer(body, "<i4", rows, offset)
        times = np.frombuffer(body, "<i8", rows, offset + 4 * rows)
        bits = np.frombuffer(body, "<i8", rows, offset + 12 * rows)
        refs = np.array(index.intern_texts(names) if length else [], np.int32)
        series = refs[local] if rows else np.empty(0, np.int32)
    except (_CompressionError, struct.error, IndexError, TypeError) as error:
        raise ValueError(f"not a row of samples: {error}") from error
    return _row_batch(series, times, bits, index)
