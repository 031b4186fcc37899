"""Incident candidates of one evaluation: groups of connected affected services, and their origin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from foreshock_dashboard.analysis.baseline.operations import symptoms
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.exhaustion import ACCUMULATING_RESOURCES
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.caller_impact import AFFECTED_Z, explains, is_relevant, propagates
from foreshock_dashboard.analysis.incidents.paging import (
    EARLY_WARNING_SCORE,
    FINDING_STRENGTH,
    PAGE_SCORE,
    causes_outage,
    is_worth_a_page,
)
from foreshock_dashboard.model.service import Service

BRIEF_SECONDS = 120.0
"""Seconds up to which slowness may be a trigger that passes and leaves a retry loop behind."""
MAX_RANKED_CALLERS = 8
"""Affected callers that the ranking of suspected causes takes into account, nearest first."""


@dataclass(frozen=True, slots=True)
class IncidentCandidate:
    """A group of connected services that is, or becomes, one incident.

    origin: the service where it begins. members: anomalous services, the origin first. affected_callers: those of the
    origin, direct or not, nearest first. breaching: those of the origin and its callers that breach their SLO. cause:
    the finding that explains it best. page: it is worth a page; urgent: at once. origin_overloaded: the load of the
    origin exceeds its safe limit. causes_outage: the cause alone takes the origin down. score: of an SLO breach of
    the origin, as in `ServiceRisk`.
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
    score: float

    @property
    def ranked_from(self) -> tuple[Service, ...]:
        """The affected services from which suspected causes are ranked: the origin and its nearest callers."""
        return (self.origin, *self.affected_callers[:MAX_RANKED_CALLERS])


def every_cluster(_: str) -> bool:
    """Whether a hub without shards has a cluster."""
    return True


def incident_candidates(
    point: EvaluationPoint,
    risks: Mapping[Service, ServiceRisk],
    findings: Sequence[Finding],
    latent: Mapping[Service, Finding],
    is_own: Callable[[str], bool] = every_cluster,
) -> tuple[IncidentCandidate, ...]:
    """All incident candidates, the worst first. latent: latent retry loops by service. is_own: as of `advance`."""
    triage = _Triage(point, risks, findings, latent, is_own)
    found = (triage.candidate(members) for members in triage.components())
    candidates = [candidate for candidate in found if candidate]
    return tuple(sorted(candidates, key=lambda candidate: (not candidate.page, -candidate.score, candidate.origin)))


