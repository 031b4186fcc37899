"""How far services and calls are above usual, in durations, failures and load; what blame is measured by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.robust import percentile

Z = 2.5
"""Scales above usual at which something is believed to be out of the ordinary by 1 − 1/e."""
FAILING = math.log(2) / 0.05
"""Five more failures in a hundred requests weigh as much as taking twice as long; per unit of the failed share."""
LATELY = 300.0
"""Seconds back in which load counts as grown: a service that is saturated answers fewer requests than it is asked."""
MOST_LATELY = 80.0
"""Percentile of that time that stands for it: one burst does not, a minute does."""
ASKED = ("rate", "prompt", "generated")
"""Signals of what a service is asked."""
MOST = 20.0
"""Slow-down beyond which the figure says no more than that it stands still."""
DURATIONS = ("per_token", "p50", "p95")
"""Signals of a service's slow-down. Time per token first: waiting in the queue is no part of it."""


class Excess(NamedTuple):
    """How far above usual: as a logarithm of ratios, in the signal's unit, in scales; of what."""

    log: float
    amount: float
    z: float
    name: str = ""
    key: Service | Edge | None = None


class Slow(NamedTuple):
    """How much slower than usual a service is, and by which signal."""

    signal: str
    ratio: float
    z: float


class Load(NamedTuple):
    """How many times the usual, and how many scales above it."""

    times: float
    z: float


NOTHING = Excess(0.0, 0.0, 0.0)
AS_EVER = Load(1.0, 0.0)


def believed(z: float) -> float:
    """0…1: how far z scales above usual are believed to be out of the ordinary."""
    return 1 - math.exp(-((z / Z) ** 2)) if z > 0 else 0.0


def slowdown(scan: Scan, service: Service) -> Slow:
    """The surest of the signals that tell how long the service takes; time per token alone where there is one."""
    for names in (DURATIONS[:1], DURATIONS[1:]):
        found = [Slow(name, scan.ratio(name, service), scan.z(name, service)) for name in names]
        known = [slow for slow in found if math.isfinite(slow.z)]
        if known:
            return max(known, key=lambda slow: slow.z)
    return Slow(DURATIONS[-1], math.nan, math.nan)


class Excesses:
    """Excesses of a scan, each looked up once."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self._own: dict[Service, tuple[Excess, Excess]] = {}
        self._called: dict[Edge, tuple[Excess, Excess]] = {}
        self._load: dict[Service, Load] = {}
        self._since: dict[tuple[str, Service | Edge], float] = {}
        self._most: dict[str, Floats] = {}

    @property
    def into(self) -> Mapping[Service, tuple[Edge, ...]]:
        """The edges on which each service is called, those of users among them."""
        return self.scan.remembered.get(_into, self.scan.world.edges)

    @property
    def out(self) -> Mapping[Service, tuple[Edge, ...]]:
        """The edges on which each service calls."""
        return self.scan.remembered.get(_out, self.scan.world.edges)

    def own(self, service: Service) -> tuple[Excess, Excess]:
        """A service's excess of duration and of failures; where it tells of neither, the worst of calls to it."""
        if service not in self._own:
            slow = max((self._excess(name, service) for name in ("p95", "p50")), key=lambda excess: excess.z)
            self._own[service] = slow, self._excess("failed", service)
            if not math.isfinite(self.scan.z("p95", service)):
                calls = [(NOTHING, NOTHING), *(self.called(edge) for edge in self.into.get(service, ()))]
                slow, failing = (max(kind, key=lambda excess: excess.z) for kind in zip(*calls, strict=True))
                self._own[service] = slow, failing
        return self._own[service]

    def worst(self, services: Iterable[Service]) -> float:
        """The largest z of anything that these services, or calls to them, show; their load among it."""
        z = [self.scan.z(name, who) for who in services for name in ("p95", "p50", "failed", "rate")]
        edges = (edge for who in services for edge in self.into.get(who, ()))
        z += [self.scan.z(name, edge) for edge in edges for name in ("edge_p95", "edge_failed")]
        return float(np.fmax.reduce(z, initial=0.0))

    def told(self, edge: Edge) -> bool:
        """Whether the server tells of its durations itself."""
        return math.isfinite(self.scan.z("edge_server", edge)) or math.isfinite(self.scan.z("p95", edge.server))

    def called(self, edge: Edge) -> tuple[Excess, Excess]:
        """An edge's excess of duration, as its server sees it if it tells, and of failures, if its server has them too.

        A client's failures without the server's are of the way between them, or of the client's patience.
        """
        if edge not in self._called:
            seen = "edge_server" if math.isfinite(self.scan.z("edge_server", edge)) else "edge_p95"
            own = self.scan.z("failed", edge.server)
            failing = NOTHING if own < Z else self._excess("edge_failed", edge)
            self._called[edge] = self._excess(seen, edge), failing
        return self._called[edge]

    def since(self, excess: Excess) -> float:
        """Since when something is above usual, Unix seconds; never where it is not."""
        if excess.key is None:
            return math.inf
        of = excess.name, excess.key
        if of not in self._since:
            self._since[of] = self.scan.since(*of, Z)
        return self._since[of]

    def _excess(self, name: str, key: Service | Edge) -> Excess:
        z = self.scan.z(name, key)
        if not (math.isfinite(z) and z > 0):
            return NOTHING
        value, level = self.scan.value(name, key), self.scan.level(name, key)
        log = FAILING * (value - level) if name.endswith("failed") else math.log(value / level)
        return Excess(log, value - level, z, name, key)

    def load(self, service: Service) -> Load:
        """What a service was asked lately, first attempts only: in requests, or in tokens where that says more."""
        if service not in self._load:
            self._load[service] = self._loaded(service)
        return self._load[service]

    def _loaded(self, service: Service) -> Load:
        edges = self.into.get(service, ())
        rates = [self.scan.value("edge_rate", edge) for edge in edges]
        firsts = [rate / self._attempts(edge) for rate, edge in zip(rates, edges, strict=True)]
        again = float(np.nansum(rates) / np.nansum(firsts)) if np.nansum(firsts) > 0 else 1.0
        told = [self._lately(name, service, again) for name in ASKED]
        if not math.isfinite(self.scan.level("rate", service)):
            told += [self.asked(edge) for edge in edges]
        return max(told, key=lambda load: load.z)

    def asked(self, edge: Edge) -> Load:
        """First attempts on an edge lately."""
        return self._lately("edge_rate", edge, self._attempts(edge))

    def _attempts(self, edge: Edge) -> float:
        attempts = self.scan.value("attempts", edge)
        return attempts if attempts > 1 else 1.0

    def _lately(self, name: str, key: Service | Edge, attempts: float) -> Load:
        level, scale = self.scan.pair(name, key)
        if name not in self._most:
            self._most[name] = percentile(self.scan.histories(name, LATELY), MOST_LATELY)
        row = self.scan[name].keys.get(key)
        more = math.nan if row is None else float(self._most[name][row]) - level - math.log(attempts)
        return Load(math.exp(more), more / scale) if math.isfinite(more) else AS_EVER


def _into(edges: Sequence[Edge]) -> Mapping[Service, tuple[Edge, ...]]:
    found: dict[Service, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge.server, []).append(edge)
    return {service: tuple(some) for service, some in found.items()}


def _out(edges: Sequence[Edge]) -> Mapping[Service, tuple[Edge, ...]]:
    found: dict[Service, list[Edge]] = {}
    for edge in edges:
        if edge.connection != "virtual_node":
            found.setdefault(edge.client, []).append(edge)
    return {service: tuple(some) for service, some in found.items()}
