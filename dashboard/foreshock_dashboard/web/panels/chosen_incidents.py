"""The incidents that a page shows: all open ones or a chosen one, their forecasts, and their time range. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.state.conditions import ServiceForecasts, open_incidents
from foreshock_dashboard.web.state.parameters import DEFAULT_RANGE_SECONDS
from foreshock_dashboard.web.state.service_history import HistoryCache
from foreshock_dashboard.web.state.stages import ServiceHistory

LEAD_IN_SECONDS, LEAD_IN_SHARE = 60.0, 0.15
"""Time before the first anomaly that is shown: at least that many seconds, and that share of the incident."""
HEALTHY_SECONDS, MAX_SECONDS = DEFAULT_RANGE_SECONDS, 3600.0
"""Time range of the lanes without an incident, and bound with one, without the forecast."""


class ChosenIncidents(NamedTuple):
    """The open incidents, or a chosen one. onset: their first anomaly, None without any. risks: by service.

    others: incidents and latent risks of the same time, whose services are no part of these. ended: without an open
    or chosen incident, those that affected a service before.
    """

    incidents: tuple[Incident, ...]
    onset: float | None
    risks: Mapping[Service, AtRisk]
    others: tuple[Incident, ...] = ()
    ended: tuple[Incident, ...] = ()

    @property
    def slos(self) -> tuple[ServiceSlo, ...]:
        """The SLOs in force during these incidents, the last of equal services counts."""
        return tuple(slo for item in reversed(self.incidents) for slo in item.slos)

    def may_have(self, service: Service) -> bool:
        """Whether a service may be a part of these incidents: it is not of others only, nor in another cluster."""
        own = frozenset[Service]().union(*(item.services for item in self.incidents))
        if service in own or not own:
            return True
        is_near = service.cluster in {each.cluster for each in own}
        return is_near and not any(service in item.services for item in self.others)


def chosen_incidents(snapshot: Snapshot, incident_id: str = "") -> ChosenIncidents:
    """The incident with an id, or all open ones that affect a service."""
    if incident_id:
        found = next((item for item in snapshot.incidents if item.id == incident_id), None)
        return chosen_incident(snapshot, found) if found else ChosenIncidents((), None, {})
    incidents = tuple(item for item in open_incidents(snapshot) if item.affected)
    latent = tuple(item for item in open_incidents(snapshot) if not item.affected)
    onset = min((first_sign(item) for item in incidents), default=None)
    ended = () if incidents else tuple(item for item in snapshot.incidents if item.affected and item.resolved)
    return _with_risks(snapshot, ChosenIncidents(incidents, onset, {}, latent if incidents else (), ended))


def chosen_incident(snapshot: Snapshot, incident: Incident) -> ChosenIncidents:
    """An incident of a snapshot, beside the others of its time."""
    onset, end = first_sign(incident), incident.resolved or math.inf
    others = (item for item in snapshot.incidents if first_sign(item) <= end and (item.resolved or math.inf) >= onset)
    found = ChosenIncidents((incident,), onset, {}, tuple(item for item in others if item.id != incident.id))
    return _with_risks(snapshot, found)


def _with_risks(snapshot: Snapshot, chosen: ChosenIncidents) -> ChosenIncidents:
    if not any(item.is_open for item in chosen.incidents):
        return chosen
    expected = ServiceForecasts(snapshot).expected.items()
    return chosen._replace(risks={service: risk for service, risk in expected if chosen.may_have(service)})


def first_sign(incident: Incident) -> float:
    """Unix seconds of the first anomaly of an incident."""
    return min(incident.since, incident.opened)


def lanes_start(world: World, chosen: ChosenIncidents, healthy_seconds: float = HEALTHY_SECONDS) -> float:
    """Start of the lanes on the Now page: shortly before the first anomaly of the open incidents.

    healthy_seconds: that are shown without an incident.
    """
    if chosen.onset is None:
        return world.time - healthy_seconds
    lead_in = max(LEAD_IN_SECONDS, LEAD_IN_SHARE * (world.time - chosen.onset))
    return max(world.time - MAX_SECONDS, chosen.onset - lead_in)


def current_history(
    snapshot: Snapshot, world: World, chosen: ChosenIncidents, histories: HistoryCache
) -> ServiceHistory:
    """The history of all services whose newest stages every page shows, so that a state is the same word everywhere."""
    start = min(lanes_start(world, chosen), world.time - HEALTHY_SECONDS)
    return histories.get(snapshot, world, chosen.onset, start, chosen.slos)
