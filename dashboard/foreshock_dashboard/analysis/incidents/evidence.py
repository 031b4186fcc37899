"""The evidence of an incident: signals above their baselines, since they first left them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS, SIGNAL_BY_NAME
from foreshock_dashboard.analysis.baseline.xids import xid_evidence
from foreshock_dashboard.analysis.detectors.finding import Finding, entity, evidence_of
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.analysis.saturation.safe_limits import safe_limit
from foreshock_dashboard.model.incident import Cause, Evidence, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

SYMPTOM_SIGNALS = ("p95", "error_rate", "flight")
EVIDENCE_SIGNALS = (*SYMPTOM_SIGNALS, "cache", "waiting", "per_token", "first_token", *RESOURCE_SIGNALS)
EVIDENCE_Z = 2.0
"""Scales above the baseline from which a signal is evidence."""
LOAD_CAUSES = ("overload", "scale_up_lag")
"""Causes whose suspect may be another service, which sends the load."""
MAX_SLOW_CALLERS = 3
"""Affected callers whose p95 is evidence, nearest first; the errors of all that breach their SLO are."""


def present_evidence(
    incident: Incident,
    candidate: IncidentCandidate,
    finding: Finding | None,
    suspect: Service | None,
    point: EvaluationPoint,
) -> tuple[Evidence, ...]:
    """The evidence of a cause as of this evaluation, each signal since it first left its normal range in the incident.

    finding: that of the cause, if any; suspect: the suspected service, the origin by default.
    """
    suspected = suspect or candidate.origin
    signaling: list[Service | Edge] = [candidate.origin, *candidate.affected_callers, suspected]
    signaling += point.calls_to(suspected)
    xids = xid_evidence(point, {candidate.origin, *candidate.affected_callers, suspected}, incident.since)
    evidence = _lasting(_present(finding, candidate, point, xids), incident.evidence)
    return since_first_excess(evidence, signaling, point, incident.since)


def _present(
    finding: Finding | None, candidate: IncidentCandidate, point: EvaluationPoint, xids: Iterable[Evidence]
) -> tuple[Evidence, ...]:
    origin = candidate.origin
    signals = [(name, origin) for name in EVIDENCE_SIGNALS if point.z(name, origin) >= EVIDENCE_Z]
    for place, caller in enumerate(candidate.affected_callers):
        if place < MAX_SLOW_CALLERS and point.z("p95", caller) > 0:
            signals.append(("p95", caller))
        if caller in candidate.breaching and point.z("error_rate", caller) >= EVIDENCE_Z:
            signals.append(("error_rate", caller))
    found = finding.evidence if finding else ()
    evidence = [*xids, *found, *(evidence_of(point, *signal) for signal in signals)]
    return tuple({(item.name, item.entity): item for item in evidence if not _is_at_baseline(item)}.values())


def _lasting(evidence: Sequence[Evidence], before: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The evidence, each signal since it was evidence without a break: a rise within an anomaly is no new onset."""
    known = {(item.name, item.entity): item.since for item in before}
    onsets = (min(item.since, known.get((item.name, item.entity), math.inf)) for item in evidence)
    return tuple(item._replace(since=onset) for item, onset in zip(evidence, onsets, strict=True))


def since_first_excess(
    evidence: Sequence[Evidence], keys: Iterable[Service | Edge], point: EvaluationPoint, start: float
) -> tuple[Evidence, ...]:
    """The evidence, signals of `keys` since they first left their normal range after `start`.

    A signal may be normal in between: a service breaches its SLO again, or an overload counts requests when they end.
    The last rise alone would place a breach before its signs, and a cause after its effects.
    """
    named: dict[str, Service | Edge] = {entity(key): key for key in keys}
    return tuple(
        item._replace(since=min(item.since, point.first_excess(item.metric, named[item.entity], start)))
        if item.metric in SIGNAL_BY_NAME and item.entity in named
        else item
        for item in evidence
    )


def with_first_sign(evidence: tuple[Evidence, ...], incident: Incident, point: EvaluationPoint) -> tuple[Evidence, ...]:
    """The evidence, with the signal that was the first sign of the incident, where it is no evidence of the cause now.

    Its value is the present one; NaN where it cannot be read again.
    """
    first = next((item for item in incident.evidence if item.since == incident.since), None)
    if first is None or any(item.since <= incident.since for item in evidence):
        return evidence
    is_first = [(item.name, item.entity) == (first.name, first.entity) for item in evidence]
    if any(is_first):  # evidence again, but with a later or unknown onset
        pairs = zip(evidence, is_first, strict=True)
        return tuple(item._replace(since=first.since) if same else item for item, same in pairs)
    signal = SIGNAL_BY_NAME.get(first.metric)
    key = next((key for key in signal.keys(point.world) if entity(key) == first.entity), None) if signal else None
    now = first._replace(value=math.nan) if key is None else evidence_of(point, first.metric, key)
    return (now._replace(since=first.since), *evidence)


def with_sent_load(
    evidence: tuple[Evidence, ...],
    cause: Cause,
    incident: Incident,
    origin: Service,
    suspect: Service | None,
    point: EvaluationPoint,
) -> tuple[Evidence, ...]:
    """The evidence, with the request rate of another service that sends the load, since its first rise in the incident.

    incident: as of the last evaluation. The row is added last, because more requests alone are no anomaly: they begin
    no incident.
    """
    if cause not in LOAD_CAUSES or suspect in (None, origin) or not point.z("rate", suspect) >= EVIDENCE_Z:
        return evidence
    sent = _lasting((evidence_of(point, "rate", suspect),), incident.evidence)
    rows = (*evidence, *since_first_excess(sent, (suspect,), point, incident.since))
    return tuple({(item.name, item.entity): item for item in rows}.values())


def with_load(
    evidence: tuple[Evidence, ...], cause: Cause, incident: Incident, origin: Service, point: EvaluationPoint
) -> tuple[Evidence, ...]:
    """The evidence, with the load of a service above its safe limit, since an evaluation first found it there.

    It is the one of the headline. incident: as of the last evaluation. The row is added last, as in `with_sent_load`.
    """
    found = point.utilizations.get(origin)
    if cause not in LOAD_CAUSES or found is None or not found.load > safe_limit(found):
        return evidence
    load = Evidence("load", found.load, found.baseline, "ratio", point.time, str(origin), "load")
    rows = (*evidence, *_lasting((load,), incident.evidence))
    return tuple({(item.name, item.entity): item for item in rows}.values())


def _is_at_baseline(item: Evidence) -> bool:
    """Whether value and baseline are equal as they are shown, with three digits."""
    return f"{item.value:.3g}" == f"{item.baseline:.3g}"
