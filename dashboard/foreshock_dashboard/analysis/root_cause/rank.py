"""Ranking of suspected causes at one evaluation of the live analysis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
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


def sorted_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Candidates by score, the most likely first."""
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.score, candidate.service)))
