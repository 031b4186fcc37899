"""The history of every service of a World over a time range, against its baseline. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at, is_sampling_noise
from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS, EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS, SIGNAL_BY_NAME, Signal, transformed
from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.detectors.finding import entity
from foreshock_dashboard.analysis.forecast.service_risk import MIN_REQUESTS_PER_WINDOW, SLO_WINDOW_SECONDS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Gpu, Stall, Tenant, World
from foreshock_dashboard.stats.runs import BoolArray, long_runs, moving_median
from foreshock_dashboard.web.state.stages import LEADING_SIGNALS, STAGES, ServiceHistory, Sign

EARLY_SCALES = 4.0
"""Scales beyond the baseline from which a figure is an early sign: noise gets there once in 30,000 points."""
DEGRADED_SCALES = 3.0
"""Scales from which a service is degraded: ordinary variation does not reach it."""
DEGRADED_ERROR_RATIO = 0.01
"""Share of failed requests beyond the baseline from which a service is degraded."""
MIN_SIGN_VALUES: Mapping[str, float] = {"stalled_by": 0.05, "flight": 1.0}
"""Values below which a figure is no sign, in the signal's unit, however rare it is."""
DEGRADED_FOR_SECONDS, EARLY_FOR_SECONDS = 30.0, 60.0
"""Duration for which a service must be worse, and a sign must last, to count."""
MAX_GAP_SECONDS = 60.0
"""Calm that does not end an interval."""
BASELINE_LEAD_SECONDS = 60.0
"""Distance of the baseline from the first sign."""
SIGNALS = tuple(SIGNAL_BY_NAME[name] for name in ("p95", "p99", "failed", *LEADING_SIGNALS))

Key = Hashable


def service_history(
    world: World,
    start: float,
    end: float,
    onset: float | None = None,
    slo_by_service: Mapping[Service, Slo] | None = None,
    breaching: frozenset[Service] = frozenset(),
    max_points: int = 360,
    base: Callable[[int], Baselines] | None = None,
) -> ServiceHistory:
    """All services from `start` to `end` (Unix seconds), against their baseline before `onset`.

    onset: the first sign of the incident, so that lasting trouble does not become the baseline; the end without one.
    slo_by_service: SLOs in use; learned ones by default. breaching: services that breach their SLO at the end,
    according to the analysis. max_points: bound of the points, which are thinned out. base: cached baselines of
    `SIGNALS` at a grid point.
    """
    first, last = np.searchsorted(world.times, start), np.searchsorted(world.times, end, side="right")
    size = max(1, math.ceil((last - first) / max_points))
    columns = slice(int(first + (last - first - 1) % size) if last > first else int(first), int(last), size)
    at = max(0, int(last) - 1)
    if onset is not None:
        at = min(at, max(0, int(np.searchsorted(world.times, onset - BASELINE_LEAD_SECONDS))))
    baselines = base(at) if base else baselines_at(world, at, SIGNALS)
    history = _HistoryBuilder(
        world, baselines, columns, slos(EvaluationPoint(world, at, baselines), slo_by_service or {})
    ).course()
    if len(history.times):
        history.stages[[service in breaching for service in history.services], -1] = STAGES.index("failing")
    return history


