"""An incident in words: condition, headline, suspected cause, and summary."""

from __future__ import annotations

import math
from dataclasses import replace

from foreshock_dashboard.model.incident import NO_FIRST_STEP, AtRisk, Evidence, Incident, LaterCause, Symptom, Xid
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.render.change import change_before_clauses
from foreshock_dashboard.render.clause import (
    Clause,
    Text,
    in_sentence,
    joined,
    joined_text,
    place,
    sentences,
    text,
    time,
)
from foreshock_dashboard.render.units import (
    breach_bucket,
    duration,
    forecast_interval,
    gpu_list,
    load_percent,
    percent,
    plural,
    significant,
    slo_name,
)
from foreshock_dashboard.render.words.incidents import (
    BREACH_BUCKETS,
    CAUSES,
    CONFIDENCE_LEVELS,
    LOCAL_CAUSES,
    TOO_FEW,
    UNCERTAIN,
)

BREACHES_SLO, WITHIN_SLO_AGAIN = "is breaching its SLO", "is within its SLO again"
OVERLOADED, ABOVE_SAFE_LIMIT = "is overloaded", "is above its safe limit"
BREACH_FORECAST = "SLO breach forecast"
IMMINENT_SECONDS = min(BREACH_BUCKETS)
"""Median seconds to an SLO breach below which it is imminent."""
NEXT_SECONDS = 900.0
"""Seconds within which the next service at risk is named."""
MAX_SERVICES = 4
"""Services that are listed by name; of more the first three are."""
MAX_CANDIDATES = 3
"""Candidates for the cause that are listed."""
DEGRADED_RATIO = 1.2
"""p95 over its baseline from which a service is degraded, and not only at risk."""


def headline(incident: Incident) -> str:
    """The condition with its metric: `llm is breaching its SLO: p95 27.4 s (SLO 16.4 s)`."""
    return joined_text(headline_clauses(incident))


def headline_clauses(incident: Incident) -> Text:
    """`headline` in clauses. A forecast takes the place of the metric, so that a headline has at most 12 words.

    Beside a load stands what it means for users.
    """
    metric = "" if is_forecast(incident) else _metric(incident)
    outlook = slo_outlook(incident, _symptom_figure(incident))
    return text(condition_clauses(incident), *((f": {metric}{outlook}",) if metric else ()))


def slo_outlook(incident: Incident, figure: str) -> str:
    """After the load of a headline: `, SLO breach forecast: median < 5 min`, or else p95 or errors beside the SLO.

    figure: the latter.
    """
    if not is_load_condition(incident):
        return ""
    outlook = breach_forecast(incident) or (figure if "SLO" in figure else "")
    return f", {outlook}" if outlook else ""


def breach_forecast(incident: Incident) -> str:
    """`SLO breach forecast: median < 5 min`, of an incident's own service; "" where none is soon."""
    risk = _own_forecast(incident)
    return "" if risk is None else f"{BREACH_FORECAST}: {breach_bucket(risk.p50)}"


def headline_interval(incident: Incident) -> str:
    """After a headline that has a forecast, its interval, for a page: `, 80% interval: 40 s to 6 min`; else ""."""
    risk = _own_forecast(incident)
    if risk is None or not (is_forecast(incident) or is_load_condition(incident)):
        return ""
    interval = forecast_interval(risk.p10, risk.p90)
    return f", {interval}" if interval else ""


def is_load_condition(incident: Incident) -> bool:
    """Whether the condition is that of the load."""
    return _condition(incident) in (OVERLOADED, ABOVE_SAFE_LIMIT)


def condition_clauses(incident: Incident, stage: Stage | None = None) -> Text:
    """The service and its condition, without values: `llm is breaching its SLO`, `GET /home of llm is breaching …`.

    A caller that fails entirely comes first: `assistant is failing 100% of requests now; llm is breaching its SLO`.
    stage: of the service where the incident has none; by default, as its symptom shows.
    """
    condition, symptom = _condition(incident, stage), incident.summary.symptom
    if condition == BREACHES_SLO and (failing := incident.summary.failing) is not None:
        return text(failing, " is failing 100% of requests now; ", incident.service, f" {BREACHES_SLO}")
    operation = symptom.operation if symptom and (stage is None or incident.stage) else ""
    of = f"{operation} of " if operation and condition == BREACHES_SLO else ""
    return text(of, incident.service, f" {condition}")


