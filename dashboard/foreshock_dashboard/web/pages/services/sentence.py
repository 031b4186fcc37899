"""The state of a service as a sentence for its owner. Pure."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Health, Stage
from foreshock_dashboard.render.clause import Text, text
from foreshock_dashboard.render.incident_summary import BREACH_FORECAST, summary_clauses, suspicion_clauses
from foreshock_dashboard.render.units import (
    breach_bucket,
    counted,
    duration,
    load_percent,
    minutes_of,
    percent,
    slo_name,
)
from foreshock_dashboard.render.words.incidents import RISKS
from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.web.state.conditions import (
    LIKELY_BREACH_PROBABILITY,
    ServiceForecast,
    SloJson,
    open_incidents,
)


class ServiceState(NamedTuple):
    """The current values of a service that its sentence states."""

    health: Health
    stage: Stage | None
    rate: float | None
    error_rate: float | None
    p95: float | None
    gpus: int
    forecast: ServiceForecast


def worst(snapshot: Snapshot, service: Service) -> Incident | None:
    """The worst open incident with a role for the service."""
    parts = ((item, (item.service, item.stated_suspect.service, *item.affected)) for item in open_incidents(snapshot))
    return next((item for item, named in parts if service in named), None)


def sentence(snapshot: Snapshot, service: Service, state: ServiceState) -> Text:
    """The state of a service: within its SLO, at risk, in breach, or why that is unknown."""
    if state.health == "unknown":
        return text(service, ": no fresh data. Values are the last ones received.")
    if not state.rate:
        on_gpus = f"It runs on {counted(state.gpus, 'GPU')}." if state.gpus else "No GPU usage observed."
        return text(service, f" has no traffic. {on_gpus}")
    slo = state.forecast["slo"]
    if slo is None:
        return text(service, f": {_values(state)}. {_without_slo(snapshot)}")
    return text(service, f" {_slo_state(state)}: {_values(state, slo)}.{_breach_forecast(state)}")


def _slo_state(state: ServiceState) -> str:
    if _usage(state) > 1:
        return "breaches its SLO"
    if state.stage == "degraded":
        return "is degraded"
    return "is at risk" if _breach_forecast(state) else "is within its SLO"


def _usage(state: ServiceState) -> float:
    return state.forecast["slo_usage"] or 0.0


def _breach_forecast(state: ServiceState) -> str:
    """` SLO breach forecast: likely within 5 min.`; empty where it is not likely, or lasts already.

    Of an early warning no probability is known.
    """
    probability, seconds = state.forecast["breach_probability"], state.forecast["breach_seconds"]
    is_unlikely = probability is not None and probability < LIKELY_BREACH_PROBABILITY
    if is_unlikely or not seconds or _usage(state) > 1:
        return ""
    return f" {BREACH_FORECAST}: {breach_bucket(seconds)}."


def detail(snapshot: Snapshot, service: Service, forecast: ServiceForecast) -> Text:
    """The load beyond its safe limit, and the suspected cause of the open incident with the service; else empty."""
    incident = worst(snapshot, service)
    parts = (_over_safe_load(forecast), _suspected_cause(incident, service) if incident else ())
    known = [part for part in parts if part]
    return text(*known[:1], *(text(" ", part) for part in known[1:]))


def _over_safe_load(forecast: ServiceForecast) -> Text:
    load, safe = forecast["load"], forecast["safe_load"]
    if load is None or safe is None or load <= safe:
        return ()
    return text(f"Load {load_percent(load)} (safe limit {percent(safe)}).")


def _values(state: ServiceState, slo: SloJson | None = None) -> str:
    """Latency and errors, each with its SLO target in brackets."""
    parts, name = [], slo_name(learned=bool(slo and slo.learned))
    if state.p95 is not None:
        parts.append(f"p95 {duration(state.p95)}{f' ({name} {duration(slo.p95)})' if slo else ''}")
    if state.error_rate is not None:
        parts.append(f"error rate {percent(state.error_rate)}{f' ({name} {percent(slo.error_rate)})' if slo else ''}")
    return ", ".join(parts) or "no requests completed recently"


def _without_slo(snapshot: Snapshot) -> str:
    if snapshot.is_preview:
        return HISTORY_BEING_READ
    if not snapshot.learning.done:
        return f"Baseline in progress ({minutes_of(*snapshot.learning)}). Set an SLO with --slo."
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
    suspect, level = incident.suspect.service, f" ({incident.confidence_level} confidence)."
    if suspect == service and incident.service != service:
        return text("It is the suspected cause of the incident on ", incident.service, level)
    if suspect is None or suspect == service:
        return ()
    return text("Suspected cause: ", suspect, level)
