"""The ledger of GPU time from a source: the newest hours first, each read once it is over, in steps of ten minutes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.cost.account import MAX_LINES, OTHER, account
from foreshock_dashboard.analysis.cost.idle import MAX_IDLE_HOURS
from foreshock_dashboard.model.cost.ledger import (
    HOUR_SECONDS,
    MAX_LEDGER_HOURS,
    CostHour,
    CostKey,
    CostLedger,
    Figure,
    Holding,
)
from foreshock_dashboard.model.cost.usage import GpuUsage
from foreshock_dashboard.model.query import Matrix, MetricSource, SourceError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service, qualified
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.replay.capacity_history import completed
from foreshock_dashboard.replay.gpu_usage import (
    REQUESTS,
    cost_catalog,
    gauge_catalog,
    gpu_usage,
    needs_gauges,
    with_allocations,
)
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.world.builder import build_world, catalog
from foreshock_dashboard.world.observer import MetricNameCache, NamedMetricSource, align_down, fetch_catalog
from foreshock_dashboard.world.row import RateWindows, Readings

STEP_SECONDS = 600.0
"""Grid of the accounts. Increases of counters are exact whatever it is; holders are seen once a step."""
WINDOW_SECONDS = STEP_SECONDS - 1.0
"""Rate window of a step, which is no multiple of a scrape interval."""
GAUGE_SECONDS = 60.0
"""Seconds between the samples of a gauge that a step is the mean of."""
GAUGES_PER_STEP = round(STEP_SECONDS / GAUGE_SECONDS)
HOUR_POINTS = round(HOUR_SECONDS / STEP_SECONDS)
MAX_CHUNK_HOURS = 24
MAX_EMPTY_HOURS = 48
"""Hours without data after which older ones are not read: the source keeps no more."""


class CostHistory:
    """The hours of a source. One thread reads; others may take `ledger`.

    max_chunk_values: values read at once. max_lines: of an hour.
    """

    def __init__(
        self,
        source: MetricSource,
        max_chunk_values: int = 1_000_000,
        hours: int = MAX_LEDGER_HOURS,
        max_lines: int = MAX_LINES,
    ) -> None:
        self.ledger = CostLedger()
        self._source, self._max_chunk_values, self._most = source, max_chunk_values, hours
        self._max_lines = max_lines
        self._all = catalog(WINDOW_SECONDS, WINDOW_SECONDS)
        self._catalog = cost_catalog(self._all, RateWindows(WINDOW_SECONDS, WINDOW_SECONDS))
        self._gauges = gauge_catalog(catalog(GAUGE_SECONDS - 1.0, GAUGE_SECONDS - 1.0))
        rows = (*self._catalog.values(), *self._gauges.values())
        wanted = frozenset(query.series_name for row in rows for query in row.queries)
        self._names = MetricNameCache(source, wanted) if isinstance(source, NamedMetricSource) else None
        self._read: set[float] = set()  # starts of the hours that are over and read
        self._chunk_hours, self._max_chunk_hours = 1, MAX_CHUNK_HOURS
        self._keys: dict[CostKey, CostKey] = {}
        self._last: CostHour | None = None
        self._idle_from = -math.inf

    def read(self, now: float) -> Iterator[float]:
        """Read the present hour again, and unread ones before it, in pieces; each yields the start of its first hour.

        now: Unix seconds.

        Raises:
            SourceError: the source could not answer; earlier pieces stay.
        """
        end = align_down(now, STEP_SECONDS)
        present = math.ceil(end / HOUR_SECONDS) * HOUR_SECONDS - HOUR_SECONDS
        oldest = present - (self._most - 1) * HOUR_SECONDS
        self._idle_from = present - MAX_IDLE_HOURS * HOUR_SECONDS
        kept = {start: self._kept(start, hour) for start, hour in self.ledger.hours.items() if start >= oldest}
        self.ledger = replace(self.ledger, hours=kept)
        self._keys = {
            key: key for keys in {id(hour.keys): hour.keys for hour in kept.values()}.values() for key in keys
        }
        last = present  # end of the hours to read, their starts included
        empty = 0
        while last >= oldest:
            while last in self._read and last >= oldest:
                empty = 0 if last in self.ledger.hours else empty + 1
                last -= HOUR_SECONDS
            first = last
            while first > max(oldest, last - (self._chunk_hours - 1) * HOUR_SECONDS) and (
                first - HOUR_SECONDS not in self._read
            ):
                first -= HOUR_SECONDS
            if last < oldest or empty >= MAX_EMPTY_HOURS:
                break
            hours = self._hours(first, min(end, last + HOUR_SECONDS))
            is_empty = not hours
            self._read |= {first + i * HOUR_SECONDS for i in range(round((last - first) / HOUR_SECONDS) + 1)}
            over = end - STEP_SECONDS  # a step later, so that late samples count
            self._read -= {start for start in self._read if start < oldest or start + HOUR_SECONDS > over}
            unread = sum(oldest + i * HOUR_SECONDS not in self._read for i in range(self._most - 1))
            self.ledger = CostLedger(now, end, {**self.ledger.hours, **hours}, unread)
            empty = empty + round((last - first) / HOUR_SECONDS) + 1 if is_empty else 0
            last = first - HOUR_SECONDS
            yield first
        self.ledger = replace(self.ledger, computed_at=now, end=end, unread_hours=0, error="")

    def fail(self, error: str) -> None:
        """Keep the ledger with an error."""
        self.ledger = replace(self.ledger, error=error)

    def _hours(self, first: float, end: float) -> dict[float, CostHour]:
        """The hours from `first` to `end` (Unix seconds) that have data, by start."""
        start = first + STEP_SECONDS
        if start > end:
            return {}
        names = self._names.between(first, end) if self._names else None
        answers = self._answers(start, end, names)
        series = max(1, sum(map(len, answers.values()))) + len(answers["gauge"]) * GAUGES_PER_STEP
        self._chunk_hours = max(1, min(self._max_chunk_hours, self._max_chunk_values // (series * HOUR_POINTS)))
        times = next(iter(answers.values())).times
        found = {}
        for column in range(0, len(times), HOUR_POINTS):
            hour = account_readings(_columns(answers, column, column + HOUR_POINTS), self._all, self._max_lines)
            if len(hour.keys):
                start = first + column * STEP_SECONDS
                found[start] = self._kept(start, self._interned(hour))
        return found

    def _answers(self, start: float, end: float, names: frozenset[str] | None) -> Readings:
        """The readings on the grid. What is too large for one request is read step by step."""
        try:
            return self._fetched(start, end, names)
        except SourceError:
            answers = [self._fetched(t, t, names) for t in grid(start, end, STEP_SECONDS).tolist()]
            self._max_chunk_hours = 1
            return _joined(answers)

    def _fetched(self, start: float, end: float, names: frozenset[str] | None) -> Readings:
        found, _ = fetch_catalog(self._source, self._catalog, start, end, STEP_SECONDS, names)
        times = next(iter(found.values())).times
        gauge = Matrix.empty(times)
        if needs_gauges(found):
            first = start - STEP_SECONDS + GAUGE_SECONDS
            fine = fetch_catalog(self._source, self._gauges, first, end, GAUGE_SECONDS, names)[0]["gauge"]
            steps = fine.values.reshape(len(fine), len(times), GAUGES_PER_STEP)
            gauge = Matrix(times, fine.labels, nan_mean(steps, axis=2))
        return {**found, "gauge": gauge}

    def _kept(self, start: float, hour: CostHour) -> CostHour:
        """Without idle time where it is not followed back to."""
        return replace(hour, idle={}) if hour.idle and start < self._idle_from else hour

    def _interned(self, hour: CostHour) -> CostHour:
        """Equal parts as one object: hundreds of hours have the same."""
        keys = tuple(self._keys.setdefault(key, key) for key in hour.keys)
        last = self._last or hour
        held, runs = {item: item for item in last.idle}, {run: run for run in last.idle.values()}
        idle = {held.get(item, item): runs.get(run, run) for item, run in hour.idle.items()}
        self._last = replace(
            hour,
            keys=last.keys if self._last and keys == last.keys else keys,
            idle=last.idle if idle == last.idle else idle,
            pausable=last.pausable if hour.pausable == last.pausable else hour.pausable,
            requested=last.requested if hour.requested == last.requested else hour.requested,
        )
        return self._last


def account_readings(found: Readings, whole: Iterable[str], max_lines: int) -> CostHour:
    """The accounts of the readings of an hour. whole: the keys of the World's catalog."""
    known = {key: matrix for key, matrix in with_allocations(found).items() if key not in REQUESTS}
    world = build_world(completed(known, whole), STEP_SECONDS)
    usage = gpu_usage(world, found)
    return with_gpu_wait(account(usage, max_lines), usage)


