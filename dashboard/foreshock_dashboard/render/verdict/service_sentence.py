"""The state of a service as a sentence for its owner. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Health, Stage
from foreshock_dashboard.render.clause import Text, filled_text, in_sentence, joined, text
from foreshock_dashboard.render.incident_summary import BREACH_FORECAST, summary_clauses, suspicion_clauses
from foreshock_dashboard.render.units import (
    breach_forecast,
    counted,
    duration,
    load_percent,
    minutes_of,
    percent,
    slo_name,
)
from foreshock_dashboard.render.words.incidents import CONFIDENCE_LEVELS, RISKS
from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.render.words.services import CONDITIONS
from foreshock_dashboard.render.words.status import DATA_STATES


class ServiceState(NamedTuple):
    """The current values of a service that its sentence states.

    low_traffic: too few requests to judge its values.
    slo_usage: value over target, above 1 in breach. forecast: of an SLO breach that lasts or is expected. load,
    safe_load: of capacity, NaN where unknown.
    """

    health: Health
    stage: Stage | None
    rate: float | None
    error_rate: float | None
    p95: float | None
    gpus: int
    low_traffic: bool = False
    slo: ServiceSlo | None = None
    slo_usage: float = 0.0
    forecast: AtRisk | None = None
    load: float = math.nan
    safe_load: float = math.nan


def service_sentence(snapshot: Snapshot, service: Service, state: ServiceState) -> Text:
    """The state of a service: within its SLO, at risk, in breach, or why that is unknown."""
    if state.health == "unknown":
        return text(service, ": no fresh data. The values shown are the last ones received.")
    if not state.rate and not state.low_traffic:
        on_gpus = f"It runs on {counted(state.gpus, 'GPU')}." if state.gpus else "No GPU usage observed."
        return text(service, f" has no traffic. {on_gpus}")
    if state.slo is None:
        return text(service, f": {_values(state)}. {_without_slo(snapshot)}")
    return text(service, f" {_slo_state(state)}: {_values(state)}.{_breach_forecast(state)}")


def _slo_state(state: ServiceState) -> str:
    if state.low_traffic:
        return f"has {in_sentence(CONDITIONS['low_traffic'])} and is not judged"
    if state.slo_usage > 1:
        return "breaches its SLO"
    if state.stage == "degraded":
        return "is degraded"
    return "is at risk" if _breach_forecast(state) else "is within its SLO"


def _breach_forecast(state: ServiceState) -> str:
    """` SLO breach forecast: median < 5 min, 80% interval: 1 to 9 min.`; empty where none is expected, or it lasts."""
    risk = state.forecast
    if risk is None or not 0 < risk.p50 < math.inf or state.slo_usage > 1 or state.low_traffic:
        return ""
    return f" {BREACH_FORECAST}: {breach_forecast(risk.p10, risk.p50, risk.p90)}."


def service_detail(service: Service, state: ServiceState, incident: Incident | None) -> Text:
    """The load beyond its safe limit, and the suspected cause of the open incident with the service; else empty."""
    parts = []
    if state.load > state.safe_load:
        parts.append(text(f"Load {load_percent(state.load)} (safe limit {percent(state.safe_load)})."))
    if incident:
        parts.append(_suspected_cause(incident, service))
    return joined(filter(None, parts), " ")


def _values(state: ServiceState) -> str:
    """Latency and errors, each with its SLO target in brackets."""
    parts, slo = [], state.slo
    name = slo_name(learned=bool(slo and slo.learned))
    if state.p95 is not None:
        parts.append(f"p95 {duration(state.p95)}{f' ({name} {duration(slo.seconds)})' if slo else ''}")
    if state.error_rate is not None:
        parts.append(f"error rate {percent(state.error_rate)}{f' ({name} {percent(slo.error_rate)})' if slo else ''}")
    return ", ".join(parts) or "no requests completed recently"


def _without_slo(snapshot: Snapshot) -> str:
    if snapshot.is_preview:
        return HISTORY_BEING_READ
    if not snapshot.learning.done:
        return f"{filled_text(DATA_STATES['learning'], progress=minutes_of(*snapshot.learning))} Set an SLO with --slo."
    return "No SLO configured and not enough data to learn one."


def _suspected_cause(incident: Incident, service: Service) -> Text:
    """The suspected cause of an incident as its service, or another one, sees it; a latent risk in full."""
    if incident.summary.latent:
        return (
            text(f"{RISKS['latent']}, no impact now. ", summary_clauses(incident))
            if service == incident.service
            else ()
        )
    if not incident.is_cause_stated:
        return text(suspicion_clauses(incident), ".")
    suspect, level = incident.suspect.service, f" ({CONFIDENCE_LEVELS[incident.confidence_level]})."
    if suspect == service and incident.service != service:
        return text("It is the suspected cause of the incident on ", incident.service, level)
    if suspect is None or suspect == service:
        return ()
    return text("Suspected cause: ", suspect, level)
