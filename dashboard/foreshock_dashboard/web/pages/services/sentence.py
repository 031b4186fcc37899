"""The state of a service as a sentence for its owner. Pure."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.render.clause import Text, text, time
from foreshock_dashboard.render.incident_summary import summary_clauses
from foreshock_dashboard.render.units import duration, percent, plural
from foreshock_dashboard.web.state.conditions import Health, ServiceForecast, SloJson, open_incidents

LIKELY_BREACH_PROBABILITY = 0.5
"""Probability of a breach within ten minutes from which the sentence is about it."""


class ServiceState(NamedTuple):
    """The figures of a service that its sentence is about."""

    health: Health
    rate: float | None
    failed: float | None
    p95: float | None
    gpus: int
    forecast: ServiceForecast


def worst(snapshot: Snapshot, service: Service) -> Incident | None:
    """The worst open incident with a role for the service."""
    parts = ((item, (item.service, item.suspect.service, *item.affected)) for item in open_incidents(snapshot))
    return next((item for item, named in parts if service in named), None)


def sentence(snapshot: Snapshot, service: Service, state: ServiceState) -> Text:
    """The worst fact about a service. state: its figures."""
    if item := worst(snapshot, service):
        return summary_clauses(item)
    if state.health == "unknown":
        return text(f"Nothing fresh is known of {service}: what follows is the last that it told.")
    if not state.rate:
        gpus = f"it works on {state.gpus} {plural(state.gpus, 'GPU')}"
        place = gpus if state.gpus else "nothing of it is seen on a GPU"
        return text(f"{service} gets no requests that are known; {place}.")
    if (promise := state.forecast["promise"]) is None:
        return text(f"{_figures(service, state)}. ", _unpromised(snapshot))
    return text(_beside_slo(service, state, promise))


def _beside_slo(service: Service, state: ServiceState, promise: SloJson) -> str:
    forecast = state.forecast
    word = "misses" if (forecast["used"] or 0.0) > 1 else "keeps"
    text = f"{service} {word} its {'usual level' if promise.learned else 'objective'}: {_against(state, promise)}."
    if word == "keeps" and (forecast["risk"] or 0.0) >= LIKELY_BREACH_PROBABILITY and forecast["breach"] is not None:
        text = f"{service} may miss its objective in {forecast['breach'] / 60:.0f} min: {_against(state, promise)}."
    if forecast["load"] is not None and forecast["safe"] is not None and forecast["load"] > forecast["safe"]:
        text += f" It is asked for {percent(forecast['load'])} of what it can do; {percent(forecast['safe'])} is safe."
    return text


def _against(state: ServiceState, promise: SloJson) -> str:
    parts = []
    if state.p95 is not None:
        parts.append(f"p95 {duration(state.p95)} of at most {duration(promise.seconds)}")
    if state.failed is not None:
        parts.append(f"{percent(state.failed)} failed of at most {percent(promise.failed)}")
    return ", ".join(parts) or "no request ended lately"


def _figures(service: Service, state: ServiceState) -> str:
    p95 = f"p95 {duration(state.p95)}" if state.p95 is not None else "no duration known"
    failed = f", {percent(state.failed)} failed" if state.failed is not None else ""
    return f"{service}: {p95}{failed}"


def _unpromised(snapshot: Snapshot) -> Text:
    if not snapshot.learning.done:
        have, need = snapshot.learning.have / 60, snapshot.learning.need / 60
        return text(f"What is usual is still being learned ({have:.0f} of {need:.0f} min); --slo sets a promise.")
    at = (" at ", time(snapshot.world.time)) if snapshot.world else ()
    return text("Nothing is promised for it and too little known of it", *at, " to learn what is usual.")
