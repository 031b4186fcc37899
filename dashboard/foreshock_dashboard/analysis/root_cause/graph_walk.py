"""Graph on which suspicion moves on from services whose excess no callee explains.

Nodes are services of two kinds, *slow* and *load*. Suspicion of a slow service moves to the suspects of findings about
it, as of GPU contention, and, where its load grew, to its load. Suspicion of load moves to callers by their shares of
the growth. It stays where arrivals do not explain the calls: at an ingress service, or at one that makes more calls per
request. The rest, which nothing explains, is absorbed where it is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.excess import NO_EXCESS, Excesses, anomaly_confidence
from foreshock_dashboard.analysis.baseline.point import ANOMALOUS_SCALES, EvaluationPoint
from foreshock_dashboard.analysis.detectors.dependency import fans_out, tail_only
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.model.action import Reason, ReasonKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.absorbing_walk import Kind, Node, Transitions, absorption

MAX_ELASTICITY_RATIO = 4.0
"""Logarithm of latency growth over that of load growth, up to which load explains latency: from 60 to 90% utilization
requests take four times as long (1 / (1 − ρ))."""
LOAD_PRIOR_RATIO = 2.0
"""Weight of load growth against other causes: it is the most frequent one."""
MAX_OTHER_CALLER_RATIO = 2.0
"""Another caller's over a caller's own excess in seconds, up to which both may have the same cause."""
ONSET_DECAY_SECONDS = 60.0
"""Time constant of the weight of an explanation that begins after its effect."""
MAX_WEIGHT = 0.98
"""Weight up to which explanations are compared by their odds."""


class WalkStep(NamedTuple):
    """Suspicion that moves to a node with a weight 0 to 1; with a reason it is absorbed there."""

    to: Node
    weight: float
    reason: Reason | None = None


class GraphWalk:
    """Transitions of the walk at one evaluation, each computed once for all affected services."""

    def __init__(self, point: EvaluationPoint, findings: Sequence[Finding] = ()) -> None:
        self.point = point
        self._excesses = Excesses(point)
        self._findings: defaultdict[Service, list[Finding]] = defaultdict(list)
        self._host_findings: defaultdict[str, list[Finding]] = defaultdict(list)
        for finding in findings:
            self._findings[finding.service].append(finding)
            if finding.suspect.host:
                self._host_findings[finding.suspect.host].append(finding)
        self._transitions: dict[Node, Transitions] = {}
        self._absorbed: dict[Service, Mapping[Service, Mapping[Reason, float]]] = {}

    def absorbed(self, service: Service) -> Mapping[Service, Mapping[Reason, float]]:
        """Mass absorbed by each service, by reason, of a walk that starts with mass 1 at a slow service."""
        if service not in self._absorbed:
            self._absorbed[service] = absorption(self.transitions, self.reason, [(service, "slow")])
        return self._absorbed[service]

    def transitions(self, node: Node) -> Transitions:
        """Where suspicion moves from a node, and the share that stays."""
        if node not in self._transitions:
            self._transitions[node] = self._compute_transitions(*node)
        return self._transitions[node]

    def _compute_transitions(self, service: Service, kind: Kind) -> Transitions:
        candidates = self._steps_of_slow(service) if kind == "slow" else self._steps_of_load(service)
        steps = [step for step in candidates if step.weight > 0]
        weights = [step.weight for step in steps]
        stays = max(0.0, 1 - (sum(weights) if kind == "load" else max(weights, default=0.0)))
        if kind == "slow":  # explanations that exclude each other are compared by their odds
            weights = [weight / (1 - min(weight, MAX_WEIGHT)) for weight in weights]
        total = sum(weights)
        shares = [(1 - stays) * weight / total for weight in weights] if stays < 1 else []
        return Transitions(
            stays,
            tuple((step.to, share) for step, share in zip(steps, shares, strict=False) if not step.reason),
            tuple((step.to[0], step.reason, share) for step, share in zip(steps, shares, strict=False) if step.reason),
        )

    def _steps_of_slow(self, service: Service) -> list[WalkStep]:
        steps = self._steps_to_hidden_callees(service)
        findings = [*self._findings[service], *self._host_findings[service.name]]
        first = min((finding.since for finding in findings if finding.strength >= 0.5), default=math.inf)
        for finding in findings:
            suspect = finding.suspect.service or (finding.suspect.edge[0] if finding.suspect.edge else None)
            if suspect is not None:
                weight = finding.strength * _onset_weight(finding.since - first)
                steps.append(WalkStep((suspect, "slow"), weight, Reason("cause", service, finding.cause)))
        load, slowdown = self._excesses.load(service), self._excesses.own(service)[0].log
        if load.times > 1:
            explained = min(1.0, MAX_ELASTICITY_RATIO * math.log(load.times) / slowdown) if slowdown > 0 else 1.0
            steps.append(WalkStep((service, "load"), anomaly_confidence(LOAD_PRIOR_RATIO * load.z) * explained))
        return steps

    def _steps_to_hidden_callees(self, service: Service) -> list[WalkStep]:
        """Steps to callees of a service with a slow tail that are normal on its calls and slow for their other callers.

        With fan-out, the caller's tail moves before any single callee's p95 (`detectors.dependency`). Other callers'
        measurements that would have cost this caller more than observed do not count.
        """
        own, steps = self._excesses.own(service)[0], []
        for edge in self.point.calls_from(service) if own.log > 0 else ():
            is_slow = self._excesses.called(edge)[0].z >= ANOMALOUS_SCALES
            if is_slow or min(fans_out(self.point, edge), tail_only(self.point, service)) < 0.5:
                continue
            others = [self._excesses.called(other)[0] for other in self.point.calls_to(edge.server) if other != edge]
            fits = [other for other in others if other.amount <= MAX_OTHER_CALLER_RATIO * own.amount]
            hidden = max(fits, key=lambda excess: excess.z, default=NO_EXCESS)
            delay = self._excesses.since(hidden) - self._excesses.since(own)
            weight = min(1.0, hidden.log / own.log) * anomaly_confidence(hidden.z)
            steps.append(WalkStep((edge.server, "slow"), weight * (_onset_weight(delay) if weight else 0.0)))
        return steps

    def _steps_of_load(self, service: Service) -> list[WalkStep]:
        """Steps to callers by their shares of the growth, absorbed there as far as their own arrivals grew less."""
        growth = {}
        for edge in self.point.calls_to(service):
            times = self._excesses.edge_load(edge).times
            if (added := self.point.level("edge_rate", edge) * (times - 1)) > 0:
                growth[edge] = added, times
        total = sum(added for added, _ in growth.values())
        steps = []
        for edge, (added, times) in growth.items():
            if edge.connection != "virtual_node":
                arrivals = max(1.0, self._excesses.load(edge.client).times)
                share, passed = added / total, min(1.0, math.log(arrivals) / math.log(times))
                reason = Reason("calls_grew", service, value=times)
                steps.append(WalkStep((edge.client, "load"), share * passed))
                steps.append(WalkStep((edge.client, "load"), share * (1 - passed), reason))
        return steps

    def reason(self, node: Node) -> Reason:
        """Reason reported for suspicion that stays at a node."""
        service, kind = node
        if kind == "load":
            return Reason("requests_grew", service, value=self._excesses.load(service).times)
        slow, failing = self._excesses.own(service)
        if failing.log > slow.log:
            failed: ReasonKind = "calls_failed" if isinstance(failing.key, Edge) else "failures_grew"
            return Reason(failed, service, value=failing.amount)
        if slow.log <= 0:
            return Reason("no_anomaly", service)
        return Reason("slower", service, value=math.exp(slow.log))


def _onset_weight(delay: float) -> float:
    """Weight 0 to 1 of an explanation that begins `delay` seconds after its effect."""
    return math.exp(-max(0.0, delay) / ONSET_DECAY_SECONDS)
