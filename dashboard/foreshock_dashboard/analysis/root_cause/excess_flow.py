"""Flow of suspicion along calls, to where an excess is not explained further.

Each service keeps what it shows beyond what its callees explain (compare the residual of CIRCA, Li et al., KDD 2022),
and passes the rest on by the share that each callee explains.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.service_evidence import (
    NONE,
    Deviation,
    ServiceEvidence,
    computed_once,
    confidence,
    in_same_unit,
    nearest,
    reach,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

MAX_STEPS = 20
"""Steps along calls; bounds cycles."""
Symptom = Literal["latency", "errors"]
State = tuple[Service, Symptom]
_HOST = re.compile(r"(\d+\.){3}\d+|([\w*-]+\.)+[a-z]{2,}", re.IGNORECASE)


class _Moves(NamedTuple):
    """Where suspicion goes in one step, from each state that was numbered.

    services, owner: the services, and the number of that of each state. stays: share that stays. ends: end of the range
    of a state in target and share, which hold the states that it goes to, and how much of it.
    """

    numbers: Mapping[State, int]
    services: tuple[Service, ...]
    owner: NDArray[np.intp]
    stays: Floats
    ends: NDArray[np.intp]
    target: NDArray[np.intp]
    share: Floats

    @classmethod
    def of(cls, passed: Mapping[State, Mapping[State, float]]) -> _Moves:
        """The moves by the shares that each state passes on, all to states of `passed`."""
        numbers = {state: number for number, state in enumerate(passed)}
        services = {service: number for number, service in enumerate(dict.fromkeys(service for service, _ in passed))}
        return cls(
            numbers,
            tuple(services),
            np.array([services[service] for service, _ in passed]),
            np.array([1 - sum(moves.values()) for moves in passed.values()]),
            np.cumsum([len(moves) for moves in passed.values()]),
            np.array([numbers[target] for moves in passed.values() for target in moves], np.intp),
            np.array([share for moves in passed.values() for share in moves.values()], np.float64),
        )


class ExcessFlow:
    """Shares of suspicion by service, for suspicion that starts at affected services."""

    def __init__(self, evidence: ServiceEvidence) -> None:
        self.evidence = evidence
        self._passed_by: dict[State, Mapping[State, float]] = {}
        self._moves = _Moves.of({})

    def absorbed(self, starts: Mapping[Service, float]) -> Mapping[Service, float]:
        """Suspicion that stays at each service. starts: suspicion at each affected service.

        Sums are of numbers in the order in which suspicion reaches states, so that equal evidence has equal scores.
        """
        moving = defaultdict[State, float](float)
        for service, mass in starts.items():
            for symptom, share in self._symptoms(service).items():
                moving[service, symptom] += mass * share
        moves = self._moves_from(moving)
        states, masses = np.array([moves.numbers[state] for state in moving], np.intp), np.array([*moving.values()])
        kept, visited = np.zeros(len(moves.services)), []
        for step in range(MAX_STEPS + 1):
            visited.append(moves.owner[states])
            if step == MAX_STEPS:
                np.add.at(kept, moves.owner[states], masses)
                break
            np.add.at(kept, moves.owner[states], masses * moves.stays[states])
            states, masses = _moved(moves, states, masses)
        first_visits = _distinct(np.concatenate(visited), len(kept))
        return {moves.services[number]: float(kept[number]) for number in first_visits.tolist()}

    def _moves_from(self, starts: Iterable[State]) -> _Moves:
        """The moves from all states that suspicion reaches."""
        reached = [state for state in starts if state not in self._passed_by]
        if reached:
            for state in reached:
                if state not in self._passed_by:
                    self._passed_by[state] = self._passed(state)
                    reached += self._passed_by[state]
            self._moves = _Moves.of(self._passed_by)
        return self._moves

    def _symptoms(self, service: Service) -> Mapping[Symptom, float]:
        """How much of the suspicion of a service is about its latency and about its errors."""
        latency = max((item.z for item in self.evidence.latencies(service)), default=0.0)
        failing = self.evidence.errors(service).z
        weights: dict[Symptom, float] = {"latency": max(0.0, latency - 1) ** 2, "errors": max(0.0, failing - 1) ** 2}
        total = sum(weights.values())
        return {symptom: weight / total for symptom, weight in weights.items()} if total > 0 else {"latency": 1.0}

    def _passed(self, state: State) -> Mapping[State, float]:
        """Shares of the suspicion at a state that its callees explain; they sum to 1 at most."""
        service, symptom = state
        explain = self._explained_latency if symptom == "latency" else self._explained_errors
        moves: dict[State, float] = {}
        callees = [callee for callee in self.evidence.callees.get(service, ()) if callee != service]
        for callee in callees:
            for target, weight in explain(service, callee).items():
                if weight > 0:
                    moves[callee, target] = max(moves.get((callee, target), 0.0), weight)
        for callee in callees:
            if (weight := self.evidence.unavailable((service, callee))) > 0:
                moves[callee, "errors"] = max(moves.get((callee, "errors"), 0.0), weight)
        instrumented = max(
            (weight for (callee, _), weight in moves.items() if not self._is_outside(callee)), default=0.0
        )
        if instrumented >= 0.3:
            moves = {
                target: weight * (use.UNINSTRUMENTED_WEIGHT if self._is_outside(target[0]) else 1.0)
                for target, weight in moves.items()
            }
        total = sum(moves.values())
        passed = _decisive(min(1.0, total))
        if not self._has_symptom(service):
            passed = max((confidence(self._experienced(service, callee)) for callee in callees), default=0.0)
        return {target: passed * weight / total for target, weight in moves.items()} if total > 0 else {}

    def _is_outside(self, service: Service) -> bool:
        """Whether a service reports nothing about itself or is named as a host: external hosts, virtual nodes."""
        return not self.evidence.reports(service) or _HOST.fullmatch(service.name) is not None

    def _explained_latency(self, caller: Service, callee: Service) -> Mapping[Symptom, float]:
        evidence = self.evidence
        own = [item for item in evidence.latencies(caller) if item.z >= 1.0]
        seen = self._seen_latencies(caller, callee)
        if not self._has_symptom(caller):
            if (largest := self._experienced(caller, callee)) <= 0:
                return {}
            ratio = evidence.calls_per_request((caller, callee))
            weight = self._callee_share(caller, callee) * confidence(largest) * math.log1p(max(0.0, largest))
            symptom: Symptom = "errors" if self._seen_errors(caller, callee).z >= largest else "latency"
            return {symptom: weight * math.sqrt(min(1.0, ratio))}
        if not own:
            return {}
        ratio = evidence.calls_per_request((caller, callee))
        onset = min(item.since for item in own)
        shares, weights = 0.0, 0.0
        for item in own:
            cause = nearest(seen, item)
            weight = item.z * (2 if item.statistic == "mean" else 1)
            weights += weight
            if cause is NONE or cause.z <= 0 or item.log <= 0:
                continue
            if in_same_unit(item, cause):
                share = min(1.0, max(0.0, cause.amount) * reach(item.statistic, ratio) / item.amount)
            else:
                share = min(1.0, cause.log / item.log) * min(1.0, reach(item.statistic, ratio))
            shares += weight * share * confidence(cause.z) * self._onset_weight(cause.since - onset)
        moves: dict[Symptom, float] = {"latency": 0.0}
        if shares > 0:
            moves["latency"] = self._callee_share(caller, callee) * shares / weights
        failing = self._seen_errors(caller, callee)
        if failing.z >= use.ANOMALOUS_Z:  # failed calls are retried
            moves["errors"] = (
                0.5 * confidence(failing.z) * min(1.0, ratio * failing.amount / 0.2) * (1 - moves["latency"])
            )
        return moves

    def _seen_latencies(self, caller: Service, callee: Service) -> tuple[Deviation, ...]:
        """Latencies of a callee as its caller experiences them."""
        return self.evidence.of((caller, callee), "latency", "client") or self._served(caller, callee)

    def _served(self, caller: Service, callee: Service) -> tuple[Deviation, ...]:
        """Latencies of a callee as it measures them itself."""
        return self.evidence.of((caller, callee), "latency", "server") or self.evidence.of(callee, "latency")

    def _callee_share(self, caller: Service, callee: Service) -> float:
        """Share of an excess of calls that belongs to the callee, 0 to 1.

        What only the client measures arises at either end, or between them. It is the callee's if its other callers
        measure it as well and other callees of the caller are normal.
        """
        evidence, own = self.evidence, self._client_only(caller, callee)
        if own <= 0 or evidence.worst(callee, "availability").z >= use.ANOMALOUS_Z:
            return 1.0
        same = [self._client_only(other, callee) for other in evidence.callers[callee] if other != caller]
        rest = [self._client_only(caller, other) for other in evidence.callees[caller] if other != callee]
        same, rest = [item for item in same if math.isfinite(item)], [item for item in rest if math.isfinite(item)]
        shares = [sum(item >= own / 2 for item in same) / len(same)] if same else []
        shares += [sum(item < own / 2 for item in rest) / len(rest)] if rest else []
        return sum(shares) / len(shares) if shares else use.CLIENT_ONLY_PRIOR

    @computed_once
    def _client_only(self, caller: Service, callee: Service) -> float:
        """Log ratio of an excess that the client measures and the server does not; 0 without one, NaN if unknown.

        A server that measures nothing, as a database, does not measure the excess either.
        """
        seen, served = self.evidence.of((caller, callee), "latency", "client"), self._served(caller, callee)
        if not seen:
            return math.nan
        largest = max(seen, key=lambda item: item.z)
        if not self.evidence.of(callee, "latency") and not self.evidence.of((caller, callee), "latency", "server"):
            return largest.log if largest.z >= use.MODERATE_Z else 0.0
        inside = nearest(served, largest)
        if largest.z < use.MODERATE_Z or (in_same_unit(largest, inside) and inside.amount >= 0.5 * largest.amount):
            return 0.0
        return largest.log if in_same_unit(largest, inside) or inside.z < largest.z / 3 else 0.0

    @computed_once
    def _has_symptom(self, service: Service) -> bool:
        """Whether a service itself is anomalous, and not only some of the calls that it makes."""
        latencies = [item.z for item in self.evidence.latencies(service)]
        return max([*latencies, self.evidence.errors(service).z]) >= use.MODERATE_Z

    @computed_once
    def _experienced(self, caller: Service, callee: Service) -> float:
        """Deviation of the calls from one service to another, in scales."""
        seen = self._seen_latencies(caller, callee)
        return max([seen[0].z if seen else 0.0, self._seen_errors(caller, callee).z])

    def _seen_errors(self, caller: Service, callee: Service) -> Deviation:
        seen = self.evidence.of((caller, callee), "errors")
        return seen[0] if seen else self.evidence.errors(callee)

    def _explained_errors(self, caller: Service, callee: Service) -> Mapping[Symptom, float]:
        evidence, own = self.evidence, self.evidence.errors(caller)
        if own.amount <= 0:
            return {}
        ratio = evidence.calls_per_request((caller, callee))
        failing = self._seen_errors(caller, callee)
        moves: dict[Symptom, float] = {}
        if failing.amount > 0:
            onset = self._onset_weight(failing.since - own.since)
            moves["errors"] = min(1.0, ratio * failing.amount / own.amount) * confidence(failing.z) * onset
            if self._answers_normally(callee):
                missed = self._missed(callee)
                moves["errors"] *= missed + (1 - missed) * use.UNREPORTED_ERRORS_WEIGHT
        slow = max(self._seen_latencies(caller, callee), key=lambda item: item.log, default=NONE)
        waits = max((item.z for item in evidence.latencies(caller)), default=0.0)
        if slow.log >= math.log(use.TIMEOUT_SLOWDOWN) and waits >= use.ANOMALOUS_Z:
            weight = (
                use.TIMEOUT_WEIGHT * confidence(slow.z) * min(1.0, ratio) * self._onset_weight(slow.since - own.since)
            )
            moves["latency"] = weight * (1 - moves.get("errors", 0.0))
        lost = self._lost(caller, callee)
        if lost > 0:
            moves["errors"] = max(moves.get("errors", 0.0), min(1.0, ratio * lost / own.amount))
        return moves

    @computed_once
    def _answers_normally(self, service: Service) -> bool:
        """Whether a service reports normal errors and latency: its client times out early, or the way to it fails."""
        errors, latency = self.evidence.of(service, "errors"), self.evidence.of(service, "latency")
        return bool(errors) and max(item.z for item in (*errors[:1], *latency[:1])) < use.MODERATE_Z

    @computed_once
    def _missed(self, callee: Service) -> float:
        """Share of the failed calls to a service that it never received, 0 to 1: it was down. 0 if unknown.

        Calls that time out early arrive, and count there as before.
        """
        evidence = self.evidence
        calls = [(caller, callee) for caller in evidence.callers[callee]]
        rates = [evidence.rate(call) for call in calls]
        normally, now = sum(level for level, _ in rates), sum(rate for _, rate in rates)
        served, serves = evidence.rate(callee) if evidence.of(callee, "traffic") else (math.nan, math.nan)
        failed = sum(
            rate * max(0.0, evidence.worst(call, "errors").amount) for call, (_, rate) in zip(calls, rates, strict=True)
        )
        if not (normally > 0 and served > 0 and failed > 0):
            return 0.0
        return min(1.0, max(0.0, now - serves * normally / served) / failed)

    def _lost(self, caller: Service, callee: Service) -> float:
        """Share of a callee's traffic that vanished beyond that of its caller."""
        evidence = self.evidence
        if evidence.lost(callee) < use.ANOMALOUS_Z:
            return 0.0
        traffic = max(evidence.of(callee, "traffic"), key=lambda item: item.level)
        before, now = evidence.rate(caller)
        kept = now / before if before > 0 and math.isfinite(now) else 1.0
        return max(0.0, min(1.0, kept) - traffic.now / traffic.level)

    def _onset_weight(self, delay: float) -> float:
        """Weight 0 to 1 of a cause that is seen `delay` seconds after its effect."""
        step = self.evidence.found.step
        late = delay - use.ONSET_TOLERANCE_POINTS * step
        return math.exp(-max(0.0, late) / use.ONSET_DECAY.at(step)) if math.isfinite(delay) else 1.0


