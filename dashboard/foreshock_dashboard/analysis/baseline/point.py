"""One evaluation point: every signal of the World against its baseline, and the call graph around each service."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import Baselines
from foreshock_dashboard.analysis.baseline.sampling_noise import is_sampling_noise
from foreshock_dashboard.analysis.baseline.signals import (
    ALL_ROWS,
    SIGNAL_BY_NAME,
    Key,
    Signal,
    model_servers,
    transformed,
)
from foreshock_dashboard.common.identity_cache import IdentityCache, row_by_key, rows_by_key
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Operation, Stall, Tenant, World
from foreshock_dashboard.stats.robust import median

if TYPE_CHECKING:
    from foreshock_dashboard.model.batching_law import Utilization

Result = TypeVar("Result")
SMOOTHING_POINTS = 3
"""Grid points of the median that is the current value; one lost scrape or slow request does not change it."""
FIRST_LOOKBACK_POINTS = 12
"""Grid points searched first for the start of an excursion."""
BATCH_AFTER_LOOKUPS = 50
"""Lookups of a signal row by row, after which all of its rows are searched at once."""


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


class EvaluationPoint:
    """The World at one grid point, against its baselines. Signals are computed on first use.

    `utilizations` holds the utilization of model servers with a learned batching law.
    """

    def __init__(
        self,
        world: World,
        at: int,
        base: Baselines,
        cache: IdentityCache | None = None,
        utilizations: Mapping[Service, Utilization] | None = None,
    ) -> None:
        self.world = world
        self.at = at
        self.base = base
        self.cache = cache or IdentityCache()
        self.utilizations = utilizations or {}
        self._signals: dict[str, SignalAt] = {}
        self._lookups: dict[tuple[str, float], int] = {}
        self._last_normal: dict[tuple[str, float], list[int]] = {}
        self._memo: dict[Callable[[EvaluationPoint], Any], Any] = {}

    @property
    def time(self) -> float:
        """Unix seconds of the grid point."""
        return float(self.world.times[self.at])

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
        points = 1 if signal.unsmoothed else SMOOTHING_POINTS
        at = ALL_ROWS, slice(max(0, self.at + 1 - points), self.at + 1)
        window = signal.values(self.world, at)
        values = recent_median(window, window.shape[1] - 1, points)
        level, scale = self.base.of(signal.name).of(keys).T
        level_value = np.exp(level) if signal.log else level
        denoised = values
        if signal.lower_bound is not None and (least := signal.lower_bound(self.world, at)) is not None:
            low = recent_median(least, least.shape[1] - 1, points)
            noise = is_sampling_noise(self.base, signal, self.world, ALL_ROWS, values[:, None], low[:, None])[:, 0]
            denoised = np.where(noise, level_value, values)
        z = (transformed(signal, denoised) - level) / scale * (signal.worse or 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = denoised / level_value
        return SignalAt(self.cache.get(row_by_key, keys), values, level_value, z, ratio, denoised)

    def z(self, name: str, key: Key) -> float:
        """Deviation of one entity in scales; NaN where unknown."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.z.item(row)

    def value(self, name: str, key: Key) -> float:
        """Value of one entity, in the signal's unit; NaN where unknown."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.value.item(row)

    def denoised(self, name: str, key: Key) -> float:
        """Value of one entity, but the level where the difference is sampling noise."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.denoised.item(row)

    def level(self, name: str, key: Key) -> float:
        """Baseline level of one entity, in the signal's unit; NaN without a baseline."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.level.item(row)

    def ratio(self, name: str, key: Key) -> float:
        """Denoised value over level of one entity; NaN where unknown."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.ratio.item(row)

    def level_and_scale(self, name: str, key: Key) -> tuple[float, float]:
        """Level and scale of one entity as compared (logarithms for ratio signals); NaN without a baseline."""
        return self.base.of(name).get(key)

    def window(self, seconds: float) -> slice:
        """The columns of the last `seconds`, this grid point included; empty for less than half a step."""
        return slice(max(0, self.at + 1 - self.world.points(seconds)), self.at + 1)

    def histories(self, name: str, seconds: float) -> Floats:
        """The signal as compared over the last `seconds`, oldest first; shape (rows, points)."""
        return self.past(name, ALL_ROWS, self.world.points(seconds))

    def history(self, name: str, key: Key, seconds: float) -> Floats:
        """The signal of one entity as compared over the last `seconds`, oldest first; shape (points,)."""
        row = self[name].keys.get(key)
        points = self.world.points(seconds)
        if row is None:
            return np.full(min(points, self.at + 1), np.nan)
        values: Floats = self.past(name, slice(row, row + 1), points)[0]
        return values

    def past(self, name: str, rows: slice | list[int], points: int) -> Floats:
        """The last `points` of some rows as compared, oldest first; shape (rows, points)."""
        signal = SIGNAL_BY_NAME[name]
        columns = slice(max(0, self.at + 1 - points), self.at + 1)
        return transformed(signal, signal.values(self.world, (rows, columns)))

    def since(self, name: str, key: Key, threshold: float = 2.5, lookback: float = 3600.0) -> float:
        """Unix seconds since when the signal exceeds `threshold` scales, at most `lookback` seconds ago.

        The current time where it does not exceed the threshold or is unknown.
        """
        row, signal = self[name].keys.get(key), SIGNAL_BY_NAME[name]
        points = min(self.world.points(lookback), self.at + 1)
        if row is None or not points:
            return self.time
        searched, lookup = min(FIRST_LOOKBACK_POINTS, points), (name, threshold)
        self._lookups[lookup] = self._lookups.get(lookup, 0) + 1
        if self._lookups[lookup] > BATCH_AFTER_LOOKUPS:
            if lookup not in self._last_normal:
                self._last_normal[lookup] = self._last_within(signal, ALL_ROWS, threshold, searched).tolist()
            last = self._last_normal[lookup][row]
        else:
            last = int(self._last_within(signal, slice(row, row + 1), threshold, searched)[0])
        if last < 0:  # rarely: most signals were normal a few points ago
            searched = points
            last = int(self._last_within(signal, slice(row, row + 1), threshold, searched)[0])
            if last < 0:
                known = np.isfinite(self.past(name, slice(row, row + 1), searched)[0])
                last = int(known.argmax()) - 1 if known.any() else searched - 1
        return self.time - (searched - 1 - min(last + 1, searched - 1)) * self.world.step

    def _last_within(self, signal: Signal, rows: slice, threshold: float, points: int) -> NDArray[np.intp]:
        """Index among the last `points` of the last one within `threshold` scales, by row; −1 for none."""
        values = self.past(signal.name, rows, points)
        level, scale = self.base.of(signal.name).of(signal.keys(self.world))[rows].T.astype(values.dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = (values - level[:, None]) / scale[:, None] * (signal.worse or 1)
            within = ~(deviation > threshold) & np.isfinite(values)
        at = rows, slice(max(0, self.at + 1 - points), self.at + 1)
        if signal.lower_bound is not None and (least := signal.lower_bound(self.world, at)) is not None:
            within |= is_sampling_noise(self.base, signal, self.world, rows, signal.values(self.world, at), least)
        return np.where(within.any(axis=1), points - 1 - within[:, ::-1].argmax(axis=1), -1)

    @property
    def tenant_rows(self) -> Mapping[Service, list[int]]:
        """Rows of the GPU tenants of each service."""
        return self.cache.get(_by_service, self.world.tenants)

    @property
    def operations(self) -> Mapping[Service, list[int]]:
        """Rows of the operations of each service."""
        return self.cache.get(_by_owner, self.world.operations)

    @property
    def models(self) -> Mapping[Key, int]:
        """Row of each service with model servers."""
        return self.cache.get(row_by_key, model_servers(self.world).services)

    @property
    def stalls(self) -> Mapping[Service, list[int]]:
        """Rows of the stalls of each victim."""
        return self.cache.get(_by_victim, self.world.stalls)

    @property
    def into(self) -> Mapping[Service, list[int]]:
        """Rows of the incoming edges of each service."""
        return self.cache.get(_by_server, self.world.edges)

    @property
    def out(self) -> Mapping[Service, list[int]]:
        """Rows of the outgoing edges of each service."""
        return self.cache.get(_by_client, self.world.edges)

    @property
    def callers(self) -> Mapping[Service, tuple[Service, ...]]:
        """Direct callers of each service, without virtual nodes."""
        return self.cache.get(_callers, self.world.edges)

    @property
    def upstream(self) -> Mapping[Service, tuple[Service, ...]]:
        """Direct and indirect callers of each service, nearest first."""
        return self.cache.get(_Upstream, self.world.edges)

    @property
    def callees(self) -> Mapping[Service, tuple[Service, ...]]:
        """Direct callees of each service."""
        return self.cache.get(_callees, self.world.edges)


def _by_service(tenants: Sequence[Tenant]) -> Mapping[Service, list[int]]:
    return rows_by_key(tenant.service for tenant in tenants)


def _by_owner(operations: Sequence[Operation]) -> Mapping[Service, list[int]]:
    return rows_by_key(operation.service for operation in operations)


def _by_victim(stalls: Sequence[Stall]) -> Mapping[Service, list[int]]:
    return rows_by_key(stall.victim for stall in stalls)


def _by_server(edges: Sequence[Edge]) -> Mapping[Service, list[int]]:
    return rows_by_key(edge.server for edge in edges)


def _by_client(edges: Sequence[Edge]) -> Mapping[Service, list[int]]:
    return rows_by_key(edge.client for edge in edges)


def _callers(edges: Sequence[Edge]) -> Mapping[Service, tuple[Service, ...]]:
    internal = [edge for edge in edges if edge.connection != "virtual_node"]
    by_server = _by_server(internal)
    return {server: tuple(dict.fromkeys(internal[row].client for row in rows)) for server, rows in by_server.items()}


def _callees(edges: Sequence[Edge]) -> Mapping[Service, tuple[Service, ...]]:
    internal = [edge for edge in edges if edge.connection != "virtual_node"]
    by_client = _by_client(internal)
    return {client: tuple(dict.fromkeys(internal[row].server for row in rows)) for client, rows in by_client.items()}


class _Upstream(dict[Service, tuple[Service, ...]]):
    """Direct and indirect callers, computed on first lookup."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        super().__init__()
        self._callers = _callers(edges)

    def __missing__(self, origin: Service) -> tuple[Service, ...]:
        upstream: list[Service] = []
        visited, frontier = {origin}, [origin]
        while frontier:
            frontier = sorted({caller for service in frontier for caller in self._callers.get(service, ())} - visited)
            visited.update(frontier)
            upstream += frontier
        self[origin] = tuple(upstream)
        return self[origin]


def recent_median(values: Floats, at: int, points: int = SMOOTHING_POINTS) -> Floats:
    """Median of the last `points` columns up to `at`, by row; NaN without a value."""
    return median(values[:, max(0, at - points + 1) : at + 1])
