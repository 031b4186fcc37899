"""Loads, SLOs, and certificates of the last weeks, and uses of the last days, in steps of ten minutes, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeGuard, TypeVar

import numpy as np

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.capacity.observed import LoadKey, observed_loads
from foreshock_dashboard.analysis.capacity.replica_capacity import ServerKey, observed_servers
from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS
from foreshock_dashboard.analysis.slow_burns.error_budgets import PERIOD_POINTS, Budget, BudgetKey
from foreshock_dashboard.analysis.slow_burns.growth import GROWING_DAYS, observed_uses
from foreshock_dashboard.analysis.slow_burns.idle_cache import held, idle_cache
from foreshock_dashboard.analysis.slow_burns.resource import Resource, UseKey
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadKind, Subject
from foreshock_dashboard.model.capacity.slow_burn import LATE_RATIO, SlowBurnKind
from foreshock_dashboard.model.query import Matrix, MetricSource, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.world.builder import build_world
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer, align_down
from foreshock_dashboard.world.row import Catalog, RateWindows, Readings
from foreshock_dashboard.world.slow_burns import host_disks, named
from foreshock_dashboard.world.slow_burns.slo_counts import SloCount, slo_catalog, slo_counts

HISTORY_SECONDS = 28 * DAY_SECONDS
"""History that forecasts of load, and certificates, rest on: it shows the renewals of those that live for weeks."""
USE_SECONDS = (GROWING_DAYS + 1) * DAY_SECONDS
"""History that the growth of resources rests on. There are more of these than of loads: several for each GPU."""
WINDOW_SECONDS = FORECAST_STEP_SECONDS - 1.0
"""Rate window of a step, which is no multiple of a scrape interval."""
K = TypeVar("K")
JOINS = ("up", "host", "places", "gpu", "pool")
"""Keys of the catalog with what joins readings to services and pools."""
LOADS = (
    *JOINS,
    *("utilization", "busy", "served", "running", "waiting", "cache", "generated_tokens"),
    *("per_token_sum", "per_token_count"),
    *("specified", "ready", "scaler_target", "quota"),
)
"""Keys of the catalog with loads, and with the figures of model servers."""
USES = (
    *JOINS,
    *("memory_used", "memory_total", "memory_free", "container_memory", "container_memory_limit"),
    *("disk_used", "disk_size", "open_files", "max_files", "host_memory_available", "host_memory_size"),
)
"""Keys of the catalog with uses of resources."""
IDLE_CACHE = (*JOINS, "served", "running", "waiting", "cache")
"""Keys of the catalog with the KV cache of idle model servers, and the services that these belong to."""
NO_SLOS: Mapping[Service, Slo] = MappingProxyType({})


class CapacityHistory:
    """Loads, SLOs, and certificates of the last weeks, and uses of resources of the last days. One thread reads.

    catalog: the catalog for a rate window in seconds. max_chunk_values: values read at once. seconds: length of the
    history, but of SLOs, which is that of their budget. slos: configured ones, whose error budgets are known.
    """

    def __init__(
        self,
        source: MetricSource,
        catalog: Callable[[float], Catalog],
        max_chunk_values: int = 1_000_000,
        seconds: float = HISTORY_SECONDS,
        slos: Mapping[Service, Slo] = NO_SLOS,
    ) -> None:
        whole, recent = catalog(WINDOW_SECONDS), min(seconds, USE_SECONDS)

        def loads(readings: Readings) -> Mapping[LoadKey | ServerKey, Floats]:
            world = build_world(completed(readings, whole), FORECAST_STEP_SECONDS)
            rows: list[tuple[LoadKey | ServerKey, Floats]] = [
                *observed_loads(world).items(),
                *observed_servers(world).items(),
            ]
            return dict(rows)

        def uses(readings: Readings) -> Mapping[UseKey, Floats]:
            return observed_uses(build_world(completed(readings, whole), FORECAST_STEP_SECONDS))

        def idle(readings: Readings) -> Mapping[Service, Floats]:
            return idle_cache(build_world(completed(readings, whole), FORECAST_STEP_SECONDS))

        def counts(readings: Readings) -> Mapping[SloCount, Floats]:
            return slo_counts(readings, {service: slo.seconds for service, slo in slos.items()}, WINDOW_SECONDS)

        of_loads, of_uses, of_idle = ({key: whole[key] for key in keys} for keys in (LOADS, USES, IDLE_CACHE))
        windows = RateWindows(WINDOW_SECONDS, WINDOW_SECONDS)
        of_names = dict(named.readings(windows))
        of_disks = {"host": whole["host"], **host_disks.readings(windows)}
        of_certificates = {metric: of_names.pop(metric) for metric in named.certificate_metrics()}
        of_slos = slo_catalog(whole, slos) if slos else {}
        self._slos = slos
        self._loads = _Series(source, of_loads, loads, seconds, max_chunk_values)
        self._uses = _Series(source, of_uses, uses, recent, max_chunk_values)
        self._named = _Series(source, of_names, named.observed, recent, max_chunk_values)
        self._disks = _Series(source, of_disks, host_disks.observed, recent, max_chunk_values)
        self._idle = _Series(source, of_idle, idle, recent, max_chunk_values)
        self._certificates = _Series(source, of_certificates, named.observed, seconds, max_chunk_values)
        self._counts = _Series(source, of_slos, counts, PERIOD_POINTS * FORECAST_STEP_SECONDS, max_chunk_values)
        self.slow_burns_error = ""

    @property
    def end(self) -> float:
        """Unix seconds up to which loads are known, a multiple of `FORECAST_STEP_SECONDS`."""
        return self._loads.end

    def read(self, now: float) -> Iterator[float]:
        """Read what is new up to `now`, in pieces, each of which yields the Unix seconds up to which it reads.

        What is not a load may fail, `slow_burns_error` says why; the next call goes on where it ended.

        Raises:
            SourceError: the source could not answer for loads; earlier pieces stay.
        """
        yield from self._loads.read(now)
        self.slow_burns_error = ""
        optional: list[_Series[Any]] = [self._uses, self._disks, self._idle, self._named, self._certificates]
        if self._slos:
            optional.append(self._counts)
        for series in optional:
            try:
                yield from series.read(now)
            except SourceError as error:
                self.slow_burns_error = str(error)

    def loads(self) -> Mapping[LoadKey, Floats]:
        """Load by subject and kind, shape (times,), single precision, ending at `end`; only those with a value."""
        return {key: row for key, row in self._loads.rows.items() if _is_load(key)}

    def servers(self) -> Mapping[ServerKey, Floats]:
        """Figures of model servers, as `loads`."""
        return {key: row for key, row in self._loads.rows.items() if _is_of_server(key)}

    def uses(self) -> Mapping[UseKey, Floats]:
        """Used share of the limit by resource, as `loads`, of `USE_SECONDS` at most.

        Queues, certificates, and quotas too, in their units; queues of model servers are those of `loads`.
        """
        names = {
            (Resource(None, name), kind): row
            for series in (self._named, self._certificates)
            for (kind, name), row in series.rows_until(self.end).items()
        }
        disks = {
            (Resource(None, f"{host}:{path}", host), SlowBurnKind.HOST_DISK): row
            for (host, path), row in self._disks.rows_until(self.end).items()
        }
        leaked = {
            (Resource(service, ""), SlowBurnKind.KV_CACHE): held(row, DAY_POINTS)
            for service, row in self._idle.rows_until(self.end).items()
        }
        queues = {
            (Resource(subject.service, ""), SlowBurnKind.QUEUE): row
            for (subject, kind), row in self.loads().items()
            if kind is LoadKind.QUEUE
        }
        return {**self._uses.rows_until(self.end), **disks, **leaked, **names, **queues}

    def budgets(self) -> Mapping[BudgetKey, Budget]:
        """Error budgets of the configured SLOs that have requests."""
        found: dict[BudgetKey, Budget] = {}
        counts = self._counts.rows_until(self.end)
        for (service, sli, violations), requests in counts.items():
            slo = self._slos.get(service, self._slos.get(service.local))
            if slo is None or violations:
                continue
            bad = counts.get(SloCount(service, sli, violations=True), np.zeros_like(requests))
            ratio = LATE_RATIO if sli == "latency" else slo.error_rate
            if ratio > 0:
                found[service, sli] = Budget(ratio, requests, bad)
        return found


class _Series(Generic[K]):
    """Rows of a part of the catalog, read piece by piece. observed: the rows of answers by key."""

    def __init__(
        self,
        source: MetricSource,
        catalog: Catalog,
        observed: Callable[[Readings], Mapping[K, Floats]],
        seconds: float,
        max_chunk_values: int,
    ) -> None:
        self._observed = observed
        self._observer = Observer(
            source,
            catalog,
            FORECAST_STEP_SECONDS,
            dict,
            seconds,
            begin=lambda end: end - seconds,
            max_chunk_values=max_chunk_values,
        )
        self._points = round(seconds / FORECAST_STEP_SECONDS)
        self.rows: Mapping[K, Floats] = {}  # single precision: 4,032 values each for four weeks
        self.end = -np.inf

    def rows_until(self, end: float) -> Mapping[K, Floats]:
        """The rows up to Unix seconds, which are later where the last read failed: what is missing is NaN."""
        if self.end in (end, -np.inf):
            return self.rows
        return _appended(self.rows, {}, round((end - self.end) / FORECAST_STEP_SECONDS), self._points)

    def read(self, now: float) -> Iterator[float]:
        """As `CapacityHistory.read`."""
        for readings in self._observer.pieces(now):
            times = next(iter(readings.values())).times
            end = align_down(float(times[-1]), FORECAST_STEP_SECONDS)
            shift = self._points if self.end == -np.inf else round((end - self.end) / FORECAST_STEP_SECONDS)
            self.rows = _appended(self.rows, self._observed(readings), shift, self._points)
            self.end = end
            yield self.end


def _is_load(key: LoadKey | ServerKey) -> TypeGuard[LoadKey]:
    return isinstance(key[0], Subject)


def _is_of_server(key: LoadKey | ServerKey) -> TypeGuard[ServerKey]:
    return isinstance(key[0], Service)


def completed(readings: Readings, keys: Iterable[str]) -> Readings:
    """With empty answers for the rest of the keys, and quantiles in place of buckets."""
    empty = Matrix.empty(next(iter(readings.values())).times)
    return QuantileReducer()({**dict.fromkeys(keys, empty), **readings})


def _appended(known: Mapping[K, Floats], new: Mapping[K, Floats], shift: int, points: int) -> Mapping[K, Floats]:
    """Rows of `points` steps, moved by `shift` steps, with the new values at the end; only those with a value."""
    rows: dict[K, Floats] = {}
    for key in {*known, *new}:
        row: Floats = np.full(points, np.nan).astype(np.float32)
        if key in known and shift < points:
            row[: points - shift] = known[key][shift:]
        if key in new:
            row[max(0, points - len(new[key])) :] = new[key][-points:]
        if np.isfinite(row).any():
            rows[key] = row
    return rows
