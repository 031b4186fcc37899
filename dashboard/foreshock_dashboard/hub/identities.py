"""Identity of incidents across a restart, which the journal keeps.

After a restart the hub analyzes the last hours. Of an incident that opened before them it finds a later opening, and so
another ID: acknowledgments, assignments, and silences would no longer belong to it. Incidents that opened within them
get the same ID from the data alone, so that replays and other hubs agree.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from foreshock_dashboard.analysis.incidents.content import LATENT_SUFFIX
from foreshock_dashboard.analysis.incidents.lifecycle import MIN_LEARNING_SECONDS, State
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.journal import Entry, EntryLog
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service

log = logging.getLogger(__name__)

REOPEN_SECONDS = MIN_LEARNING_SECONDS + 900.0
"""Seconds after the start of the analyzed history within which an incident opens again that was open before: as soon as
a baseline is learned, and a while later where the baseline is that of the incident."""
BY = "hub"


class Identity(NamedTuple):
    """What stays of an incident as long as it is open. Times in Unix seconds; resolved: None while it is open."""

    incident: str
    opened: float
    paged: float | None
    service: Service
    first_service: Service
    paged_service: Service | None
    resolved: float | None = None

    @classmethod
    def of(cls, incident: Incident) -> Identity:
        """The identity of an incident as of now."""
        return cls(
            incident.id,
            incident.opened,
            incident.paged,
            incident.service,
            incident.first_service or incident.service,
            incident.paged_service,
            incident.resolved,
        )

    @classmethod
    def read(cls, entry: Entry) -> Identity:
        """Read an entry of the journal. Raises KeyError, TypeError, or ValueError for one of another form."""
        data = entry.data
        return cls(
            str(data["incident"]),
            float(data["opened"]),
            _number(data["paged"]),
            Service.parse(data["service"]),
            Service.parse(data["first_service"]),
            Service.parse(data["paged_service"]) if data["paged_service"] else None,
            _number(data["resolved"]),
        )

    def data(self) -> Mapping[str, Any]:
        """The form in the journal."""
        return {
            **self._asdict(),
            "service": str(self.service),
            "first_service": str(self.first_service),
            "paged_service": str(self.paged_service) if self.paged_service else None,
        }

    def is_of(self, incident: Incident, members: frozenset[Service]) -> bool:
        """Whether a newly found incident may be this one, which opened earlier. members: its services so far."""
        services = {self.service, self.first_service, self.paged_service}
        is_open = self.resolved is None or self.resolved >= incident.opened
        is_same_kind = self.incident.endswith(LATENT_SUFFIX) == incident.id.endswith(LATENT_SUFFIX)
        is_earlier = is_open and is_same_kind and self.opened < incident.opened
        return is_earlier and not services.isdisjoint(members | {incident.service})


class Identities:
    """Records the identities of open incidents, and restores them after a restart. One thread uses it."""

    def __init__(self, journal: EntryLog) -> None:
        self._journal = journal
        self._known: dict[str, Identity] = {}
        self._begin: float | None = None
        """Start of the analyzed history, Unix seconds; None before the first evaluation."""
        self._earlier: list[Identity] = []
        """Incidents that opened too early to be found in it, the newest first."""
        self._problem = LogOnChange(log)

    def restored(self, state: State) -> State:
        """The state with the identities of incidents that were open before the analyzed history."""
        if self._begin is None:
            self._begin = state.time
            self._read(state.time + MIN_LEARNING_SECONDS)
        if not self._earlier or state.time > self._begin + REOPEN_SECONDS:
            return state
        tracked = tuple(
            replace(group, incident=self._restored(group.incident, group.members)) if group.incident else group
            for group in state.tracked
        )
        latent = tuple(item._replace(incident=self._restored(item.incident)) for item in state.latent_risk_warnings)
        return replace(state, tracked=tracked, latent_risk_warnings=latent)

    def record(self, incidents: Iterable[Incident]) -> None:
        """Write what changed of the identities into the journal; a failure is tried again at the next evaluation."""
        try:
            for incident in incidents:
                identity, known = Identity.of(incident), self._known.get(incident.id)
                is_news = identity != known if incident.is_open else known is not None and known.resolved is None
                if is_news:
                    self._journal.append("identity", incident.resolved or incident.opened, BY, identity.data())
                    self._known[incident.id] = identity
        except SourceError as error:
            self._problem.update(f"incidents open now may get another ID after a restart: {error}")
        else:
            self._problem.update("")

    def _read(self, until: float) -> None:
        """Read the identities; those that opened before `until` may be found again. An unreadable journal has none."""
        try:
            entries = self._journal.read("identity")
        except SourceError as error:
            log.warning("incidents that were open may get another ID: %s", error)
            return
        for entry in entries:
            try:
                identity = Identity.read(entry)
            except (AttributeError, KeyError, TypeError, ValueError):
                log.warning("journal: entry %d has an unknown form and is left out", entry.seq)
                continue
            self._known[identity.incident] = identity
        self._earlier = [item for item in self._known.values() if item.opened < until]
        self._earlier.sort(key=lambda item: -item.opened)

    def _restored(self, incident: Incident, members: frozenset[Service] = frozenset()) -> Incident:
        if incident.id in self._known:
            return incident
        found = next((item for item in self._earlier if item.is_of(incident, members)), None)
        if found is None:
            return incident
        self._earlier.remove(found)
        return replace(
            incident,
            id=found.incident,
            opened=found.opened,
            since=min(incident.since, found.opened),
            paged=found.paged if found.paged is not None else incident.paged,
            severity="critical" if found.paged is not None else incident.severity,
            first_service=found.first_service,
            paged_service=found.paged_service or incident.paged_service,
        )


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
