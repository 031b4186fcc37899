"""The incident lifecycle: a pure fold over the World, one step per evaluation, so that a replay equals the live run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import is_window_full
from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS, EvaluationPoint, smoothing_points
from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.detectors.retry_risk import retry_risks
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk, service_risks
from foreshock_dashboard.analysis.incidents.actions import with_actions
from foreshock_dashboard.analysis.incidents.content import (
    latent_risk_warning,
    opened_incident,
    recovering_incident,
    updated_incident,
    with_forecast,
)
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation, RankingRequest, ranked_incidents
from foreshock_dashboard.analysis.incidents.learned import Learned, relearned
from foreshock_dashboard.analysis.incidents.paging import FINDING_STRENGTH
from foreshock_dashboard.analysis.incidents.summary import with_summary
from foreshock_dashboard.analysis.incidents.triage import (
    IncidentCandidate,
    best_finding,
    every_cluster,
    incident_candidates,
)
from foreshock_dashboard.analysis.saturation.batching_model import utilizations
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.model.incident import Incident, LaterCause, Learning
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.duration import Duration

MIN_LEARNING_SECONDS = 1800.0
"""Seconds with data within `LEARNING_LOOKBACK_SECONDS` before incidents open."""
OPEN_FOR = Duration(10.0, 1)
"""Consecutive evaluations with a candidate before an incident opens as an early warning, where values are medians of
three points; else `FOR`. At one alone, two of the three points show it, or the requests of a whole rate window."""
FOR = Duration(30.0, 2)
"""Consecutive evaluations with a candidate that is worth a page before it pages."""
URGENT_FOR = Duration(20.0, 2)
"""The same for an urgent candidate."""
SWITCH = Duration(60.0, 2)
"""Consecutive evaluations that disagree with an open incident before its service, cause, or suspected cause changes."""
PAGED_SWITCH = Duration(300.0, 3)
"""The same after the page: what a person acts on is stable for minutes."""
LATER_SWITCH = Duration(600.0, 3)
"""The same after a page with medium or high confidence, for a cause that does not explain it, from when no finding
supports the first one: the backlog of that is gone by then (350 s where a batch job is paused in `noisy-neighbor`)."""
PROVED_STRENGTH, POSSIBLE_STRENGTH = 0.9, 0.25
"""`SWITCH` applies also after the page if the new cause is as sure as the first, and the old one less than the
second."""
RESOLVE_AFTER_SECONDS = 300.0
"""Seconds of observed recovery after which an incident is resolved."""
NO_DATA_SECONDS = 3600.0
"""Seconds without data after which an incident is resolved."""
LEARNING_LOOKBACK_SECONDS = 3600.0
"""Seconds back in which data count as learned: twice `MIN_LEARNING_SECONDS`, so that a gap stops nothing."""
KEEP_RESOLVED_SECONDS = 3600.0
"""Seconds that a resolved incident stays in the list."""


@dataclass(frozen=True, slots=True)
class TrackedIncident:
    """A group of connected services, pending until its incident opens.

    members: all services that ever belonged to it. firing_points, paging_points: consecutive evaluations with a
    candidate, and with one that is worth a page. disagreeing_points: those with another service, cause, or suspected
    cause than the incident's and than the later cause beside it. merged_points: those in which all of its candidates
    belonged to another group. recovered_seconds: seconds of observed recovery. last_data: Unix seconds. incident: as of
    the last candidate; None while pending. recovering: the incident as reported while it recovers.
    """

    members: frozenset[Service]
    firing_points: int
    paging_points: int
    recovered_seconds: float
    last_data: float
    disagreeing_points: int = 0
    merged_points: int = 0
    incident: Incident | None = None
    recovering: Incident | None = None


class LatentRiskWarning(NamedTuple):
    """An early warning of a latent risk, and when that was last observed (Unix seconds)."""

    incident: Incident
    last_observed: float


@dataclass(frozen=True, slots=True)
class State:
    """All that one evaluation passes to the next.

    latent: retry loops that would turn a short outage into a lasting one, by service. service_risks: the risk of each
    service by itself.
    cache: derived values; it changes no result.
    """

    time: float = -math.inf
    learned: Learned = field(default_factory=Learned)
    tracked: tuple[TrackedIncident, ...] = ()
    latent: Mapping[Service, Finding] = field(default_factory=dict)
    latent_risk_warnings: tuple[LatentRiskWarning, ...] = ()
    resolved: tuple[Incident, ...] = ()
    service_risks: Mapping[Service, ServiceRisk] = field(default_factory=dict)
    cache: IdentityCache = field(default_factory=IdentityCache, repr=False, compare=False)

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Open incidents, then early warnings of latent risks, then resolved incidents, newest first."""
        opened = [group.recovering or group.incident for group in self.tracked if group.incident]
        services = {incident.service for incident in opened}
        latent = [item.incident for item in self.latent_risk_warnings if item.incident.service not in services]
        return (*opened, *latent, *self.resolved)


