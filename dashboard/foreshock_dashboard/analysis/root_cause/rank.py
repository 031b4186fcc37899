"""Ranking of suspected causes: the entry point for the live analysis and for recordings from any source.

Two rankings stand behind it. `graph_walk` follows calls, shared GPUs, and load on the signals that the hub understands.
`anomaly_ranking` knows nothing but anomaly scores of arbitrary metrics and the call graph. It refines the first one,
and replaces it where the service reports neither latency nor errors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from foreshock_dashboard.analysis.root_cause.anomaly_ranking import GenericAnomalies, rank_by_anomaly, sorted_candidates
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.absorbing_walk import Node, absorption

MIN_CANDIDATE_SHARE = 0.01
"""Share of all suspicion below which a candidate is not reported."""
ANOMALY_WEIGHT = 0.25
"""Weight of the generic ranking beside the graph walk."""


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


def rank_causes_over_time(
    walks: Sequence[GraphWalk], affected: Service, anomalies: GenericAnomalies
) -> tuple[Candidate, ...]:
    """Suspected causes over several evaluations, blended with the ranking by generic anomalies.

    An anomaly that most evaluations do not show counts only if both rankings agree on the most likely cause. Generic
    anomalies decide alone where the service reports neither latency nor errors.
    """
    reporting = [walk for walk in walks if walk.reports_signals(affected)]
    rankings = [ranking for walk in reporting if (ranking := rank_causes(walk, (affected,)))]
    by_graph, by_anomaly = mean_ranking(rankings), rank_by_anomaly(affected, anomalies)
    lasting = 2 * len(rankings) > len(reporting) and len(rankings) >= min(2, len(walks))
    agree = bool(by_graph and by_anomaly) and by_graph[0].service == by_anomaly[0].service
    if lasting or agree:
        return blended(by_graph, by_anomaly)
    return () if reporting else by_anomaly


def mean_ranking(rankings: Sequence[Sequence[Candidate]]) -> tuple[Candidate, ...]:
    """Candidates by their mean scores, each with the reasons of the first ranking that has it. Scores sum to 1."""
    shares = defaultdict[Service, float](float)
    reasons: dict[Service, tuple[Reason, ...]] = {}
    for candidate in (candidate for ranking in rankings for candidate in ranking):
        shares[candidate.service] += candidate.score
        reasons.setdefault(candidate.service, candidate.reasons)
    total = sum(shares.values())
    return sorted_candidates(Candidate(service, share / total, reasons[service]) for service, share in shares.items())


def blended(by_graph: Sequence[Candidate], by_anomaly: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates of both rankings by the weighted sum of their scores, with the reasons of both. Scores sum to 1."""
    scores: dict[Service, float] = {}
    reasons: dict[Service, tuple[Reason, ...]] = {}
    for ranking, weight in ((by_graph, 1 - ANOMALY_WEIGHT), (by_anomaly, ANOMALY_WEIGHT)):
        for candidate in ranking:
            scores[candidate.service] = scores.get(candidate.service, 0.0) + weight * candidate.score
            reasons[candidate.service] = reasons.get(candidate.service, ()) + candidate.reasons
    total = sum(scores.values())
    return sorted_candidates(Candidate(service, scores[service] / total, reasons[service]) for service in scores)
