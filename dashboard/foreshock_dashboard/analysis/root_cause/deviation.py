"""How far each signal is from its normal range, with respect to the number of requests behind it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.metric_kinds import is_number, is_share, is_unavailability
from foreshock_dashboard.analysis.root_cause.past_peaks import past_factors, sustained
from foreshock_dashboard.analysis.root_cause.signal_rows import MAX_SHARE, Entity, SignalRow
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.query import grid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.stats.robust import median, median_deviation, median_of_sorted, sorted_finite

NOTICED = ("latency", "errors", "traffic", "availability")
"""Kinds that users and callers of a service notice."""
LOGARITHMIC = ("latency", "traffic", "calls")
"""Kinds compared as ratios."""
MAX_BLOCK_VALUES = 16_000
"""Values of signals that are compared at once: their copies stay in a core's cache, and malloc reuses them."""


@dataclass(frozen=True, slots=True)
class AnalysisWindow:
    """Grid times (Unix seconds): those before index `baseline_end` are the baseline, from `first` on are analyzed.

    at: the time in question.
    """

    times: Floats
    baseline_end: int
    first: int
    at: float

    @property
    def step(self) -> float:
        """Seconds between grid points."""
        return float(self.times[1] - self.times[0])


def window_around(start: float, end: float, at: float, step: float) -> AnalysisWindow | None:
    """The grid points of the baseline and of the analyzed time around `at`, all in Unix seconds.

    None where the data, which begin at `start` and end at `end`, have too few points for a baseline.
    """
    before = min(use.BEFORE.at(step), max(0.0, (at - start) / 2))
    first = math.ceil((at - before) / step) * step
    available = (first - math.ceil(start / step) * step) / step
    if available < use.MIN_BASELINE_POINTS:
        return None
    gap = min(round(use.GAP.at(step) / step), max(0, int(available / 3) - use.MIN_BASELINE_POINTS))
    oldest = first - min(available, gap + use.BASELINE.points_at(step)) * step
    times = grid(oldest, max(first, min(end, at + use.AFTER.at(step))), step)
    place_of_first = int(np.searchsorted(times, first - step / 2))
    return AnalysisWindow(times, place_of_first - gap, place_of_first, at)


def window_of_incident(start: float, now: float, opened: float, step: float) -> AnalysisWindow | None:
    """The newest `AFTER` of an incident and the baseline before it opened, so that it never becomes its own baseline.

    None as in `window_around`.
    """
    window = window_around(start, now, opened, step)
    later = round((now - use.AFTER.at(step) - opened) / step)
    if window is None or later <= 0:
        return window
    times = grid(float(window.times[0]), now, step)
    return AnalysisWindow(times, window.baseline_end, window.first + later, opened + later * step)


@dataclass(frozen=True, slots=True)
class Deviations:
    """Deviation of each signal from its normal range, in the analyzed time.

    rows: the signals with a baseline. level: shape (rows,), in the signal's unit. values, counts (of
    requests, NaN if unknown), z: shape (rows, points); z is the distance from the level in scales, positive is worse
    for latency, errors, and availability, more for others. scale: shape (rows, 2), downwards and upwards, in logarithms
    for latency and traffic.
    """

    rows: tuple[SignalRow, ...]
    level: Floats
    values: Floats
    counts: Floats
    z: Floats
    scale: Floats
    freedom: Floats
    times: Floats
    step: float
    at: float
    by_entity: Mapping[Entity, Mapping[SignalKind, Sequence[int]]]


def excursion_start(signals: Sequence[SignalRow], window: AnalysisWindow, service: Service) -> float:
    """Unix seconds since when the latency or the errors of a service deviate at least half as much as at most.

    At most `window.at`, and not before the end of the baseline: without a break until then. Missing values are none.
    """
    noticed = [row for row in signals if row.entity == service and row.kind in ("latency", "errors")]
    z = deviations(noticed, replace(window, first=window.baseline_end)).z
    sizes = np.fmax.reduce(sustained(z, use.SUSTAINED.points_at(window.step)), axis=0, initial=np.nan)
    highest = np.fmax.reduce(sizes[window.first - window.baseline_end :], initial=0.0)
    times = window.times[window.baseline_end :]
    last = int(np.searchsorted(times, window.at, side="right")) - 1
    known = np.flatnonzero(np.isfinite(sizes[: last + 1]))
    is_excess = sizes[known] >= max(use.ANOMALOUS_Z, highest / 2)
    excess = known[np.logical_and.accumulate(is_excess[::-1])[::-1]]  # since the last normal value
    return float(times[excess[0] if len(excess) else last])


