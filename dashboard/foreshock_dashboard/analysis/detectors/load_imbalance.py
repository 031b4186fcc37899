"""Load imbalance: one replica of a service has much more load than its siblings, or is slower.

Imbalance is λ = max/mean − 1 (percent imbalance, Pearce et al., ICS 2012). Few requests are never even: with mean m on
each of n replicas the largest is about m + √(2·m·ln n) by chance, and only what exceeds it counts. A slow replica keeps
its requests longer and so has more of them: slowness ranks first, and is a fault of its host or placement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.detectors.evidence import degradation
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.stats.threshold import Threshold

WINDOW_SECONDS = 120.0
"""Seconds of the compared means: longer than a request, shorter than a page may wait."""
UNEVENNESS = Threshold(0.6, 0.1)
"""Load above the mean and above chance, as a ratio of the mean, that affects the service."""
REPLICA_SLOWDOWN = Threshold(1.6, 0.15)
"""Latency over the median of the siblings of a slow replica."""
SIBLING_SLOWDOWN = Threshold(2.5, 0.3)
"""Latency of the siblings over the baseline median, from which all replicas are slow."""
MIN_REQUESTS = 4.0
"""Requests on the busiest replica below which its share means nothing."""
MIN_FINISHED = 5.0
"""Requests that a replica has to finish for a mean latency."""
MAX_UNFELT_STRENGTH = 0.45
"""Largest strength of an imbalance that does not affect the service."""


class ReplicaLoads(NamedTuple):
    """How the replicas of a service share its load, means of the last minutes.

    uneven: max/mean − 1 of requests per replica, above chance. busiest, slowest: instances. busy: requests on the
    busiest; even: on each if all had the same. slower: latency on the slowest over the median of the others. seconds:
    latency on the slowest; mean: of all requests; others: of those on other replicas. NaN and "" if unknown.
    """

    uneven: float
    busiest: str
    busy: float
    even: float
    slower: float
    slowest: str
    seconds: float
    mean: float
    others: float


def load_imbalance(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for services affected by one replica with more load, or slower, than the others."""
    found = []
    for service, loads in sorted(replica_loads(point).items()):
        slow = min(REPLICA_SLOWDOWN.confidence(loads.slower), 1 - _all_slow(point, service, loads))
        uneven = UNEVENNESS.confidence(loads.uneven) if loads.busy >= MIN_REQUESTS else 0.0
        strength = min(max(slow, uneven), max(degradation(point, service), MAX_UNFELT_STRENGTH))
        if strength < 0.1:
            continue
        cause: Cause = "hardware" if slow >= uneven else "imbalance"
        instance = loads.slowest if slow >= uneven else loads.busiest
        found.append(
            Finding(
                service=service,
                cause=cause,
                suspect=SuspectedCause(service, host=_host(instance)),
                strength=strength,
                severity=max(1.0, loads.slower if slow >= uneven else 1 + loads.uneven),
                since=_since(point),
                evidence=_evidence(point, loads, slow >= uneven),
                action=_action(service, loads, slow >= uneven),
            )
        )
    return tuple(found)


def _action(service: Service, loads: ReplicaLoads, slow: bool) -> Action:
    if slow:
        effect = improvement("mean duration", service, "s", loads.mean, loads.others, "as_fast_as_others")
        return Action("drain_replica", service, target=loads.slowest, effect=effect)
    effect = improvement("requests", loads.busiest, "", loads.busy, loads.even, "balanced")
    return Action("balance_load", service, effect=effect)


def _all_slow(point: EvaluationPoint, service: Service, loads: ReplicaLoads) -> float:
    """Confidence (0 to 1) that the siblings are slow as well: then no replica is at fault."""
    return SIBLING_SLOWDOWN.confidence(loads.seconds / loads.slower / point.level("p50", service))


def replica_loads(point: EvaluationPoint) -> Mapping[Service, ReplicaLoads]:
    """The load distribution of each service with at least two reporting replicas."""
    servers = model_servers(point.world)
    if not servers.replicas:
        return {}
    window = point.window(WINDOW_SECONDS)
    busy, finished = (
        nan_mean(servers.replica_busy[:, window]),
        nan_mean(servers.replica_finished[:, window]),
    )
    seconds = weighted_means(servers.replica_seconds[:, window], servers.replica_finished[:, window])
    alive = np.isfinite(servers.replica_busy[:, point.at])
    rows: dict[Service, list[int]] = {}
    for row in np.flatnonzero(alive):
        rows.setdefault(servers.replicas[row].service, []).append(int(row))
    found = {}
    for service, some in rows.items():
        if len(some) < 2:
            continue
        load = busy[some]
        enough = [row for row in some if finished[row] * WINDOW_SECONDS >= MIN_FINISHED and math.isfinite(seconds[row])]
        slower, slowest = slowest_replica(seconds[enough])
        top = int(np.argmax(load))
        others = [row for place, row in enumerate(enough) if place != slowest]
        found[service] = ReplicaLoads(
            uneven=unevenness(load),
            busiest=servers.replicas[some[top]].instance,
            busy=float(load[top]),
            even=float(load.mean()),
            slower=slower,
            slowest=servers.replicas[enough[slowest]].instance if slowest >= 0 else "",
            seconds=float(seconds[enough[slowest]]) if slowest >= 0 else math.nan,
            mean=overall_mean(seconds[enough], finished[enough]),
            others=overall_mean(seconds[others], finished[others]),
        )
    return found


def unevenness(load: Floats) -> float:
    """max/mean − 1 above chance, at least 0; load: requests per replica, shape (replicas,). NaN without load."""
    even = float(load.mean()) if len(load) else 0.0
    if not even > 0:
        return math.nan
    chance = math.sqrt(2 * even * math.log(max(2, len(load))))
    return max(0.0, (float(load.max()) - even - chance) / even)


def slowest_replica(seconds: Floats) -> tuple[float, int]:
    """Latency of the slowest over the median of the others, and its index; (NaN, −1) for fewer than two."""
    if len(seconds) < 2:
        return math.nan, -1
    slowest = int(np.argmax(seconds))
    others = float(np.median(np.delete(seconds, slowest)))
    return (float(seconds[slowest]) / others, slowest) if others > 0 else (math.nan, -1)


def weighted_means(values: Floats, weights: Floats) -> Floats:
    """The weighted mean over time of each row; NaN without known values."""
    known = np.where(np.isfinite(values) & np.isfinite(weights), weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (np.nan_to_num(values) * known).sum(axis=1) / known.sum(axis=1)
    return found


def overall_mean(seconds: Floats, finished: Floats) -> float:
    """Mean latency over replicas, weighted by finished requests; NaN for none."""
    return float(seconds @ finished / finished.sum()) if len(seconds) else math.nan


def _since(point: EvaluationPoint) -> float:
    """Start of the averaged window in Unix seconds."""
    return float(point.world.times[max(0, point.at - point.world.points(WINDOW_SECONDS))])


def _host(instance: str) -> str:
    """The host in an instance address `name.host:port`; "" if it has none."""
    address = instance.rsplit(":", 1)[0]
    return address if address.count(".") == 0 else address.split(".", 1)[1]


def _evidence(point: EvaluationPoint, loads: ReplicaLoads, slow: bool) -> tuple[Evidence, ...]:
    since = _since(point)
    if slow:
        baseline = loads.seconds / loads.slower
        return (Evidence("seconds per request on one replica", loads.seconds, baseline, "s", since, loads.slowest),)
    return (Evidence("requests on one replica", loads.busy, loads.even, "", since, loads.busiest),)