def learning(world: World) -> Learning:
    """The history that the analysis has and needs at the World's time."""
    return Learning(_history(world, len(world.times) - 1), MIN_LEARNING_SECONDS)


def _history(world: World, at: int) -> float:
    """Seconds within `LEARNING_LOOKBACK_SECONDS` before grid point `at` with the latency of any service."""
    columns = world.red.p95[:, max(0, at - world.points(LEARNING_LOOKBACK_SECONDS)) : at]
    return float((~np.isnan(columns)).any(axis=0).sum()) * world.step


def states(
    state: State,
    world: World,
    configured: Mapping[Service, Slo] | None = None,
    is_own: Callable[[str], bool] = every_cluster,
) -> Iterator[State]:
    """The states after each grid point of the World that is later than `state`. configured, is_own: as of `advance`."""
    for at in np.flatnonzero(world.times > state.time):
        state = advance(state, world, int(at), configured, is_own)
        yield state


def advance(
    state: State,
    world: World,
    at: int,
    configured: Mapping[Service, Slo] | None = None,
    is_own: Callable[[str], bool] = every_cluster,
) -> State:
    """One evaluation: open, update, or resolve incidents by what the World shows at grid point `at`.

    configured: SLOs by service. is_own: whether incidents of services in a cluster are of this hub; only calls show it
    those in other clusters.
    """
    time = float(world.times[at])
    if not state.tracked and _history(world, at) < MIN_LEARNING_SECONDS:
        return replace(state, time=time)
    frozen = frozenset(service for group in state.tracked for service in group.members)
    cache = state.cache.next_step()
    learned = relearned(state.learned, world, at, frozen, cache)
    point = EvaluationPoint(world, at, learned.baselines, cache, utilizations(world, at, learned.laws))
    risks = service_risks(point, {**slos(point, configured or {}), **_kept_slos(state.tracked, configured or {})})
    evaluation = Evaluation(point, risks, findings(point))
    latent = state.latent if learned is state.learned else _latent_risks(point, risks)
    candidates = incident_candidates(point, risks, evaluation.findings, latent, is_own)
    tracked, ended = _advanced(state.tracked, candidates, evaluation)
    warnings, expired = _latent_risk_warnings(state.latent_risk_warnings, latent, evaluation)
    resolved = [_resolved(incident, time) for incident in (*ended, *expired)]
    resolved += [incident for incident in state.resolved if time - (incident.resolved or time) <= KEEP_RESOLVED_SECONDS]
    return State(time, learned, tracked, latent, warnings, tuple(resolved), risks, cache)