def deviations(signals: Sequence[SignalRow], window: AnalysisWindow) -> Deviations:
    """Compare each signal with its own past; those without enough points of it are left out."""
    analyzed = slice(window.first, len(window.times))
    by_kind: dict[SignalKind, list[SignalRow]] = defaultdict(list)
    noticed: dict[Service, list[SignalRow]] = defaultdict(list)
    for row in signals:
        by_kind[row.kind].append(row)
        if row.kind in NOTICED:
            noticed[row.entity if isinstance(row.entity, Service) else row.entity[1]].append(row)
    kept: list[SignalRow] = []
    shape = len(signals), len(window.times) - window.first
    values, numbers, z = np.empty(shape), np.empty(shape), np.empty(shape)
    level, scale, freedom = np.empty(len(signals)), np.empty((len(signals), 2)), np.empty(len(signals))
    for kind, rows in _blocks(by_kind, len(window.times)):
        stacked = _stacked([row.values for row in rows])
        if kind == "latency":
            stacked[~(stacked > 0)] = np.nan  # compared as logarithms
        past = stacked[:, : window.baseline_end]
        known = (np.isfinite(past).sum(axis=1) >= use.MIN_BASELINE_POINTS) & np.isfinite(stacked[:, analyzed]).any(
            axis=1
        )
        chosen = np.flatnonzero(known)
        if not len(chosen):
            continue
        if not known.all():
            rows, stacked = [rows[i] for i in chosen.tolist()], stacked[chosen]
        unknown = np.full(shape[1], np.nan)
        at = slice(len(kept), len(kept) + len(rows))
        counts = _stacked([unknown if row.counts is None else row.counts[analyzed] for row in rows])
        values[at], numbers[at] = stacked[:, analyzed], counts
        level[at], z[at], scale[at], freedom[at] = _compared(kind, rows, stacked, counts, window, noticed)
        kept += rows
    by_entity: dict[Entity, dict[SignalKind, list[int]]] = {}
    for i, row in enumerate(kept):
        by_entity.setdefault(row.entity, {}).setdefault(row.kind, []).append(i)
    found = slice(len(kept))
    return Deviations(
        tuple(kept), level[found], values[found], numbers[found], z[found], scale[found], freedom[found],
        window.times[analyzed], window.step, window.at, by_entity,
    )  # fmt: skip


def _stacked(series: Sequence[Floats]) -> Floats:
    """Series of one length as rows; faster than `np.stack` for many short ones."""
    joined: Floats = np.concatenate(series, dtype=np.float64)
    return joined.reshape(len(series), -1)


