"""Incident candidates of one evaluation: groups of connected affected services, their origin, and whether to page."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, request_count
from foreshock_dashboard.analysis.baseline.operations import symptoms
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import MIN_LEARNED_SLO_SECONDS
from foreshock_dashboard.analysis.detectors.dependency import shows_in_tail
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

EARLY_WARNING_PROBABILITY = 0.3
"""Chance of an SLO breach from which a service belongs to an incident candidate."""
PAGE_PROBABILITY = 0.6
"""Chance of an SLO breach from which a candidate with a firm finding pages."""
FINDING_STRENGTH = 0.5
"""Strength from which a finding is firm."""
CONTENTION_SEVERITY = 1.25
"""Severity from which a cause pages before the SLO breach: a quarter more time than at baseline."""
OUTAGE_SEVERITY = 2.0
"""Severity of a cause that takes a service down by itself."""
CALLEE_SHARE = 0.3
"""Share of a callee's extra latency that a caller shows at least if it propagates."""
VISIBLE_FAILED_RATIO = 0.02
"""Ratio of failed requests above the baseline from which a service is failing."""
ORIGIN_SHARE = 0.1
"""Share of a caller's extra latency, or failures, that the origin shows at least."""
RELEVANT_SHARE = 0.05
"""Ratio of a callee's extra latency to the baseline p50 of its callers, from which it is relevant."""
BRIEF_SECONDS = 120.0
"""Seconds up to which slowness may be a trigger that passes and leaves a retry loop behind."""
AFFECTED_Z = 3.0
"""Scales above the baseline from which a service is affected."""


@dataclass(frozen=True, slots=True)
class IncidentCandidate:
    """A group of connected services that is, or becomes, one incident.

    origin: the service where it begins. members: anomalous services, the origin first. affected_callers: those of the
    origin, direct or not, nearest first. breaching: those of the origin and its callers that breach their SLO. cause:
    the finding that explains it best. page: it is worth a page; urgent: at once. origin_overloaded: the load of the
    origin exceeds its safe limit. causes_outage: the cause alone takes the origin down. probability: of an SLO breach
    of the origin, 0 to 1.
    """

    origin: Service
    members: tuple[Service, ...]
    affected_callers: tuple[Service, ...]
    breaching: tuple[Service, ...]
    cause: Finding | None
    page: bool
    urgent: bool
    origin_overloaded: bool
    causes_outage: bool
    probability: float


def incident_candidates(
    point: EvaluationPoint,
    risks: Mapping[Service, ServiceRisk],
    findings: Sequence[Finding],
    latent: Mapping[Service, Finding],
) -> tuple[IncidentCandidate, ...]:
    """All incident candidates, the worst first. latent: latent retry loops by service."""
    triage = _Triage(point, risks, findings, latent)
    candidates = [triage.candidate(members) for members in triage.components()]
    return tuple(
        sorted(candidates, key=lambda candidate: (not candidate.page, -candidate.probability, candidate.origin))
    )


