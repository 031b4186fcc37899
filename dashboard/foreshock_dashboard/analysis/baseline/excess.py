"""How far services and calls exceed their baselines in latency, errors, and load."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import ANOMALOUS_SCALES, EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.robust import percentile

ERROR_RATE_WEIGHT = math.log(2) / 0.05
"""Weight of the error rate: 5 more errors per 100 requests equal a doubled latency."""
LOAD_LOOKBACK_SECONDS = 300.0
"""Lookback of load growth, because a saturated service answers fewer requests than it receives."""
LOAD_PERCENTILE = 80.0
"""Percentile over the lookback: a burst does not count, a minute does."""
LOAD_SIGNALS = ("rate", "prompt", "generated")
"""Load signals of a service."""
MAX_SLOWDOWN_RATIO = 20.0
"""Cap of a slowdown; beyond it the service has stopped."""
DURATION_SIGNALS = ("per_token", "p50", "p95")
"""Latency signals of a service. Time per token first, because it does not contain queue time."""


class Excess(NamedTuple):
    """Excess over the baseline: as a log ratio, in the signal's unit, and in scales; of which signal and entity."""

    log: float
    amount: float
    z: float
    name: str = ""
    key: Service | Edge | None = None


class Slowdown(NamedTuple):
    """Slowdown of a service over its baseline, and the signal that shows it."""

    signal: str
    ratio: float
    z: float


class LoadGrowth(NamedTuple):
    """Load over its baseline, as a ratio and in scales."""

    times: float
    z: float


NO_EXCESS = Excess(0.0, 0.0, 0.0)
NO_GROWTH = LoadGrowth(1.0, 0.0)
_Z = attrgetter("z")


def anomaly_confidence(z: float) -> float:
    """Confidence, 0 to 1, that `z` scales above the baseline are an anomaly."""
    return 1 - math.exp(-((z / ANOMALOUS_SCALES) ** 2)) if z > 0 else 0.0


def slowdown(point: EvaluationPoint, service: Service) -> Slowdown:
    """Largest slowdown in scales over the latency signals; time per token alone where known."""
    for names in (DURATION_SIGNALS[:1], DURATION_SIGNALS[1:]):
        slowdowns = [Slowdown(name, point.ratio(name, service), point.z(name, service)) for name in names]
        known = [slow for slow in slowdowns if math.isfinite(slow.z)]
        if known:
            return max(known, key=_Z)
    return Slowdown(DURATION_SIGNALS[-1], math.nan, math.nan)


class Excesses:
    """Excesses at one evaluation point, each computed once."""

    def __init__(self, point: EvaluationPoint) -> None:
        self.point = point
        self._own: dict[Service, tuple[Excess, Excess]] = {}
        self._load: dict[Service, LoadGrowth] = {}
        self._percentiles: dict[str, Floats] = {}

    def own(self, service: Service) -> tuple[Excess, Excess]:
        """Excess of latency and of errors of a service; of the calls to it where it reports neither."""
        if service not in self._own:
            slow = max((self._excess(name, service) for name in ("p95", "p50")), key=_Z)
            failing = self._excess("error_rate", service)
            if not math.isfinite(self.point.z("p95", service)):
                calls = [(NO_EXCESS, NO_EXCESS), *(self.called(edge) for edge in self.point.calls_to(service))]
                slow, failing = (max(kind, key=_Z) for kind in zip(*calls, strict=True))
            self._own[service] = slow, failing
        return self._own[service]

    def called(self, edge: Edge) -> tuple[Excess, Excess]:
        """Excess of latency and of errors of an edge, latency as measured by the server where reported.

        Errors of an edge do not count where the server reports that its own are normal.
        """
        signal = "edge_server" if math.isfinite(self.point.z("edge_server", edge)) else "edge_p95"
        is_normal = self.point.z("error_rate", edge.server) < ANOMALOUS_SCALES
        return self._excess(signal, edge), NO_EXCESS if is_normal else self._excess("edge_error_rate", edge)

    def since(self, excess: Excess) -> float:
        """Unix seconds since when the excess exists; infinite without one."""
        return math.inf if excess.key is None else self.point.since(excess.name, excess.key)

    def _excess(self, name: str, key: Service | Edge) -> Excess:
        z = self.point.z(name, key)
        if not (math.isfinite(z) and z > 0):
            return NO_EXCESS
        value, level = self.point.value(name, key), self.point.level(name, key)
        log = ERROR_RATE_WEIGHT * (value - level) if name.endswith("error_rate") else math.log(value / level)
        return Excess(log, value - level, z, name, key)

    def load(self, service: Service) -> LoadGrowth:
        """Recent load growth of a service without retries, in requests, or in tokens where that is larger."""
        if service not in self._load:
            edges = self.point.calls_to(service)
            rates = [self.point.value("edge_rate", edge) for edge in edges]
            first = np.nansum([rate / self._attempts(edge) for rate, edge in zip(rates, edges, strict=True)])
            attempts = float(np.nansum(rates) / first) if first > 0 else 1.0
            growth = [self._recent_growth(name, service, attempts) for name in LOAD_SIGNALS]
            if not math.isfinite(self.point.level("rate", service)):
                growth += [self.edge_load(edge) for edge in edges]
            self._load[service] = max(growth, key=_Z)
        return self._load[service]

    def edge_load(self, edge: Edge) -> LoadGrowth:
        """Recent load growth of an edge, without retries."""
        return self._recent_growth("edge_rate", edge, self._attempts(edge))

    def _attempts(self, edge: Edge) -> float:
        attempts = self.point.value("attempts", edge)
        return attempts if attempts > 1 else 1.0

    def _recent_growth(self, name: str, key: Service | Edge, attempts: float) -> LoadGrowth:
        level, scale = self.point.level_and_scale(name, key)
        if name not in self._percentiles:
            points = self.point.world.points(LOAD_LOOKBACK_SECONDS)
            self._percentiles[name] = percentile(self.point.past(name, ALL_ROWS, points), LOAD_PERCENTILE)
        row = self.point[name].keys.get(key)
        more = math.nan if row is None else float(self._percentiles[name][row]) - level - math.log(attempts)
        return LoadGrowth(math.exp(more), more / scale) if math.isfinite(more) else NO_GROWTH
