"""Incidents as alerts of Alertmanager's API v2. Pure.

The labels are those of the rules in `alerts/`, so that routes and inhibitions hold for both. They identify an alert, so
they stay the same while it fires, on every hub with the same data; all else is an annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from foreshock_dashboard.model.incident import Incident, Severity
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.due import is_worth_sending
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.incident_summary import details_sentences, headline
from foreshock_dashboard.render.notification import action_line, alert_name, incident_url, runbook_url

RESEND_RESOLVED_SECONDS = 900.0
"""Seconds for which the end of an alert is posted again, for a peer that missed it; as Prometheus does."""

Labels = Callable[[Incident, Severity], Mapping[str, str]]
"""The labels of an incident's alert of a severity, the same as long as it is open: others would be another alert."""
ToWall = Callable[[float], float]
"""A time of the hub as one of Alertmanager, Unix seconds both; they differ for a simulated platform."""


def alerts(
    incidents: Iterable[Incident],
    now: float,
    to_wall: ToWall,
    valid: float,
    base: str,
    labels: Labels,
    *,
    early: bool = True,
) -> list[Json]:
    """The alerts of open incidents, and the ends of those that are over.

    now: time of the hub. valid: seconds until an alert ends unless it is posted again. base: URL of the hub. early:
    whether early warnings are alerts; latent risks always are.
    """
    listed = []
    for incident in incidents:
        if incident.is_open and not is_worth_sending(incident, now):
            continue
        for severity, start, end in _periods(incident):
            if severity == "warning" and not (early or incident.summary.latent):
                continue
            if end is None:
                ends_at = to_wall(now) + valid
            elif now - end <= RESEND_RESOLVED_SECONDS:
                ends_at = to_wall(end)
            else:
                continue
            listed.append(_alert(incident, labels(incident, severity), to_wall(start), ends_at, base))
    return listed


def alert_labels(incident: Incident, severity: Severity, owner: Callable[[Service], str]) -> dict[str, str]:
    """The labels of an incident's alert of a severity, as of now. owner: of a service, "" if unknown."""
    if severity != incident.severity:  # its labels are those of the time before the page
        name, role = "ForeshockEarlyWarning", "effect"
    else:
        name, role = alert_name(incident), "cause" if severity == "critical" else "effect"
    service = incident.alerted_service(severity)
    labels = {
        "alertname": name,
        "severity": severity,
        "alert_role": role,
        "incident": incident.id,
        "service": service.name,
        "service_name": service.name,
        "namespace": service.local.namespace,
        "service_namespace": service.local.namespace,
        "cluster": service.cluster,
        "origin": str(service.local),
        "owner": owner(service),
    }
    return {key: value for key, value in labels.items() if value}


def _periods(incident: Incident) -> Iterable[tuple[Severity, float, float | None]]:
    """The alerts of an incident: severity, start, and end (None while it fires). A page ends the early warning."""
    if incident.severity == "warning":
        yield "warning", incident.opened, incident.resolved
        return
    paged = incident.opened if incident.paged is None else incident.paged
    if paged > incident.opened:
        yield "warning", incident.opened, paged
    yield "critical", paged, incident.resolved


def _alert(incident: Incident, labels: Mapping[str, str], start: float, end: float, base: str) -> Json:
    annotations = {
        "service": in_words(incident.service),
        "summary": headline(incident),
        "description": details_sentences(incident),
        "action": action_line(incident),
        "dashboard_url": incident_url(base, incident.id),
        "runbook_url": runbook_url(base, incident),
    }
    return {
        "labels": dict(labels),
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": _rfc3339(start),
        "endsAt": _rfc3339(end),
        "generatorURL": annotations["dashboard_url"],
    }


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
