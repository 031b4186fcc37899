"""Incidents: the result of the analysis, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu

Phase = Literal["advisory", "page", "cascading", "over"]
Cause = Literal[
    "demand",
    "provisioning lag",
    "pool contention",
    "retry storm",
    "network",
    "dependency",
    "memory pressure",
    "imbalance",
    "hardware",
]
Quality = Literal["measured", "sampled", "inferred"]


class Evidence(NamedTuple):
    """A figure that supports an incident, with its baseline, and since when it differs (Unix seconds).

    entity: what it describes: a service, an edge `a -> b`, a GPU, a host.
    """

    name: str
    value: float
    baseline: float
    unit: str
    since: float
    entity: str = ""


class Culprit(NamedTuple):
    """The suspected cause, as far as known: the service, and the GPUs, pool, edge, or host on which it acts."""

    service: Service | None = None
    gpus: tuple[Gpu, ...] = ()
    pool: str = ""
    edge: tuple[Service, Service] | None = None
    host: str = ""


class AtRisk(NamedTuple):
    """A service at risk, and the seconds until it breaches its SLO; 0 if it does already.

    p10 to p90: quantiles; p10 and p90 bound the 80 % interval. Infinite beyond the horizon, NaN if unknown.
    """

    service: Service
    p20: float
    p50: float
    p80: float
    p10: float = float("nan")
    p90: float = float("nan")


class Candidate(NamedTuple):
    """A suspected service, its share 0…1 of all suspicion, and the reasons."""

    service: Service
    score: float
    reasons: tuple[Reason, ...] = ()


class Symptom(NamedTuple):
    """How the affected service does: its p95 latency in seconds with its baseline, or its ratio of failed requests."""

    signal: Literal["p95", "failed"]
    value: float
    baseline: float = math.nan


class Summary(NamedTuple):
    """What the summary of an incident says beyond its other fields, as of one evaluation.

    symptom: None if unknown. recovering: nothing is wrong any more, but it is not resolved yet. latent: nothing fails
    yet; retries would turn a short loss of capacity into a lasting one. requests: the kind of requests of the suspected
    cause that make others wait, "" if unknown; None if it runs on the contended GPUs itself.
    """

    symptom: Symptom | None = None
    recovering: bool = False
    latent: bool = False
    requests: str | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """An open or resolved incident. Two hubs that saw the same agree on its `id`: opening time and service.

    service: the one at risk or affected first. victims: affected services, the first affected first. at_risk: services
    about to breach their SLO, the soonest first. candidates: suspected causes, the likeliest first. opened, paged,
    until (its end), and since (the first sign): Unix seconds; None if it has not happened. confidence: 0 to 1. action:
    what to do. summary: what its sentence says besides.
    """

    id: str
    phase: Phase
    cause: Cause
    service: Service
    culprit: Culprit
    victims: tuple[Service, ...]
    at_risk: tuple[AtRisk, ...]
    candidates: tuple[Candidate, ...]
    since: float
    opened: float
    paged: float | None
    until: float | None
    evidence: tuple[Evidence, ...]
    confidence: float
    quality: Quality
    action: Action | None
    summary: Summary

    @property
    def victim(self) -> Service:
        """The service that was affected first."""
        return self.victims[0] if self.victims else self.service

    @property
    def aggressor(self) -> Service | None:
        """The suspected service, if any."""
        return self.culprit.service

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The contended or faulty GPUs."""
        return self.culprit.gpus

    @property
    def slowed(self) -> tuple[Service, ...]:
        """The other affected services."""
        return self.victims[1:]


class Learning(NamedTuple):
    """Seconds of history that the analysis has and needs."""

    have: float
    need: float

    @property
    def done(self) -> bool:
        """Whether there is enough history for a baseline."""
        return self.have >= self.need
