"""Conversion of the driver's utilization samples to busy intervals, so that short bursts are counted. Pure.

NVML keeps samples at a period of 1/6 s to 1 s, depending on the product (nvml.h, `nvmlSamplingType_t`). Each sample is
the busy share since the previous one. Timestamps come from the driver's clock and are only compared with each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample

MAX_PERIOD_SECONDS = 1.5
"""Longest period of one sample. Time further before a sample was idle: the driver kept no samples."""
_MAX_EXCESS_RATIO = 0.25
"""Tolerated excess of a process mean's duration over the interval, relative to the interval."""
DEFAULT_PERIOD_SECONDS = 1 / 6
"""Assumed sample period until two consecutive samples are seen."""


class Interval(NamedTuple):
    """Duration in seconds and the share of it during which a kernel ran."""

    seconds: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """Timestamp of the newest sample seen (None before the first) and the sample period in seconds."""

    newest_us: int | None = None
    period: float = DEFAULT_PERIOD_SECONDS


class Intervals(NamedTuple):
    """New cursor, intervals, and number of implausible samples."""

    cursor: Cursor
    intervals: tuple[Interval, ...]
    dropped: int


def new_intervals(cursor: Cursor, samples: Iterable[UtilizationSample]) -> Intervals:
    """Convert samples to intervals. The first sample ever seen only sets the cursor.

    Samples not newer than the cursor are skipped. Ratios outside 0 to 1 are dropped and counted.
    """
    intervals: list[Interval] = []
    dropped = 0
    newest, period = cursor.newest_us, cursor.period
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
            intervals.append(Interval(period, ratio))
        newest = timestamp_us
    return Intervals(Cursor(newest, period), tuple(intervals), dropped)


def merged(intervals: Sequence[Interval]) -> Interval:
    """One interval with the total duration and the mean ratio."""
    seconds = sum(interval.seconds for interval in intervals)
    busy = sum(interval.seconds * interval.ratio for interval in intervals)
    return Interval(seconds, busy / seconds if seconds > 0.0 else 0.0)


def recent(
    entries: Sequence[ProcessUtilization], newest_us: int | None, interval: Interval | None
) -> Sequence[ProcessUtilization]:
    """Entries near the newest device sample. Used for the first request, with time 0.

    Such a request also returns entries of processes that ended long ago. Without a device sample to compare with, no
    entry is used.
    """
    if newest_us is None or interval is None:
        return ()
    reach = max(interval.seconds, MAX_PERIOD_SECONDS) * 1e6
    return [entry for entry in entries if abs(entry.timestamp_us - newest_us) <= reach]


def rescaled(entries: Sequence[ProcessUtilization], since_us: int, interval: Interval) -> Sequence[ProcessUtilization]:
    """Entries as shares of `interval` if they are means over a longer time.

    The driver returns means since the requested time, which includes idle time before the interval. Shares are scaled
    up to the interval, together at most to the device's busy ratio.
    """
    newest_entry_us = max((entry.timestamp_us for entry in entries), default=0)
    factor = (newest_entry_us - since_us) / 1e6 / interval.seconds if since_us > 0 and interval.seconds > 0.0 else 1.0
    if factor <= 1.0 + _MAX_EXCESS_RATIO:
        return entries
    means: dict[int, list[float]] = {}
    for entry in entries:
        means.setdefault(entry.pid, []).append(entry.sm_ratio)
    total_ratio = factor * sum(sum(ratios) / len(ratios) for ratios in means.values())
    factor *= min(1.0, interval.ratio / total_ratio) if total_ratio > 0.0 else 1.0
    return [entry._replace(sm_ratio=entry.sm_ratio * max(1.0, factor)) for entry in entries]


@dataclass(frozen=True, slots=True)
class BusyHistogram:
    """Samples per bucket, not cumulative (one more than the bounds), and the sum of ratios."""

    counts: tuple[int, ...]
    sum: float = 0.0


def observed(busy_histogram: BusyHistogram, intervals: Iterable[Interval], bounds: Sequence[float]) -> BusyHistogram:
    """Histogram after the given intervals. A ratio equal to a bound is in the bucket below, as in Prometheus."""
    counts = list(busy_histogram.counts)
    total = busy_histogram.sum
    for interval in intervals:
        counts[bisect_left(bounds, interval.ratio)] += 1
        total += interval.ratio
    return BusyHistogram(tuple(counts), total)
