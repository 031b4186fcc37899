"""The summary of an incident in words: one sentence for a person who was just paged."""

from __future__ import annotations

import math

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import Clause, Text, joined, joined_text, text, time
from foreshock_dashboard.render.units import duration, gpu_list, percent

LIKELY_CONFIDENCE = 0.5
"""Confidence from which a neighbor starves a service, and does not only `may starve` it."""
NEXT_SECONDS = 900.0
"""Seconds within which the next service at risk is named."""
MAX_SERVICES = 4
"""Services that are listed by name; of more the first three are."""


def incident_sentence(incident: Incident) -> str:
    """`batch starves llm on host-1/gpu-0 since 12:34:56 UTC; p95 of llm 1.50 s, usually 500 ms.`"""
    return joined_text(summary_clauses(incident))


def summary_clauses(incident: Incident) -> Text:
    """What is wrong, since when, how bad it is, and which service is next."""
    # Where no service is affected nothing has happened yet that it could be since.
    since = text(" since ", time(incident.since)) if incident.affected else ()
    symptom = _symptom(incident)
    if incident.state == "recovering":
        return text(condition_clauses(incident), since, "; it calms down", *((": ", symptom) if symptom else ()), ".")
    parts = [text(condition_clauses(incident), since), symptom, _others(incident.other_affected), _next(incident)]
    rest = [text("; ", part) for part in parts[1:] if part]
    return text(parts[0], *rest, ".")


def condition_clauses(incident: Incident) -> Text:
    """What is wrong: `batch starves llm on host-1/gpu-0`."""
    service, suspect = incident.service, incident.suspect
    other = suspect.service if suspect.service != service else None
    match incident.cause:
        case "gpu_contention" if other:
            return _starving(incident, other)
        case "gpu_contention":
            return text(service, " fights for its GPUs")
        case "overload":
            soon = any(risk.service == service and 0 < risk.p50 < math.inf for risk in incident.at_risk)
            most = (", most of it through ", other) if other else ()
            return text(service, " will soon be" if soon else " is", " asked for more than it carries", *most)
        case "scale_up_lag":
            return text(service, " is asked for more than its replicas carry, and new ones are late")
        case "retry_storm" if incident.summary.latent:
            return text("A short loss of capacity would take ", service, " down for good by retries")
        case "retry_storm":
            return text("Retries", *((" of ", suspect.edge[0]) if suspect.edge else ()), " keep ", service, " down")
        case "network" if suspect.edge:
            return text("Packets between ", suspect.edge[0], " and ", suspect.edge[1], " are lost or late")
        case "network":
            return text("The network of ", suspect.host or service, " loses packets")
        case "kv_cache_pressure":
            return text("Longer requests", *((" of ", other) if other else ()), " fill the KV cache of ", service)
        case "load_imbalance":
            return text("One replica of ", service, " has more to do or is slower than the others")
        case "hardware" if suspect.gpus:
            return text(gpus_clause(incident), " is held back or failing")
        case "hardware" if suspect.host:
            return text("Hardware of ", service, " is held back or failing")
        case "hardware":
            return text("Replicas of ", service, " are lost")
        case _:
            return text(suspect.service or service, " is slow or failing")


def starving_verb(incident: Incident) -> str:
    """`starves`, or `may starve` at low confidence."""
    return "starves" if incident.confidence >= LIKELY_CONFIDENCE else "may starve"


def gpus_clause(incident: Incident) -> Clause:
    """The GPUs of an incident, each by name or only counted."""
    gpus = incident.suspect.gpus
    return Clause(gpu_list(gpus), "gpus", gpus=tuple(gpu.label for gpu in gpus))


def _starving(incident: Incident, neighbor: Service) -> Text:
    """A neighbor takes the time of GPUs; or, from elsewhere, its requests make others wait."""
    service, requests = incident.service, incident.summary.requests
    if requests is None:
        on = (" on ", gpus_clause(incident)) if incident.suspect.gpus else ()
        return text(neighbor, f" {starving_verb(incident)} ", service, *on)
    what = text(f"{requests} from ", neighbor) if requests else text("what ", neighbor, " asks")
    makes = "makes" if incident.confidence >= LIKELY_CONFIDENCE else "may make"
    return text(what, f" {makes} other requests to ", service, " wait")


def _symptom(incident: Incident) -> Text:
    symptom = incident.summary.symptom
    if symptom is None:
        return ()
    if symptom.signal == "failed":
        return text(f"{percent(symptom.value)} of requests to ", incident.service, " fail")
    now, baseline = duration(symptom.value), duration(symptom.baseline)
    return text("p95 of ", incident.service, f" {now}, usually {baseline}")


def _others(services: tuple[Service, ...]) -> Text:
    """The other affected services."""
    if not services:
        return ()
    named = services if len(services) <= MAX_SERVICES else services[:3]
    if len(named) < len(services):
        names = text(joined(named, ", "), f" and {len(services) - len(named)} more")
    else:
        names = text(joined(named[:-1], ", "), " and " if len(named) > 1 else "", named[-1])
    return text(names, " is" if len(services) == 1 else " are", " worse than usual too")


def _next(incident: Incident) -> Text:
    """The next service that misses its objective, if that is soon."""
    following = next((risk for risk in incident.at_risk if 0 < risk.p50 <= NEXT_SECONDS), None)
    if following is None:
        return ()
    seconds = following.p50
    about = f"{max(10, round(seconds, -1)):.0f} s" if seconds < 90 else f"{round(seconds / 60)} min"
    return text("next ", following.service, f" in about {about}")
