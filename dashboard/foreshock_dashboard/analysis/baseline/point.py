"""One evaluation point: every signal of the World against its baseline, and the call graph around each service."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import Baselines, is_sampling_noise
from foreshock_dashboard.analysis.baseline.signals import (
    ALL_ROWS,
    SIGNAL_BY_NAME,
    Key,
    Signal,
    model_servers,
    transformed,
)
from foreshock_dashboard.common.identity_cache import IdentityCache, row_by_key, rows_by_field
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Edge, Gpu, World
from foreshock_dashboard.stats.robust import median
from foreshock_dashboard.stats.runs import moving_median

Result = TypeVar("Result")
SMOOTHING_POINTS = 3
MAX_SMOOTHING_SECONDS = 60.0
"""Grid points of the median that is the current value, and the longest time that they span; one lost scrape or slow
request does not change it, and a fault of a minute is not diluted."""
ANOMALOUS_SCALES = 2.5
"""Scales above the baseline from which a signal is anomalous: the confidence in that is 1 − 1/e there."""
FIRST_LOOKBACK_POINTS = 12
"""Grid points of all rows searched first for the start of an excursion: most signals were normal so recently."""


def smoothing_points(world: World) -> int:
    """Grid points of the median that is the current value."""
    return min(SMOOTHING_POINTS, world.points(MAX_SMOOTHING_SECONDS))


def gpu_pools(gpus: Sequence[Gpu], pools: Sequence[str]) -> Mapping[Gpu, str]:
    """The pool of each GPU of a World; empty where none has one."""
    return dict(zip(gpus, pools, strict=False))


class SignalAt(NamedTuple):
    """A signal at one grid point; arrays of shape (rows,), NaN where unknown.

    Attributes:
        keys: row of each entity.
        value: in the signal's unit.
        level: baseline level, in the signal's unit.
        z: deviation of `denoised` from the baseline in scales; positive is worse, or more for load signals.
        ratio: `denoised` over `level`.
        denoised: `value`, but `level` where the difference is sampling noise.
    """

    keys: Mapping[Key, int]
    value: Floats
    level: Floats
    z: Floats
    ratio: Floats
    denoised: Floats


NO_ROWS = SignalAt({}, *(np.empty(0),) * 5)
"""A signal of entities of which the platform has none."""


def _lookup(field: str) -> Callable[[EvaluationPoint, str, Key], float]:
    """A method that returns a field of `SignalAt` for one signal and entity; NaN where unknown."""

    def lookup(point: EvaluationPoint, name: str, key: Key) -> float:
        signal = point[name]
        row = signal.keys.get(key)
        return math.nan if row is None else float(getattr(signal, field).item(row))

    return lookup


class EvaluationPoint:
    """The World at one grid point, against its baselines. Signals are computed on first use.

    `utilizations` holds the utilization of model servers with a learned batching law.
    """

    value = _lookup("value")
    level = _lookup("level")
    z = _lookup("z")
    ratio = _lookup("ratio")
    denoised = _lookup("denoised")

    def __init__(
        self,
        world: World,
        column: int,
        baselines: Baselines,
        cache: IdentityCache | None = None,
        utilizations: Mapping[Service, Utilization] | None = None,
    ) -> None:
        self.world = world
        self.column = column
        self.baselines = baselines
        self.cache = cache or IdentityCache()
        self.utilizations = utilizations or {}
        self._signals: dict[str, SignalAt] = {}
        self._last_normal: dict[str, list[int]] = {}
        self._memo: dict[Callable[[EvaluationPoint], Any], Any] = {}

    @property
    def time(self) -> float:
        """Unix seconds of the grid point."""
        return float(self.world.times[self.column])

    def memo(self, make: Callable[[EvaluationPoint], Result]) -> Result:
        """make(self), computed once; callers must not change the result."""
        if make not in self._memo:
            self._memo[make] = make(self)
        result: Result = self._memo[make]
        return result

    def __getitem__(self, name: str) -> SignalAt:
        signal = self._signals.get(name)
        if signal is None:
            signal = self._signals[name] = self._compute(SIGNAL_BY_NAME[name])
        return signal

    def _compute(self, signal: Signal) -> SignalAt:
        keys = signal.keys(self.world)
        if not keys:
            return NO_ROWS
        at = ALL_ROWS, self._last(1 if signal.unsmoothed else smoothing_points(self.world))
        value = median(signal.values(self.world, at))
        level, scale = self.baselines.of(signal.name).of(keys).T
        level_value = np.exp(level) if signal.log else level
        denoised = value
        if signal.lower_bound is not None and (bound := signal.lower_bound(self.world, at)) is not None:
            low = median(bound)[:, None]
            noise = is_sampling_noise(self.baselines, signal, self.world, ALL_ROWS, value[:, None], low)[:, 0]
            denoised = np.where(noise, level_value, value)
        z = (transformed(signal, denoised) - level) / scale * (signal.worse or 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = denoised / level_value
        return SignalAt(self.cache.get(row_by_key, keys), value, level_value, z, ratio, denoised)

    def level_and_scale(self, name: str, key: Key) -> tuple[float, float]:
        """Level and scale of one entity as compared (logarithms for ratio signals); NaN without a baseline."""
        return self.baselines.of(name).get(key)

    def window(self, seconds: float) -> slice:
        """The columns of the last `seconds`, this grid point included; at least that."""
        return self._last(self.world.points(seconds))

    def _last(self, points: int) -> slice:
        return slice(max(0, self.column + 1 - points), self.column + 1)

    def history(self, name: str, key: Key, seconds: float) -> Floats:
        """The signal of one entity as compared over the last `seconds`, oldest first; shape (points,)."""
        row = self[name].keys.get(key)
        points = self.world.points(seconds)
        if row is None:
            return np.full(min(points, self.column + 1), np.nan)
        return np.asarray(self.past(name, slice(row, row + 1), points)[0])

    def past(self, name: str, rows: slice | list[int], points: int) -> Floats:
        """The last `points` of some rows as compared, oldest first; shape (rows, points)."""
        signal = SIGNAL_BY_NAME[name]
        return transformed(signal, signal.values(self.world, (rows, self._last(points))))

    def since(self, name: str, key: Key, lookback: float = 3600.0) -> float:
        """Unix seconds since when the signal exceeds `ANOMALOUS_SCALES`, at most `lookback` seconds ago.

        The current time where it does not exceed them or is unknown.
        """
        row = self[name].keys.get(key)
        points = min(self.world.points(lookback), self.column + 1)
        if row is None or not points:
            return self.time
        searched = min(FIRST_LOOKBACK_POINTS, points)
        if name not in self._last_normal:
            self._last_normal[name] = self._last_normal_point(name, ALL_ROWS, searched).tolist()
        last = self._last_normal[name][row]
        if last < 0:
            searched, rows = points, slice(row, row + 1)
            last = self._last_normal_point(name, rows, searched).item()
            if last < 0:
                known = np.isfinite(self.past(name, rows, searched)[0])
                last = int(known.argmax()) - 1 if known.any() else searched - 1
        return self.time - (searched - 1 - min(last + 1, searched - 1)) * self.world.step

    def first_excess(self, name: str, key: Key, start: float) -> float:
        """Unix seconds from `start` on at which the signal, also smoothed, first exceeds `ANOMALOUS_SCALES`; or inf."""
        row = self[name].keys.get(key)
        points = min(self.world.points(self.time - start), self.column) + 1
        if row is None or points < 1:
            return math.inf
        rows, smoothing = slice(row, row + 1), smoothing_points(self.world)
        beyond = ~self._is_normal(name, rows, points)[0] & np.isfinite(self.past(name, rows, points)[0])
        lasting = moving_median(beyond[None].astype(float), smoothing)[0] > 0.5
        if not lasting.any():
            return math.inf
        start_column = max(0, int(lasting.argmax()) - smoothing + 1)  # the median follows later
        first = start_column + int(beyond[start_column:].argmax())
        return self.time - (points - 1 - first) * self.world.step

    def _last_normal_point(self, name: str, rows: slice, points: int) -> NDArray[np.intp]:
        """Index among the last `points` of the last normal one, by row; −1 for none."""
        within = self._is_normal(name, rows, points)
        return np.where(within.any(axis=1), points - 1 - within[:, ::-1].argmax(axis=1), -1)

    def _is_normal(self, name: str, rows: slice, points: int) -> Bools:
        """Whether a signal is known and within `ANOMALOUS_SCALES` at the last `points`; shape (rows, points)."""
        signal, values = SIGNAL_BY_NAME[name], self.past(name, rows, points)
        level, scale = self.baselines.of(name).of(signal.keys(self.world))[rows].T.astype(values.dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = (values - level[:, None]) / scale[:, None] * (signal.worse or 1)
            within: Bools = ~(deviation > ANOMALOUS_SCALES) & np.isfinite(values)
        at = rows, self._last(points)
        if signal.lower_bound is not None and (bound := signal.lower_bound(self.world, at)) is not None:
            within |= is_sampling_noise(self.baselines, signal, self.world, rows, signal.values(self.world, at), bound)
        return within

    @property
    def tenant_rows(self) -> Mapping[Service, list[int]]:
        """Rows of the GPU tenants of each service."""
        return self.cache.get(rows_by_field, self.world.tenants, "service")

    @property
    def pool_by_gpu(self) -> Mapping[Gpu, str]:
        """The pool of each GPU, as `gpu_pools`."""
        return self.cache.get(gpu_pools, self.world.gpus, self.world.pool)

    @property
    def operations(self) -> Mapping[Service, list[int]]:
        """Rows of the operations of each service."""
        return self.cache.get(rows_by_field, self.world.operations, "service")

    @property
    def models(self) -> Mapping[Key, int]:
        """Row of each service with model servers."""
        return self.cache.get(row_by_key, model_servers(self.world).services)

    @property
    def gpu_wait_pairs(self) -> Mapping[Service, list[int]]:
        """Rows of the GPU-wait pairs of each affected service."""
        return self.cache.get(rows_by_field, self.world.gpu_wait_pairs, "affected")

    @property
    def incoming(self) -> Mapping[Service, list[int]]:
        """Rows of the incoming edges of each service."""
        return self.cache.get(rows_by_field, self.world.edges, "server")

    @property
    def outgoing(self) -> Mapping[Service, list[int]]:
        """Rows of the outgoing edges of each service."""
        return self.cache.get(rows_by_field, self.world.edges, "client")

    def calls_to(self, service: Service) -> list[Edge]:
        """Incoming edges of a service, with those of users."""
        return [self.world.edges[row] for row in self.incoming.get(service, ())]

    def calls_from(self, service: Service) -> list[Edge]:
        """Outgoing edges of a service, without virtual nodes."""
        edges = [self.world.edges[row] for row in self.outgoing.get(service, ())]
        return [edge for edge in edges if edge.connection != "virtual_node"]

    @property
    def upstream(self) -> Mapping[Service, tuple[Service, ...]]:
        """Direct and indirect callers of each service, nearest first."""
        return self.cache.get(_Upstream, self.world.edges)


class _Upstream(dict[Service, tuple[Service, ...]]):
    """Direct and indirect callers, computed on first lookup."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        super().__init__()
        self._callers = defaultdict[Service, set[Service]](set)
        for edge in edges:
            if edge.connection != "virtual_node":
                self._callers[edge.server].add(edge.client)

    def __missing__(self, origin: Service) -> tuple[Service, ...]:
        upstream: list[Service] = []
        visited, frontier = {origin}, [origin]
        while frontier:
            frontier = sorted({caller for service in frontier for caller in self._callers.get(service, ())} - visited)
            visited.update(frontier)
            upstream += frontier
        self[origin] = tuple(upstream)
        return self[origin]