def _kept_slos(tracked: Sequence[TrackedIncident], configured: Mapping[Service, Slo]) -> Mapping[Service, Slo]:
    """The learned SLOs of services in open incidents, of the oldest one first, unless an SLO is configured now."""
    kept: dict[Service, Slo] = {}
    for incident in sorted((group.incident for group in tracked if group.incident), key=lambda item: item.opened):
        for slo in incident.slos:
            if slo.learned and not {slo.service, slo.service.local} & configured.keys():
                kept.setdefault(slo.service, Slo(*slo[1:]))
    return kept


def _resolved(incident: Incident, time: float) -> Incident:
    """The incident as of its last candidate, resolved at `time`."""
    return replace(incident, state="resolved", resolved=time, stage=None)


def _latent_risks(point: EvaluationPoint, risks: Mapping[Service, ServiceRisk]) -> Mapping[Service, Finding]:
    """Retry loops that would turn a short outage into a lasting one, by service."""
    loads = {service: risk.utilization.load for service, risk in risks.items() if risk.utilization}
    found = retry_risks(point, loads)
    return {finding.service: finding for finding in found if finding.strength >= FINDING_STRENGTH}


def _latent_risk_warnings(
    previous: Sequence[LatentRiskWarning], latent: Mapping[Service, Finding], evaluation: Evaluation
) -> tuple[tuple[LatentRiskWarning, ...], list[Incident]]:
    """Early warnings of latent risks of healthy services, in the order of services, and those that expired."""
    point, risks = evaluation.point, evaluation.service_risks
    expired = [item for item in previous if point.time - item.last_observed > RESOLVE_AFTER_SECONDS]
    warnings = {item.incident.service: item for item in previous if item not in expired}
    for service, finding in latent.items():
        if service in risks and not (risks[service].breached or risks[service].overloaded):
            known = warnings[service].incident if service in warnings else None
            warnings[service] = LatentRiskWarning(latent_risk_warning(known, finding, evaluation), point.time)
    return tuple(warnings[service] for service in sorted(warnings)), [item.incident for item in expired]


def _advanced(
    tracked: Sequence[TrackedIncident], candidates: Sequence[IncidentCandidate], evaluation: Evaluation
) -> tuple[tuple[TrackedIncident, ...], list[Incident]]:
    """The tracked groups after an evaluation, and the incidents that it ended.

    Candidates in one component have one incident: that which paged, else the oldest. The others end. One that has
    recovered for a while takes what belongs to no other.
    """
    point = evaluation.point
    groups: list[TrackedIncident | _Firing] = []
    ended: list[Incident] = []
    left = list(candidates)
    step = point.world.step
    for group in sorted(tracked, key=lambda group: (_has_recovered(group, step), *_seniority(group))):
        own = [candidate for candidate in left if _belongs(candidate, group, step)]
        left = [candidate for candidate in left if candidate not in own]
        if own:
            after: TrackedIncident | _Firing | None = _firing(group, own, point)
        elif not _has_recovered(group, step) and any(_belongs(candidate, group, step) for candidate in candidates):
            after = _merged(group, point)
        else:
            after = _without_candidate(group, evaluation)
        if after is not None:
            groups.append(after)
        elif group.incident is not None:
            last = group.recovering or group.incident
            ended.append(replace(group.incident, recovering_since=last.recovering_since, quality=last.quality))
    groups += [
        _firing(TrackedIncident(frozenset(candidate.members), 0, 0, 0.0, point.time), [candidate], point)
        for candidate in left
    ]
    ranked = ranked_incidents((group.ranking for group in groups if isinstance(group, _Firing)), evaluation)
    return tuple(
        _updated(group, evaluation, ranked) if isinstance(group, _Firing) else group for group in groups
    ), ended


def _belongs(candidate: IncidentCandidate, group: TrackedIncident, step: float) -> bool:
    """Whether a candidate is of the incident of a group: they have a service in common.

    Once the symptoms have been gone for a while, trouble of another origin and suspected cause is a new incident.
    """
    incident, cause = group.incident, candidate.cause
    if incident is None or not _has_recovered(group, step):
        return not group.members.isdisjoint(candidate.members)
    known = {incident.service, incident.suspect.service} - {None}
    return not known.isdisjoint({candidate.origin, cause.suspect.service if cause else None})