def incident_sentence(incident: Incident) -> str:
    """The summary as one text."""
    return joined_text(summary_clauses(incident))


def summary_clauses(incident: Incident) -> Text:
    """Headline and details; a latent risk in one sentence."""
    if incident.summary.latent:
        return sentences(_latent(incident))
    return sentences(headline_clauses(incident), *_details(incident))


def details_sentences(incident: Incident) -> str:
    """The summary without its headline, for a message that has it as its title."""
    return joined_text(sentences(*_details(incident)), incident.service.cluster)


def _details(incident: Incident) -> tuple[Text, ...]:
    """Metric, suspected cause, affected services, next service at risk, and the first anomaly.

    Where the cause is not stated, its candidates. Of a latent risk, its figures.
    """
    if incident.summary.latent:
        outage, load = _latent_figures(incident)
        longest = f"{_seconds(outage.value)} (target {_seconds(outage.baseline)})" if outage else ""
        return (
            text(f"Longest survivable outage: {longest}") if outage else (),
            text(f"Retries would hold its load at {percent(load.value)}") if load else (),
        )
    return (
        text(_metric(incident)) if is_forecast(incident) else (),
        suspicion_clauses(incident),
        _other_xids(incident),
        later_clauses(incident),
        _affected(incident),
        _next(incident),
        text("First anomaly: ", time(incident.since)) if incident.affected else (),
    )


def _latent(incident: Incident) -> Text:
    """`If llm is down for more than 34 s, it does not recover on its own: retries … 4.56x capacity. Goal: …`."""
    outage, load = _latent_figures(incident)
    length = f"for more than {_seconds(outage.value)}" if outage else "for a short time"
    target = f". Goal: survive {_seconds(outage.baseline)}" if outage else ""
    kept = f"keep its load at {significant(load.value)}x capacity" if load else "keep it overloaded"
    stays = "it does not recover on its own: retries"
    return text("If ", incident.service, f" is down {length}, {stays} {kept}{target}")


def _latent_figures(incident: Incident) -> tuple[Evidence | None, Evidence | None]:
    """The longest survivable outage beside its target, and the load that retries would cause; None if unknown."""
    outage = next((row for row in incident.evidence if row.unit == "s"), None)
    return outage, next((row for row in incident.evidence if row.unit == "ratio"), None)


def _seconds(value: float) -> str:
    return f"{significant(value)} s"


def suspect_clauses(incident: Incident) -> Text:
    """The suspected cause: `noisy neighbor batch on host-1/gpu-0`."""
    service, suspect = incident.service, incident.suspect
    other = suspect.service if suspect.service != service else None
    match incident.cause:
        case "gpu_contention" if other and incident.summary.requests is None:
            return text("noisy neighbor ", other, *((" on ", gpus_clause(incident)) if suspect.gpus else ()))
        case "gpu_contention" if other:
            requests = f" {incident.summary.requests}" if incident.summary.requests else ""
            return text(f"{CAUSES[incident.cause]}: ", other, f"'s{requests} requests")
        case "gpu_contention":
            return text(CAUSES[incident.cause], *((" on ", gpus_clause(incident)) if suspect.gpus else ()))
        case "overload":
            return text("overload", *(("; most of the extra load comes from ", other) if other else ()))
        case "scale_up_lag":
            return text("scale-up lag: new replicas are not ready")
        case "retry_storm" if incident.summary.latent:
            return text("client retries")
        case "retry_storm":
            return text("retry storm", *((" from ", suspect.edge[0]) if suspect.edge else ()))
        case "network" if suspect.edge:
            return text("packet loss or high latency between ", suspect.edge[0], " and ", suspect.edge[1])
        case "network":
            return text("packet loss on ", place(suspect.host) if suspect.host else service)
        case "kv_cache_pressure":
            return text("longer requests", *((" from ", other) if other else ()), " fill the KV cache")
        case "load_imbalance":
            return text("load imbalance: one replica is overloaded or slow")
        case "hardware" if suspect.gpus:
            xid = next(iter(hardware_xids(incident)), None)
            state = "lost or failing" if incident.summary.down else "failing" if xid else "throttled or failing"
            return text(f"{state} ", gpus_clause(incident), f" with {_xid_name(xid.xid)}" if xid and xid.xid else "")
        case "hardware" if suspect.host:
            return text("hardware fault on ", place(suspect.host))
        case "hardware":
            return text("lost replicas")
        case "change" if suspect.change is not None:
            return change_before_clauses(suspect.change, incident.since)
        case _ if incident.summary.down:
            return text("crashed or unreachable replicas")
        case _:
            return text("degraded dependency ", other) if other else text("local fault, no external cause found")