class _HistoryBuilder:
    """Compares signals over some columns with their level and scale."""

    def __init__(self, world: World, base: Baselines, columns: slice, slo_by_service: Mapping[Service, Slo]) -> None:
        self.world, self.base, self.columns, self.limits = world, base, columns, slo_by_service
        self.times = world.times[columns]
        step = world.step * (columns.step or 1)
        self.least, self.gap = max(1, round(DEGRADED_FOR_SECONDS / step)), max(1, round(MAX_GAP_SECONDS / step))
        self.first = max(1, round(EARLY_FOR_SECONDS / step))
        self.row = {service: i for i, service in enumerate(world.services)}

    @cached_property
    def on(self) -> Mapping[Gpu, Sequence[Service]]:
        """The services on each GPU."""
        services_on: dict[Gpu, list[Service]] = {}
        for tenant in self.world.tenants:
            services_on.setdefault(tenant.gpu, []).append(tenant.service)
        return services_on

    def course(self) -> ServiceHistory:
        """Stages and signs."""
        shape = (len(self.world.services), len(self.times))
        early = np.zeros(shape, np.bool_)
        signs: list[Sign] = []
        for name in LEADING_SIGNALS:
            signs += self._leading(SIGNAL_BY_NAME[name], early)
        degraded, failing, known = self._suffering(signs)
        stages = np.where(failing, 3, np.where(degraded, 2, np.where(early, 1, 0))).astype(np.int8)
        stages[~(known | early)] = -1
        signs.sort(key=lambda sign: (sign.since, sign.service, sign.signal))
        return ServiceHistory(self.times, self.world.services, stages, tuple(signs))

    def _leading(self, signal: Signal, early: BoolArray) -> list[Sign]:
        """Signs of one signal at the end, the worst of each service; marks `early` where there are any."""
        if not len(self.times):
            return []
        keys, moment = signal.keys(self.world), signal.values(self.world, (slice(None), self.columns))
        # A median of moments is never beyond all of them, so that most rows need not be smoothed.
        rows = np.flatnonzero(self._scales(signal, keys, _worst(signal, moment))[:, 0] >= EARLY_SCALES)
        keys = [keys[row] for row in rows.tolist()]
        values, z = self._looked_at(signal, keys, moment[rows])
        beyond = z >= EARLY_SCALES
        if signal.name in MIN_SIGN_VALUES:
            beyond &= values >= MIN_SIGN_VALUES[signal.name]
        beyond = long_runs(beyond, self.first, self.gap)
        worst: dict[Service, tuple[float, int]] = {}
        for i in np.flatnonzero(beyond.any(axis=1)).tolist():
            for service in self._whose(keys[i]):
                if service not in self.row:
                    continue
                early[self.row[service]] |= beyond[i]
                if beyond[i, -1] and z[i, -1] > worst.get(service, (-math.inf, 0))[0]:
                    worst[service] = (float(z[i, -1]), i)
        return [
            self._sign(signal, service, keys[i], beyond[i], float(values[i, -1]), off)
            for service, (off, i) in worst.items()
        ]

    def _suffering(self, signs: list[Sign]) -> tuple[BoolArray, BoolArray, BoolArray]:
        """Where services are degraded, where they breach their SLO, and where anything is known of them."""
        world, columns = self.world, self.columns
        p95, slower = self._looked_at(SIGNAL_BY_NAME["p95"], world.services, world.red.p95[:, columns])
        luck = self._luck(p95)
        failed, _ = self._looked_at(SIGNAL_BY_NAME["failed"], world.services, world.red.failed[:, columns])
        rate = world.red.rate[:, columns]
        baseline = np.array([self.base.of("failed").get(service, (0.0, 0.0))[0] for service in world.services])
        limit = np.array(
            [self.limits[service].seconds if service in self.limits else np.nan for service in world.services]
        )
        allowed = np.array(
            [
                self.limits[service].failed if service in self.limits else DEGRADED_ERROR_RATIO
                for service in world.services
            ]
        )
        busy_enough = np.nan_to_num(rate) * max(SLO_WINDOW_SECONDS, world.step) >= MIN_REQUESTS_PER_WINDOW
        losing = np.nan_to_num(failed) > (np.maximum(baseline, 0.0) + DEGRADED_ERROR_RATIO)[:, None]
        slow = long_runs(busy_enough & (slower >= DEGRADED_SCALES) & ~luck, self.least, self.gap)
        losing = long_runs(busy_enough & losing, self.least, self.gap)
        over = long_runs(
            busy_enough & ((np.nan_to_num(p95) > limit[:, None]) & ~luck | (np.nan_to_num(failed) > allowed[:, None])),
            self.least,
            self.gap,
        )
        for name, values, beyond in (("p95", p95, slow), ("failed", failed, losing)):
            for i in np.flatnonzero(beyond[:, -1:].any(axis=1)).tolist():
                service = world.services[i]
                z = float(slower[i, -1]) if name == "p95" else math.nan
                signs.append(self._sign(SIGNAL_BY_NAME[name], service, service, beyond[i], float(values[i, -1]), z))
        suffers = slow | losing | over
        return suffers | _extended(suffers, self.gap), over, np.isfinite(rate)

    def _luck(self, p95: Floats) -> BoolArray:
        """Where services are slower than the baseline only by the sampling noise of a few requests."""
        signal = SIGNAL_BY_NAME["p95"]
        least = signal.lower_bound and signal.lower_bound(self.world, (ALL_ROWS, self.columns))
        if least is None:
            return np.zeros(p95.shape, np.bool_)
        return is_sampling_noise(self.base, signal, self.world, ALL_ROWS, p95, moving_median(least, SMOOTHING_POINTS))

    def _looked_at(self, signal: Signal, keys: Sequence[Key], values: Floats) -> tuple[Floats, Floats]:
        """Values, smoothed as in the analysis, and the number of scales by which each is worse."""
        values = values if signal.unsmoothed else moving_median(values, SMOOTHING_POINTS)
        return values, self._scales(signal, keys, values)

    def _scales(self, signal: Signal, keys: Sequence[Key], values: Floats) -> Floats:
        """The number of scales by which values are worse than the baseline; NaN where nothing is known."""
        pairs = self.base.of(signal.name).of(keys)
        with np.errstate(invalid="ignore", divide="ignore"):
            z: Floats = (transformed(signal, values) - pairs[:, :1]) / pairs[:, 1:] * (signal.worse or 1)
        return z

    def _whose(self, key: Key) -> Sequence[Service]:
        """The services that a figure affects."""
        if isinstance(key, Edge):
            return (key.server,)
        if isinstance(key, Stall):
            return (key.victim,)
        if isinstance(key, Tenant):
            return (key.service,)
        if isinstance(key, Gpu):
            return self.on.get(key, ())
        return (key,) if isinstance(key, Service) else ()

    def _sign(self, signal: Signal, service: Service, key: Key, beyond: BoolArray, value: float, scales: float) -> Sign:
        level, scale = self.base.of(signal.name).get(key, (math.nan, math.nan))
        many = DEGRADED_SCALES if signal.name in ("p95", "failed") else EARLY_SCALES
        edge = level + many * scale * (signal.worse or 1)
        if signal.log:
            level, edge = math.exp(level), math.exp(edge)
        edge = max(edge, MIN_SIGN_VALUES.get(signal.name, edge))
        if signal.name == "failed":
            edge = max(level, 0.0) + DEGRADED_ERROR_RATIO
        calm = np.flatnonzero(~beyond)
        since = float(self.times[int(calm[-1]) + 1 if len(calm) else 0])
        if signal.name == "waiting":  # it counts from 1, to be compared as a ratio
            value, level, edge = value - 1.0, level - 1.0, edge - 1.0
        return Sign(service, signal.name, entity(key), since, value, level, edge, scales)


def _extended(true: BoolArray, gap: int) -> BoolArray:
    """The last points of each row with a true point less than `gap` points before: the interval is not over yet."""
    late = true[:, -gap - 1 :]
    seen = np.zeros_like(true)
    seen[:, -gap - 1 :] = np.maximum.accumulate(late, axis=1)
    return seen


def _worst(signal: Signal, values: Floats) -> Floats:
    """The most anomalous value of each row, shape (rows, 1); NaN where none is known."""
    if not values.size:
        return np.full((len(values), 1), np.nan)
    if signal.worse >= 0:
        return np.fmax.reduce(values, axis=1, keepdims=True)
    comparable = np.where(values > 0, values, np.nan) if signal.log else values
    return np.fmin.reduce(comparable, axis=1, keepdims=True)
