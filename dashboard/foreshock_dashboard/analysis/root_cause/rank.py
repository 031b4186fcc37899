"""Ranking of suspected causes at one evaluation of the live analysis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.absorbing_walk import Node, absorption

MIN_CANDIDATE_SHARE = 0.01
"""Share of all suspicion below which a candidate is not reported."""


def rank_causes(walk: GraphWalk, affected: Sequence[Service]) -> tuple[Candidate, ...]:
    """Suspected causes at one evaluation, the most likely first; empty where all affected services are healthy.

    Scores are shares of all suspicion.
    """
    starts: list[Node] = [(service, "slow") for service in dict.fromkeys(affected) if walk.is_anomalous(service)]
    absorbed = absorption(walk.transitions, walk.reason, starts)
    shares = {service: sum(reasons.values()) for service, reasons in absorbed.items()}
    total = sum(shares.values())
    return sorted_candidates(
        Candidate(service, share / total, (max(absorbed[service], key=absorbed[service].__getitem__),))
        for service, share in shares.items()
        if share >= MIN_CANDIDATE_SHARE * total
    )


def rank_causes_over_time(walks: Sequence[GraphWalk], affected: Service) -> tuple[Candidate, ...]:
    """Suspected causes over several evaluations; empty where most of them have none."""
    reporting = [walk for walk in walks if walk.reports_signals(affected)]
    rankings = [ranking for walk in reporting if (ranking := rank_causes(walk, (affected,)))]
    lasting = 2 * len(rankings) > len(reporting) and len(rankings) >= min(2, len(walks))
    return mean_ranking(rankings, [1.0] * len(rankings)) if lasting else ()


def mean_ranking(rankings: Sequence[Sequence[Candidate]], weights: Sequence[float]) -> tuple[Candidate, ...]:
    """Candidates by the weighted sum of their scores, with the reasons of all rankings. Scores sum to 1."""
    scores = defaultdict[Service, float](float)
    reasons = defaultdict[Service, dict[Reason, None]](dict)
    for ranking, weight in zip(rankings, weights, strict=True):
        for candidate in ranking:
            scores[candidate.service] += weight * candidate.score
            for reason in candidate.reasons:
                if (reason.kind, reason.name) not in {(known.kind, known.name) for known in reasons[candidate.service]}:
                    reasons[candidate.service][reason] = None
    total = sum(scores.values())
    return sorted_candidates(
        Candidate(service, score / total, tuple(reasons[service])) for service, score in scores.items()
    )


def sorted_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Candidates by score, the most likely first."""
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.score, candidate.service)))
