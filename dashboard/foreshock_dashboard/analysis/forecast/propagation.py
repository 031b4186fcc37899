"""Who is next and when: risk spreads from callees to callers, and between services on full GPUs.

r ← max(own, DECAY · max over edges of w · r), until nothing changes; it ends on cycles too, for every step takes
some of it away. The time to a breach is the earliest of those ways, its own among them, that bring much of the
risk; each step adds a delay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.gpu_shares import MIN_SHARE_CHANGE, GpuShares
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.common.identity_cache import row_by_key
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.level_crossing import QUANTILES

DECAY = 0.85
"""Share of risk that a step passes on at most: a caller may have means against it that nobody sees."""
TOUCHED = 0.05
"""Share of a caller's requests from which a p95 feels what becomes of them."""
ANSWERED = 0.5
"""Weight of a callee that takes no part of its caller's time: it fails callers that have no answer without it."""
COUNTS = 0.5
"""Share of a service's chance that a way must bring for its time to count."""
FIRST = 40.0
"""Seconds from a service's breach to that of the first that suffers by it, at the median: until it is bad enough."""
SPREAD = 1.3
"""Spread of the logarithm of delays: they depend on how hard the first is hit."""
DELAYS = np.array([math.exp(SPREAD * NormalDist().inv_cdf(share)) for share in QUANTILES])
"""Delays at each of the quantiles, in times of the median."""
LEAST = 1e-3
"""Chance below which a service is not said to be at risk."""
MEDIAN = QUANTILES.index(0.5)

Rows = NDArray[np.intp]


class Risky(Protocol):
    """What a service shows itself: the chance 0…1 to miss its objective; seconds until then, by `hazard.QUANTILES`."""

    @property
    def chance(self) -> float: ...

    @property
    def seconds(self) -> tuple[float, ...]: ...


class Ahead(NamedTuple):
    """A service's chance 0…1 to miss its objective; seconds until then by `hazard.QUANTILES`; through whom it comes."""

    service: Service
    chance: float
    seconds: tuple[float, ...]
    through: Service | None = None


class Ways(NamedTuple):
    """Ways of risk from one service to another, as rows: weight 0…1, and seconds that a request of the target takes."""

    source: Rows
    target: Rows
    weight: Floats
    takes: Floats


class Spreading:
    """How risk spreads at one grid point. The ways that it takes are worked out once, whoever is hit first."""

    def __init__(self, scan: Scan, own: Mapping[Service, Risky]) -> None:
        self._services = scan.world.services
        self._rows = scan.cache.get(row_by_key, self._services)
        self._ways = _joined(calls(scan), shared(scan))
        never = (math.inf,) * len(QUANTILES)
        self._chance = np.array([own[service].chance if service in own else 0.0 for service in self._services])
        when = [own[service].seconds if service in own else never for service in self._services]
        self._seconds = np.array(when).reshape(-1, len(QUANTILES))

    def ahead(self, known: Mapping[Service, Risky] | None = None) -> tuple[Ahead, ...]:
        """Every service that has a chance to miss its objective, the soonest first, then the likeliest.

        known: what is known of some services beside what they show themselves.
        """
        services, chance, when = self._services, self._chance.copy(), self._seconds.copy()
        for service, risk in (known or {}).items():
            if (row := self._rows.get(service)) is not None:
                chance[row], when[row] = risk.chance, risk.seconds
        found, seconds, through = spread(np.nan_to_num(chance), when, self._ways)
        rows = np.flatnonzero(found >= LEAST).tolist()
        risks = [
            Ahead(services[row], found.item(row), tuple(times), services[by] if by >= 0 else None)
            for row, times, by in zip(rows, seconds[rows].tolist(), through[rows].tolist(), strict=True)
        ]
        return tuple(sorted(risks, key=lambda risk: (risk.seconds[MEDIAN], -risk.chance, risk.service)))


def ahead(scan: Scan, own: Mapping[Service, Risky]) -> tuple[Ahead, ...]:
    """As `Spreading.ahead`, by what services show themselves."""
    return Spreading(scan, own).ahead()


def spread(own: Floats, seconds: Floats, ways: Ways) -> tuple[Floats, Floats, Rows]:
    """Chances (services,), seconds (services, quantiles), and the row that it comes from, −1 for a service's own."""
    chance, through = own.copy(), np.full(len(own), -1, dtype=np.intp)
    weight = DECAY * np.clip(np.nan_to_num(ways.weight), 0.0, 1.0)
    for _ in range(len(own)):
        offered = weight * chance[ways.source]
        better = np.flatnonzero(offered > np.maximum(chance[ways.target], LEAST))
        if not len(better):
            break
        order = better[np.argsort(offered[better], kind="stable")]
        chance[ways.target[order]] = offered[order]
        through[ways.target[order]] = ways.source[order]
    counts = np.flatnonzero(weight * chance[ways.source] >= np.maximum(COUNTS * chance[ways.target], LEAST))
    when = np.where((own >= COUNTS * chance)[:, None] & ~np.isnan(seconds), seconds, math.inf)
    return chance, _soonest(when, through, ways, counts), through