class _Triage:
    """Triage of the findings and risks of one evaluation."""

    def __init__(
        self,
        point: EvaluationPoint,
        risks: Mapping[Service, ServiceRisk],
        findings: Sequence[Finding],
        latent: Mapping[Service, Finding],
    ) -> None:
        self.point, self.risks, self.latent = point, risks, latent
        self.firm = [finding for finding in findings if finding.strength >= FINDING_STRENGTH]
        self.firm_by_service = _by_service(self.firm)
        self.findings_by_service = _by_service(findings)

    def is_breaching(self, service: Service) -> bool:
        return service in self.risks and self.risks[service].breached

    def is_overloaded(self, service: Service) -> bool:
        return service in self.risks and self.risks[service].overloaded

    def probability(self, service: Service) -> float:
        return self.risks[service].probability if service in self.risks else 0.0

    def is_affected(self, service: Service) -> bool:
        """Whether a service is degraded for its callers."""
        return self.is_breaching(service) or any(
            self.point.z(*shown) >= AFFECTED_Z
            for name in ("p95", "error_rate", "flight")
            for shown in symptoms(self.point, name, service)
        )

    def components(self) -> Sequence[Set[Service]]:
        """Connected components of the anomalous services, by calls between them and by shared suspected causes."""
        risky = {
            service
            for service, risk in self.risks.items()
            if risk.overloaded
            or (risk.probability >= EARLY_WARNING_PROBABILITY and (risk.relevant or is_relevant(self.point, service)))
        }
        pairs: list[tuple[Service, Service | None]] = [(edge.client, edge.server) for edge in self.point.world.edges]
        pairs += [(finding.service, finding.suspect.service) for finding in self.firm]
        first_service = {finding.suspect: finding.service for finding in reversed(self.firm)}
        pairs += [(finding.service, first_service[finding.suspect]) for finding in self.firm]
        unassigned = risky | self.firm_by_service.keys()
        linked = defaultdict[Service, set[Service]](set)
        for service, neighbor in pairs:
            if service in unassigned and neighbor in unassigned and neighbor is not None:
                linked[service].add(neighbor)
                linked[neighbor].add(service)
        components = []
        for service in sorted(unassigned):
            component: set[Service] = set()
            frontier = {service} & unassigned
            while frontier:
                component |= frontier
                frontier = set[Service]().union(*(linked[member] for member in frontier)) - component
            if component:
                components.append(component)
                unassigned = unassigned - component
        return components

    def candidate(self, members: Set[Service]) -> IncidentCandidate:
        """The incident candidate of a component."""
        point, origin = self.point, min(members, key=lambda service: self._origin_rank(service, members))
        upstream_callers = point.upstream[origin]
        callers = tuple(
            caller for caller in upstream_callers if self.is_affected(caller) and propagates(point, origin, caller)
        )
        cause, overloaded = self._cause(origin, members), self.is_overloaded(origin)
        probability = self.probability(origin)
        causes_outage = False
        if cause is not None and cause.urgent and cause.severity >= OUTAGE_SEVERITY:
            is_observed = cause.cause != "dependency" or cause.down or is_noticeable(point, origin)
            causes_outage = (
                cause.strength >= FINDING_STRENGTH
                and is_observed
                and (
                    cause.cause != "dependency"
                    or bool(callers)
                    or (cause.down and not _has_known_callers(point, origin))
                )
            )
            probability = max(probability, cause.strength) if causes_outage else probability
        urgent = causes_outage or overloaded  # overload is averaged over minutes already
        return IncidentCandidate(
            origin=origin,
            members=(origin, *sorted(members - {origin})),
            affected_callers=callers,
            breaching=tuple(service for service in (origin, *upstream_callers) if self.is_breaching(service)),
            cause=cause,
            page=urgent or self._pages(origin, callers, cause),
            urgent=urgent,
            origin_overloaded=overloaded,
            causes_outage=causes_outage,
            probability=max(probability, PAGE_PROBABILITY) if overloaded else probability,
        )

    def _origin_rank(self, service: Service, members: Set[Service]) -> tuple[float, bool, float, Service]:
        """Sort key: the origin calls the fewest members, explains its callers, and is the most anomalous member."""
        called_members = len(members & {edge.server for edge in self.point.calls_from(service)})
        strengths = [finding.strength for finding in self.firm_by_service.get(service, ())]
        likelihood = max([*strengths, self.probability(service)])
        return (
            called_members,
            not (self.is_overloaded(service) or self._explains_callers(service)),
            -likelihood,
            service,
        )

    def _explains_callers(self, service: Service) -> bool:
        """Whether a service explains a caller that breaches its SLO. Always true if no caller breaches it."""
        breaching = [caller for caller in self.point.upstream[service] if self.is_breaching(caller)]
        return not breaching or any(self._explains(service, caller) for caller in breaching)

    def _explains(self, service: Service, caller: Service) -> bool:
        """Whether a service shows `ORIGIN_SHARE` of the extra latency or failures of a caller.

        Several calls per request add up. A service without signals of its risks is judged by its client edges.
        """
        point, requests = self.point, self.point.level("rate", caller)
        for name, edge_name in (("p95", "edge_p95"), ("error_rate", "edge_error_rate")):
            largest = max(_excess(point, name, service), 0.0)
            for edge in point.calls_to(service):
                calls = point.level("edge_rate", edge) / requests if edge.client == caller else 1.0
                largest = max(largest, _excess(point, edge_name, edge) * max(1.0, np.nan_to_num(calls, posinf=1.0)))
            excess = _excess(point, name, caller)
            if excess > 0 and ORIGIN_SHARE * excess <= largest:
                return True
        return False

    def _cause(self, origin: Service, members: Set[Service]) -> Finding | None:
        """The best firm finding about the origin, else about any other member, else the strongest about the origin.

        A latent retry loop replaces a brief fault of the origin itself.
        """
        firm = self.firm_by_service.get(origin) or [
            finding
            for service in sorted(members)
            for finding in self.firm_by_service.get(service, ())
            if finding.cause != "dependency" or self._reaches(origin, finding.suspect.service)
        ]
        weak = self.findings_by_service.get(origin, ())
        cause = best_finding(firm) or max(weak, key=lambda finding: (finding.strength, -finding.since), default=None)
        is_brief_fault = cause is None or (
            cause.by_itself and cause.service == origin and self.point.time - cause.since < BRIEF_SECONDS
        )
        return self.latent[origin] if origin in self.latent and is_brief_fault else cause

    def _reaches(self, origin: Service, callee: Service | None) -> bool:
        """Whether a service is a callee of the origin, direct or not, or the origin: it can make the origin worse."""
        return callee is None or callee == origin or origin in self.point.upstream[callee]

    def _pages(self, origin: Service, affected_callers: Sequence[Service], cause: Finding | None) -> bool:
        """Whether a candidate without urgency is worth a page: callers are affected, or are about to be."""
        point = self.point
        if origin not in self.risks:
            return False
        explained = (
            cause is not None
            and cause.strength >= FINDING_STRENGTH
            and cause.cause in ("gpu_contention", "hardware", "network", "kv_cache_pressure")
            and request_count(point, origin) >= MIN_REQUESTS
        )
        if self.is_breaching(origin):
            return explained or bool(affected_callers) or not point.upstream[origin]
        if any(self.is_breaching(caller) and self._explains(origin, caller) for caller in affected_callers):
            return True  # it has no SLO, or several calls of a request add up
        is_severe = cause is not None and cause.severity >= CONTENTION_SEVERITY and point.z("p95", origin) >= AFFECTED_Z
        return explained and (is_severe or self.probability(origin) >= PAGE_PROBABILITY)