def _moved(moves: _Moves, states: NDArray[np.intp], mass: Floats) -> tuple[NDArray[np.intp], Floats]:
    """States that suspicion at some states reaches in one step, in the order in which it does, and how much of it."""
    count = np.diff(moves.ends, prepend=0)[states]
    offset = moves.ends[states] - np.cumsum(count)
    rows = np.arange(count.sum()) + np.repeat(offset, count)
    target = moves.target[rows]
    total: Floats = np.bincount(target, np.repeat(mass, count) * moves.share[rows], len(moves.stays)).astype(np.float64)
    reached = _distinct(target, len(total))
    return reached, total[reached]


def _distinct(numbers: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """The distinct ones of numbers below `size`, in the order in which they first occur."""
    first = np.full(size, len(numbers))
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return np.argsort(first, kind="stable")[: np.count_nonzero(first < len(numbers))]


def _decisive(share: float) -> float:
    """The share to pass on where callees explain a share: nearly all of a large one, nearly nothing of a small one.

    What callees explain is measured with noise, which would leave some suspicion at each of many services on the way.
    """
    return share**2 / (share**2 + (1 - share) ** 2)


_GENERIC = frozenset(
    (
        *("lb", "elb", "alb", "nlb", "load", "balancer", "loadbalancer", "proxy", "ingress", "envoy", "sidecar"),
        *("svc", "service", "server", "srv", "pod", "container", "host", "cluster", "local", "default", "app"),
        *("http", "https", "grpc", "api"),
    )
)
"""Words of names that say how a service runs, and not what it is."""


@lru_cache(maxsize=10_000)
def alias_key(service: Service) -> tuple[str, ...]:
    """Equal for a service and its own load balancer, proxy, or sibling: the words of its name that mean something."""
    words = [word for word in re.split(r"[^a-z0-9]+", service.name.lower()) if word]
    return tuple(word for word in words if word not in _GENERIC) or tuple(words)


def merged_aliases(masses: Mapping[Service, float]) -> dict[Service, float]:
    """Suspicion with that of aliases given to the one of them that has most."""
    groups = defaultdict[tuple[str, ...], list[Service]](list)
    for service in masses:
        groups[alias_key(service)].append(service)
    merged = dict(masses)
    for members in groups.values():
        if len(members) > 1:
            plain = min(members, key=lambda item: (len(item.name), -masses[item], item))
            merged[plain] = sum(masses[member] for member in members)
            for member in members:
                if member != plain:
                    merged.pop(member)
    return merged
