"""What one kind of analysis found at one grid point; the decision weighs them and makes incidents of them."""

from __future__ import annotations

from dataclasses import dataclass

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, Culprit, Evidence
from foreshock_dashboard.model.service import Service


@dataclass(frozen=True, slots=True)
class Finding:
    """Something out of the ordinary that explains why a service suffers, or is about to.

    service: who suffers. cause, culprit: what it is and whose doing. strength: 0…1, how sure it is that this is at
    work; 0.5 is as good as not. severity: by how much it is to slow the service down, as a ratio of durations (1: not
    at all), or how many times over its capacity it is to be asked. since: Unix seconds of the first sign. urgent: it
    takes the service down within a minute or so by itself; no trend has to be waited for. action: what to do.
    expected: it is so at this time of every week, and explains only what nothing else does.
    """

    service: Service
    cause: Cause
    culprit: Culprit
    strength: float
    severity: float
    since: float
    evidence: tuple[Evidence, ...]
    action: Action
    urgent: bool = False
    expected: bool = False

    @property
    def by_itself(self) -> bool:
        """Whether it says that a service is slow or fails of its own: what is left where nothing else explains it."""
        return self.cause == "dependency" and self.culprit.service == self.service
