"""Ranking of suspected causes from the deviations of any signals, and the gate that it has to pass."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow, deviations
from foreshock_dashboard.analysis.root_cause.excess_flow import ExcessFlow, merged_aliases
from foreshock_dashboard.analysis.root_cause.excess_mass import ExcessMass, excess_mass
from foreshock_dashboard.analysis.root_cause.service_evidence import ServiceEvidence, SignalGraph, confidence
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.analysis.root_cause.usage_limits import is_at_limit
from foreshock_dashboard.model.incident import Candidate, ConfidenceLevel
from foreshock_dashboard.model.service import Service

MIN_CANDIDATE_SHARE = 0.01
"""Share of all suspicion below which a candidate is not reported."""
OwnZ = Callable[[Service], float]
"""Largest own deviation of a service in scales, as `_own_z`."""


class Ranking(NamedTuple):
    """Candidates, the most likely first, scores sum to 1. passed: the joint gate. strength: in scales."""

    candidates: tuple[Candidate, ...]
    passed: bool
    strength: float = 0.0


class SignalRanker:
    """Ranks the causes of several anomalies by the same signals.

    Services that are anomalous at the same points share the evidence.
    """

    def __init__(self, rows: Sequence[SignalRow], window: AnalysisWindow) -> None:
        self._rows, self._window = rows, window
        self.graph = SignalGraph(deviations(rows, window))
        self._shared: dict[tuple[int, ...], tuple[ExcessFlow, ExcessMass, OwnZ]] = {}

    def ranking(self, affected: Service | None) -> Ranking:
        """Suspected causes of the anomaly of a service, or of all services without one."""
        columns = tuple(self.graph.anomalous_columns(affected))
        if columns not in self._shared:
            at = [self._window.first + column for column in columns]
            excess = excess_mass(self._rows, self._window.baseline_end, at, self._window.step)
            evidence = ServiceEvidence(self.graph, columns)
            self._shared[columns] = ExcessFlow(evidence), excess, cache(partial(_own_z, evidence, excess))
        return _ranking(affected, *self._shared[columns])


def _ranking(affected: Service | None, flow: ExcessFlow, excess: ExcessMass, own_z: OwnZ) -> Ranking:
    evidence = flow.evidence
    starts = _starts(evidence, affected)
    masses = dict(flow.absorbed(starts)) if starts else {}
    masses = _with_unreached(evidence, _with_excess(evidence, masses, affected, excess))
    suspects = [service for service, share in _shares(merged_aliases(masses)).items() if share >= use.MIN_SUSPECT_SHARE]
    z = _gate(evidence, affected, suspects, own_z)
    weighted = {service: mass * (use.LEAST_OWN_Z + own_z(service)) ** 2 for service, mass in masses.items()}
    shares = _shares(merged_aliases(weighted))
    if not shares:
        return Ranking((), passed=False, strength=z)
    whole = sum(shares.values())
    level = _confidence_level(z) if evidence.reasons(next(iter(shares))) else "low"
    return Ranking(
        tuple(Candidate(service, share / whole, evidence.reasons(service), level) for service, share in shares.items()),
        z >= use.GATE_Z,
        z,
    )


def _shares(masses: Mapping[Service, float]) -> dict[Service, float]:
    """Shares of all suspicion, the largest first, without the small ones."""
    total = sum(masses.values())
    ranked = sorted(masses, key=lambda service: (-masses[service], service))
    return {
        service: masses[service] / total
        for service in ranked
        if total > 0 and masses[service] >= MIN_CANDIDATE_SHARE * total
    }


def _starts(evidence: ServiceEvidence, affected: Service | None) -> Mapping[Service, float]:
    """Where suspicion starts: at the affected service, or at all with a symptom, by how large it is."""
    if affected is not None:
        is_slow = bool(evidence.callers.get(affected)) and _symptom(evidence, affected) >= use.MODERATE_Z
        return {affected: 1.0} if evidence.callees.get(affected) or is_slow else {}
    sizes = {service: _symptom(evidence, service) for service in evidence.services if evidence.callees.get(service)}
    largest = max(sizes.values(), default=0.0)
    return {
        service: confidence(z) * z / largest
        for service, z in sizes.items()
        if z >= use.MODERATE_Z and z >= largest / 10
    }


def _symptom(evidence: ServiceEvidence, service: Service) -> float:
    """Deviation of what users of a service notice, in scales."""
    z = [item.z for item in evidence.latencies(service)] + [evidence.errors(service).z]
    z += [item.z for item in evidence.of(service, "availability")]
    z += [-item.z for item in evidence.of(service, "traffic")]
    z.append(evidence.changed_calls(service).z)
    for callee in evidence.callees.get(service, ()):
        call = service, callee
        exposed = math.sqrt(min(1.0, evidence.calls_per_request(call)))
        z += [exposed * evidence.worst(call, kind).z for kind in ("latency", "errors")]
    return max(z, default=0.0)


def _with_unreached(evidence: ServiceEvidence, masses: Mapping[Service, float]) -> dict[Service, float]:
    """Suspicion with that of anomalous services that the flow did not reach: maps of calls are incomplete.

    They are compared with the services reached by the strength of what each shows.
    """
    strengths = evidence.strengths
    if not masses:
        return {service: strength**use.UNREACHED_EXPONENT for service, strength in strengths.items() if strength > 0}
    total = sum(masses.values())
    reached = {service: mass / total for service, mass in masses.items() if mass > 0}
    scale = sum(share * strengths.get(service, 0.0) for service, share in reached.items())
    out = dict(reached)
    for service, strength in strengths.items():
        if reached.get(service, 0.0) >= 0.05 or scale <= 0 or evidence.local_z[service] < use.ANOMALOUS_Z:
            continue
        weight = use.SERVING_WEIGHT if evidence.latencies(service) else 1.0
        weight *= use.UNINSTRUMENTED_WEIGHT if evidence.is_host(service) else 1.0
        if evidence.is_exonerated(service) and evidence.changed_calls(service).z < use.ANOMALOUS_Z:
            weight *= use.EXONERATED_WEIGHT
        out[service] = out.get(service, 0.0) + weight * min(
            use.MAX_UNREACHED_MASS, (strength / scale) ** use.UNREACHED_EXPONENT
        )
    return out


def _with_excess(
    evidence: ServiceEvidence, masses: Mapping[Service, float], affected: Service | None, excess: ExcessMass
) -> dict[Service, float]:
    """Suspicion with that by the mass of excess latency, which weighs more the larger it is.

    Errors have none, so it weighs as much as latency does among the symptoms.
    """
    reachable = _reachable(evidence, affected)
    own = {service: mass for service, mass in excess.by_service.items() if mass > 0 and service in reachable}
    own = _of_unavailable_callees(evidence, own)
    whole, known = sum(masses.values()), sum(own.values())
    slow, failing = evidence.largest_z
    if known <= 0 or slow <= 0 or whole <= 0:
        return dict(masses)
    weight = known / (known + use.HALF_MASS_RATIO * excess.normal)
    weight *= slow**2 / (slow**2 + max(0.0, failing) ** 2)
    return {
        service: (1 - weight) * masses.get(service, 0.0) / whole + weight * own.get(service, 0.0) / known
        for service in {*masses, *own}
    }


def _of_unavailable_callees(evidence: ServiceEvidence, own: Mapping[Service, float]) -> dict[Service, float]:
    """The mass with that of services whose callees are unavailable given to these, whose latency is unknown."""
    moved = defaultdict[Service, float](float)
    for service, mass in own.items():
        down = {callee: evidence.unavailable((service, callee)) for callee in evidence.callees.get(service, ())}
        whole = max(1.0, sum(down.values()))
        for callee, share in down.items():
            moved[callee] += mass * share / whole
        moved[service] += mass * (1 - sum(down.values()) / whole)
    return moved


def _reachable(evidence: ServiceEvidence, affected: Service | None) -> set[Service]:
    """The affected service and its direct and indirect callees; all services where no calls are known."""
    if affected is None or not evidence.calls:
        return set(evidence.services)
    reached, frontier = {affected}, [affected]
    while frontier:
        found = {callee for caller in frontier for callee in evidence.callees.get(caller, ())} - reached
        reached |= found
        frontier = sorted(found)
    return reached


def _gate(evidence: ServiceEvidence, affected: Service | None, suspects: Iterable[Service], own_z: OwnZ) -> float:
    """Joint strength of the evidence, in scales."""
    strengths = {service: own_z(service) for service in suspects}
    symptom = 0.0
    if affected is not None:
        symptom = _symptom(evidence, affected)
        if not any(evidence.of(affected, kind) for kind in ("latency", "errors", "availability")):
            symptom = max(symptom, own_z(affected))
        if symptom < use.MIN_SYMPTOM_Z:
            strengths = _in_view(evidence, affected, strengths)
    return math.hypot(use.SYMPTOM_WEIGHT * symptom, max(strengths.values(), default=0.0))


def _in_view(evidence: ServiceEvidence, affected: Service, strengths: Mapping[Service, float]) -> dict[Service, float]:
    """The strengths of what a healthy affected service calls; where no calls are known, of the others less.

    The largest of N normal deviations is about √(2 ln N) (Cramér, 1946): one of many services is always odd.
    """
    if evidence.calls:
        reachable = _reachable(evidence, affected)
        return {service: z for service, z in strengths.items() if service in reachable}
    chance = 2 * math.log(max(1, len(evidence.services)))
    return {
        service: z if service == affected else math.sqrt(max(0.0, z * abs(z) - chance))
        for service, z in strengths.items()
    }


def _own_z(evidence: ServiceEvidence, excess: ExcessMass, service: Service) -> float:
    """Largest own deviation of a service in scales: own excess, and with less weight what may be inherited."""
    own = excess.z.get(service)
    weights = dict(use.GATE_WEIGHTS)
    if own is not None:
        weights["latency"] = use.INHERITED_WEIGHT
    seen = [
        (1.0 if is_at_limit(item.metric, item.now) else weights.get(item.kind, 1.0)) * item.z
        for item in evidence.metrics(service)
        if item.kind != "traffic" or item.now < item.level
    ]
    return max([own or 0.0, *seen, 0.0])


def _confidence_level(z: float) -> ConfidenceLevel:
    return "high" if z >= 4 * use.GATE_Z else "medium" if z >= 2 * use.GATE_Z else "low"
