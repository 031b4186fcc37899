"""The state of a service as a sentence for its owner. Pure."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_dashboard.model.health import Health
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.render.clause import Text, text
from foreshock_dashboard.render.units import breach_bucket, counted, duration, percent
from foreshock_dashboard.web.state.conditions import ServiceForecast, SloJson, open_incidents

LIKELY_BREACH_PROBABILITY = 0.5
"""Probability of an SLO breach within ten minutes from which a service is at risk."""


class ServiceState(NamedTuple):
    """The current values of a service that its sentence states."""

    health: Health
    rate: float | None
    error_rate: float | None
    p95: float | None
    gpus: int
    forecast: ServiceForecast


def worst(snapshot: Snapshot, service: Service) -> Incident | None:
    """The worst open incident with a role for the service."""
    parts = ((item, (item.service, item.suspect.service, *item.affected)) for item in open_incidents(snapshot))
    return next((item for item, named in parts if service in named), None)


def sentence(snapshot: Snapshot, service: Service, state: ServiceState) -> Text:
    """The state of a service, and the suspected cause of the open incident that it is part of."""
    cause = _suspected_cause(item, service) if (item := worst(snapshot, service)) else ()
    return text(_state(snapshot, service, state), *((" ", cause) if cause else ()))


def _state(snapshot: Snapshot, service: Service, state: ServiceState) -> Text:
    if state.health == "unknown":
        return text(service, ": no fresh data. Values are the last ones received.")
    if not state.rate:
        on_gpus = f"It runs on {counted(state.gpus, 'GPU')}." if state.gpus else "No GPU usage observed."
        return text(service, f" has no traffic. {on_gpus}")
    slo = state.forecast["slo"]
    if slo is None:
        return text(service, f": {_values(state)}. {_without_slo(snapshot)}")
    return text(service, f" {_slo_state(state, slo)}: {_values(state, slo)}.{_over_safe_load(state.forecast)}")


def _slo_state(state: ServiceState, slo: SloJson) -> str:
    forecast, name = state.forecast, "learned SLO" if slo.learned else "SLO"
    if (forecast["slo_usage"] or 0.0) > 1:
        return f"breaches its {name}"
    if (forecast["breach_probability"] or 0.0) >= LIKELY_BREACH_PROBABILITY and forecast["breach_seconds"] is not None:
        return f"is at risk of an SLO breach ({breach_bucket(forecast['breach_seconds'])})"
    return f"is within its {name}"


def _over_safe_load(forecast: ServiceForecast) -> str:
    load, safe = forecast["load"], forecast["safe_load"]
    if load is None or safe is None or load <= safe:
        return ""
    return f" Load {percent(load)} of capacity (safe limit {percent(safe)})."


def _values(state: ServiceState, slo: SloJson | None = None) -> str:
    """Latency and errors, each with its SLO target in brackets."""
    parts = []
    if state.p95 is not None:
        parts.append(f"p95 {duration(state.p95)}{f' (SLO {duration(slo.p95)})' if slo else ''}")
    if state.error_rate is not None:
        parts.append(f"error rate {percent(state.error_rate)}{f' (SLO {percent(slo.error_rate)})' if slo else ''}")
    return ", ".join(parts) or "no requests completed recently"


def _without_slo(snapshot: Snapshot) -> str:
    if not snapshot.learning.done:
        have, need = snapshot.learning.have / 60, snapshot.learning.need / 60
        return f"Baseline in progress ({have:.0f} of {need:.0f} min). Set an SLO with --slo."
    return "No SLO configured and not enough data to learn one."


def _suspected_cause(incident: Incident, service: Service) -> Text:
    suspect, level = incident.suspect.service, f" ({incident.confidence_level} confidence)."
    if suspect == service and incident.service != service:
        return text("It is the suspected cause of the incident on ", incident.service, level)
    if suspect is None or suspect == service:
        return ()
    return text("Suspected cause: ", suspect, level)