def _blocks(
    by_kind: Mapping[SignalKind, Sequence[SignalRow]], points: int
) -> Iterator[tuple[SignalKind, Sequence[SignalRow]]]:
    """The signals of each kind, in blocks unless the kind compares its signals with each other."""
    for kind, rows in by_kind.items():
        size = len(rows) if kind in use.GATE_WEIGHTS else max(1, MAX_BLOCK_VALUES // points)
        yield from ((kind, rows[first : first + size]) for first in range(0, len(rows), size))


def _compared(
    kind: SignalKind,
    rows: Sequence[SignalRow],
    values: Floats,
    counts: Floats,
    window: AnalysisWindow,
    noticed: Mapping[Service, Sequence[SignalRow]],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Level, z, scale, and degrees of freedom of signals of one kind. counts: of the analyzed time."""
    signs = np.ones(len(rows))
    if kind == "availability":
        signs = np.array([1.0 if is_unavailability(row.metric) else -1.0 for row in rows])
        values = values * signs[:, None]
    compared, offset = values, np.zeros(len(rows))
    if kind == "latency":
        compared = np.log(values)
    elif kind in ("traffic", "calls"):
        middle = median(values[:, : window.baseline_end])
        offset = np.maximum(0.02 * middle, np.finfo(float).tiny)
        compared = np.log(np.maximum(values, 0.0) + offset[:, None])
    past, after = compared[:, : window.baseline_end], compared[:, window.first :]
    level, spread, up, down = normal_range(past)
    floor = _floor(kind, rows, compared, level)
    most = use.LASTING_SCALES * np.maximum(spread, floor)
    ends = np.flatnonzero(~(np.abs(past[:, -1] - level) <= most))  # beyond it, or missing
    lasting = _trailing(np.abs(past[ends] - level[ends, None]) > most[ends, None], past[ends])
    if len(changed := ends[lasting.any(axis=1)]):
        past = past.copy()
        past[ends] = np.where(lasting, np.nan, past[ends])
        level[changed], spread[changed], up[changed], down[changed] = normal_range(past[changed])
    if kind == "latency":
        most = use.MAX_TAIL_RATIO * np.maximum(spread, floor)
        up, down = np.minimum(up, most), np.minimum(down, most)
    both = np.maximum(np.stack([down, up], axis=1), floor[:, None])
    uncounted = np.array([row.counts is None for row in rows])
    if kind != "calls" and uncounted.any():
        chosen = [row for row in rows if row.counts is None]
        both[uncounted] *= past_factors(chosen, (past - level[:, None])[uncounted], both[uncounted], window.step)
    deviation = after - level[:, None]
    if kind in use.GATE_WEIGHTS:
        stays = _residue(rows, compared[:, : window.first] - level[:, None], both.max(axis=1), window, noticed)
        deviation -= np.clip(deviation, np.minimum(stays, 0.0)[:, None], np.maximum(stays, 0.0)[:, None])
    noise = sampling_noise(kind, rows, counts, level[:, None], after)
    overlap = np.where(uncounted, 1.0, use.SUSTAINED.at(window.step) / window.step)  # counters are summed
    freedom = np.isfinite(past).sum(axis=1) / overlap
    z = normal_score(deviation / np.fmax(np.where(deviation > 0, both[:, 1:], both[:, :1]), noise), freedom[:, None])
    plain = level * signs
    if kind in LOGARITHMIC:
        plain = np.exp(level) - offset
        plain[plain < 1e-9 * offset] = 0.0  # rounding of the logarithm
    return plain, z, both, freedom


def _residue(
    rows: Sequence[SignalRow],
    past: Floats,
    scale: Floats,
    window: AnalysisWindow,
    noticed: Mapping[Service, Sequence[SignalRow]],
) -> Floats:
    """Deviation of each row just before the window, where it stays of an earlier incident of its service; else 0.

    Memory, files, and connections may not return when users recover: then only what is beyond them is new. past:
    deviations before the window, shape (rows, times). noticed: what users and callers notice of each service.
    """
    recent = use.RECENT.points_at(window.step)
    over = (np.abs(past) > use.LASTING_SCALES * scale[:, None]) | np.isnan(past)
    before = np.nan_to_num(median(past[:, -recent:]))
    found = np.zeros(len(rows))
    for i in np.flatnonzero(np.abs(before) > use.LASTING_SCALES * scale).tolist():
        service = rows[i].entity
        since = past.shape[1] - int(np.argmin(np.append(over[i, ::-1], False)))
        if isinstance(service, Service) and _recovered(noticed[service], since, window):
            found[i] = before[i]
    return found


def _recovered(noticed: Sequence[SignalRow], since: int, window: AnalysisWindow) -> bool:
    """Whether anything noticed of a service was anomalous from about index `since` on, for `SUSTAINED`, and is over.

    It is over if most of the `RECENT` points of that are known and normal: a service that is down reports nothing.
    """
    recent = use.RECENT.points_at(window.step)
    first = max(0, min(since, window.first - recent) - recent)
    before = slice(0, window.first)
    rows = [
        row._replace(values=row.values[before], counts=None if row.counts is None else row.counts[before])
        for row in noticed
    ]
    times = window.times[before]
    earlier = AnalysisWindow(times, min(first, window.baseline_end), first, float(times[first]))
    z, points = np.abs(deviations(rows, earlier).z), use.SUSTAINED.points_at(window.step)
    lasting = sustained(np.nan_to_num(z), points)[:, : 1 - points or None]
    was = lasting.max(axis=1, initial=0.0) >= use.LASTING_SCALES
    return bool(was.any() and (z[was, -recent:] < use.ANOMALOUS_Z).mean() > 0.5)


def _trailing(over: Bools, past: Floats) -> Bools:
    """Where an excursion lasts until the end of the past; at most a third of it. Such a time is not normal."""
    reached = np.logical_and.accumulate((over | np.isnan(past))[:, ::-1], axis=1)[:, ::-1]
    reached[:, : past.shape[1] - past.shape[1] // 3] = False
    return np.asarray(reached & np.isfinite(past))


def normal_range(past: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Median of each row of `past` (rows, times), the scale of its middle, and the scales upwards and downwards.

    A scale is the larger of 1.4826 MAD, the interquartile range of a normal distribution, and what makes the tail
    quantile of the period ordinary: a nearly constant series with recurring peaks has no width otherwise.
    """
    ordered, count = sorted_finite(past)
    index = np.arange(len(past))

    def quantile(share: float) -> Floats:
        rank = np.round(share * np.maximum(count - 1, 0)).astype(np.intp)
        return np.asarray(ordered[index, rank])

    level = median_of_sorted(ordered, count)
    spread = 1.4826 * median_deviation(ordered, count, level)
    spread = np.maximum(spread, (quantile(0.75) - quantile(0.25)) / 1.349)
    up = np.maximum(spread, (quantile(use.TAIL_QUANTILE) - level) / use.TAIL_SCALES)
    down = np.maximum(spread, (level - quantile(1 - use.TAIL_QUANTILE)) / use.TAIL_SCALES)
    return level, spread, up, down


def _floor(kind: SignalKind, rows: Sequence[SignalRow], values: Floats, level: Floats) -> Floats:
    if kind == "latency":
        return np.full(len(rows), use.MIN_LATENCY_SCALE)
    if kind in ("traffic", "calls"):
        return np.full(len(rows), use.MIN_TRAFFIC_SCALE)
    if kind == "errors" or kind == "availability":
        whole = np.array([100.0 if abs(middle) > 1.5 else 1.0 for middle in level.tolist()])
        return whole * use.MIN_ERROR_SCALE
    peak = np.nanmax(np.abs(values), axis=1)
    floor = np.maximum(use.MIN_SCALE_TO_LEVEL_RATIO * np.abs(level), use.MIN_SCALE_TO_PEAK_RATIO * peak)
    share = np.array([is_share(row.metric) for row in rows], np.bool_)
    largest: dict[str, float] = {}  # one unit for all series of a metric
    for row, value in zip(rows, peak.tolist(), strict=True):
        largest[row.metric] = max(largest.get(row.metric, 0.0), value)
    whole = np.array([100.0 if largest[row.metric] > MAX_SHARE else 1.0 for row in rows])
    is_whole = (np.nan_to_num(values) % 1 == 0).all(axis=1) & ~share
    number = np.array([is_whole[i] and is_number(row.metric) for i, row in enumerate(rows)], np.bool_)
    least = np.where(number, np.sqrt(np.maximum(level, 1.0)), 1.0)  # of a Poisson variable; the resolution of others
    floor = np.where(is_whole, np.maximum(floor, least), floor)
    floor = np.where(share, np.maximum(floor, use.MIN_SHARE_SCALE * whole), floor)
    return np.asarray(np.maximum(floor, np.finfo(float).tiny), np.float64)


def sampling_noise(kind: SignalKind, rows: Sequence[SignalRow], counts: Floats, level: Floats, now: Floats) -> Floats:
    """Standard error of each value, given the number of requests behind it; NaN where that is unknown.

    That of failures makes the distance between two counts that of their roots, which are nearly normal even for a few
    (Anscombe, Biometrika 1948): one failure where none is normal is one standard error, not as many as it is rare.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "latency":
            factor = np.array([_latency_noise(row.statistic) for row in rows])
            return np.asarray(factor[:, None] / np.sqrt(counts), np.float64)
        if kind in ("traffic", "calls"):
            return np.asarray(use.TRAFFIC_NOISE / np.sqrt(np.maximum(counts, 1.0)), np.float64)
        if kind == "errors":
            normal, failed = (np.sqrt(np.clip(rate, 0.0, 1.0) * counts + 0.375) for rate in (level, now))
            return np.asarray((normal + failed) / 2 / counts, np.float64)
    return np.full_like(counts, np.nan)


def normal_score(t: Floats, freedom: Floats) -> Floats:
    """Distance in standard deviations that is as unlikely as `t` is with so many degrees of freedom (Wallace 1959).

    A scale that is estimated from a few points is often too small.
    """
    freedom = np.maximum(freedom, use.MIN_FREEDOM)
    return np.asarray(np.sign(t) * np.sqrt(freedom * np.log1p(t**2 / freedom)))


def _latency_noise(statistic: str) -> float:
    if statistic in ("", "mean"):
        return use.MEAN_NOISE
    return use.TAIL_NOISE if statistic in ("p99", "p999", "max") else use.QUANTILE_NOISE
