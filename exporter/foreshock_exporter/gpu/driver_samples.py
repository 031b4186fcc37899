"""What the driver's own samples say of a GPU's time, so that a burst between two looks is not missed. Pure.

NVML keeps samples of utilisation at a period of 1/6 s to 1 s, by product (nvml.h, `nvmlSamplingType_t`), each the share
of the time since the one before it. Their timestamps come from a clock that need not be ours, and are only compared
with one another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample

MAX_PERIOD_SECONDS = 1.5
"""Seconds. What lies further before a sample is no part of it: the GPU was idle, and the driver kept no samples."""
_DILUTED = 0.25
"""By how much the time of a mean may exceed its stretch: samples of device and processes do not fall together."""
DEFAULT_PERIOD_SECONDS = 1 / 6
"""Seconds a sample is taken to cover until two that follow one another have shown it."""


class Interval(NamedTuple):
    """A stretch of time and the share of it during which a kernel ran."""

    seconds: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next samples are measured from. `newest_us` is None until one has been seen; `period` in seconds."""

    newest_us: int | None = None
    period: float = DEFAULT_PERIOD_SECONDS


class Intervals(NamedTuple):
    """The mark after some samples, what they tell, and how many of them were implausible."""

    mark: Cursor
    pieces: tuple[Interval, ...]
    dropped: int


def new_intervals(mark: Cursor, samples: Iterable[UtilizationSample]) -> Intervals:
    """Turn samples into stretches of time; the first ever seen only sets the mark.

    Repeated samples and those older than the mark are left out. Shares beyond 0…1 are dropped and counted.
    """
    pieces: list[Interval] = []
    dropped = 0
    newest, period = mark.newest_us, mark.period
    first = newest is None
    for timestamp_us, ratio in samples:
        if not 0.0 <= ratio <= 1.0 or timestamp_us <= 0:
            dropped += 1
            continue
        if newest is not None and timestamp_us <= newest:
            continue
        if not first and newest is not None:
            gap = (timestamp_us - newest) / 1e6
            if gap <= MAX_PERIOD_SECONDS:
                period = gap
            pieces.append(Interval(period, ratio))
        newest = timestamp_us
    return Intervals(Cursor(newest, period), tuple(pieces), dropped)


def merged(pieces: Sequence[Interval]) -> Interval:
    """Several stretches as one, with their mean share."""
    seconds = sum(piece.seconds for piece in pieces)
    busy = sum(piece.seconds * piece.ratio for piece in pieces)
    return Interval(seconds, busy / seconds if seconds > 0.0 else 0.0)


def recent(
    entries: Sequence[ProcessUtilization], newest_us: int | None, piece: Interval | None
) -> Sequence[ProcessUtilization]:
    """The entries of a stretch among those that a driver gives when it is asked from time 0.

    It then also gives what is left of processes that stopped long ago. Those of the stretch lie near `newest_us`, the
    newest sample of the device; where there is none, or its clock is another, none is taken.
    """
    if newest_us is None or piece is None:
        return ()
    reach = max(piece.seconds, MAX_PERIOD_SECONDS) * 1e6
    return [entry for entry in entries if abs(entry.timestamp_us - newest_us) <= reach]


def rescaled(entries: Sequence[ProcessUtilization], since_us: int, piece: Interval) -> Sequence[ProcessUtilization]:
    """The entries as shares of the stretch that they belong to, where they are means over a longer time.

    A driver gives means since the time it was asked for. If the GPU rested before the stretch, that time lies before
    the rest. What the processes used in all is then theirs within the stretch; together they used no more of it than
    the device was busy.
    """
    longest = max((entry.timestamp_us for entry in entries), default=0)
    factor = (longest - since_us) / 1e6 / piece.seconds if since_us > 0 and piece.seconds > 0.0 else 1.0
    if factor <= 1.0 + _DILUTED:
        return entries
    means: dict[int, list[float]] = {}
    for entry in entries:
        means.setdefault(entry.pid, []).append(entry.sm_ratio)
    together = factor * sum(sum(ratios) / len(ratios) for ratios in means.values())
    factor *= min(1.0, piece.ratio / together) if together > 0.0 else 1.0
    return [entry._replace(sm_ratio=entry.sm_ratio * max(1.0, factor)) for entry in entries]


@dataclass(frozen=True, slots=True)
class BusyHistogram:
    """How the samples of a GPU are distributed: counts by bucket (one more than `bounds`), and the sum of shares."""

    counts: tuple[int, ...]
    sum: float = 0.0


def observed(bursts: BusyHistogram, pieces: Iterable[Interval], bounds: Sequence[float]) -> BusyHistogram:
    """The distribution after more samples; a share equal to a bound belongs below it, as in Prometheus."""
    counts = list(bursts.counts)
    total = bursts.sum
    for piece in pieces:
        counts[bisect_left(bounds, piece.ratio)] += 1
        total += piece.ratio
    return BusyHistogram(tuple(counts), total)
