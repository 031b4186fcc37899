"""Samples of many series in few bytes: differences of small whole numbers, which xz compresses well.

Series of one scrape target share its scrape times. Counters of histogram buckets mostly stay or grow by a few, so that
a difference takes two bits on average, where Parquet needs nine.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.store.samples.promql_functions import Ints

SCALE = 10_000
"""Values that are not whole are rounded to 1/`SCALE`: sums of seconds to 0.1 ms, ratios to 0.01%."""
MAX_EXACT = 2.0**53 / SCALE
"""Larger values, and those that are not finite, are kept as their bits."""
TARGET_LABELS = ("job", "instance")
ESCAPE = 255
"""A difference that needs more than a byte."""


class SeriesSamples(NamedTuple):
    """All samples of a series: times in ms, ascending, and values."""

    metric: str
    labels: Labels
    times: Ints
    values: Floats


def encode(series: Iterable[SeriesSamples]) -> bytes:
    """The samples as bytes. Values are rounded (`SCALE`)."""
    targets: dict[tuple[str, ...], list[SeriesSamples]] = {}
    for one in sorted(series, key=lambda item: item[:2]):
        labels = dict(one.labels)
        targets.setdefault(tuple(labels.get(name, "") for name in TARGET_LABELS), []).append(one)
    names, scales, times, present, differences = [], [], [], [], []
    for members in targets.values():
        grid = np.unique(np.concatenate([one.times for one in members]))
        times.append(grid)
        for one in members:
            scale, whole = _whole_numbers(one.values)
            scales.append(scale)
            present.append(np.packbits(np.isin(grid, one.times)))
            differences.append(np.diff(whole, prepend=0))
        names.append([(one.metric, dict(one.labels)) for one in members])
    small, large = _escaped(_joined(differences))
    file = io.BytesIO()
    np.savez(
        file,
        names=np.frombuffer(orjson.dumps(names), np.uint8),
        scales=np.array(scales, np.int32),
        scrapes=np.array([len(grid) for grid in times], np.int64),
        times=np.diff(_joined(times), prepend=0),
        present=np.concatenate([*present, np.empty(0, np.uint8)]),
        small=small,
        large=large,
    )
    return lzma.compress(file.getvalue(), preset=9)


def decode(content: bytes) -> Iterator[SeriesSamples]:
    """The samples of `encode`.

    Raises:
        ValueError, lzma.LZMAError: the bytes are others.
    """
    with np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False) as arrays:
        names = orjson.loads(arrays["names"].tobytes())
        scales, scrapes, present = arrays["scales"], arrays["scrapes"], arrays["present"]
        times = np.cumsum(arrays["times"])
        differences = _unescaped(arrays["small"], arrays["large"])
    number, byte, first = 0, 0, 0
    for members, grid in zip(names, np.split(times, np.cumsum(scrapes)), strict=False):  # the last part is empty
        size = -(-len(grid) // 8)
        for metric, labels in members:
            here = np.unpackbits(present[byte : byte + size], count=len(grid)).astype(bool)
            last = first + int(here.sum())
            values = _values(np.cumsum(differences[first:last]), int(scales[number]))
            yield SeriesSamples(metric, labels_of(labels), grid[here], values)
            number, byte, first = number + 1, byte + size, last


def _whole_numbers(values: Floats) -> tuple[int, Ints]:
    """Scale and scaled values; scale 0 are the bits."""
    if not np.all(np.abs(values) < MAX_EXACT):  # NaN as well
        return 0, values.view(np.int64)
    scale = 1 if np.all(values == np.rint(values)) else SCALE
    return scale, np.rint(values * scale).astype(np.int64)


def _values(whole: Ints, scale: int) -> Floats:
    return whole / scale if scale else whole.view(np.float64)


def _escaped(differences: Ints) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bytes of small differences with their sign in the lowest bit, and the other ones, byte by byte (8, number)."""
    unsigned = ((differences << 1) ^ (differences >> 63)).view(np.uint64)
    is_large: Bools = unsigned >= ESCAPE
    large = unsigned[is_large].view(np.uint8).reshape(-1, 8).T
    return np.where(is_large, ESCAPE, unsigned).astype(np.uint8), np.ascontiguousarray(large)


def _unescaped(small: NDArray[np.uint8], large: NDArray[np.uint8]) -> Ints:
    unsigned = small.astype(np.uint64)
    unsigned[small == ESCAPE] = np.ascontiguousarray(large.T).reshape(-1).view(np.uint64)
    one = np.uint64(1)
    return (unsigned >> one).view(np.int64) ^ -(unsigned & one).view(np.int64)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([*parts, np.empty(0, np.int64)])
