"""Who is guilty: blame flows from the victims backward over calls, shared GPUs and load until it is absorbed.

An absorbing walk over the typed graph. Blame of a slow service goes to callees that are slow and make up for its own
excess, to whom a finding names (a neighbour on its GPUs, the far end of a bad path), and, where it is asked more than
usual, to those that ask; what none of them explains stays. Blame for *load* goes on to whoever asks more in turn, by
shares of the growth, and stays where arrivals do not explain the calls: at an entry of the platform, or at a service
that began to ask more for each of its own requests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.excess import ANOMALOUS_SCALES, Excess, Excesses, anomaly_confidence
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.fanout import fans_out, tail_only
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.absorbing_walk import Kind, Node, Transitions, absorption

SEEN, SURE, SUSPECT = 0.5, 3.0, 4.0
"""Somebody is blamed where a victim's z is SURE, or it is SEEN and that of something it depends on SUSPECT."""
AMPLIFIED = 5.0
"""A caller's excess in seconds over its callee's, up to which the one explains the other: waiting threads add to it."""
ELASTIC = 4.0
"""Logarithm of durations over that of load, up to which the one explains the other: from 60 to 90 % of what a server
can do its requests take four times as long (1 / (1 − ρ))."""
LIKELY = 2.0
"""How many times as ready one is to believe in more load than in anything else: it is what befalls services most."""
FITS = 2.0
"""Another caller's excess in seconds over one's own, up to which the two may be of the same."""
LATE = 60.0
"""Seconds by which what begins after its effect is believed less, by a factor of e."""
UNSEEN = 0.1
"""What is left of the blame for a callee that only clients tell of, where another one tells itself that it is slow."""
CERTAIN = 0.98
"""Weight beyond which one reason is not believed more than another."""
LEAST = 0.01
"""Share of all blame below which a candidate is not worth naming."""


class Move(NamedTuple):
    """Blame that goes on to a node, with a weight 0…1; with a reason it stays there."""

    to: Node
    weight: float
    reason: Reason | None = None


def blame(scan: Scan, victims: Sequence[Service], findings: Sequence[Finding] = ()) -> tuple[Candidate, ...]:
    """As `blamed`, of one grid point and the findings of all services there."""
    return blamed(Walk(scan, findings), victims)


def blamed(walk: Walk, victims: Sequence[Service]) -> tuple[Candidate, ...]:
    """Who may be guilty of what the victims suffer or are about to, the likeliest first; nobody where all is as usual.

    Scores are shares of all blame.
    """
    ill: list[Node] = [(victim, "slow") for victim in dict.fromkeys(victims) if walk.ill(victim)]
    absorbed = absorption(walk, ill)
    shares = {who: sum(reasons.values()) for who, reasons in absorbed.items()}
    total = sum(shares.values())
    found = [
        Candidate(who, share / total, (max(absorbed[who], key=absorbed[who].__getitem__),))
        for who, share in shares.items()
        if share >= LEAST * total
    ]
    return tuple(sorted(found, key=lambda candidate: (-candidate.score, candidate.service)))


