"""What people did about incidents: acknowledgments, assignments, notes, feedback, and silences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.model.incident import Cause, Incident
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.model.service import Service

FeedbackVerdict = Literal["correct", "wrong_cause", "not_useful"]


class Stamp(NamedTuple):
    """Who did something, "" if unknown, and when, in Unix seconds."""

    by: str
    at: float


class Assignment(NamedTuple):
    """The person responsible for an incident, and who assigned it when."""

    assignee: str
    stamp: Stamp


class Note(NamedTuple):
    """A note on an incident."""

    text: str
    stamp: Stamp


class Feedback(NamedTuple):
    """What a person says about the analysis of an incident.

    cause, service: the real ones, where the verdict is `wrong_cause`; None if unknown.
    """

    verdict: FeedbackVerdict
    cause: Cause | None
    service: Service | None
    text: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Silence:
    """A period in which incidents do not notify: those with an id, of a service, of a GPU pair, or all.

    service, noisy_neighbor: the affected service of the incident, and for a GPU pair the suspected one too. start, end:
    Unix seconds; the end is that of an ended silence. maintenance: a planned window.
    """

    id: int
    start: float
    end: float
    stamp: Stamp
    incident: str = ""
    service: Service | None = None
    noisy_neighbor: Service | None = None
    comment: str = ""
    maintenance: bool = False

    def is_active(self, time: float) -> bool:
        """Whether it covers a time (Unix seconds)."""
        return self.start <= time < self.end

    def is_in(self, cluster: str) -> bool:
        """Whether it is for services of a cluster: one without a cluster is for those of all."""
        return self.service is None or self.service.cluster in ("", cluster)

    def matches(self, incident: Incident) -> bool:
        """Whether it is for this incident, at whatever time."""
        if self.incident:
            return incident.id == self.incident
        if self.service is None:
            return True
        if self.noisy_neighbor is not None:
            affected = any(map(self.service.means, (incident.service, *incident.affected)))
            suspect = incident.suspect.service
            return affected and suspect is not None and self.noisy_neighbor.means(suspect)
        return self.service.means(incident.service)

    def covers(self, service: Service | None) -> bool:
        """Whether it is for capacity messages about a service, or about a pool (None): only one of all is."""
        if self.incident or self.noisy_neighbor is not None:
            return False
        return self.service is None or (service is not None and self.service.means(service))


@dataclass(frozen=True, slots=True)
class Response:
    """What people did about one incident. entries: all of the journal's entries about it, oldest first."""

    acknowledged: Stamp | None = None
    assignment: Assignment | None = None
    notes: tuple[Note, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    entries: tuple[Entry, ...] = ()