def _has_recovered(group: TrackedIncident, step: float) -> bool:
    """Whether the symptoms of an incident have been gone for `SWITCH`."""
    return group.incident is not None and group.recovered_seconds >= SWITCH.at(step)


def _seniority(group: TrackedIncident) -> tuple[bool, bool, float]:
    """Sort key: paged incidents first, then open ones, the oldest first."""
    incident = group.incident
    return incident is None, incident is None or incident.paged is None, incident.opened if incident else 0.0


def _merged(group: TrackedIncident, point: EvaluationPoint) -> TrackedIncident | None:
    """A group with candidates that all belong to another one; None after `FOR`."""
    if group.incident is None or group.merged_points + 1 >= FOR.points_at(point.world.step):
        return None
    return replace(
        group, merged_points=group.merged_points + 1, recovered_seconds=0.0, last_data=point.time, recovering=None
    )


class _Firing(NamedTuple):
    """An open incident, and whether it is worth a page, with the candidate that it reports in an evaluation.

    group: with the incident before the evaluation; None if it opens.
    """

    group: TrackedIncident
    incident: Incident
    candidate: IncidentCandidate
    page: bool

    @property
    def ranking(self) -> RankingRequest:
        """The ranking of its suspected causes."""
        return RankingRequest(self.incident, self.candidate.ranked_from, self.page and self.incident.paged is None)


def _firing(
    group: TrackedIncident, own: Sequence[IncidentCandidate], point: EvaluationPoint
) -> TrackedIncident | _Firing:
    """A group in an evaluation with its own candidates, the worst first: pending, or with an open incident.

    After its page an incident reports the candidate of its service, if there is one, else the worst. Nothing opens or
    pages until the rate window is full again after a gap in the samples: a few requests are not what was missing.
    """
    before, candidate, counted = group.incident, own[0], is_window_full(point)
    if before is not None and before.paged is not None:
        candidate = next((other for other in own if other.origin == before.service), candidate)
    firing = replace(
        group,
        members=group.members.union(*(other.members for other in own)),
        firing_points=group.firing_points + 1 if counted else 0,
        paging_points=group.paging_points + 1 if counted and any(other.page for other in own) else 0,
        recovered_seconds=0.0,
        last_data=point.time,
        merged_points=0,
        recovering=None,
    )
    for_points = (URGENT_FOR if candidate.urgent else FOR).points_at(point.world.step)
    open_for = OPEN_FOR if smoothing_points(point.world) == SMOOTHING_POINTS else FOR
    if before is None and firing.firing_points < open_for.points_at(point.world.step):
        return firing
    return _Firing(firing, before or opened_incident(candidate, point), candidate, firing.paging_points >= for_points)


def _updated(firing: _Firing, evaluation: Evaluation, ranked: Set[str]) -> TrackedIncident:
    """The group of an open incident after an evaluation. ranked: IDs of incidents whose causes it ranks."""
    group, incident = firing.group, firing.incident
    is_ranked = incident.id in ranked
    after = updated_incident(incident, firing.candidate, evaluation, page=firing.page, is_ranked=is_ranked)
    if group.incident is None:
        return replace(group, incident=after)
    return reported_group(group, group.incident, after, evaluation)


def _without_candidate(group: TrackedIncident, evaluation: Evaluation) -> TrackedIncident | None:
    """A group without a candidate now: missing data neither confirms nor resolves its incident."""
    point = evaluation.point
    if not any(math.isfinite(point.value("p95", service)) for service in group.members):
        inferred = group.incident and replace(group.incident, quality="inferred")
        in_time = point.time - group.last_data < NO_DATA_SECONDS
        return replace(group, incident=inferred, recovering=None) if in_time else None
    recovered_seconds = group.recovered_seconds + point.world.step
    if group.incident is None or recovered_seconds >= RESOLVE_AFTER_SECONDS:
        return None
    return replace(
        group,
        recovered_seconds=recovered_seconds,
        last_data=point.time,
        paging_points=0,
        merged_points=0,
        recovering=recovering_incident(group.incident, point.time - recovered_seconds + point.world.step, evaluation),
    )


