"""Load imbalance: one replica of a service has much more load than its siblings, or is slower.

Imbalance is λ = max/mean − 1 (percent imbalance, Pearce et al., ICS 2012). Few requests are never even: with mean m on
each of n replicas the largest is about m + √(2·m·ln n) by chance, and only what exceeds it counts. A slow replica keeps
its requests longer and so has more of them: slowness ranks first, and is a fault of its host or placement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.detectors.finding import MAX_UNOBSERVED_STRENGTH, MIN_STRENGTH, Finding, degradation
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service, qualified, split_cluster
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


def load_imbalance(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services affected by one replica with more load, or slower, than the others."""
    since = float(point.world.times[max(0, point.column - point.world.points(WINDOW_SECONDS))])
    for service, loads in sorted(replica_loads(point).items()):
        others_seconds = loads.seconds / loads.slower
        # If the siblings are slow as well, no replica is at fault.
        all_slow = SIBLING_SLOWDOWN.confidence(others_seconds / point.level("p50", service))
        slow = min(REPLICA_SLOWDOWN.confidence(loads.slower), 1 - all_slow)
        uneven = UNEVENNESS.confidence(loads.uneven) if loads.busy >= MIN_REQUESTS else 0.0
        strength = min(max(slow, uneven), max(degradation(point, service), MAX_UNOBSERVED_STRENGTH))
        if strength < MIN_STRENGTH:
            continue
        cause: Cause
        if slow >= uneven:
            cause, instance, severity = "hardware", loads.slowest, loads.slower
            figure = Evidence("mean latency on one replica", loads.seconds, others_seconds, "s", since, instance)
            effect = improvement("mean duration", service, "s", loads.mean, loads.others)
            action = Action("drain_replica", service, target=instance, effect=effect)
        else:
            cause, instance, severity = "load_imbalance", loads.busiest, 1 + loads.uneven
            figure = Evidence("requests on one replica", loads.busy, loads.even, "", since, instance)
            effect = improvement("requests", instance, "", loads.busy, loads.even)
            action = Action("balance_load", service, effect=effect)
        address = split_cluster(instance)[1].rsplit(":", 1)[0]  # of `name.host:port`
        suspect = SuspectedCause(service, host=qualified(service.cluster, address.partition(".")[2] or address))
        yield Finding(service, cause, suspect, strength, max(1.0, severity), since, (figure,), (action,))


def replica_loads(point: EvaluationPoint) -> Mapping[Service, ReplicaLoads]:
    """The load distribution of each service with at least two reporting replicas."""
    servers = model_servers(point.world)
    if not servers.replicas:
        return {}
    window = point.window(WINDOW_SECONDS)
    busy, finished = nan_mean(servers.replica_busy[:, window]), nan_mean(servers.replica_finished[:, window])
    seconds = weighted_means(servers.replica_seconds[:, window], servers.replica_finished[:, window])
    rows_by_service: dict[Service, list[int]] = {}
    for row in np.flatnonzero(np.isfinite(servers.replica_busy[:, point.column])).tolist():
        rows_by_service.setdefault(servers.replicas[row].service, []).append(row)
    loads = {}
    for service, rows in rows_by_service.items():
        if len(rows) < 2:
            continue
        busiest = rows[int(np.argmax(busy[rows]))]
        timed = [row for row in rows if finished[row] * WINDOW_SECONDS >= MIN_FINISHED and math.isfinite(seconds[row])]
        slower, place = slowest_replica(seconds[timed])
        slowest = timed[place] if place >= 0 else -1
        others = [row for row in timed if row != slowest]
        loads[service] = ReplicaLoads(
            uneven=unevenness(busy[rows]),
            busiest=servers.replicas[busiest].instance,
            busy=float(busy[busiest]),
            even=float(busy[rows].mean()),
            slower=slower,
            slowest=servers.replicas[slowest].instance if slowest >= 0 else "",
            seconds=float(seconds[slowest]) if slowest >= 0 else math.nan,
            mean=overall_mean(seconds[timed], finished[timed]),
            others=overall_mean(seconds[others], finished[others]),
        )
    return loads


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
        means: Floats = (np.nan_to_num(values) * known).sum(axis=1) / known.sum(axis=1)
    return means


def overall_mean(seconds: Floats, finished: Floats) -> float:
    """Mean latency over replicas, weighted by finished requests; NaN for none."""
    return float(seconds @ finished / finished.sum()) if len(seconds) else math.nan
