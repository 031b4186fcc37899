"""The candidates of an incident's root cause, with the figures that its evidence has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.model.action import Reason, ReasonKind
from foreshock_dashboard.model.incident import Candidate, Evidence
from foreshock_dashboard.model.service import Service

MIN_REQUEST_GROWTH = 1.1
"""Request rate over its baseline below which other load than requests grew: tokens."""
REASON_SIGNALS: Mapping[str, str] = {
    "cache_ratio": "cache",
    "error_ratio": "error_rate",
    "p95_seconds": "p95",
    "per_token_seconds": "per_token",
    "preempted": "preempted",
}
"""Signals that evidence has as well, by the name of the metric in a reason of the ranking."""
FIGURES: Mapping[ReasonKind, Callable[[float, float], float]] = {
    "failures_grew": lambda value, baseline: value - baseline,
    "metric": lambda value, _: value,
    "slower": lambda value, baseline: value / baseline if baseline > 0 else math.nan,
}
"""The value of a reason, from that of a signal and its baseline, by kind."""


def with_suspect_first(
    suspected: Service | None, finding: Finding | None, breach_score: float, ranking: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """The ranked candidates, with the service that the finding suspects first."""
    if suspected is None:
        return tuple(ranking)
    rest = [candidate for candidate in ranking if candidate.service != suspected]
    own = next((candidate for candidate in ranking if candidate.service == suspected), None)
    scores = [candidate.score for candidate in rest]
    score = max([own.score if own else 0.0, breach_score, *scores])
    cause = (Reason("cause", name=finding.cause),) if finding else ()
    first = Candidate(suspected, score, own.reasons if own else cause)
    total = (score + sum(scores)) or 1.0
    return tuple(candidate._replace(score=candidate.score / total) for candidate in (first, *rest))


def as_in_evidence(candidate: Candidate, evidence: Sequence[Evidence], start: float) -> Candidate:
    """The candidate with the figures of its reasons as the evidence has them: a ranking is older.

    A reason that is older than the start of the incident (Unix seconds) is left without its time.
    """
    shown = {(item.name, item.entity): item for item in evidence}
    reasons = []
    for reason in candidate.reasons:
        signal = SIGNAL_BY_NAME.get(REASON_SIGNALS.get(reason.name, ""))
        item = shown.get((signal.text, str(candidate.service))) if signal else None
        if item is not None and reason.kind in FIGURES and reason.service == candidate.service:
            value = FIGURES[reason.kind](item.value, item.baseline)
            reason = reason._replace(value=value, baseline=item.baseline, since=item.since)
        reasons.append(reason._replace(since=math.nan) if reason.since < start else reason)
    return candidate._replace(reasons=tuple(reasons))


def with_present_growth(candidate: Candidate, point: EvaluationPoint) -> Candidate:
    """The candidate with the present growth of its request rate, as the evidence has it: a ranking is older."""
    growth = point.ratio("rate", candidate.service)
    if not growth >= MIN_REQUEST_GROWTH:
        return candidate
    reasons = (
        reason._replace(value=growth) if reason.kind == "requests_grew" else reason for reason in candidate.reasons
    )
    return candidate._replace(reasons=tuple(reasons))
