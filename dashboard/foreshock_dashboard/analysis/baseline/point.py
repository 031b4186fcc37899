"""A World at one grid point, against what is usual: how each thing is, since when, and who has to do with whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import Usual
from foreshock_dashboard.analysis.baseline.sampling_noise import by_chance
from foreshock_dashboard.analysis.baseline.signals import ALL, NAMED, Key, Signal, inference, transformed
from foreshock_dashboard.common.identity_cache import IdentityCache, row_by_key, rows_by_key
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Operation, Stall, Tenant, World
from foreshock_dashboard.stats.robust import median

if TYPE_CHECKING:
    from foreshock_dashboard.model.batching_law import Utilization

Made = TypeVar("Made")
RECENT = 3
"""Grid points whose median stands for now: one lost scrape or one slow request does not move it."""
NEWEST = 12
"""Grid points that are looked at first where it is asked since when something is as it is."""
OFTEN = 50
"""Times that this is asked of a signal one by one; then all its rows are looked at together."""


class Now(NamedTuple):
    """A signal at one grid point. Arrays of shape (rows,), NaN where it is not known.

    value and level in the signal's unit; firm: the value, but the level where it is above that by chance; z of it in
    scales, positive where it is worse (more, where it only tells of load); ratio: it over the level.
    """

    keys: Mapping[Key, int]
    value: Floats
    level: Floats
    z: Floats
    ratio: Floats
    firm: Floats


class Scan:
    """The World at one grid point, against what is usual. Signals are looked at when they are asked for.

    strains: how full model servers are, as far as that was learned.
    """

    def __init__(
        self,
        world: World,
        at: int,
        base: Usual,
        remembered: IdentityCache | None = None,
        strains: Mapping[Service, Utilization] | None = None,
    ) -> None:
        self.world = world
        self.at = at
        self.base = base
        self.remembered = remembered or IdentityCache()
        self.strains = strains or {}
        self._found: dict[str, Now] = {}
        self._asked: dict[tuple[str, float], int] = {}
        self._inside: dict[tuple[str, float], list[int]] = {}
        self._made: dict[Callable[[Scan], Any], Any] = {}

    @property
    def time(self) -> float:
        """Unix seconds of the grid point."""
        return float(self.world.times[self.at])

    def once(self, make: Callable[[Scan], Made]) -> Made:
        """make(self), made once, whoever asks; it must not be changed."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    def __getitem__(self, name: str) -> Now:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look(NAMED[name])
        return found

    def _look(self, signal: Signal) -> Now:
        keys = signal.keys(self.world)
        points = 1 if signal.quick else RECENT
        at = ALL, slice(max(0, self.at + 1 - points), self.at + 1)
        window = signal.values(self.world, at)
        values = recent(window, window.shape[1] - 1, points)
        level, scale = self.base.of(signal.name).of(keys).T
        usual_value = np.exp(level) if signal.log else level
        firm = values
        if signal.lower_bound is not None and (least := signal.lower_bound(self.world, at)) is not None:
            low = recent(least, least.shape[1] - 1, points)
            luck = by_chance(self.base, signal, self.world, ALL, values[:, None], low[:, None])[:, 0]
            firm = np.where(luck, usual_value, values)
        z = (transformed(signal, firm) - level) / scale * (signal.bad or 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = firm / usual_value
        return Now(self.remembered.get(row_by_key, keys), values, usual_value, z, ratio, firm)

    def z(self, name: str, key: Key) -> float:
        """The signal's z of one thing; NaN where it is not known."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.z.item(row)

    def value(self, name: str, key: Key) -> float:
        """The signal's value of one thing, in its unit."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.value.item(row)

    def firm(self, name: str, key: Key) -> float:
        """The same, but what is usual where it is above that by chance."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.firm.item(row)

    def level(self, name: str, key: Key) -> float:
        """What is usual of one thing, in the signal's unit."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.level.item(row)

    def ratio(self, name: str, key: Key) -> float:
        """Value over level of one thing."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.ratio.item(row)

    def pair(self, name: str, key: Key) -> tuple[float, float]:
        """Level and scale of one thing as they are compared; NaN where it has no baseline."""
        return self.base.of(name).get(key)

    def histories(self, name: str, seconds: float) -> Floats:
        """The signal over the last seconds as it is compared, oldest first. Shape (rows, points)."""
        return self.past(name, ALL, round(seconds / self.world.step))

    def history(self, name: str, key: Key, seconds: float) -> Floats:
        """The signal of one thing over the last seconds as it is compared, oldest first."""
        row = self[name].keys.get(key)
        points = round(seconds / self.world.step)
        if row is None:
            return np.full(min(points, self.at + 1), np.nan)
        found: Floats = self.past(name, slice(row, row + 1), points)[0]
        return found

    def past(self, name: str, rows: slice | list[int], points: int) -> Floats:
        """The last points of some rows as they are compared, oldest first. Shape (rows, points)."""
        signal = NAMED[name]
        columns = slice(max(0, self.at + 1 - points), self.at + 1)
        return transformed(signal, signal.values(self.world, (rows, columns)))

    def since(self, name: str, key: Key, threshold: float = 2.5, most: float = 3600.0) -> float:
        """Unix seconds from which on the signal has been beyond `threshold` scales, as far back as it is told.

        Now where it is not beyond, or nobody tells it.
        """
        row, signal = self[name].keys.get(key), NAMED[name]
        points = min(round(most / self.world.step), self.at + 1)
        if row is None or not points:
            return self.time
        looked, asked = min(NEWEST, points), (name, threshold)
        self._asked[asked] = self._asked.get(asked, 0) + 1
        if self._asked[asked] > OFTEN:
            if asked not in self._inside:
                self._inside[asked] = self._last_inside(signal, ALL, threshold, looked).tolist()
            last = self._inside[asked][row]
        else:
            last = int(self._last_inside(signal, slice(row, row + 1), threshold, looked)[0])
        if last < 0:  # most have been inside a few points ago
            looked = points
            last = int(self._last_inside(signal, slice(row, row + 1), threshold, looked)[0])
            if last < 0:
                told = np.isfinite(self.past(name, slice(row, row + 1), looked)[0])
                last = int(told.argmax()) - 1 if told.any() else looked - 1
        return self.time - (looked - 1 - min(last + 1, looked - 1)) * self.world.step

    def _last_inside(self, signal: Signal, rows: slice, threshold: float, points: int) -> NDArray[np.intp]:
        """Which of the last points of each row is the last within `threshold` scales; −1 where none is."""
        found = self.past(signal.name, rows, points)
        level, scale = self.base.of(signal.name).of(signal.keys(self.world))[rows].T.astype(found.dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = ~((found - level[:, None]) / scale[:, None] * (signal.bad or 1) > threshold) & np.isfinite(found)
        at = rows, slice(max(0, self.at + 1 - points), self.at + 1)
        if signal.lower_bound is not None and (least := signal.lower_bound(self.world, at)) is not None:
            inside |= by_chance(self.base, signal, self.world, rows, signal.values(self.world, at), least)
        return np.where(inside.any(axis=1), points - 1 - inside[:, ::-1].argmax(axis=1), -1)

    @property
    def tenancies(self) -> Mapping[Service, list[int]]:
        """Rows of the tenants of each service."""
        return self.remembered.get(_by_service, self.world.tenants)

    @property
    def operations(self) -> Mapping[Service, list[int]]:
        """Rows of the operations of each service on GPUs."""
        return self.remembered.get(_by_owner, self.world.operations)

    @property
    def models(self) -> Mapping[Key, int]:
        """Rows of the services that have model servers."""
        return self.remembered.get(row_by_key, inference(self.world).services)

    @property
    def stalls(self) -> Mapping[Service, list[int]]:
        """Rows of the stalls that each service suffers."""
        return self.remembered.get(_by_victim, self.world.stalls)

    @property
    def into(self) -> Mapping[Service, list[int]]:
        """Rows of the edges that lead to each service."""
        return self.remembered.get(_by_server, self.world.edges)

    @property
    def out(self) -> Mapping[Service, list[int]]:
        """Rows of the edges that lead from each service."""
        return self.remembered.get(_by_client, self.world.edges)

    @property
    def callers(self) -> Mapping[Service, tuple[Service, ...]]:
        """Who calls each service directly, nobody outside the platform."""
        return self.remembered.get(_callers, self.world.edges)

    @property
    def upstream(self) -> Mapping[Service, tuple[Service, ...]]:
        """Who calls each service, directly or through others, nearest first."""
        return self.remembered.get(_Upstream, self.world.edges)

    @property
    def callees(self) -> Mapping[Service, tuple[Service, ...]]:
        """Whom each service calls directly."""
        return self.remembered.get(_callees, self.world.edges)


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
    inside = [edge for edge in edges if edge.connection != "virtual_node"]
    found = _by_server(inside)
    return {server: tuple(dict.fromkeys(inside[row].client for row in rows)) for server, rows in found.items()}


def _callees(edges: Sequence[Edge]) -> Mapping[Service, tuple[Service, ...]]:
    inside = [edge for edge in edges if edge.connection != "virtual_node"]
    found = _by_client(inside)
    return {client: tuple(dict.fromkeys(inside[row].server for row in rows)) for client, rows in found.items()}


class _Upstream(dict[Service, tuple[Service, ...]]):
    """Looked up once somebody asks."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        super().__init__()
        self._callers = _callers(edges)

    def __missing__(self, origin: Service) -> tuple[Service, ...]:
        found: list[Service] = []
        seen, frontier = {origin}, [origin]
        while frontier:
            nearer = sorted({caller for who in frontier for caller in self._callers.get(who, ())} - seen)
            seen.update(nearer)
            found += nearer
            frontier = nearer
        self[origin] = tuple(found)
        return self[origin]


def recent(values: Floats, at: int, points: int = RECENT) -> Floats:
    """The median of the last `points` columns up to `at`, per row; NaN where none has a value."""
    return median(values[:, max(0, at - points + 1) : at + 1])