class _Triage:
    """Triage of the findings and risks of one evaluation."""

    def __init__(
        self,
        point: EvaluationPoint,
        risks: Mapping[Service, ServiceRisk],
        findings: Sequence[Finding],
        latent: Mapping[Service, Finding],
        is_own: Callable[[str], bool],
    ) -> None:
        self.point, self.risks, self.latent, self.is_own = point, risks, latent, is_own
        self.firm = [finding for finding in findings if finding.strength >= FINDING_STRENGTH]
        self.firm_by_service = _by_service(self.firm)
        self.findings_by_service = _by_service(findings)
        self.breaching = {service for service, risk in risks.items() if risk.breached}
        self._affected: dict[Service, bool] = {}

    def is_overloaded(self, service: Service) -> bool:
        return service in self.risks and self.risks[service].overloaded

    def score(self, service: Service) -> float:
        return self.risks[service].score if service in self.risks else 0.0

    def is_affected(self, service: Service) -> bool:
        """Whether a service is degraded for its callers."""
        if service not in self._affected:
            self._affected[service] = service in self.breaching or any(
                self.point.z(*shown) >= AFFECTED_Z
                for name in ("p95", "error_rate", "flight")
                for shown in symptoms(self.point, name, service)
            )
        return self._affected[service]

    def components(self) -> Sequence[Set[Service]]:
        """Connected components of the anomalous services, by calls between them and by shared suspected causes.

        A memory or volume that fills up is separate while no caller breaches its SLO: it slows none before it is full.
        """
        risky = {
            service
            for service, risk in self.risks.items()
            if risk.overloaded
            or (risk.score >= EARLY_WARNING_SCORE and (risk.relevant or is_relevant(self.point, service)))
        }
        filling = {
            service
            for service in risky - self.firm_by_service.keys()
            if self.risks[service].resource in ACCUMULATING_RESOURCES
            and not self.risks[service].overloaded
            and not self.is_affected(service)
            and self.breaching.isdisjoint(self.point.upstream[service])
        }
        pairs: list[tuple[Service, Service | None]] = [(edge.client, edge.server) for edge in self.point.world.edges]
        pairs += [(finding.service, finding.suspect.service) for finding in self.firm]
        first_service = {finding.suspect: finding.service for finding in reversed(self.firm)}
        pairs += [(finding.service, first_service[finding.suspect]) for finding in self.firm]
        unassigned = risky | self.firm_by_service.keys()
        connected = unassigned - filling
        linked = defaultdict[Service, set[Service]](set)
        for service, neighbor in pairs:
            if service in connected and neighbor in connected and neighbor is not None:
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

    def candidate(self, members: Set[Service]) -> IncidentCandidate | None:
        """The incident candidate of a component; None if it affects no service of this hub."""
        point, origin = self.point, self._origin(members)
        if origin is None:
            return None
        upstream_callers = point.upstream[origin]
        callers = tuple(
            caller for caller in upstream_callers if self.is_affected(caller) and propagates(point, origin, caller)
        )
        cause, overloaded = self._cause(origin, members), self.is_overloaded(origin)
        score, is_outage = self.score(origin), causes_outage(point, origin, callers, cause)
        if cause is not None and is_outage:
            score = max(score, cause.strength)
        urgent = is_outage or overloaded  # overload is averaged over minutes already
        return IncidentCandidate(
            origin=origin,
            members=(origin, *sorted(members - {origin})),
            affected_callers=callers,
            breaching=tuple(service for service in (origin, *upstream_callers) if service in self.breaching),
            cause=cause,
            page=urgent or is_worth_a_page(point, self.risks, origin, callers, cause),
            urgent=urgent,
            origin_overloaded=overloaded,
            causes_outage=is_outage,
            score=max(score, PAGE_SCORE) if overloaded else score,
        )

    def _origin(self, members: Set[Service]) -> Service | None:
        """The service of a component where it begins; of another shard, the nearest affected caller of this one.

        The hub of the other shard does not see whether these callers, and theirs, are affected, so it may not page.
        """
        origin = min(members, key=lambda service: self._origin_rank(service, members))
        if self.is_own(origin.cluster):
            return origin
        affected = {service for service in members if self.is_own(service.cluster) and self.is_affected(service)}
        return min(affected, key=lambda service: self._origin_rank(service, affected), default=None)

    def _origin_rank(self, service: Service, members: Set[Service]) -> tuple[float, bool, float, Service]:
        """Sort key: the origin calls the fewest members, explains its callers, and is the most anomalous member."""
        called_members = len(members & {edge.server for edge in self.point.calls_from(service)})
        strengths = [finding.strength for finding in self.firm_by_service.get(service, ())]
        likelihood = max([*strengths, self.score(service)])
        return (
            called_members,
            not (self.is_overloaded(service) or self._explains_callers(service)),
            -likelihood,
            service,
        )

    def _explains_callers(self, service: Service) -> bool:
        """Whether a service explains a caller that breaches its SLO. Always true if no caller breaches it."""
        breaching = [caller for caller in self.point.upstream[service] if caller in self.breaching]
        return not breaching or any(explains(self.point, service, caller) for caller in breaching)

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


def _by_service(findings: Iterable[Finding]) -> Mapping[Service, list[Finding]]:
    by_service: dict[Service, list[Finding]] = {}
    for finding in findings:
        by_service.setdefault(finding.service, []).append(finding)
    return by_service


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