def hardware_xids(incident: Incident) -> tuple[Evidence, ...]:
    """The XID errors that the suspected cause names, the most severe first: on its GPUs, where it is the hardware."""
    if incident.cause != "hardware":
        return ()
    labels = {gpu.label for gpu in incident.suspect.gpus}
    return tuple(item for item in incident.xids if item.entity in labels)


def _other_xids(incident: Incident) -> Text:
    """The most severe XID error that the suspected cause does not name, with the first step against it."""
    named = hardware_xids(incident) if incident.is_cause_stated else ()
    other = next((item for item in incident.xids if item not in named), None)
    if other is None or other.xid is None:
        return ()
    step = f"; NVIDIA recommends that you {other.xid.action}" if other.xid.action not in NO_FIRST_STEP else ""
    gpu = Clause(other.entity, "gpus", gpus=(other.entity,))
    return text("GPU error: ", f"{_xid_name(other.xid)}, on ", gpu, ", ", time(other.since), step)


def _xid_name(xid: Xid) -> str:
    return f"XID {xid.number}, {xid.name}"


def candidate_clauses(incident: Incident) -> Text:
    """The candidates for the cause, the likeliest first; empty without one."""
    return joined([candidate.service for candidate in incident.candidates[:MAX_CANDIDATES]], ", ")


def cause_name(incident: Incident) -> str:
    """The cause class: `GPU contention`, `Local fault` of the affected service itself, or `Cause uncertain`."""
    if not incident.is_cause_stated:
        return UNCERTAIN
    is_local = incident.suspect.service in (None, incident.service)
    if is_local and incident.cause == "dependency":
        return LOCAL_CAUSES[incident.cause]
    return CAUSES[incident.cause]


def later_clauses(incident: Incident) -> Text:
    """The cause that began after the page: `Later also at llm: throttled or failing host-1/gpu-0, since 12:10`."""
    if incident.later is None:
        return ()
    where = (" at ", incident.later.service) if incident.later.service != incident.service else ()
    return text("Later also", *where, ": ", later_cause_clauses(incident, incident.later))


def later_cause_clauses(incident: Incident, later: LaterCause) -> Text:
    """The same without the service: `throttled or failing host-1/gpu-0, since 12:10`."""
    summary = incident.summary._replace(requests=None, latent=False, down=False)
    shown = replace(
        incident, service=later.service, cause=later.cause, suspect=later.suspect, since=later.since, summary=summary
    )
    return text(suspect_clauses(shown), ", since ", time(later.since))


def gpus_clause(incident: Incident) -> Clause:
    """The GPUs of an incident, each by name or only counted."""
    gpus = incident.suspect.gpus
    return Clause(gpu_list(gpus), "gpus", gpus=tuple(gpu.label for gpu in gpus))


def _condition(incident: Incident, stage: Stage | None = None) -> str:
    summary = incident.summary
    stage = incident.stage or stage or _stage_by_symptom(summary.symptom)
    if incident.state == "resolved":
        return f"has recovered{f' from {in_sentence(cause_name(incident))}' if incident.is_cause_stated else ''}"
    if incident.state == "recovering":
        return "is recovering"
    if summary.latent:
        return "would not recover on its own from a short outage"
    if summary.down:
        return "is down"
    if stage == "breached":
        return BREACHES_SLO
    if incident.cause in ("overload", "scale_up_lag") and summary.load > summary.safe_load:
        return OVERLOADED if summary.load > 1.0 else ABOVE_SAFE_LIMIT
    if (risk := _own_forecast(incident)) is not None:
        bucket, is_imminent = breach_bucket(risk.p50), risk.p50 < IMMINENT_SECONDS
        if incident.severity != "critical":  # few trends of early warnings end in a breach
            return f"may breach its SLO ({'median < 1 min' if is_imminent else bucket})"
        return "is about to breach its SLO" if is_imminent else f"is forecast to breach its SLO ({bucket})"
    return "is degraded" if stage == "degraded" else "is anomalous"


