"""An incident: what the analysis says, in a form that a page, an alert and a machine can read."""

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
    """One figure that supports an incident, with what is usual and since when it is not (Unix seconds).

    `entity` is what it is a figure of: a service, an edge `a -> b`, a GPU, a host.
    """

    name: str
    value: float
    baseline: float
    unit: str
    since: float
    entity: str = ""


class Culprit(NamedTuple):
    """Where it comes from, as far as that is known: whose doing, and on which GPUs, pool, edge or host it is felt."""

    service: Service | None = None
    gpus: tuple[Gpu, ...] = ()
    pool: str = ""
    edge: tuple[Service, Service] | None = None
    host: str = ""


class AtRisk(NamedTuple):
    """A service that is to miss its objective, and in how many seconds: 0 where it does already.

    With a chance of 20, 50 and 80 %, and of 10 and 90 %, which bound the 80 % interval; infinite where that is further
    off than the analysis looks, NaN where it is not told.
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
    """One thing that is wrong. `id` is the opening time and the service: two hubs that saw the same agree on it.

    service: the one at risk or hit first. victims: those that are worse than usual, the first hit first. at_risk: those
    that are to miss their objective, the soonest first. candidates: who may be guilty, the likeliest first.
    opened, paged, until and since (the first sign) in Unix seconds; None where that has not happened. confidence 0…1.
    action: what to do, and what that would change. summary: what its sentence is made of besides.
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
        """The service that was hit first."""
        return self.victims[0] if self.victims else self.service

    @property
    def aggressor(self) -> Service | None:
        """Whose doing it is, where a service is to blame."""
        return self.culprit.service

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that are fought for."""
        return self.culprit.gpus

    @property
    def slowed(self) -> tuple[Service, ...]:
        """The other victims."""
        return self.victims[1:]


class Learning(NamedTuple):
    """How much history the analysis has and needs, in seconds; it is learning while have < need."""

    have: float
    need: float

    @property
    def done(self) -> bool:
        """Whether the baseline rests on enough history."""
        return self.have >= self.need
