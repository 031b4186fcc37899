"""Load over the replicas of a service: one has much more of it than its siblings, or is slower than they are.

Uneven is λ = max/mean − 1 (percent imbalance, Pearce et al., ICS 2012). Few requests are never even: of a mean of m
on each of n replicas the largest is about m + √(2·m·ln n) by chance alone, and only what is beyond counts. A replica
that is slow keeps its requests longer and so has more of them: slow comes first, and is its host's or placement's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.retry_amplification import mean_over_time
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.detectors.evidence import degradation
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.threshold import Threshold

WINDOW_SECONDS = 120.0
"""Seconds whose mean is compared: longer than a request, shorter than what a page may wait for."""
UNEVENNESS = Threshold(0.6, 0.1)
"""Load beyond the mean, a share of it and above chance, that is as likely felt as not, and the width of the doubt."""
REPLICA_SLOWDOWN = Threshold(1.6, 0.15)
"""Times as long as the median of the siblings that is as likely a slow replica as not, and the width of the doubt."""
SIBLING_SLOWDOWN = Threshold(2.5, 0.3)
"""Times the usual median that the siblings take, from which all are as likely slow as not; width of the doubt."""
MIN_REQUESTS = 4.0
"""Requests on the busiest replica below which a share of them says nothing."""
MIN_FINISHED = 5.0
"""Requests that a replica finished in that time, from which their mean duration says something."""
MAX_UNFELT_STRENGTH = 0.45
"""How sure one can be at most of what the service does not feel."""


class ReplicaLoads(NamedTuple):
    """How a service's replicas share its load, mean of the last minutes.

    uneven: max/mean − 1 of the requests on each, above what chance gives. busiest, slowest: instances. busy: requests
    on the busiest; even: on each if all had the same. slower: duration on the slowest over the median of the others.
    seconds: on the slowest; mean: of all requests; others: of those that the slowest did not answer. All NaN and ""
    where it is not known.
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


def load_imbalance(scan: Scan) -> tuple[Finding, ...]:
    """Services that suffer while one replica of theirs has more load, or is slower, than the others."""
    found = []
    for service, spread in sorted(replica_loads(scan).items()):
        slow = min(REPLICA_SLOWDOWN.confidence(spread.slower), 1 - _all_slow(scan, service, spread))
        uneven = UNEVENNESS.confidence(spread.uneven) if spread.busy >= MIN_REQUESTS else 0.0
        strength = min(max(slow, uneven), max(degradation(scan, service), MAX_UNFELT_STRENGTH))
        if strength < 0.1:
            continue
        cause: Cause = "hardware" if slow >= uneven else "imbalance"
        instance = spread.slowest if slow >= uneven else spread.busiest
        found.append(
            Finding(
                service=service,
                cause=cause,
                culprit=Culprit(service, host=_host(instance)),
                strength=strength,
                severity=max(1.0, spread.slower if slow >= uneven else 1 + spread.uneven),
                since=_since(scan),
                evidence=_evidence(scan, spread, slow >= uneven),
                action=_action(service, spread, slow >= uneven),
            )
        )
    return tuple(found)


def _action(service: Service, spread: ReplicaLoads, slow: bool) -> Action:
    if slow:
        effect = improvement("mean duration", service, "s", spread.mean, spread.others, "as_fast_as_others")
        return Action("drain_replica", service, target=spread.slowest, effect=effect)
    effect = improvement("requests", spread.busiest, "", spread.busy, spread.even, "balanced")
    return Action("balance_load", service, effect=effect)


def _all_slow(scan: Scan, service: Service, spread: ReplicaLoads) -> float:
    """How sure it is that the siblings are slow as well, 0…1: of queues that differ no replica is to blame."""
    return SIBLING_SLOWDOWN.confidence(spread.seconds / spread.slower / scan.level("p50", service))


def replica_loads(scan: Scan) -> Mapping[Service, ReplicaLoads]:
    """Every service with at least two replicas that tell something."""
    told = model_servers(scan.world)
    if not told.replicas:
        return {}
    window = slice(max(0, scan.at + 1 - round(WINDOW_SECONDS / scan.world.step)), scan.at + 1)
    busy, finished = mean_over_time(told.replica_busy[:, window]), mean_over_time(told.replica_finished[:, window])
    seconds = weighted_means(told.replica_seconds[:, window], told.replica_finished[:, window])
    alive = np.isfinite(told.replica_busy[:, scan.at])
    rows: dict[Service, list[int]] = {}
    for row in np.flatnonzero(alive):
        rows.setdefault(told.replicas[row].service, []).append(int(row))
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
            busiest=told.replicas[some[top]].instance,
            busy=float(load[top]),
            even=float(load.mean()),
            slower=slower,
            slowest=told.replicas[enough[slowest]].instance if slowest >= 0 else "",
            seconds=float(seconds[enough[slowest]]) if slowest >= 0 else math.nan,
            mean=overall_mean(seconds[enough], finished[enough]),
            others=overall_mean(seconds[others], finished[others]),
        )
    return found


def unevenness(load: Floats) -> float:
    """max/mean − 1 beyond what chance gives of so many requests, at least 0; shape (replicas,). NaN without load."""
    even = float(load.mean()) if len(load) else 0.0
    if not even > 0:
        return math.nan
    chance = math.sqrt(2 * even * math.log(max(2, len(load))))
    return max(0.0, (float(load.max()) - even - chance) / even)


def slowest_replica(seconds: Floats) -> tuple[float, int]:
    """How many times the median of the others the slowest takes, and its index; (NaN, −1) of fewer than two."""
    if len(seconds) < 2:
        return math.nan, -1
    slowest = int(np.argmax(seconds))
    others = float(np.median(np.delete(seconds, slowest)))
    return (float(seconds[slowest]) / others, slowest) if others > 0 else (math.nan, -1)


def weighted_means(values: Floats, weights: Floats) -> Floats:
    """The mean over time of each row by its weights; NaN where none is known."""
    known = np.where(np.isfinite(values) & np.isfinite(weights), weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (np.nan_to_num(values) * known).sum(axis=1) / known.sum(axis=1)
    return found


def overall_mean(seconds: Floats, finished: Floats) -> float:
    """The mean duration of the requests of several replicas, by how many each finished; NaN of none."""
    return float(seconds @ finished / finished.sum()) if len(seconds) else math.nan


def _since(scan: Scan) -> float:
    """The begin of what is averaged over."""
    return float(scan.world.times[max(0, scan.at - round(WINDOW_SECONDS / scan.world.step))])


def _host(instance: str) -> str:
    """The host of a target `name.host:port`; "" where the address does not tell."""
    address = instance.rsplit(":", 1)[0]
    return address if address.count(".") == 0 else address.split(".", 1)[1]


def _evidence(scan: Scan, spread: ReplicaLoads, slow: bool) -> tuple[Evidence, ...]:
    since = _since(scan)
    if slow:
        usual = spread.seconds / spread.slower
        return (Evidence("seconds per request on one replica", spread.seconds, usual, "s", since, spread.slowest),)
    return (Evidence("requests on one replica", spread.busy, spread.even, "", since, spread.busiest),)