def is_forecast(incident: Incident) -> bool:
    """Whether the condition is the forecast of an SLO breach."""
    return "breach its SLO" in _condition(incident)


def _own_forecast(incident: Incident) -> AtRisk | None:
    """The forecast of an SLO breach of the incident's own service; None if that is not soon."""
    own = (risk for risk in incident.at_risk if risk.service == incident.service)
    return next((risk for risk in own if 0 < risk.p50 <= NEXT_SECONDS), None)


def _stage_by_symptom(symptom: Symptom | None) -> Stage:
    """The stage of a service by its symptom alone: a resolved incident has no other."""
    if symptom is None:
        return "early_warning"
    if symptom.value > symptom.slo and symptom.counts:
        return "breached"
    is_degraded = symptom.signal == "error_rate" or symptom.value >= DEGRADED_RATIO * symptom.baseline
    return "degraded" if is_degraded else "early_warning"


def _metric(incident: Incident) -> str:
    """The metric of the condition: `p95 14.5 s (SLO 17.3 s)`, `load 82% (safe limit 55%)`.

    Unless the condition names an operation already, its metric does: `GET /home p95 14.5 s (operation SLO 17.3 s)`.
    """
    summary = incident.summary
    if incident.state == "resolved" or summary.latent:
        return ""
    if is_load_condition(incident):
        return f"load {load_percent(summary.load)} (safe limit {percent(summary.safe_load)})"
    return _symptom_figure(incident)


def _symptom_figure(incident: Incident) -> str:
    """p95 or the error rate beside its SLO: `p95 14.5 s (learned SLO 17.3 s)`; else its baseline; "" if unknown."""
    if (symptom := incident.summary.symptom) is None:
        return ""
    name, show = ("error rate", percent) if symptom.signal == "error_rate" else ("p95", duration)
    is_learned = any(slo.learned for slo in incident.slos if slo.service == incident.service)
    slo = slo_name(learned=is_learned)
    if symptom.operation and _condition(incident) != BREACHES_SLO:
        name, slo = f"{symptom.operation} {name}", "operation SLO"
    if math.isfinite(symptom.slo):
        few = "" if symptom.counts or symptom.value <= symptom.slo else TOO_FEW
        return f"{name} {show(symptom.value)} ({slo} {show(symptom.slo)}{few})"
    baseline = f" (baseline {show(symptom.baseline)})" if math.isfinite(symptom.baseline) else ""
    return f"{name} {show(symptom.value)}{baseline}"


def suspicion_clauses(incident: Incident) -> Text:
    """The suspected cause with its confidence; at low confidence, the candidates."""
    if not incident.is_cause_stated:
        count = len(incident.candidates[:MAX_CANDIDATES])
        label = f"Possible {plural(count, 'cause')} ({CONFIDENCE_LEVELS['low']}): "
        return text(label, candidate_clauses(incident)) if count else text(UNCERTAIN)
    confidence = CONFIDENCE_LEVELS[incident.confidence_level]
    return text("Suspected cause: ", suspect_clauses(incident), f" ({confidence})")


def _affected(incident: Incident) -> Text:
    """The other affected services, without the one that is at risk next."""
    soonest = _soonest(incident)
    services = [service for service in incident.other_affected if not soonest or service != soonest.service]
    if not services:
        return ()
    named = services if len(services) <= MAX_SERVICES else services[:3]
    more = f" and {len(services) - len(named)} more" if len(named) < len(services) else ""
    return text("Affected: ", joined(named, ", "), more)


def _soonest(incident: Incident) -> AtRisk | None:
    """The next service that is forecast to breach its SLO, if that is soon."""
    is_firing = incident.state == "firing"
    return next((risk for risk in incident.at_risk if is_firing and 0 < risk.p50 <= NEXT_SECONDS), None)


def _next(incident: Incident) -> Text:
    """That service, and when."""
    if (following := _soonest(incident)) is None:
        return ()
    bucket = breach_bucket(following.p50)
    if following.service == incident.service:
        is_known = "breach" in _condition(incident) or is_load_condition(incident)
        return () if is_known else text(f"{BREACH_FORECAST}: {bucket}")
    return text("Next to breach: ", following.service, f" ({bucket})")
