"""Incident candidates of one evaluation: groups of connected affected services, their origin, and whether to page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.service_risk import MIN_REQUESTS_PER_WINDOW, SLO_WINDOW_SECONDS, ServiceRisk
from foreshock_dashboard.model.incident import SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

ADVISORY_CHANCE = 0.3
"""Chance of an SLO breach from which a service belongs to an incident candidate."""
PAGE_CHANCE = 0.6
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
"""Extra latency of a callee over the baseline latency of its callers, from which it is relevant."""
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
    origin exceeds its safe limit. causes_outage: the cause alone takes the origin down. chance: of an SLO breach of the
    origin, 0 to 1.
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
    chance: float


def incident_candidates(
    point: EvaluationPoint,
    risks: Mapping[Service, ServiceRisk],
    findings: Sequence[Finding],
    latent: Mapping[Service, Finding],
) -> tuple[IncidentCandidate, ...]:
    """All incident candidates, the worst first. latent: latent retry loops by service."""
    strong = [each for each in findings if each.strength >= FINDING_STRENGTH]
    by_service: dict[Service, list[Finding]] = {}
    for each in strong:
        by_service.setdefault(each.service, []).append(each)
    risky = {
        service
        for service, risk in risks.items()
        if risk.overloaded or (risk.chance >= ADVISORY_CHANCE and is_relevant(point, service))
    }
    anomalous = risky | by_service.keys()
    all_findings: dict[Service, list[Finding]] = {}
    for each in findings:
        all_findings.setdefault(each.service, []).append(each)
    groups = _components(point, anomalous, strong)
    affected = {service for service in point.world.services if is_affected(point, service, risks)} if groups else set()
    candidates = [_candidate(point, members, risks, affected, by_service, all_findings, latent) for members in groups]
    return tuple(sorted(candidates, key=lambda each: (not each.page, -each.chance, each.origin)))


def _components(point: EvaluationPoint, anomalous: Set[Service], findings: Sequence[Finding]) -> list[Set[Service]]:
    """Connected components of these services, by calls between them and by shared suspected causes."""
    root = {service: service for service in anomalous}

    def root_of(service: Service) -> Service:
        while root[service] != service:
            root[service] = root[root[service]]
            service = root[service]
        return service

    def join(first: Service, second: Service) -> None:
        if first in root and second in root:
            low, high = sorted((root_of(first), root_of(second)))
            root[high] = low

    for edge in point.world.edges:
        join(edge.client, edge.server)
    by_suspect: dict[SuspectedCause, Service] = {}
    for each in findings:
        if each.suspect.service is not None:
            join(each.service, each.suspect.service)
        join(each.service, by_suspect.setdefault(each.suspect, each.service))
    groups: dict[Service, set[Service]] = {}
    for service in anomalous:
        groups.setdefault(root_of(service), set()).add(service)
    return [groups[service] for service in sorted(groups)]


def _candidate(
    point: EvaluationPoint,
    members: Set[Service],
    risks: Mapping[Service, ServiceRisk],
    affected: Set[Service],
    findings: Mapping[Service, Sequence[Finding]],
    all_findings: Mapping[Service, Sequence[Finding]],
    latent: Mapping[Service, Finding],
) -> IncidentCandidate:
    origin = _origin(point, members, risks, findings)
    above = point.upstream[origin]
    affected_callers = tuple(service for service in above if service in affected and propagates(point, origin, service))
    breaching = tuple(service for service in (origin, *above) if service in risks and risks[service].breached)
    cause = _cause(origin, members, findings) or _likeliest(origin, all_findings)
    if origin in latent and (cause is None or (_of_origin(cause, origin) and point.time - cause.since < BRIEF_SECONDS)):
        cause = latent[origin]
    risk = risks.get(origin)
    chance = risk.chance if risk else 0.0
    causes_outage = (
        cause is not None and cause.severity >= OUTAGE_SEVERITY and cause.urgent and cause.strength >= FINDING_STRENGTH
    )
    if cause is not None and cause.cause == "dependency":
        causes_outage = causes_outage and bool(affected_callers)
    if cause is not None and causes_outage:
        chance = max(chance, cause.strength)
    if risk is not None and risk.overloaded:
        chance = max(chance, PAGE_CHANCE)
    urgent = causes_outage or (risk is not None and risk.overloaded)  # overload is averaged over minutes already
    return IncidentCandidate(
        origin=origin,
        members=(origin, *sorted(members - {origin})),
        affected_callers=affected_callers,
        breaching=breaching,
        cause=cause,
        page=urgent or _pages(point, origin, above, affected_callers, risks, cause),
        urgent=urgent,
        origin_overloaded=risk is not None and risk.overloaded,
        causes_outage=causes_outage,
        chance=chance,
    )


def _pages(
    point: EvaluationPoint,
    origin: Service,
    above: Sequence[Service],
    affected_callers: Sequence[Service],
    risks: Mapping[Service, ServiceRisk],
    cause: Finding | None,
) -> bool:
    """Whether a candidate is worth a page: callers are affected, or are about to be."""
    risk = risks.get(origin)
    if risk is None:
        return False
    explained = (
        cause is not None
        and cause.strength >= FINDING_STRENGTH
        and cause.cause in ("pool contention", "hardware", "network", "memory pressure")
        and point.value("rate", origin) * SLO_WINDOW_SECONDS >= MIN_REQUESTS_PER_WINDOW
    )
    if risk.breached:
        return bool(affected_callers) or not above or explained
    if lacks_baseline(point, origin) and any(
        service in risks and risks[service].breached for service in affected_callers
    ):
        return True  # the callers have the only SLO
    if risk.overloaded:
        return True
    if (
        explained
        and cause is not None
        and cause.severity >= CONTENTION_SEVERITY
        and point.z("p95", origin) >= AFFECTED_Z
    ):
        return True
    return risk.chance >= PAGE_CHANCE and explained


def lacks_baseline(point: EvaluationPoint, service: Service) -> bool:
    """Whether the latency baseline of a service is unknown, as of a database that only its clients report."""
    return not math.isfinite(point.level("p95", service))


def is_affected(point: EvaluationPoint, service: Service, risks: Mapping[Service, ServiceRisk]) -> bool:
    """Whether a service is worse than at baseline for its callers."""
    figures = (point.z("p95", service), point.z("failed", service), point.z("flight", service))
    return (service in risks and risks[service].breached) or any(math.isfinite(z) and z >= AFFECTED_Z for z in figures)


def propagates(point: EvaluationPoint, origin: Service, service: Service) -> bool:
    """Whether a caller's extra latency or failures can come from the origin: they are about as large.

    A caller with a fallback or a cached answer does not propagate it.
    """
    origin_failures, excess_failures = _excess(point, "failed", origin), _excess(point, "failed", service)
    expected_failures = CALLEE_SHARE * CALLEE_SHARE * origin_failures
    is_anomalous = point.z("failed", service) >= AFFECTED_Z
    dependent_failures = expected_failures * _dependent_request_ratio(point, service, origin)
    if origin_failures > VISIBLE_FAILED_RATIO and (
        excess_failures >= expected_failures or (is_anomalous and excess_failures >= dependent_failures)
    ):
        return True
    origin_latency, excess_latency = _excess(point, "p95", origin), _excess(point, "p95", service)
    baseline = point.level("p95", service)
    if not (origin_latency > 0 and (math.isnan(baseline) or origin_latency >= RELEVANT_SHARE * baseline)):
        # The origin is not anomalous yet, or it fails and the caller has a fallback.
        return origin_failures <= VISIBLE_FAILED_RATIO
    return excess_latency >= CALLEE_SHARE * origin_latency or excess_failures > VISIBLE_FAILED_RATIO


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


def is_relevant(point: EvaluationPoint, service: Service) -> bool:
    """Whether extra latency is relevant to the callers, or the service fails; always true of an ingress service."""
    callers = {edge.client for edge in point.calls_to(service) if edge.connection != "virtual_node"}
    if not callers or _excess(point, "failed", service) > VISIBLE_FAILED_RATIO:
        return True
    excess_latency = _excess(point, "p95", service)
    baselines = [level for caller in callers if math.isfinite(level := point.level("p95", caller))]
    return not baselines or excess_latency >= RELEVANT_SHARE * min(baselines)


def _excess(point: EvaluationPoint, name: str, service: Service | Edge) -> float:
    """How far a signal is above its baseline, in its unit; 0 if unknown."""
    value, level = point.denoised(name, service), point.level(name, service)
    if not math.isfinite(value):
        return 0.0
    return max(0.0, value - (level if math.isfinite(level) else 0.0))


def _origin(
    point: EvaluationPoint,
    members: Set[Service],
    risks: Mapping[Service, ServiceRisk],
    findings: Mapping[Service, Sequence[Finding]],
) -> Service:
    """The member that no other explains: it calls no other member, explains its callers, and is the most anomalous."""

    def rank(service: Service) -> tuple[float, bool, float, Service]:
        below = len(members & {edge.server for edge in point.calls_from(service)})
        strongest = max((each.strength for each in findings.get(service, ())), default=0.0)
        likelihood = max(strongest, risks[service].chance if service in risks else 0.0)
        overloaded = service in risks and risks[service].overloaded
        return (below, not (overloaded or explains_callers(point, service, risks)), -likelihood, service)

    return min(members, key=rank)


def explains_callers(point: EvaluationPoint, service: Service, risks: Mapping[Service, ServiceRisk]) -> bool:
    """Whether a service shows `ORIGIN_SHARE` of the extra latency or failures of a caller that breaches its SLO.

    Always true if no caller breaches it. A service without signals of its risks is judged by its client edges.
    """
    edges = point.calls_to(service)
    excess_latency, excess_failures = (
        max([_excess(point, name, service), *(_excess(point, edge_name, edge) for edge in edges)])
        for name, edge_name in (("p95", "edge_p95"), ("failed", "edge_failed"))
    )
    breaching = [caller for caller in point.upstream[service] if caller in risks and risks[caller].breached]
    caller_excess = [(_excess(point, "p95", caller), _excess(point, "failed", caller)) for caller in breaching]
    return not caller_excess or any(
        (latency > 0 and ORIGIN_SHARE * latency <= excess_latency)
        or (failures > 0 and ORIGIN_SHARE * failures <= excess_failures)
        for latency, failures in caller_excess
    )


def _cause(origin: Service, members: Set[Service], findings: Mapping[Service, Sequence[Finding]]) -> Finding | None:
    """The best finding about the origin, else about any other member."""
    return best_finding(
        list(findings.get(origin, ())) or [each for service in members for each in findings.get(service, ())]
    )


def best_finding(findings: Sequence[Finding]) -> Finding | None:
    """The finding that explains most; None without any.

    A fault of the service itself ranks last, and load that recurs every week before it. Provisioning lag replaces load:
    the replicas for it are on their way.
    """
    if any(each.cause == "provisioning lag" for each in findings):
        findings = [each for each in findings if each.cause != "demand"]

    def rank(each: Finding) -> tuple[bool, bool, bool, float, float]:
        return not each.by_itself, not each.expected, each.urgent, each.strength, -each.since

    return max(findings, key=rank, default=None)


def _of_origin(cause: Finding, origin: Service) -> bool:
    return cause.by_itself and cause.service == origin


def _likeliest(origin: Service, all_findings: Mapping[Service, Sequence[Finding]]) -> Finding | None:
    """The strongest finding about the origin that is not firm."""
    return max(all_findings.get(origin, ()), key=lambda each: (each.strength, -each.since), default=None)