def _soonest(when: Floats, through: Rows, ways: Ways, counts: Rows) -> Floats:
    """The earliest times over the ways that count; shortest ways by relaxation (Bellman, 1958)."""
    order = counts[np.argsort(ways.target[counts], kind="stable")]
    source, (target, first) = ways.source[order], np.unique(ways.target[order], return_index=True)
    delay = np.outer(ways.takes[order] + np.where(through[source] < 0, FIRST, 0.0), DELAYS)
    found = when.copy()
    for _ in range(len(when) if len(order) else 0):
        earliest = np.minimum(found[target], np.minimum.reduceat(found[source] + delay, first))
        if np.array_equal(earliest, found[target]):
            break
        found[target] = earliest
    return found


def calls(scan: Scan) -> Ways:
    """From callee to caller: how far the caller's p95 depends on it, and how long it takes until that shows.

    Not to callers that nobody calls, such as batch work: they have no requests to be late with.
    """
    rows, edges = {service: row for row, service in enumerate(scan.world.services)}, scan.world.edges
    served = np.isfinite(_usual(scan, "rate"))
    called = {edge.server for edge in edges}
    asked = {service for service, row in rows.items() if served[row] or service in called or not served.any()}
    inside = [edge.connection != "virtual_node" and edge.client in asked and edge.server in rows for edge in edges]
    kept = np.flatnonzero(inside)
    source = np.array([rows[edges[i].server] for i in kept], dtype=np.intp)
    target = np.array([rows[edges[i].client] for i in kept], dtype=np.intp)
    requests, took = _usual(scan, "rate")[target], _durations(scan)[target]
    made, takes = _usual(scan, "edge_rate")[kept], _usual(scan, "edge_p95")[kept]
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.where(requests > 0, made / requests, 1.0)
        part = np.where(took > 0, np.minimum(takes / took, 1.0), 0.0)
    felt = np.minimum(np.nan_to_num(each, nan=1.0) / TOUCHED, 1.0)
    weight = felt * (ANSWERED + (1 - ANSWERED) * np.nan_to_num(part))
    return Ways(source, target, weight, np.nan_to_num(took))


def shared(scan: Scan) -> Ways:
    """From a service that takes more of full GPUs to those on them: by what it took of what they usually have."""
    world = scan.world
    rows = {service: row for row, service in enumerate(world.services) if math.isfinite(scan.level("rate", service))}
    if not world.tenants:
        return _none()
    sharing = scan.memo(GpuShares)
    took = np.nan_to_num(sharing.now - sharing.usual)
    found: dict[tuple[int, int], float] = {}
    for at in np.flatnonzero(sharing.full & (took > MIN_SHARE_CHANGE)):
        source = world.tenants[at]
        for other in sharing.on(source.gpu):
            target = world.tenants[other].service
            if other != at and source.service in rows and target in rows and sharing.usual[other] > MIN_SHARE_CHANGE:
                pair = rows[source.service], rows[target]
                found[pair] = max(found.get(pair, 0.0), min(1.0, float(took[at] / sharing.usual[other])))
    pairs = np.array(list(found), dtype=np.intp).reshape(-1, 2)
    return Ways(pairs[:, 0], pairs[:, 1], np.array(list(found.values())), np.nan_to_num(_durations(scan)[pairs[:, 1]]))


def _durations(scan: Scan) -> Floats:
    """Usual p95 of every service; where it tells of none, what the slowest of its clients sees."""
    found = _usual(scan, "p95").copy()
    silent = np.isnan(found)
    if silent.any():
        rows = {service: row for row, service in enumerate(scan.world.services)}
        for edge, seen in zip(scan.world.edges, _usual(scan, "edge_p95"), strict=True):
            row = rows.get(edge.server)
            if row is not None and silent[row]:
                found[row] = np.fmax(found[row], seen)
    return found


def _usual(scan: Scan, name: str) -> Floats:
    return np.where(np.isfinite(scan[name].level), scan[name].level, scan[name].value)


def _none() -> Ways:
    rows = np.empty(0, dtype=np.intp)
    return Ways(rows, rows, np.empty(0), np.empty(0))


def _joined(*ways: Ways) -> Ways:
    source, target, weight, delay = (np.concatenate(parts) for parts in zip(*ways, strict=True))
    return Ways(source, target, weight, delay)