class Walk:
    """Where blame goes from each node of the graph, at one grid point: looked at once, whoever suffers."""

    def __init__(self, scan: Scan, findings: Sequence[Finding]) -> None:
        self.found = Excesses(scan)
        self.findings: defaultdict[Service, list[Finding]] = defaultdict(list)
        for finding in findings:
            self.findings[finding.service].append(finding)
        self._transitions: dict[Node, Transitions] = {}
        self._reasons: dict[Node, Reason] = {}

    def ill(self, victim: Service) -> bool:
        """The joint gate: whether enough is wrong with the victim and what it depends on for anybody to be blamed."""
        own, load = max(excess.z for excess in self.found.own(victim)), self.found.load(victim).z
        if own >= SURE or any(finding.strength >= 0.5 for finding in self.findings[victim]):
            return True
        if own < SEEN and load < ANOMALOUS_SCALES:
            return False
        reached, frontier = {victim}, [victim]
        while frontier:
            called = {edge.server for who in frontier for edge in self.found.out.get(who, ())}
            frontier = sorted(called - reached)
            reached |= called
        return self.found.worst(reached) >= SUSPECT

    def transitions(self, node: Node) -> Transitions:
        """Where blame goes from a node, and how much of it stays."""
        if node not in self._transitions:
            self._transitions[node] = self._shared(*node)
        return self._transitions[node]

    def _shared(self, service: Service, kind: Kind) -> Transitions:
        found = [move for move in (self._slow(service) if kind == "slow" else self._load(service)) if move.weight > 0]
        gone = sum(move.weight for move in found) if kind == "load" else max((m.weight for m in found), default=0.0)
        stays = max(0.0, 1 - gone)
        if kind == "slow":
            found = [move._replace(weight=_odds(move.weight)) for move in found]
        total = sum(move.weight for move in found)
        shares = [(move, (1 - stays) * move.weight / total) for move in found] if stays < 1 else []
        return Transitions(
            stays,
            tuple((move.to, share) for move, share in shares if not move.reason),
            tuple((move.to[0], move.reason, share) for move, share in shares if move.reason),
        )

    def _slow(self, service: Service) -> list[Move]:
        found = self._callees(service)
        first = min((finding.since for finding in self.findings[service] if finding.strength >= 0.5), default=math.inf)
        for finding in self.findings[service]:
            culprit = finding.culprit.service or (finding.culprit.edge[0] if finding.culprit.edge else None)
            if culprit is not None:
                weight = finding.strength * math.exp(-max(0.0, finding.since - first) / LATE)
                found.append(Move((culprit, "slow"), weight, Reason("cause", service, finding.cause)))
        load, slow = self.found.load(service), self.found.own(service)[0].log
        if load.times > 1:
            enough = min(1.0, ELASTIC * math.log(load.times) / slow) if slow > 0 else 1.0
            found.append(Move((service, "load"), anomaly_confidence(LIKELY * load.z) * enough))
        return found

    def _callees(self, service: Service) -> list[Move]:
        own = self.found.own(service)
        found = [
            (edge.server, self._explained(own, self._theirs(edge, own[0])), self.found.reports_latency(edge))
            for edge in self.found.out.get(service, ())
        ]
        doubt = UNSEEN if any(told and weight >= 0.5 for _, weight, told in found) else 1.0
        return [Move((server, "slow"), weight if told else weight * doubt) for server, weight, told in found]

    def _theirs(self, edge: Edge, mine: Excess) -> tuple[Excess, Excess]:
        """A callee's excess; where only the tail of its caller's requests is slow, what others see of it as well.

        Who calls several times a request is slow before its calls show it. What would have cost it more is not it.
        """
        scan, (slow, failing) = self.found.scan, self.found.called(edge)
        if slow.z >= ANOMALOUS_SCALES or min(fans_out(scan, edge), tail_only(scan, edge.client)) < 0.5:
            return slow, failing
        others = [self.found.called(each)[0] for each in self.found.into[edge.server] if each.client != edge.client]
        fits = [other for other in others if other.amount <= FITS * mine.amount]
        return max((slow, *fits), key=lambda excess: excess.z), failing

    def _load(self, service: Service) -> list[Move]:
        """Blame goes to callers by their shares of the growth, and stays there where their own arrivals grew less."""
        grown = {}
        for edge in self.found.into.get(service, ()):
            growth = self.found.scan.level("edge_rate", edge) * (self.found.edge_load(edge).times - 1)
            if growth > 0:
                grown[edge] = growth
        found = []
        total = sum(grown.values())
        for edge, growth in grown.items():
            if edge.connection == "virtual_node":
                continue
            share = growth / total
            times, arrivals = self.found.edge_load(edge).times, max(1.0, self.found.load(edge.client).times)
            passed = min(1.0, math.log(arrivals) / math.log(times))
            found.append(Move((edge.client, "load"), share * passed))
            reason = Reason("calls_grew", service, value=times)
            found.append(Move((edge.client, "load"), share * (1 - passed), reason))
        return found

    def reason(self, node: Node) -> Reason:
        """Why blame stays at a node."""
        if node not in self._reasons:
            self._reasons[node] = self._reason(*node)
        return self._reasons[node]

    def _reason(self, service: Service, kind: Kind) -> Reason:
        if kind == "load":
            return Reason("requests_grew", service, value=self.found.load(service).times)
        slow, failing = self.found.own(service)
        if failing.log > slow.log:
            return Reason("failures_grew", service, value=failing.amount)
        if slow.log <= 0:
            return Reason("nothing_unusual", service)
        return Reason("slower", service, value=math.exp(slow.log))

    def _explained(self, mine: tuple[Excess, Excess], theirs: tuple[Excess, Excess]) -> float:
        """0…1: how far a callee's excess makes up for its caller's, and came before it. Who waits in vain fails."""
        (slow, failing), (slow_too, failing_too) = mine, theirs
        most = min(1.0, AMPLIFIED * slow_too.amount / slow.amount) if slow.amount > 0 else 0.0
        return max(
            self._part(slow, slow_too) * most if slow.amount > 0 else 0.0,
            self._part(failing, failing_too),
            self._part(failing, slow_too),
        )

    def _part(self, mine: Excess, theirs: Excess) -> float:
        if mine.log <= 0 or theirs.log <= 0:
            return 0.0
        late = max(0.0, self.found.since(theirs) - self.found.since(mine))
        return min(1.0, theirs.log / mine.log) * anomaly_confidence(theirs.z) * math.exp(-late / LATE)


def _odds(weight: float) -> float:
    """What the weights of reasons that exclude each other are compared by."""
    return weight / (1 - min(weight, CERTAIN))
