"""Ranking of root causes: where the excess is that no callee explains, and what explains it there."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow, window_of_incident
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank_signals import MIN_CANDIDATE_SHARE, Ranking, SignalRanker
from foreshock_dashboard.analysis.root_cause.service_evidence import computed_once
from foreshock_dashboard.analysis.root_cause.world_rows import world_rows
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service


class Group(NamedTuple):
    """What connected incidents have in common: when they opened (Unix seconds), and the services around them."""

    opened: float
    services: frozenset[Service]


class CauseRanker:
    """Ranks the causes of all incidents at one evaluation; those of connected services share what they need."""

    def __init__(self, walk: GraphWalk) -> None:
        self._walk = walk
        self._rankers: dict[Group, SignalRanker] = {}
        self._rankings: dict[tuple[Group, Service], Ranking] = {}

    def candidates(self, affected: Sequence[Service], opened: float) -> tuple[Candidate, ...]:
        """Suspected causes, the most likely first; empty where all affected services are healthy.

        Scores are shares of all suspicion. opened: Unix seconds at which the incident was first seen; what the World
        holds from before is the baseline, and without one no cause is suspected.
        """
        group, window = self.group(affected, opened)
        if window is None:
            return ()
        if group not in self._rankers:
            self._rankers[group] = SignalRanker(
                world_rows(self._walk.point.world, self._walk.point.column, window, group.services), window
            )
        rankings = [self._ranking(group, service) for service in dict.fromkeys(affected)]
        ranked = mean_ranking([ranking.candidates for ranking in rankings if ranking.passed])
        first = float(window.times[window.first])
        if first < opened:
            return ranked
        return tuple(item._replace(reasons=tuple(_dated(reason, first) for reason in item.reasons)) for item in ranked)

    def group(self, affected: Sequence[Service], opened: float) -> tuple[Group, AnalysisWindow | None]:
        """What is compared for an incident: services, and grid points unless there is no baseline. As `candidates`."""
        point = self._walk.point
        window = window_of_incident(float(point.world.times[0]), point.time, opened, point.world.step)
        return Group(opened, self._connected(tuple(affected))), window

    @computed_once
    def _connected(self, affected: tuple[Service, ...]) -> frozenset[Service]:
        """The affected services, their callers, and all direct and indirect callees of these."""
        reached = {caller for service in affected for caller in (service, *self._walk.point.upstream[service])}
        frontier = reached
        while frontier:
            frontier = set[Service]().union(*map(self._callees, frontier)) - reached
            reached |= frontier
        return frozenset(reached)

    @computed_once
    def _callees(self, service: Service) -> frozenset[Service]:
        return frozenset(edge.server for edge in self._walk.point.calls_from(service))

    def _ranking(self, group: Group, service: Service) -> Ranking:
        if (group, service) not in self._rankings:
            ranking = self._rankers[group].ranking(service)
            self._rankings[group, service] = explained_further((self._walk,), ranking) if ranking.passed else ranking
        return self._rankings[group, service]


def _dated(reason: Reason, first: float) -> Reason:
    """The reason, without a time that is only the start of a window that begins within the incident."""
    return reason._replace(since=math.nan) if reason.since == first else reason


def explained_further(walks: Sequence[GraphWalk], ranking: Ranking) -> Ranking:
    """The ranking with suspicion moved on to what explains the excess of a service beyond its callees.

    Contention for GPUs, batching, and load follow laws of their own, which the signals of services do not show. walks:
    one per evaluation; they count alike.
    """
    if not walks:
        return ranking
    shares = defaultdict[Service, float](float)
    reasons = defaultdict[Service, dict[Reason, float]](lambda: defaultdict(float))
    for candidate in ranking.candidates:
        for walk in walks:
            for service, absorbed in walk.absorbed(candidate.service).items():
                for reason, mass in absorbed.items():
                    shares[service] += candidate.score * mass / len(walks)
                    reasons[service][reason] += mass
    known = {candidate.service: candidate for candidate in ranking.candidates}
    level = ranking.candidates[0].confidence if ranking.candidates else "low"
    moved = []
    for service, share in shares.items():
        if share >= MIN_CANDIDATE_SHARE:
            why = max(reasons[service], key=reasons[service].__getitem__)
            own = known[service].reasons if service in known else ()
            is_repeated = bool(own) and why.kind in ("slower", "failures_grew", "calls_failed", "no_anomaly")
            moved.append(Candidate(service, share, own if is_repeated else (why, *own), level))
    return ranking._replace(candidates=sorted_candidates(moved))


def mean_ranking(rankings: Sequence[Sequence[Candidate]]) -> tuple[Candidate, ...]:
    """Candidates by the sum of their scores, with the reasons of all rankings. Scores sum to 1."""
    scores = defaultdict[Service, float](float)
    first: dict[Service, Candidate] = {}
    for ranking in rankings:
        for candidate in ranking:
            scores[candidate.service] += candidate.score
            known = first.setdefault(candidate.service, candidate)
            named = {(reason.kind, reason.name) for reason in known.reasons}
            added = tuple(reason for reason in candidate.reasons if (reason.kind, reason.name) not in named)
            first[candidate.service] = known._replace(reasons=(*known.reasons, *added))
    total = sum(scores.values())
    return sorted_candidates(first[service]._replace(score=score / total) for service, score in scores.items())


def sorted_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Candidates by score, the most likely first."""
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.score, candidate.service)))
