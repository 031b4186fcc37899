"""The history of every service of a World over a time range, against its baseline; cached for all pages."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at, is_sampling_noise
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint, smoothing_points
from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS, SIGNAL_BY_NAME, Signal, transformed
from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.detectors.finding import entity
from foreshock_dashboard.analysis.incidents.summary import (
    DEGRADED_ERROR_RATIO,
    DEGRADED_FOR_SECONDS,
    DEGRADED_SCALES,
)
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Bools, Floats, Stage
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Tenant, World
from foreshock_dashboard.stats.runs import long_runs, moving_median
from foreshock_dashboard.web.state.conditions import enough_requests, open_incidents
from foreshock_dashboard.web.state.stages import LEADING_SIGNALS, STAGES, ServiceHistory, Sign

EARLY_SCALES = 4.0
"""Scales beyond the baseline from which a figure is an early sign: noise gets there once in 30,000 points."""
MIN_SIGN_VALUES: Mapping[str, float] = {"gpu_wait_by": 0.05, "flight": 1.0}
"""Values below which a figure is no sign, in the signal's unit, however rare it is."""
EARLY_FOR_SECONDS = 60.0
"""Duration for which a sign must last to count."""
MAX_GAP_SECONDS = 60.0
"""Longest time without an anomaly that does not end an interval."""
BASELINE_LEAD_SECONDS = 60.0
"""Distance of the baseline from the first sign."""
MAX_HISTORIES = 8
"""Histories and baselines of one snapshot that are cached: the pages of one incident share both."""
MAX_POINTS = 360
"""Bound of the points of a history, which are thinned out."""
SIGNALS = tuple(SIGNAL_BY_NAME[name] for name in ("p95", "p99", "error_rate", *LEADING_SIGNALS))


def service_history(
    world: World,
    start: float,
    end: float,
    onset: float | None = None,
    slo_by_service: Mapping[Service, Slo] | None = None,
    known: Mapping[Service, Stage] = MappingProxyType({}),
    base: Callable[[int], Baselines] | None = None,
) -> ServiceHistory:
    """All services from `start` to `end` (Unix seconds), against their baseline before `onset`.

    onset: the first sign of the incident, so that lasting trouble does not become the baseline; the end without one.
    slo_by_service: SLOs in use; learned ones by default. known: stages at the end according to the analysis,
    which count. base: cached baselines of `SIGNALS` at a grid point.
    """
    first, last = np.searchsorted(world.times, start), np.searchsorted(world.times, end, side="right")
    size = max(1, math.ceil((last - first) / MAX_POINTS))
    columns = slice(int(first + (last - first - 1) % size) if last > first else int(first), int(last), size)
    at = max(0, int(last) - 1)
    if onset is not None:
        at = min(at, max(0, int(np.searchsorted(world.times, onset - BASELINE_LEAD_SECONDS))))
    baselines = base(at) if base else baselines_at(world, at, SIGNALS)
    history = _HistoryBuilder(
        world, baselines, columns, slos(EvaluationPoint(world, at, baselines), slo_by_service or {})
    ).history()
    if len(history.times):
        for row, service in enumerate(history.services):
            if service in known:
                history.stages[row, -1] = STAGES.index(known[service])
    return history


