"""The result of a detector at one evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that explains why a service is in trouble, or is about to be.

    service: the affected service. strength: confidence (0 to 1) in the cause; 0.5 is undecided. severity: expected
    slowdown as a ratio of latencies (1: none), or load over capacity. since: Unix seconds of the first sign. urgent: it
    takes the service down within about a minute; no trend has to be awaited. action: what to do. expected: it recurs at
    this time every week, and explains only what nothing else does.
    """

    service: Service
    cause: Cause
    suspect: SuspectedCause
    strength: float
    severity: float
    since: float
    evidence: tuple[Evidence, ...]
    action: Action
    urgent: bool = False
    expected: bool = False

    @property
    def by_itself(self) -> bool:
        """Whether the service itself is at fault: what remains if nothing else explains its trouble."""
        return self.cause == "dependency" and self.suspect.service == self.service
