"""Trouble → incident: what is told of it, and how that changes while it lasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.propagation import Ahead, Spreading
from foreshock_dashboard.analysis.forecast.service_risk import Own
from foreshock_dashboard.analysis.incidents.fallback_action import fallback_action
from foreshock_dashboard.analysis.incidents.triage import FINDING_STRENGTH, Trouble, best_finding, lacks_baseline
from foreshock_dashboard.analysis.root_cause.ranking import Walk, blamed
from foreshock_dashboard.analysis.saturation.overload import brimming
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    Culprit,
    Evidence,
    Incident,
    Phase,
    Summary,
    Symptom,
)
from foreshock_dashboard.model.service import Service

SYMPTOM_SIGNALS = ("p95", "failed", "flight")
MIN_FAILED_RATIO = 0.02
"""Ratio of failed requests from which it is the symptom of an incident, instead of p95."""
SERVER_SIGNALS = ("cache", "waiting", "per_token", "first_token")
EVIDENCE_Z = 2.0
"""Scales from which a figure is told as evidence, and a service counted among the victims."""
FIRST_SIGN_Z = 2.5
"""The same for the first sign."""
PAGED_TREND_RATIOS = (0.07, 0.1, 0.28, 0.6, 1.2)
"""Seconds until the origin of a page misses its objective, by `hazard.QUANTILES`, over the trend's median. Whoever is
paged for is further on than a trend of minutes shows. This and the next two are what came after pages on the
development seeds of the evaluation (`foreshock evaluate --suite dev`)."""
SOON_SECONDS = (10.0, 20.0, 70.0, 300.0, 700.0)
"""The same in seconds, where no trend says when, and where model servers fill up, which p95 does not show yet."""
IMMINENT_SECONDS = (5.0, 10.0, 20.0, 60.0, 200.0)
"""The same of what takes a service down by itself, and where model servers have more than they carry by now."""
SUSPECTED_RATIO = 0.5
"""As sure as this of another cause, over how sure one is that a service is slow by itself, the other one is told."""
MAX_RANKED_CALLERS = 8
"""Callers whose trouble counts when somebody is to be blamed, nearest first."""
RANKING_SECONDS = 60.0
PHASES: Sequence[Phase] = ("advisory", "page", "cascading")


@dataclass(frozen=True)
class Evaluation:
    """All that is known at one grid point: what services show themselves, and every finding."""

    scan: Scan
    own: Mapping[Service, Own]
    findings: Sequence[Finding]

    @cached_property
    def walk(self) -> Walk:
        """Where blame goes, for all incidents."""
        return Walk(self.scan, self.findings)

    @cached_property
    def spreading(self) -> Spreading:
        """How risk spreads, for all incidents."""
        return Spreading(self.scan, self.own)

    @cached_property
    def ahead(self) -> Sequence[Ahead]:
        """Who is next by what services show themselves."""
        return self.spreading.ahead()


def opened_incident(trouble: Trouble, scan: Scan) -> Incident:
    """A new incident, as yet without any figures."""
    return _blank(trouble.origin, "", _since(trouble, scan), scan)


def advisory(known: Incident | None, finding: Finding, scan: Scan) -> Incident:
    """An advisory on what is not wrong yet: it has no victims."""
    told = replace(
        known or _blank(finding.service, "-weak", scan.time, scan),
        cause=finding.cause,
        culprit=finding.culprit,
        evidence=finding.evidence,
        confidence=finding.strength,
        quality="inferred",
        action=finding.action,
    )
    return with_summary(told, scan)


def _blank(service: Service, suffix: str, since: float, scan: Scan) -> Incident:
    name = datetime.fromtimestamp(scan.time, UTC).strftime("%Y%m%dT%H%M%SZ")
    return Incident(
        id=f"{name}-{service}{suffix}".replace("/", "."),
        phase="advisory",
        cause="demand",
        service=service,
        culprit=Culprit(),
        victims=(),
        at_risk=(),
        candidates=(),
        since=since,
        opened=scan.time,
        paged=None,
        until=None,
        evidence=(),
        confidence=0.0,
        quality="sampled",
        action=None,
        summary=Summary(),
    )


def updated_incident(incident: Incident, trouble: Trouble, moment: Evaluation, *, page: bool) -> Incident:
    """The incident as it is at this grid point. It never falls back to a lesser phase while it is open."""
    spread = len(trouble.missing) > 1 or bool(trouble.missing and trouble.missing[0] != trouble.origin)
    phase: Phase = "cascading" if page and spread else "page" if page else "advisory"
    paged = incident.paged if incident.paged is not None else moment.scan.time if page else None
    again = not incident.candidates or paged != incident.paged or _minute(moment.scan)
    victims = (trouble.origin, *trouble.felt[:MAX_RANKED_CALLERS])
    suspects = blamed(moment.walk, victims) if again else incident.candidates
    guilty = suspects[0].service if again and suspects else None
    trouble = _suspected(incident, trouble, guilty, moment.findings)
    cause, culprit = _cause(trouble, suspects)
    told = replace(
        incident,
        phase=max(phase, incident.phase, key=PHASES.index),
        paged=paged,
        cause=cause,
        service=trouble.origin,
        culprit=culprit,
        victims=tuple(dict.fromkeys((trouble.origin, *trouble.felt))),
        at_risk=_at_risk(trouble, moment),
        candidates=_candidates(culprit, trouble, suspects) if again else incident.candidates,
        evidence=_evidence(trouble, moment.scan),
        confidence=trouble.cause.strength if trouble.cause else trouble.chance,
        quality="sampled",
        action=trouble.cause.action
        if trouble.cause
        else fallback_action(moment.scan, cause, trouble.origin, culprit.service),
    )
    return with_summary(told, moment.scan)


def with_forecast(incident: Incident, moment: Evaluation) -> Incident:
    """An incident that is told as it was while something else is found: who is next is as of now all the same."""
    ahead = tuple(each for each in _near(incident.service, moment) if math.isfinite(each.p50))
    return with_summary(replace(incident, at_risk=ahead), moment.scan)


def recovering_incident(incident: Incident, scan: Scan) -> Incident:
    """An incident while nothing is wrong any more and it is not over yet: nobody is next."""
    return with_summary(replace(incident, at_risk=(), quality="sampled"), scan, recovering=True)


def with_summary(incident: Incident, scan: Scan, *, recovering: bool = False) -> Incident:
    """The incident with its summary as of this grid point."""
    summary = Summary(
        symptom=_symptom(incident.service, scan),
        recovering=recovering,
        latent=incident.cause == "retry storm" and incident.phase == "advisory",
        requests=_requests(incident, scan),
    )
    return replace(incident, summary=summary)


def _symptom(service: Service, scan: Scan) -> Symptom | None:
    failed = scan.value("failed", service)
    if failed >= MIN_FAILED_RATIO:
        return Symptom("failed", failed)
    p95, baseline = scan.value("p95", service), scan.level("p95", service)
    return Symptom("p95", p95, baseline) if math.isfinite(p95) and math.isfinite(baseline) else None


def _requests(incident: Incident, scan: Scan) -> str | None:
    """The kind of requests that make others wait, "" if unknown; None if their client runs on the contended GPUs."""
    client, gpus = incident.culprit.service, incident.culprit.gpus
    if incident.cause != "pool contention" or client in (None, incident.service) or not gpus:
        return None
    if any(scan.world.tenants[row].gpu in gpus for row in scan.tenant_rows.get(client, ())):
        return None
    return incident.action.requests if incident.action else ""


def _minute(scan: Scan) -> bool:
    """Whether a minute has begun since the last grid point: who is to blame is asked no more often."""
    return bool(scan.time // RANKING_SECONDS != (scan.time - scan.world.step) // RANKING_SECONDS)


def _suspected(incident: Incident, trouble: Trouble, guilty: Service | None, findings: Sequence[Finding]) -> Trouble:
    """The trouble with the cause that is told: that a service is slow by itself is said where nothing else may be.

    What may be is looked for at the origin, or, where nothing sure is about it, in the network of whoever is guilty:
    another cause would be told as if it were the origin's. Where nobody was asked who is guilty just now, what was told
    goes on to be, as long as it is found. Who is woken does not hang on it.
    """
    known = trouble.cause
    if known is not None and not known.by_itself:
        return trouble
    least = SUSPECTED_RATIO * max(FINDING_STRENGTH, known.strength if known is not None else 0.0)
    likely = [each for each in findings if each.strength >= least and not each.by_itself]
    whose = {trouble.origin, known.service} if known is not None else {trouble.origin}
    about = [each for each in likely if each.service in whose]
    if not about and (known is None or known.strength < FINDING_STRENGTH):
        lost = [each for each in likely if each.cause == "network"]
        before = [
            each for each in lost if (each.cause, each.culprit.service) == (incident.cause, incident.culprit.service)
        ]
        about = before if guilty is None else [each for each in lost if each.service == guilty]
    return replace(trouble, cause=best_finding(about)) if about else trouble


def _cause(trouble: Trouble, blamed: Sequence[Candidate]) -> tuple[Cause, Culprit]:
    """Cause and culprit by the finding; without one, more is asked of what is crowded, and else it is its own doing."""
    if trouble.cause is not None:
        return trouble.cause.cause, trouble.cause.culprit
    guilty = blamed[0].service if blamed else trouble.origin
    return "demand" if trouble.crowded else "dependency", Culprit(guilty)


def _at_risk(trouble: Trouble, moment: Evaluation) -> tuple[AtRisk, ...]:
    """The origin and all that call it, in the order in which they are to be hit."""
    first = moment.own.get(trouble.origin)
    known: dict[Service, Own] = {}
    if first is not None and not first.missing:
        chance = max(first.chance, trouble.chance)
        known[trouble.origin] = replace(first, chance=chance, seconds=_seconds(trouble, first))
    return _near(trouble.origin, moment, known)


def _near(origin: Service, moment: Evaluation, known: Mapping[Service, Own] | None = None) -> tuple[AtRisk, ...]:
    """A service and all that call it, the soonest hit first. known: what more is known of some than they show.

    Not those that tell nothing of themselves: nobody could see whether they miss anything.
    """
    near = {origin, *moment.scan.upstream[origin]}
    ahead = moment.spreading.ahead(known) if known else moment.ahead
    found = [_risk(each) for each in ahead if each.service in near and not lacks_baseline(moment.scan, each.service)]
    return tuple(sorted(found, key=lambda each: (each.p50, each.service)))


def _seconds(trouble: Trouble, own: Own) -> tuple[float, ...]:
    """Until the origin misses its objective, by `hazard.QUANTILES`. What model servers are asked is ahead of p95."""
    if trouble.heavy or (own.crowded and own.strain is not None and brimming(own.strain)):
        return IMMINENT_SECONDS
    if own.crowded or math.isinf(own.seconds[2]):
        return SOON_SECONDS
    return tuple(share * own.seconds[2] for share in PAGED_TREND_RATIOS) if trouble.page else own.seconds


def _risk(each: Ahead) -> AtRisk:
    p10, p20, p50, p80, p90 = each.seconds
    return AtRisk(each.service, p20, p50, p80, p10, p90)


def _candidates(culprit: Culprit, trouble: Trouble, blamed: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those who are blamed, the one that the finding names first."""
    if culprit.service is None:
        return tuple(blamed)
    rest = [each for each in blamed if each.service != culprit.service]
    own = next((each for each in blamed if each.service == culprit.service), None)
    score = max([own.score if own else 0.0, trouble.chance, *(each.score for each in rest)])
    cause = (Reason("cause", name=trouble.cause.cause),) if trouble.cause else ()
    total = score + sum(each.score for each in rest)
    first = Candidate(culprit.service, score, own.reasons if own else cause)
    return tuple(each._replace(score=each.score / total) if total > 0 else each for each in (first, *rest))


def _evidence(trouble: Trouble, scan: Scan) -> tuple[Evidence, ...]:
    found = list(trouble.cause.evidence) if trouble.cause else []
    names = (*SYMPTOM_SIGNALS, *SERVER_SIGNALS)
    found += [_figure(name, trouble.origin, scan) for name in names if scan.z(name, trouble.origin) >= EVIDENCE_Z]
    found += [_figure("p95", who, scan) for who in trouble.felt[:3] if math.isfinite(scan.value("p95", who))]
    return tuple({(each.name, each.entity): each for each in found}.values())


def _figure(name: str, who: Service, scan: Scan) -> Evidence:
    signal = SIGNAL_BY_NAME[name]
    value, level = scan.value(name, who), scan.level(name, who)
    return Evidence(signal.text, value, level, signal.unit, scan.since(name, who), str(who))


def _since(trouble: Trouble, scan: Scan) -> float:
    found = [
        scan.since(name, trouble.origin) for name in SYMPTOM_SIGNALS if scan.z(name, trouble.origin) >= FIRST_SIGN_Z
    ]
    if trouble.cause:
        found.append(trouble.cause.since)
    return min(found, default=scan.time)