def reported_group(
    group: TrackedIncident, before: Incident, after: Incident, evaluation: Evaluation
) -> TrackedIncident:
    """A group with an open incident: as evaluated now, or as before until enough evaluations disagree with it.

    A cause that is not known to have begun by the page does not explain what was paged. One that began later and has
    at least medium confidence is reported beside it, with its actions, until others disagree with that as long, or the
    reported cause is found again.
    """
    after = replace(after, later=None)
    if _identity(after) == _identity(before) or (after.paged is not None and before.paged is None):
        return replace(group, incident=after, disagreeing_points=0)
    support = _support(before, evaluation.findings)
    began = cause_onset(after, group.members, evaluation.findings)
    is_unexplained = before.paged is not None and before.confidence_level != "low" and not began <= before.paged
    disproved = after.confidence >= PROVED_STRENGTH and support is None
    switch = LATER_SWITCH if is_unexplained else PAGED_SWITCH if before.paged is not None and not disproved else SWITCH
    is_known = is_unexplained and (support is not None or _is_later(after, before.later))
    disagreeing_points = 0 if is_known else group.disagreeing_points + 1
    switches = disagreeing_points >= switch.points_at(evaluation.point.world.step)
    if switches and not (is_unexplained and math.isfinite(began)):
        return replace(group, incident=after, disagreeing_points=0)
    reported = replace(before, severity=after.severity, cascading=after.cascading, ranked_at=after.ranked_at)
    if switches and after.is_cause_stated:
        later = LaterCause(after.service, after.cause, after.suspect, began)
        reported = with_actions(replace(reported, later=later), after.actions, evaluation)
        disagreeing_points = 0
    elif before.later is not None and support is not None:
        reported = with_actions(replace(reported, later=None), support.actions, evaluation)
    elif after.is_cause_stated and _is_later(after, before.later):
        reported = with_actions(reported, after.actions, evaluation)
    if after.service == before.service:
        reported = with_actions(replace(reported, at_risk=after.at_risk), reported.actions, evaluation)
        reported = with_summary(reported, evaluation)
    else:
        reported = with_forecast(reported, evaluation)
    return replace(group, incident=reported, disagreeing_points=disagreeing_points)


def cause_onset(incident: Incident, members: Set[Service], findings: Sequence[Finding]) -> float:
    """Unix seconds at which the cause of an incident began, by the findings about its members; NaN if unknown."""
    if incident.suspect.change is not None:
        return incident.suspect.change.at
    cause, suspect = incident.cause, incident.suspect.service
    found = [
        item for item in findings if item.service in members and (item.cause, item.suspect.service) == (cause, suspect)
    ]
    return min((item.since for item in found if math.isfinite(item.since)), default=math.nan)


def _support(incident: Incident, findings: Sequence[Finding]) -> Finding | None:
    """The strongest finding that still supports the cause and suspected cause of an incident."""
    found = [item for item in findings if (item.service, item.cause, item.suspect.service) == _identity(incident)]
    return best_finding([item for item in found if item.strength >= POSSIBLE_STRENGTH])


def _is_later(incident: Incident, later: LaterCause | None) -> bool:
    """Whether an incident has the cause that is reported beside what was paged."""
    return later is not None and _identity(incident) == (later.service, later.cause, later.suspect.service)


def _identity(incident: Incident) -> tuple[object, ...]:
    """What a person acts on: service, cause, and suspected cause."""
    return (incident.service, incident.cause, incident.suspect.service)
