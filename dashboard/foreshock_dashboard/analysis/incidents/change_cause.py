"""Changes as causes: a service that is worse by itself, or loads others more per request, after its own change.

A change is evidence, not proof. It names why a service is at fault; whether the service is at fault is decided before,
by the findings and the ranking, and load, contention, and callees that explain the trouble remain the cause. Where
causes are ranked in any metrics, a change raises the rank of its service.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import slow_tokens
from foreshock_dashboard.analysis.root_cause.rank import sorted_candidates
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.change import Change, ChangeKind
from foreshock_dashboard.model.incident import Candidate, Cause, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.threshold import Threshold

CHANGE_LOOKBACK_SECONDS = 1800.0
"""Longest time from a change to the first sign of its effect."""
REPORT_DELAY_SECONDS = 90.0
"""How much later than its effect a change may be seen: a rate window, and the interval to the next evaluation."""
ROLLOUT_SECONDS = 120.0
"""Longest time between a change of a service and the first sign of what else explains the trouble, such as lost
replicas, for which the change is the nearer cause: a replica is replaced so soon (`hardware.REPLACEMENT_SECONDS`)."""
CHANGE_ODDS = 0.5
"""What a change just before the first sign adds to the score of its service, in multiples of it; less the earlier it
was. Most outages follow a change (Beyer et al., Site Reliability Engineering, chapter 1: about 70%), but most changes
cause none: it decides between services of similar scores."""
CHANGE_WEIGHT = 0.5
"""Share of the remaining doubt that a change just before the first sign removes; less the earlier it was."""
CALLS_PER_REQUEST = Threshold(1.3, 0.1)
"""Calls, or tokens, per request over their baseline from which a service loads others by itself."""
OWN_REQUESTS = Threshold(1.3, 0.1)
"""Requests over their baseline from which more load explains that a service is overloaded."""
CHANGING_KINDS: frozenset[ChangeKind] = frozenset({"deployment", "configuration", "other"})
"""Kinds of changes that can make a service worse."""


class ReportedCause(NamedTuple):
    """What an incident reports: its cause, the suspected cause, the confidence in it (0 to 1), and what to do."""

    cause: Cause
    suspect: SuspectedCause
    confidence: float
    actions: tuple[Action, ...]


def with_change(point: EvaluationPoint, origin: Service, since: float, reported: ReportedCause) -> ReportedCause:
    """The cause of an incident at `origin`, as the change of the service at fault if there was one before `since`."""
    changes = newest_changes(point, since)
    suspect = reported.suspect.service or origin

    def effect(caller: Service) -> float:
        return loads_more_per_request(point, caller, origin, suspect)

    callers = sorted((caller for caller in point.upstream[origin] if caller in changes), key=effect, reverse=True)
    for service in dict.fromkeys((suspect, origin, *callers)):
        change = changes.get(service)
        if change is not None and _is_at_fault(point, service, origin, reported, abs(since - change.at)):
            return _attributed(change, service, since, reported)
    return reported._replace(actions=_undoable(point, changes, reported.actions))


def _undoable(
    point: EvaluationPoint, changes: Mapping[Service, Change], actions: Sequence[Action]
) -> tuple[Action, ...]:
    """The actions, with a rollback only where there is a change to undo, and a check where no change would be known."""
    kept: list[Action] = []
    for action in actions:
        if action.kind == "roll_back" and action.service is not None:
            change = changes.get(action.service)
            if change is not None:
                action = action._replace(target=change.before, amount=_revision(change))
            elif action.service in point.world.change_tracked:
                continue
            else:
                action = action._replace(kind="inspect_deploys")
        kept.append(action)
    return tuple(kept)


def _revision(change: Change) -> float:
    """The revision of the Deployment before a change; NaN if unknown."""
    return float(change.revision) if change.revision.isdecimal() else math.nan


def newest_changes(point: EvaluationPoint, since: float) -> Mapping[Service, Change]:
    """The newest change of each service that may have led to what began at `since` (Unix seconds)."""
    newest: dict[Service, Change] = {}
    for change in recent_changes(point.world.changes, since, point.time):
        if change.service is not None and change.kind in CHANGING_KINDS:
            newest.setdefault(change.service, change)
    return newest


def recent_changes(changes: Sequence[Change], since: float, now: float) -> tuple[Change, ...]:
    """The changes known at `now` that may have led to what began at `since` (Unix seconds), newest first."""
    latest = min(now, since + REPORT_DELAY_SECONDS)
    return tuple(item for item in reversed(changes) if since - CHANGE_LOOKBACK_SECONDS <= item.at <= latest)


def _is_at_fault(
    point: EvaluationPoint, service: Service, origin: Service, reported: ReportedCause, lag: float
) -> bool:
    """Whether a service is at fault itself, and not those that call it or share its GPUs.

    lag: seconds between its change and the first sign.
    """
    suspect = reported.suspect
    if reported.cause == "dependency":
        return service == (suspect.service or origin)
    if reported.cause == "hardware":  # replicas that a rollout replaces
        return service == suspect.service and not suspect.gpus and lag <= ROLLOUT_SECONDS
    if reported.cause not in ("overload", "kv_cache_pressure", "retry_storm", "gpu_contention", "scale_up_lag"):
        return False
    if service != origin:
        edge = suspect.edge
        if reported.cause == "retry_storm" and edge is not None and edge[0] == service == suspect.service:
            return True  # it times out sooner than before (see `client_timeout`), and so repeats its calls
        return loads_more_per_request(point, service, origin, suspect.service) > CALLS_PER_REQUEST.midpoint
    if reported.cause == "gpu_contention":
        return lag <= ROLLOUT_SECONDS and _only_repeats_calls(point, suspect.service, service)
    is_slower = slow_tokens(point, service) > 0.5
    return reported.cause == "overload" and is_slower and not point.ratio("rate", service) > OWN_REQUESTS.midpoint


def _only_repeats_calls(point: EvaluationPoint, caller: Service | None, origin: Service) -> bool:
    """Whether a caller that shares no GPU with `origin` has no more requests: it repeats calls that take long."""
    if caller is None:
        return False
    gpus, others = ({point.world.tenants[row].gpu for row in point.tenant_rows.get(s, ())} for s in (caller, origin))
    return gpus.isdisjoint(others) and not point.ratio("rate", caller) > OWN_REQUESTS.midpoint


def loads_more_per_request(
    point: EvaluationPoint, service: Service, origin: Service, suspect: Service | None = None
) -> float:
    """Calls of a service towards `origin` per received request, over their baseline; 0 if unknown.

    Where the callee reports tokens, those per call count as well, and the KV cache that a request needs at `origin`.
    Both are known of all callers together, so they count only for the suspected one, and where there is no other.
    """
    upstream, growth = frozenset(point.upstream[origin]), 0.0
    own, has_length = point.ratio("rate", service), service == suspect or _is_only_path(point, service, upstream)
    for edge in point.calls_from(service) if own > 0 else ():
        if edge.server == origin or edge.server in upstream:
            tokens = point.ratio("prompt", edge.server) / point.ratio("rate", edge.server)
            lengths = (tokens, point.ratio("held", origin)) if has_length else ()
            size = max((1.0, *filter(math.isfinite, lengths)))
            growth = np.fmax(growth, point.ratio("edge_rate", edge) * size / own)
    return float(growth)


def _is_only_path(point: EvaluationPoint, service: Service, upstream: Collection[Service]) -> bool:
    """Whether all the services upstream of another call through `service`, or are called by it."""
    above = point.upstream[service]
    return all(each == service or each in above or service in point.upstream[each] for each in upstream)


def _attributed(change: Change, service: Service, since: float, reported: ReportedCause) -> ReportedCause:
    lag = max(0.0, since - change.at)
    weight = CHANGE_WEIGHT * (1 - lag / CHANGE_LOOKBACK_SECONDS)
    effect: Effect | None = next((action.effect for action in reported.actions if action.effect), None)
    undo = Action("roll_back", service, target=change.before, amount=_revision(change), effect=effect)
    others = (action for action in reported.actions if action.kind not in ("roll_back", "restart"))
    return ReportedCause(
        "change",
        reported.suspect._replace(service=service, change=change),
        reported.confidence + (1 - reported.confidence) * weight,
        (undo, *others),
    )


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
        change = next((item for item in own if _changed_service(item, known) == candidate.service), None)
        if change is not None and candidate.reasons:  # a service without an anomaly was not harmed
            weight = 1 + CHANGE_ODDS * (1 - max(0.0, onset - change.at) / CHANGE_LOOKBACK_SECONDS)
            reason = Reason("changed", candidate.service, change.after, since=change.at)
            reasons = (*candidate.reasons[:1], reason, *candidate.reasons[1:])
            weighed.append(candidate._replace(score=candidate.score * weight, reasons=reasons))
        else:
            weighed.append(candidate)
    total = sum(candidate.score for candidate in weighed)
    return sorted_candidates(item._replace(score=item.score / total if total else 0.0) for item in weighed)


def _changed_service(change: Change, known: Set[Service]) -> Service | None:
    """The known service that changed: of that name and namespace, or the only one of that name."""
    if change.service is None or change.service in known:
        return change.service
    same = [service for service in known if service.name == change.service.name]
    return same[0] if len(same) == 1 else change.service
