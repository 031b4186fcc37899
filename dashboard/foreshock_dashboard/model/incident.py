"""Incidents, the result of the analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.world import Gpu

Severity = Literal["warning", "critical"]
State = Literal["firing", "recovering", "resolved"]
Cause = Literal[
    "overload",
    "scale_up_lag",
    "gpu_contention",
    "retry_storm",
    "network",
    "dependency",
    "kv_cache_pressure",
    "load_imbalance",
    "hardware",
    "change",
]
ConfidenceLevel = Literal["low", "medium", "high"]
Quality = Literal["measured", "sampled", "inferred"]

MEDIUM_CONFIDENCE = 0.5
"""Confidence from which a suspected cause is probable. Below it, an incident names its symptom and the candidates."""
HIGH_CONFIDENCE = 0.8
"""Confidence from which a suspected cause is nearly certain."""


NO_FIRST_STEP = ("none", "see the other XID")
"""Actions of NVIDIA's catalog that are nothing to do by themselves."""


class Xid(NamedTuple):
    """An XID error by NVIDIA's catalog.

    severity: `application`, `informational`, `hardware`, or `fatal`. action: what to do first, such as `reset the GPU`;
    `none` where nothing is to do.
    """

    number: int
    name: str
    severity: str
    action: str


class Evidence(NamedTuple):
    """A figure that supports an incident, with its baseline.

    since: Unix seconds of the first deviation. entity: a service, an edge `a -> b`, a GPU, or a host. metric: the name
    of the signal in the analysis, such as `first_token`; "" for a figure that only one detector computes. xid: the XID
    error that the figure counts.
    """

    name: str
    value: float
    baseline: float
    unit: str
    since: float
    entity: str = ""
    metric: str = ""
    xid: Xid | None = None


class SuspectedCause(NamedTuple):
    """The suspected cause, as far as known: the service, and the GPUs, pool, edge, or host on which it acts.

    change: the change of the service that is the cause.
    """

    service: Service | None = None
    gpus: tuple[Gpu, ...] = ()
    pool: str = ""
    edge: tuple[Service, Service] | None = None
    host: str = ""
    change: Change | None = None


class LaterCause(NamedTuple):
    """A cause of trouble of a service that began after the page of an incident, at Unix seconds `since`."""

    service: Service
    cause: Cause
    suspect: SuspectedCause
    since: float


class AtRisk(NamedTuple):
    """A service at risk, and the seconds until it breaches its SLO; 0 during a breach.

    p10 to p90: quantiles; p10 and p90 bound the 80% interval. Infinite beyond the horizon, NaN if unknown.
    """

    service: Service
    p20: float
    p50: float
    p80: float
    p10: float = math.nan
    p90: float = math.nan


class Candidate(NamedTuple):
    """A suspected service, its share of all suspicion (0 to 1), the reasons, and the confidence in its anomaly."""

    service: Service
    score: float
    reasons: tuple[Reason, ...] = ()
    confidence: ConfidenceLevel = "low"


class Symptom(NamedTuple):
    """Symptom of the affected service: p95 latency in seconds or error rate (0 to 1), with its baseline and SLO.

    operation: span name of the requests that show it; "" for all. counts: whether the requests are enough for an SLO
    breach.
    """

    signal: Literal["p95", "error_rate"]
    value: float
    baseline: float = math.nan
    slo: float = math.nan
    operation: str = ""
    counts: bool = True


class Summary(NamedTuple):
    """Details for the summary of an incident, as of one evaluation.

    symptom: None if unknown. load, safe_load: offered load over capacity and its safe limit, NaN if unknown. latent:
    nothing fails yet, but retries would make a short loss of capacity permanent. requests: kind of requests of the
    suspected service that make others wait, "" if unknown; None if the service runs on the contended GPUs itself. down:
    the service does not answer. failing: another affected service, of which all requests fail.
    """

    symptom: Symptom | None = None
    load: float = math.nan
    safe_load: float = math.nan
    latent: bool = False
    requests: str | None = None
    down: bool = False
    failing: Service | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """An open or resolved incident.

    id: opening time and service, equal on hubs with equal data. severity: `critical` once it has paged; it never
    decreases. state: `recovering` after the symptoms have ended, until it is resolved. service: the first one at risk
    or affected. first_service, paged_service: `service` at the opening and at the page, which no later evaluation
    changes: they identify its alerts; None if unknown. cascading: other services breach their SLO too, or did.
    affected: affected services, the first one first. at_risk: services about to breach their SLO, the soonest first.
    candidates: suspected causes, the likeliest first. ranked_at: Unix seconds of their last ranking, which may have
    found none and kept them; None before the first. evidence_at: Unix seconds of the values of the evidence, the last
    time at which it supported the cause; None without evidence. since (the first anomaly), opened, paged,
    recovering_since (the end of the symptoms), and resolved: Unix seconds; None if it has not happened. confidence: 0
    to 1. stage: of the service while the incident fires; None if unknown, or if no service is affected. later: what
    causes the trouble since the suspected cause ended; the actions are then against it. slos: of its services, as in
    force when it first named each: a learned one does not follow the baseline meanwhile.
    """

    id: str
    severity: Severity
    state: State
    cause: Cause
    service: Service
    since: float
    opened: float
    paged: float | None = None
    recovering_since: float | None = None
    resolved: float | None = None
    cascading: bool = False
    suspect: SuspectedCause = SuspectedCause()
    affected: tuple[Service, ...] = ()
    at_risk: tuple[AtRisk, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    ranked_at: float | None = None
    evidence: tuple[Evidence, ...] = ()
    evidence_at: float | None = None
    confidence: float = 0.0
    quality: Quality = "sampled"
    actions: tuple[Action, ...] = ()
    summary: Summary = Summary()
    first_service: Service | None = None
    paged_service: Service | None = None
    stage: Stage | None = None
    later: LaterCause | None = None
    slos: tuple[ServiceSlo, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the incident is firing or recovering."""
        return self.state != "resolved"

    @property
    def confidence_level(self) -> ConfidenceLevel:
        """Confidence in the suspected cause as a level."""
        if self.confidence < MEDIUM_CONFIDENCE:
            return "low"
        return "high" if self.confidence >= HIGH_CONFIDENCE else "medium"

    @property
    def is_cause_stated(self) -> bool:
        """Whether the cause is named: not at low confidence. A latent risk is its own cause."""
        return self.summary.latent or self.confidence_level != "low"

    @property
    def stated_suspect(self) -> SuspectedCause:
        """The suspected cause where it is named; else an empty one."""
        return self.suspect if self.is_cause_stated else SuspectedCause()

    def alerted_service(self, severity: Severity) -> Service:
        """The service that identifies the alert of a severity, the same as long as it fires."""
        return (self.paged_service if severity == "critical" else self.first_service) or self.service

    @property
    def xids(self) -> tuple[Evidence, ...]:
        """The evidence that is an XID error, the most severe first."""
        return tuple(item for item in self.evidence if item.xid is not None)

    @property
    def services(self) -> frozenset[Service]:
        """The services in it: its own, affected ones, those at risk, and the suspected one."""
        named = (self.service, self.suspect.service, *self.affected, *(risk.service for risk in self.at_risk))
        return frozenset(service for service in named if service is not None)

    @property
    def other_affected(self) -> tuple[Service, ...]:
        """The affected services besides the first one."""
        return tuple(service for service in self.affected if service != self.service)


class Learning(NamedTuple):
    """Seconds of history that the analysis has and needs."""

    have: float
    need: float

    @property
    def done(self) -> bool:
        """Whether there is enough history for a baseline."""
        return self.have >= self.need