class _HistoryBuilder:
    """Compares signals over some columns of a World with their level and scale."""

    def __init__(self, world: World, base: Baselines, columns: slice, slos: Mapping[Service, Slo]) -> None:
        self.world, self.base, self.columns = world, base, columns
        self.times = world.times[columns]
        step = world.step * (columns.step or 1)
        self.min_early_points = max(1, round(EARLY_FOR_SECONDS / step))
        self.min_degraded_points = max(1, round(DEGRADED_FOR_SECONDS / step))
        self.max_gap_points = max(1, round(MAX_GAP_SECONDS / step))
        self.row_by_service = {service: row for row, service in enumerate(world.services)}
        self.slos = [slos.get(service, Slo(math.nan, DEGRADED_ERROR_RATIO)) for service in world.services]

    @cached_property
    def services_by_gpu(self) -> Mapping[Gpu, Sequence[Service]]:
        services: dict[Gpu, list[Service]] = {}
        for tenant in self.world.tenants:
            services.setdefault(tenant.gpu, []).append(tenant.service)
        return services

    def history(self) -> ServiceHistory:
        early = np.zeros((len(self.world.services), len(self.times)), np.bool_)
        signs: list[Sign] = []
        for name in LEADING_SIGNALS:
            signs += self._early_signs(SIGNAL_BY_NAME[name], early)
        degraded, failing, known = self._impact(signs)
        stages = np.where(failing, 3, np.where(degraded, 2, np.where(early, 1, 0))).astype(np.int8)
        stages[~(known | early)] = -1
        signs.sort(key=lambda sign: (sign.since, sign.service, sign.signal))
        return ServiceHistory(self.times, self.world.services, stages, tuple(signs))

    def _early_signs(self, signal: Signal, early: Bools) -> list[Sign]:
        """Signs of one signal at the end, the worst of each service; marks `early` where there are any."""
        if not len(self.times):
            return []
        keys, values = signal.keys(self.world), signal.values(self.world, (slice(None), self.columns))
        # A median is never beyond all of its values, so that most rows need not be smoothed.
        rows = np.flatnonzero(self._deviations(signal, keys, _worst(signal, values))[:, 0] >= EARLY_SCALES)
        keys = [keys[row] for row in rows.tolist()]
        values, deviations = self._smoothed(signal, keys, values[rows])
        beyond = deviations >= EARLY_SCALES
        if signal.name in MIN_SIGN_VALUES:
            beyond &= values >= MIN_SIGN_VALUES[signal.name]
        beyond = long_runs(beyond, self.min_early_points, self.max_gap_points)
        worst: dict[Service, tuple[float, int]] = {}
        for i in np.flatnonzero(beyond.any(axis=1)).tolist():
            for service in self._affected_services(keys[i]):
                if service not in self.row_by_service:
                    continue
                early[self.row_by_service[service]] |= beyond[i]
                if beyond[i, -1] and deviations[i, -1] > worst.get(service, (-math.inf, 0))[0]:
                    worst[service] = (float(deviations[i, -1]), i)
        return [
            self._sign(signal, service, keys[i], beyond[i], float(values[i, -1]), deviation)
            for service, (deviation, i) in worst.items()
        ]

    def _impact(self, signs: list[Sign]) -> tuple[Bools, Bools, Bools]:
        """Where services are degraded, where they breach their SLO, and where anything is known of them.

        Adds the signs of those that are degraded at the end.
        """
        world, columns = self.world, self.columns
        p95, slower = self._smoothed(SIGNAL_BY_NAME["p95"], world.services, world.red.p95[:, columns])
        failed, _ = self._smoothed(SIGNAL_BY_NAME["error_rate"], world.services, world.red.error_rate[:, columns])
        noise, rate = self._sampling_noise(p95), world.red.rate[:, columns]
        baseline = np.array([self.base.of("error_rate").get(service, (0.0, 0.0))[0] for service in world.services])
        max_p95 = np.array([slo.seconds for slo in self.slos])[:, None]
        max_failed = np.array([slo.error_rate for slo in self.slos])[:, None]
        busy_enough = enough_requests(world, rate)

        def lasting(anomalous: Bools) -> Bools:
            return long_runs(busy_enough & anomalous, self.min_degraded_points, self.max_gap_points)

        failed_ratio = np.nan_to_num(failed)
        slow = lasting((slower >= DEGRADED_SCALES) & ~noise)
        losing = lasting(failed_ratio > (np.maximum(baseline, 0.0) + DEGRADED_ERROR_RATIO)[:, None])
        failing = lasting((np.nan_to_num(p95) > max_p95) & ~noise | (failed_ratio > max_failed))
        for name, values, beyond in (("p95", p95, slow), ("error_rate", failed, losing)):
            for i in np.flatnonzero(beyond[:, -1:].any(axis=1)).tolist():
                service = world.services[i]
                deviation = float(slower[i, -1]) if name == "p95" else math.nan
                value = float(values[i, -1])
                signs.append(self._sign(SIGNAL_BY_NAME[name], service, service, beyond[i], value, deviation))
        degraded = slow | losing | failing
        return degraded | _extended(degraded, self.max_gap_points), failing, np.isfinite(rate)

    def _sampling_noise(self, p95: Floats) -> Bools:
        """Where services are slower than the baseline only by the sampling noise of a few requests."""
        signal = SIGNAL_BY_NAME["p95"]
        lower_bound = signal.lower_bound and signal.lower_bound(self.world, (ALL_ROWS, self.columns))
        if lower_bound is None:
            return np.zeros(p95.shape, np.bool_)
        smoothed = moving_median(lower_bound, smoothing_points(self.world))
        return is_sampling_noise(self.base, signal, self.world, ALL_ROWS, p95, smoothed)

    def _smoothed(self, signal: Signal, keys: Sequence[Hashable], values: Floats) -> tuple[Floats, Floats]:
        """Values, smoothed as in the analysis, and their deviations."""
        values = values if signal.unsmoothed else moving_median(values, smoothing_points(self.world))
        return values, self._deviations(signal, keys, values)

    def _deviations(self, signal: Signal, keys: Sequence[Hashable], values: Floats) -> Floats:
        """Deviations from the baseline in scales, positive if worse; NaN where nothing is known."""
        pairs = self.base.of(signal.name).of(keys)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviations: Floats = (transformed(signal, values) - pairs[:, :1]) / pairs[:, 1:] * (signal.worse or 1)
        return deviations

    def _affected_services(self, key: Hashable) -> Sequence[Service]:
        match key:
            case Edge():
                return (key.server,)
            case GpuWaitPair():
                return (key.affected,)
            case Tenant():
                return (key.service,)
            case Gpu():
                return self.services_by_gpu.get(key, ())
        return (key,) if isinstance(key, Service) else ()

    def _sign(
        self, signal: Signal, service: Service, key: Hashable, beyond: Bools, value: float, deviation: float
    ) -> Sign:
        level, scale = self.base.of(signal.name).get(key, (math.nan, math.nan))
        scales = DEGRADED_SCALES if signal.name in ("p95", "error_rate") else EARLY_SCALES
        threshold = level + scales * scale * (signal.worse or 1)
        if signal.log:
            level, threshold = math.exp(level), math.exp(threshold)
        threshold = max(threshold, MIN_SIGN_VALUES.get(signal.name, threshold))
        if signal.name == "error_rate":
            threshold = max(level, 0.0) + DEGRADED_ERROR_RATIO
        normal = np.flatnonzero(~beyond)
        since = float(self.times[int(normal[-1]) + 1 if len(normal) else 0])
        value, level, threshold = value - signal.offset, level - signal.offset, threshold - signal.offset
        return Sign(service, signal.name, entity(key), since, value, level, threshold, deviation)