def with_gpu_wait(hour: CostHour, usage: GpuUsage) -> CostHour:
    """The accounts with `Figure.GPU_WAIT`: all waiting of each line, also of a service busy beyond what it holds.

    usage: that of the accounts.
    """
    rows = {key: i for i, key in enumerate(hour.keys)}
    values = hour.values.copy()
    for holder, waits in zip(usage.holders, np.nansum(usage.waiting, axis=1).tolist(), strict=True):
        key = CostKey(Holding.SERVICE, holder.service, usage.pool[holder.gpu], usage.gpus[holder.gpu].model)
        if key not in rows:
            key = key._replace(service=Service(qualified(key.cluster, ""), OTHER))
        if key in rows:
            values[rows[key], Figure.GPU_WAIT] += waits * usage.step
    return replace(hour, values=values)


def _joined(answers: Sequence[Readings]) -> Readings:
    """Answers of grid points one after another, as one."""
    times = np.concatenate([next(iter(answer.values())).times for answer in answers])
    joined = {}
    for key in answers[0]:
        rows: dict[Labels, Floats] = {}
        first = 0
        for matrix in (answer[key] for answer in answers):
            after = first + len(matrix.times)
            for labels, values in zip(matrix.labels, matrix.values, strict=True):
                rows.setdefault(labels, np.full(len(times), np.nan))[first:after] = values
            first = after
        joined[key] = Matrix.of(times, rows)
    return joined


def _columns(answers: Readings, first: int, after: int) -> Readings:
    """Some grid points of all answers, without series that have no sample there."""
    cut = {}
    for key, matrix in answers.items():
        values = matrix.values[:, first:after]
        alive = np.flatnonzero(~np.isnan(values).all(axis=1)).tolist()
        cut[key] = Matrix(matrix.times[first:after], tuple(matrix.labels[i] for i in alive), values[alive])
    return cut
