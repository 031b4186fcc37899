"""Graph on which suspicion walks from affected services to root causes.

Nodes are services of two kinds, *slow* and *load*. Suspicion of a slow service moves to callees that explain its excess
latency or errors, to the suspects of findings about it, and, where its load grew, to its load. Suspicion of load moves
to callers by their shares of the growth. It stays where arrivals do not explain the calls: at an ingress service, or at
one that makes more calls per request. The rest, which nothing explains, is absorbed where it is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.excess import ANOMALOUS_SCALES, Excess, Excesses, anomaly_confidence
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.dependency import fans_out, tail_only
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.absorbing_walk import Kind, Node, Transitions

MIN_AFFECTED_Z, SUFFICIENT_Z, ANOMALOUS_DEPENDENCY_Z = 0.5, 3.0, 4.0
"""A service is anomalous at z = SUFFICIENT_Z, or at MIN_AFFECTED_Z with a dependency at ANOMALOUS_DEPENDENCY_Z."""
MAX_AMPLIFICATION_RATIO = 5.0
"""Caller's over callee's excess in seconds, up to which the callee explains the caller: waiting threads add to it."""
MAX_ELASTICITY_RATIO = 4.0
"""Logarithm of latency growth over that of load growth, up to which load explains latency: from 60 to 90% utilization
requests take four times as long (1 / (1 − ρ))."""
LOAD_PRIOR_RATIO = 2.0
"""Weight of load growth against other causes: it is the most frequent one."""
MAX_OTHER_CALLER_RATIO = 2.0
"""Another caller's over a caller's own excess in seconds, up to which both may have the same cause."""
ONSET_DECAY_SECONDS = 60.0
"""Time constant of the weight of an explanation that begins after its effect."""
CLIENT_ONLY_WEIGHT = 0.1
"""Weight of a callee whose latency only clients report, where another callee that reports its own explains as much."""
MAX_WEIGHT = 0.98
"""Weight up to which explanations are compared by their odds."""


class Move(NamedTuple):
    """Suspicion that moves to a node with a weight 0 to 1; with a reason it is absorbed there."""

    to: Node
    weight: float
    reason: Reason | None = None


class GraphWalk:
    """Transitions of the walk at one evaluation, each computed once for all affected services."""

    def __init__(self, point: EvaluationPoint, findings: Sequence[Finding] = ()) -> None:
        self._point = point
        self._excesses = Excesses(point)
        self._findings: defaultdict[Service, list[Finding]] = defaultdict(list)
        for finding in findings:
            self._findings[finding.service].append(finding)
        self._transitions: dict[Node, Transitions] = {}

    def reports_signals(self, service: Service) -> bool:
        """Whether the latency or the error rate of a service is known."""
        return any(math.isfinite(self._point.z(name, service)) for name in ("p95", "error_rate"))

    def is_anomalous(self, service: Service) -> bool:
        """Whether a service and its dependencies are anomalous enough to suspect anything."""
        own = max(excess.z for excess in self._excesses.own(service))
        if own >= SUFFICIENT_Z or any(finding.strength >= 0.5 for finding in self._findings[service]):
            return True
        if own < MIN_AFFECTED_Z and self._excesses.load(service).z < ANOMALOUS_SCALES:
            return False
        reached, frontier = {service}, [service]
        while frontier:
            callees = {edge.server for caller in frontier for edge in self._point.calls_from(caller)}
            frontier = sorted(callees - reached)
            reached |= callees
        return self._excesses.worst(reached) >= ANOMALOUS_DEPENDENCY_Z

    def transitions(self, node: Node) -> Transitions:
        """Where suspicion moves from a node, and the share that stays."""
        if node not in self._transitions:
            self._transitions[node] = self._compute_transitions(*node)
        return self._transitions[node]

    def _compute_transitions(self, service: Service, kind: Kind) -> Transitions:
        candidates = self._moves_of_slow(service) if kind == "slow" else self._moves_of_load(service)
        moves = [move for move in candidates if move.weight > 0]
        weights = [move.weight for move in moves]
        stays = max(0.0, 1 - (sum(weights) if kind == "load" else max(weights, default=0.0)))
        if kind == "slow":  # explanations that exclude each other are compared by their odds
            weights = [weight / (1 - min(weight, MAX_WEIGHT)) for weight in weights]
        total = sum(weights)
        shares = [(1 - stays) * weight / total for weight in weights] if stays < 1 else []
        return Transitions(
            stays,
            tuple((move.to, share) for move, share in zip(moves, shares, strict=False) if not move.reason),
            tuple((move.to[0], move.reason, share) for move, share in zip(moves, shares, strict=False) if move.reason),
        )

    def _moves_of_slow(self, service: Service) -> list[Move]:
        moves = self._callee_moves(service)
        findings = self._findings[service]
        first = min((finding.since for finding in findings if finding.strength >= 0.5), default=math.inf)
        for finding in findings:
            suspect = finding.suspect.service or (finding.suspect.edge[0] if finding.suspect.edge else None)
            if suspect is not None:
                weight = finding.strength * _onset_weight(finding.since - first)
                moves.append(Move((suspect, "slow"), weight, Reason("cause", service, finding.cause)))
        load, slowdown = self._excesses.load(service), self._excesses.own(service)[0].log
        if load.times > 1:
            explained = min(1.0, MAX_ELASTICITY_RATIO * math.log(load.times) / slowdown) if slowdown > 0 else 1.0
            moves.append(Move((service, "load"), anomaly_confidence(LOAD_PRIOR_RATIO * load.z) * explained))
        return moves

    def _callee_moves(self, service: Service) -> list[Move]:
        own, edges = self._excesses.own(service), self._point.calls_from(service)
        weights = [_explained_ratio(self._excesses, own, self._callee_excess(edge, own[0])) for edge in edges]
        reports = [self._excesses.reports_latency(edge) for edge in edges]
        explained = any(known and weight >= 0.5 for known, weight in zip(reports, weights, strict=True))
        client_only = CLIENT_ONLY_WEIGHT if explained else 1.0
        return [
            Move((edge.server, "slow"), weight if known else weight * client_only)
            for edge, known, weight in zip(edges, reports, weights, strict=True)
        ]

    def _callee_excess(self, edge: Edge, caller: Excess) -> tuple[Excess, Excess]:
        """Excess of a callee; where only the caller's tail is slow, also as its other callers measure it.

        With fan-out, the caller's tail moves before any single callee's p95. Other callers' measurements that would
        have cost this caller more than observed do not count.
        """
        slow, failing = self._excesses.called(edge)
        if slow.z >= ANOMALOUS_SCALES or min(fans_out(self._point, edge), tail_only(self._point, edge.client)) < 0.5:
            return slow, failing
        into = self._point.calls_to(edge.server)
        others = [self._excesses.called(other)[0] for other in into if other.client != edge.client]
        fits = [other for other in others if other.amount <= MAX_OTHER_CALLER_RATIO * caller.amount]
        return max((slow, *fits), key=lambda excess: excess.z), failing

    def _moves_of_load(self, service: Service) -> list[Move]:
        """Moves to callers by their shares of the growth, absorbed there as far as their own arrivals grew less."""
        growth = {}
        for edge in self._point.calls_to(service):
            times = self._excesses.edge_load(edge).times
            if (added := self._point.level("edge_rate", edge) * (times - 1)) > 0:
                growth[edge] = added, times
        total = sum(added for added, _ in growth.values())
        moves = []
        for edge, (added, times) in growth.items():
            if edge.connection != "virtual_node":
                arrivals = max(1.0, self._excesses.load(edge.client).times)
                share, passed = added / total, min(1.0, math.log(arrivals) / math.log(times))
                reason = Reason("calls_grew", service, value=times)
                moves.append(Move((edge.client, "load"), share * passed))
                moves.append(Move((edge.client, "load"), share * (1 - passed), reason))
        return moves

    def reason(self, node: Node) -> Reason:
        """Reason reported for suspicion that stays at a node."""
        service, kind = node
        if kind == "load":
            return Reason("requests_grew", service, value=self._excesses.load(service).times)
        slow, failing = self._excesses.own(service)
        if failing.log > slow.log:
            return Reason("failures_grew", service, value=failing.amount)
        if slow.log <= 0:
            return Reason("no_anomaly", service)
        return Reason("slower", service, value=math.exp(slow.log))


def _explained_ratio(excesses: Excesses, caller: tuple[Excess, Excess], callee: tuple[Excess, Excess]) -> float:
    """Share 0 to 1 of a caller's excess that a callee's explains; errors may come of timeouts on a slow callee."""

    def part(effect: Excess, cause: Excess) -> float:
        if effect.log <= 0 or cause.log <= 0:
            return 0.0
        delay = excesses.since(cause) - excesses.since(effect)
        return min(1.0, cause.log / effect.log) * anomaly_confidence(cause.z) * _onset_weight(delay)

    (slow, failing), (callee_slow, callee_failing) = caller, callee
    most = min(1.0, MAX_AMPLIFICATION_RATIO * callee_slow.amount / slow.amount) if slow.amount > 0 else 0.0
    return max(
        part(slow, callee_slow) * most if slow.amount > 0 else 0.0,
        part(failing, callee_failing),
        part(failing, callee_slow),
    )


def _onset_weight(delay: float) -> float:
    """Weight 0 to 1 of an explanation that begins `delay` seconds after its effect."""
    return math.exp(-max(0.0, delay) / ONSET_DECAY_SECONDS)