def _extended(true: Bools, gap: int) -> Bools:
    """The last points of each row with a true point less than `gap` points before: the interval is not over yet."""
    extended = np.zeros_like(true)
    extended[:, -gap - 1 :] = np.maximum.accumulate(true[:, -gap - 1 :], axis=1)
    return extended


def _worst(signal: Signal, values: Floats) -> Floats:
    """The most anomalous value of each row, shape (rows, 1); NaN where none is known."""
    if not values.size:
        return np.full((len(values), 1), np.nan)
    if signal.worse >= 0:
        return np.fmax.reduce(values, axis=1, keepdims=True)
    comparable = np.where(values > 0, values, np.nan) if signal.log else values
    return np.fmin.reduce(comparable, axis=1, keepdims=True)


class HistoryCache:
    """Service histories of the newest snapshot, each made once. Safe to call from several threads."""

    def __init__(self) -> None:
        self._histories: SingleFlightCache[ServiceHistory] = SingleFlightCache(MAX_HISTORIES)
        self._baselines: SingleFlightCache[Baselines] = SingleFlightCache(MAX_HISTORIES)
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._rows = IdentityCache()

    def get(
        self,
        snapshot: Snapshot,
        world: World,
        onset: float | None,
        start: float,
        kept_slos: Sequence[ServiceSlo] = (),
    ) -> ServiceHistory:
        """All services from `start` to the World's time, against their baseline before `onset`.

        kept_slos: of an incident, which replace those in force now.
        Only histories of the snapshot's own World are cached: other ranges are many, and each is looked at once.
        """

        def baseline(at: int) -> Baselines:
            return self._baselines.get(at, lambda: baselines_at(world, at, SIGNALS, self._rows_of(snapshot)), snapshot)

        def make() -> ServiceHistory:
            base = baseline if world is snapshot.world else None
            slos = {slo.service: Slo(*slo[1:]) for slo in (*snapshot.forecast.slos, *kept_slos)}
            return service_history(world, start, world.time, onset, slos, _known_stages(snapshot), base=base)

        return self._histories.get((start, onset, kept_slos), make, snapshot) if world is snapshot.world else make()

    def _rows_of(self, snapshot: Snapshot) -> IdentityCache:
        """Rows by key, which carry over from snapshot to snapshot while the keys stay."""
        with self._lock:
            if self._snapshot is not snapshot:
                self._snapshot, self._rows = snapshot, self._rows.next_step()
            return self._rows


def _known_stages(snapshot: Snapshot) -> Mapping[Service, Stage]:
    """The stages that the analysis reports: of services in breach, and of the services of open incidents."""
    current = open_incidents(snapshot)
    forecast = (risk.service for risk in snapshot.forecast.risks if risk.p50 <= 0)
    at_risk = (risk.service for item in current for risk in item.at_risk if risk.p50 <= 0)
    known: dict[Service, Stage] = {item.service: item.stage for item in reversed(current) if item.stage is not None}
    return known | dict.fromkeys((*forecast, *at_risk), "breached")
