"""Identity of incidents across a restart, across hubs, and across the moment when names get a cluster, by the journal.

After a restart the hub analyzes the last hours. Of an incident that opened before them it finds a later opening, and so
another ID: acknowledgments, assignments, and silences would no longer belong to it. Incidents that opened within them
get the same ID from the data alone, so that replays and other hubs agree. As soon as there are several clusters, or no
longer, the hub analyzes the last hours as well, and finds the services of all incidents under other names. Of hubs that
share a journal, each may see an incident an evaluation earlier than another; they follow the one that leads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from foreshock_dashboard.analysis.incidents.content import LATENT_SUFFIX
from foreshock_dashboard.analysis.incidents.lifecycle import MIN_LEARNING_SECONDS, State
from foreshock_dashboard.analysis.incidents.triage import every_cluster
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.journal import Entry, EntryLog
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service

log = logging.getLogger(__name__)

REOPEN_SECONDS = MIN_LEARNING_SECONDS + 900.0
"""Seconds after the start of the analyzed history within which an incident opens again that was open before: as soon as
a baseline is learned, and a while later where the baseline is that of the incident."""
SAME_OPENING_SECONDS = 300.0
"""Longest time between the openings of one incident by two hubs."""
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

    def given_to(self, incident: Incident) -> Incident:
        """An incident with this identity."""
        return replace(
            incident,
            id=self.incident,
            opened=self.opened,
            since=min(incident.since, self.opened),
            paged=self.paged if self.paged is not None else incident.paged,
            severity="critical" if self.paged is not None else incident.severity,
            first_service=self.first_service,
            paged_service=self.paged_service or incident.paged_service,
        )

    def is_of(self, incident: Incident, members: frozenset[Service]) -> bool:
        """Whether a newly found incident may be this one, which opened earlier. members: its services so far."""
        is_open = self.resolved is None or self.resolved >= incident.opened
        return is_open and self.opened < incident.opened and self._is_like(incident, members)

    def is_same_opening(self, incident: Incident, members: frozenset[Service]) -> bool:
        """Whether an open incident is this one, as another hub found it."""
        near = abs(self.opened - incident.opened) <= SAME_OPENING_SECONDS
        return near and self._is_like(incident, members)

    def is_under_other_names(self, incident: Incident, members: frozenset[Service]) -> bool:
        """Whether an open incident may be this one, some of whose services have a cluster and others do not."""
        names = (incident.first_service or incident.service, self.first_service, self.service)
        return len({bool(service.cluster) for service in names}) > 1 and self._is_like(incident, members)

    def _is_like(self, incident: Incident, members: frozenset[Service]) -> bool:
        """Whether both are of one kind and have a service in common; one without a cluster may be in any."""
        own = {service for service in (self.service, self.first_service, self.paged_service) if service}
        services = members | {incident.service}
        shared = not own.isdisjoint(services)
        if not shared and not (self.service.cluster and any(service.cluster for service in services)):
            shared = not {service.local for service in own}.isdisjoint(service.local for service in services)
        return shared and self.incident.endswith(LATENT_SUFFIX) == incident.id.endswith(LATENT_SUFFIX)


_IsOf = Callable[[Identity, Incident, frozenset[Service]], bool]


class Identities:
    """Records the identities of open incidents, and restores them. One thread uses it.

    leads: whether this hub records them, of those that share the journal; None for one that has it alone.
    is_own: whether incidents of services in a cluster are of this hub; those of other shards have other identities.
    """

    def __init__(
        self,
        journal: EntryLog,
        leads: Callable[[], bool] | None = None,
        is_own: Callable[[str], bool] = every_cluster,
    ) -> None:
        self._journal, self._leads, self._is_own = journal, leads, is_own
        self._known: dict[str, Identity] = {}
        self._seq = 0
        """Of the newest entry read."""
        self._begin: float | None = None
        """Start of the analyzed history, Unix seconds; None before the first evaluation."""
        self._earlier: list[Identity] = []
        """Incidents that opened too early to be found in it, the newest first."""
        self._open: list[Identity] = []
        """Incidents that opened within it, or were open at a change of names; those found again have other names."""
        self._is_read = False
        self._reading, self._writing = LogOnChange(log), LogOnChange(log)

    def restored(self, state: State) -> State:
        """The state with the identities of incidents that were open before the analyzed history."""
        if self._begin is None:
            self._begin = state.time
        if not self._is_read:
            self._read(self._begin + MIN_LEARNING_SECONDS)
        if not self._earlier or state.time > self._begin + REOPEN_SECONDS:
            return state
        return self._with_identities(state, self._earlier, Identity.is_of)

    def rename(self, incidents: Iterable[Incident]) -> None:
        """Take the incidents as of now, before the history is analyzed again with other names of services."""
        self._open = [Identity.of(incident) for incident in incidents if incident.is_open]

    def renamed(self, state: State) -> State:
        """The state at the end of the history, with the identities of incidents that are open under other names."""
        if not self._open:
            return state
        found = {incident.id for incident in state.incidents}
        known = sorted((item for item in self._open if item.incident not in found), key=lambda item: item.opened)
        self._open = []
        return self._with_identities(state, known, Identity.is_under_other_names)

    def followed(self, state: State) -> State:
        """The state with the identities that another hub, which leads or led, gave to the open incidents."""
        if self._leads is None:
            return state
        self._read_new()
        found = {incident.id for incident in state.incidents}
        known = [item for item in self._known.values() if item.resolved is None and item.incident not in found]
        return self._with_identities(state, known, Identity.is_same_opening) if known else state

    def _with_identities(self, state: State, known: list[Identity], is_of: _IsOf) -> State:
        """The state with the first identity that each new incident may have, which is taken out of `known`."""

        def restored(incident: Incident, members: frozenset[Service] = frozenset()) -> Identity | None:
            if incident.id in self._known:
                return None
            found = next((item for item in known if is_of(item, incident, members)), None)
            if found:
                known.remove(found)
            return found

        tracked = []
        for group in state.tracked:
            if group.incident and (found := restored(group.incident, group.members)):
                recovering = group.recovering and found.given_to(group.recovering)
                tracked.append(replace(group, incident=found.given_to(group.incident), recovering=recovering))
            else:
                tracked.append(group)
        latent = []
        for item in state.latent_risk_warnings:
            same = restored(item.incident)
            latent.append(item._replace(incident=same.given_to(item.incident)) if same else item)
        return replace(state, tracked=tuple(tracked), latent_risk_warnings=tuple(latent))

    def record(self, incidents: Iterable[Incident]) -> None:
        """Write what changed of the identities into the journal; a failure is tried again at the next evaluation."""
        if self._leads and not self._leads():
            return
        try:
            for incident in incidents:
                identity, known = Identity.of(incident), self._known.get(incident.id)
                is_news = identity != known if incident.is_open else known is not None and known.resolved is None
                if is_news:
                    self._journal.append("identity", incident.resolved or incident.opened, BY, identity.data())
                    self._known[incident.id] = identity
        except SourceError as error:
            self._writing.update(f"incidents that are open now may get a different ID after a restart: {error}")
        else:
            self._writing.update("")

    def _read(self, until: float) -> None:
        """Read the identities; those that opened before `until` have another ID. An unreadable journal has none."""
        self._is_read = self._read_new()
        self._earlier = [item for item in self._known.values() if item.opened < until]
        self._earlier.sort(key=lambda item: -item.opened)
        self._open = [item for item in self._known.values() if item.opened >= until and item.resolved is None]

    def _read_new(self) -> bool:
        """Read the identities since the last time; whether it succeeded."""
        try:
            entries = self._journal.read("identity", self._seq)
        except SourceError as error:
            self._reading.update(f"open incidents may get a different ID: {error}")
            return False
        self._reading.update("")
        for entry in entries:
            self._seq = entry.seq
            try:
                identity = Identity.read(entry)
            except (AttributeError, KeyError, TypeError, ValueError):
                log.warning("journal: entry %d has an unknown form and is left out", entry.seq)
                continue
            if self._is_own(identity.service.cluster):
                self._known[identity.incident] = identity
        return True


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
