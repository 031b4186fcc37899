"""Trouble → incident: what is told of it, and how that changes while it lasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from foreshock_dashboard.analysis.assessment import Trouble, upstream
from foreshock_dashboard.analysis.risk import Own
from foreshock_dashboard.analysis.sentence import duration
from foreshock_dashboard.analysis.signals import NAMED, Scan
from foreshock_dashboard.model.incident import AtRisk, Candidate, Cause, Culprit, Evidence, Incident, Phase
from foreshock_dashboard.model.service import Service

SYMPTOMS = ("p95", "failed", "flight")
SERVING = ("cache", "waiting", "per_token", "first_token")
HOP = 20.0
"""Seconds from a callee's missing its objective to its caller's, at least."""
RANK: Sequence[Phase] = ("advisory", "page", "cascading")


def opened(trouble: Trouble, scan: Scan) -> Incident:
    """A new incident, as yet without any figures."""
    name = datetime.fromtimestamp(scan.time, UTC).strftime("%Y%m%dT%H%M%SZ")
    return Incident(
        id=f"{name}-{trouble.origin}".replace("/", "."),
        phase="advisory",
        cause="demand",
        service=trouble.origin,
        culprit=Culprit(),
        victims=(),
        at_risk=(),
        candidates=(),
        since=_since(trouble, scan),
        opened=scan.time,
        paged=None,
        until=None,
        evidence=(),
        confidence=0.0,
        quality="sampled",
        next_step="",
        sentence="",
    )


def updated(incident: Incident, trouble: Trouble, scan: Scan, own: Mapping[Service, Own], *, page: bool) -> Incident:
    """The incident as it is at this grid point. It never falls back to a lesser phase while it is open."""
    spread = len(trouble.missing) > 1 or bool(trouble.missing and trouble.missing[0] != trouble.origin)
    phase: Phase = "cascading" if page and spread else "page" if page else "advisory"
    phase = max(phase, incident.phase, key=RANK.index)
    cause, culprit = _cause(trouble)
    told = replace(
        incident,
        phase=phase,
        paged=incident.paged if incident.paged is not None else scan.time if page else None,
        cause=cause,
        service=trouble.origin,
        culprit=culprit,
        victims=_victims(trouble, scan),
        at_risk=_at_risk(trouble, scan, own),
        candidates=_candidates(trouble),
        evidence=_evidence(trouble, scan),
        confidence=trouble.cause.strength if trouble.cause else trouble.chance,
        quality="sampled",
        next_step=trouble.cause.next_step if trouble.cause else "",
    )
    return replace(told, sentence=_sentence(told, scan))


def _cause(trouble: Trouble) -> tuple[Cause, Culprit]:
    if trouble.cause is None:
        return "dependency", Culprit(trouble.origin)
    return trouble.cause.cause, trouble.cause.culprit


def _victims(trouble: Trouble, scan: Scan) -> tuple[Service, ...]:
    hit = [who for who in (trouble.origin, *trouble.felt) if any(scan.z(name, who) >= 2 for name in SYMPTOMS)]
    return tuple(dict.fromkeys((trouble.origin, *hit)))


def _at_risk(trouble: Trouble, scan: Scan, own: Mapping[Service, Own]) -> tuple[AtRisk, ...]:
    """The origin and all that call it, in the order in which they are to be hit."""
    first = own.get(trouble.origin)
    base = (0.0,) * 5 if first and first.missing else first.seconds if first else (math.inf,) * 5
    if trouble.urgent and math.isinf(base[2]):
        base = (10.0, 20.0, 45.0, 90.0, 150.0)
    out = [AtRisk(trouble.origin, base[1], base[2], base[3])]
    for hop, who in enumerate(upstream(scan, trouble.origin), 1):
        risk = own.get(who)
        if risk is not None and risk.missing:
            out.append(AtRisk(who, 0.0, 0.0, 0.0))
        else:
            late = HOP * hop
            out.append(AtRisk(who, base[1] + late / 2, base[2] + late, base[3] + 2 * late))
    return tuple(sorted(out, key=lambda each: each.p50))


def _candidates(trouble: Trouble) -> tuple[Candidate, ...]:
    if trouble.cause and trouble.cause.culprit.service:
        return (Candidate(trouble.cause.culprit.service, trouble.cause.strength, trouble.cause.cause),)
    return (Candidate(trouble.origin, trouble.chance),)


def _evidence(trouble: Trouble, scan: Scan) -> tuple[Evidence, ...]:
    found = list(trouble.cause.evidence) if trouble.cause else []
    for name in (*SYMPTOMS, *SERVING):
        if scan.z(name, trouble.origin) >= 2:
            found.append(_figure(name, trouble.origin, scan))
    for who in trouble.felt[:3]:
        found.append(_figure("p95", who, scan))
    return tuple({(each.name, each.entity): each for each in found}.values())


def _figure(name: str, who: Service, scan: Scan) -> Evidence:
    signal = NAMED[name]
    value, level = scan.value(name, who), scan.level(name, who)
    return Evidence(signal.text, value, level, signal.unit, scan.since(name, who), str(who))


def _since(trouble: Trouble, scan: Scan) -> float:
    found = [scan.since(name, trouble.origin) for name in SYMPTOMS if scan.z(name, trouble.origin) >= 2.5]
    if trouble.cause:
        found.append(trouble.cause.since)
    return min(found, default=scan.time)


def _sentence(incident: Incident, scan: Scan) -> str:
    clock = datetime.fromtimestamp(incident.since, UTC).strftime("%H:%M:%S")
    who = incident.culprit.service
    head = f"{incident.service} is in trouble since {clock} UTC: {incident.cause}"
    by = f" by {who}" if who and who != incident.service else ""
    p95 = scan.value("p95", incident.service)
    tail = f"; p95 {duration(p95)}, usually {duration(scan.level('p95', incident.service))}" if p95 == p95 else ""
    return f"{head}{by}{tail}."