def _by_service(findings: Iterable[Finding]) -> Mapping[Service, list[Finding]]:
    by_service: dict[Service, list[Finding]] = {}
    for finding in findings:
        by_service.setdefault(finding.service, []).append(finding)
    return by_service


def lacks_baseline(point: EvaluationPoint, service: Service) -> bool:
    """Whether the latency baseline of a service is unknown, as of a database that only its clients report."""
    return not math.isfinite(point.level("p95", service))


def propagates(point: EvaluationPoint, origin: Service, service: Service) -> bool:
    """Whether a caller's extra latency or failures can come from the origin: they are about as large.

    A caller with a fallback or a cached answer does not propagate it.
    """
    origin_failures, excess_failures = _excess(point, "error_rate", origin), _excess(point, "error_rate", service)
    fails = origin_failures > VISIBLE_FAILED_RATIO
    if fails:
        expected = CALLEE_SHARE * CALLEE_SHARE * origin_failures
        if point.z("error_rate", service) >= AFFECTED_Z:
            expected *= _dependent_request_ratio(point, service, origin)
        if excess_failures >= expected:
            return True
    origin_latency, baseline = _excess(point, "p95", origin), typical_latency(point, service)
    if not (origin_latency > 0 and (math.isnan(baseline) or origin_latency >= RELEVANT_SHARE * baseline)):
        return not fails  # the origin is not anomalous yet, or it fails and the caller has a fallback
    if excess_failures > VISIBLE_FAILED_RATIO:
        return True
    # p50 shows it where slower requests of another kind decide p95
    return any(_excess(point, name, service) >= CALLEE_SHARE * origin_latency for name in ("p95", "p50"))


