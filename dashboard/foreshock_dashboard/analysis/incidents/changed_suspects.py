"""Changes of suspects: one shortly before its first sign raises a service's rank. It is evidence, not proof."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from foreshock_dashboard.analysis.incidents.change_cause import (
    CHANGE_LOOKBACK_SECONDS,
    CHANGING_KINDS,
    recent_changes,
)
from foreshock_dashboard.analysis.root_cause.rank import sorted_candidates
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service

CHANGE_ODDS = 0.5
"""What a change just before the first sign adds to the score of its service, in multiples of it; less the earlier it
was. Most outages follow a change (Beyer et al., Site Reliability Engineering, chapter 1: about 70%), but most changes
cause none: it decides between services of similar scores."""


def with_changes(
    candidates: Sequence[Candidate], changes: Sequence[Change], known: Set[Service], start: float, end: float
) -> tuple[Candidate, ...]:
    """The candidates by scores that regard their changes, with these as reasons. Scores sum to 1.

    Args:
        candidates: by the signals alone.
        changes: by time.
        known: all services; those of changes may have another namespace.
        start, end: of the analyzed time in Unix seconds.
    """
    weighed = []
    for candidate in candidates:
        signs = [reason.since for reason in candidate.reasons if math.isfinite(reason.since)]
        onset = min(signs, default=start)
        own = (item for item in recent_changes(changes, onset, end) if item.kind in CHANGING_KINDS)
        change = next((item for item in own if _changed(item, known) == candidate.service), None)
        if change is not None and candidate.reasons:  # a service without an anomaly was not harmed
            weight = 1 + CHANGE_ODDS * (1 - max(0.0, onset - change.at) / CHANGE_LOOKBACK_SECONDS)
            reason = Reason("changed", candidate.service, change.after, since=change.at)
            reasons = (*candidate.reasons[:1], reason, *candidate.reasons[1:])
            weighed.append(candidate._replace(score=candidate.score * weight, reasons=reasons))
        else:
            weighed.append(candidate)
    total = sum(candidate.score for candidate in weighed)
    return sorted_candidates(item._replace(score=item.score / total if total else 0.0) for item in weighed)


def _changed(change: Change, known: Set[Service]) -> Service | None:
    """The known service that changed: of that name and namespace, or the only one of that name."""
    if change.service is None or change.service in known:
        return change.service
    same = [service for service in known if service.name == change.service.name]
    return same[0] if len(same) == 1 else change.service
