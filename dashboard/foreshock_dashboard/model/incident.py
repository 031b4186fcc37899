"""An incident: what the analysis says, in a form that a page, an alert and a machine can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu

Phase = Literal["advisory", "page", "cascading", "over"]
Cause = Literal["pool contention"]
Quality = Literal["measured", "sampled", "inferred"]


class Evidence(NamedTuple):
    """One figure that supports an incident, with what is usual and since when it is not (Unix seconds)."""

    name: str
    value: float
    baseline: float
    unit: str
    since: float


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that is wrong. `id` is the opening time and the service: two hubs that saw the same agree on it.

    service is at risk; victim waits for aggressor on gpus; slowed are its callers that became slower too, nearest
    first. Times in Unix seconds; `until` is None while it is open.
    confidence is 0…1.
    """

    id: str
    phase: Phase
    cause: Cause
    service: Service
    victim: Service
    aggressor: Service
    gpus: tuple[Gpu, ...]
    since: float
    opened: float
    until: float | None
    evidence: tuple[Evidence, ...]
    confidence: float
    quality: Quality
    sentence: str
    slowed: tuple[Service, ...] = ()


class Learning(NamedTuple):
    """How much history the analysis has and needs, in seconds; it is learning while have < need."""

    have: float
    need: float

    @property
    def done(self) -> bool:
        """Whether the baseline rests on enough history."""
        return self.have >= self.need