def _dependent_request_ratio(point: EvaluationPoint, service: Service, origin: Service) -> float:
    """Upper bound of the ratio of a caller's requests that depend on the origin; a cache may answer the others.

    The larger of the ratios of their request rates at the baseline and now, at most 1; 1 if both are unknown.
    """
    ratios = [
        origin_rate / caller_rate
        for rate in (point.level, point.value)
        if (caller_rate := rate("rate", service)) > 0 and (origin_rate := rate("rate", origin)) > 0
    ]
    return min(1.0, max(ratios, default=1.0))


def _has_known_callers(point: EvaluationPoint, service: Service) -> bool:
    """Whether a caller of a service counted its calls: without one, none shows that the service is missing."""
    edges = [edge for edge in point.calls_to(service) if edge.connection != "virtual_node"]
    return any(point.level("edge_rate", edge) > 0 for edge in edges)


def is_relevant(point: EvaluationPoint, service: Service) -> bool:
    """Whether extra latency is relevant to the callers, or the service fails.

    Always true of an ingress service, and where no caller has a baseline of latency.
    """
    if _excess(point, "error_rate", service) > VISIBLE_FAILED_RATIO:
        return True
    callers = {edge.client for edge in point.calls_to(service) if edge.connection != "virtual_node"}
    baselines = [level for caller in callers if math.isfinite(level := typical_latency(point, caller))]
    excess = max(_excess(point, name, service) for name in ("p95", "p50"))
    return not baselines or excess >= RELEVANT_SHARE * min(baselines)


def is_noticeable(point: EvaluationPoint, service: Service) -> bool:
    """Whether a service fails, or users could feel the seconds that its callers wait for it longer per request."""
    edges = point.calls_to(service)
    failing = [_excess(point, "error_rate", service), *(_excess(point, "edge_error_rate", edge) for edge in edges)]
    slower = [_excess(point, "p95", service)]
    for edge in edges:
        calls = point.level("edge_rate", edge) / point.level("rate", edge.client)
        waits = max(_excess(point, name, edge) for name in latency_signals(point, edge))
        slower.append(waits * max(1.0, np.nan_to_num(calls, posinf=1.0)))
    return max(failing) > VISIBLE_FAILED_RATIO or max(slower) >= MIN_LEARNED_SLO_SECONDS


def latency_signals(point: EvaluationPoint, edge: Edge) -> tuple[str, ...]:
    """Signals of how long calls take; also p99 where only that shows it."""
    return ("edge_p95", "edge_p99") if shows_in_tail(point, edge) else ("edge_p95",)


def typical_latency(point: EvaluationPoint, service: Service) -> float:
    """Baseline p50 of a service in seconds, else its p95: that may be of a few slow requests of another kind."""
    p50 = point.level("p50", service)
    return p50 if math.isfinite(p50) else point.level("p95", service)


def _excess(point: EvaluationPoint, name: str, key: Service | Edge) -> float:
    """How far a signal is above its baseline, in its unit; that of the worst operation if larger. 0 if unknown."""
    largest = 0.0
    for shown in symptoms(point, name, key) if isinstance(key, Service) else ((name, key),):
        value, level = point.denoised(*shown), point.level(*shown)
        if math.isfinite(value):
            largest = max(largest, value - (level if math.isfinite(level) else 0.0))
    return largest


def best_finding(findings: Sequence[Finding]) -> Finding | None:
    """The finding that explains most; None without any.

    A fault of the service itself ranks last, and load that recurs every week before it. Provisioning lag replaces load:
    the replicas for it are on their way.
    """
    if any(finding.cause == "scale_up_lag" for finding in findings):
        findings = [finding for finding in findings if finding.cause != "overload"]

    def rank(finding: Finding) -> tuple[bool, bool, bool, float, float]:
        return not finding.by_itself, not finding.expected, finding.urgent, finding.strength, -finding.since

    return max(findings, key=rank, default=None)
