"""The catalog of words: labels of enumerations, hints, and empty states for pages, API, CLI, and reports.

`web/assets/words.js` is generated from it (`make golden`), so that scripts have no words of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.incident import Cause, ConfidenceLevel, Quality, Severity, State
from foreshock_dashboard.model.types import ConditionKind, Health, Stage
from foreshock_dashboard.response.values import FeedbackVerdict

SEVERITIES: Mapping[Severity, str] = {"critical": "Critical", "warning": "Early warning"}
STATES: Mapping[State, str] = {"firing": "firing", "recovering": "recovering", "resolved": "resolved"}
CAUSES: Mapping[Cause, str] = {
    "overload": "Overload",
    "scale_up_lag": "Scale-up lag",
    "gpu_contention": "GPU contention",
    "retry_storm": "Retry storm",
    "network": "Network",
    "dependency": "Failing dependency",
    "kv_cache_pressure": "KV cache pressure",
    "load_imbalance": "Load imbalance",
    "hardware": "Hardware fault",
    "change": "Change",
}
LOCAL_CAUSES: Mapping[Literal["dependency"], str] = {"dependency": "Local fault"}
"""Causes where the suspected service is the affected one itself."""
CONFIDENCE_LEVELS: Mapping[ConfidenceLevel, str] = {
    "low": "low confidence",
    "medium": "medium confidence",
    "high": "high confidence",
}
NO_REASON = "none of its signals is anomalous"
"""Why a service is a candidate that shows no anomaly itself."""
QUALITIES: Mapping[Quality, str] = {"measured": "measured", "sampled": "sampled", "inferred": "inferred"}
FEEDBACK: Mapping[FeedbackVerdict, str] = {
    "correct": "Correct cause",
    "wrong_cause": "Wrong cause",
    "not_useful": "Not useful",
}
NOTIFIED: Mapping[str, str] = {
    "early_warning": "early warning",
    "page": "page",
    "cause": "new cause",
    "resolved": "resolution",
}
"""What a notification was about, by its event in the journal."""
HEALTHS: Mapping[Health, str] = {
    "ok": "Healthy",
    "warning": "Warning",
    "critical": "Critical",
    "idle": "No traffic",
    "unknown": "No data",
}
STAGES: Mapping[Stage, str] = {
    "healthy": "Healthy",
    "early_warning": "Anomalous",
    "degraded": "Degraded",
    "breached": "SLO breach",
}
PAST_STAGES: Mapping[Stage, str] = {
    "healthy": "",
    "early_warning": "was anomalous",
    "degraded": "was degraded",
    "breached": "had breached SLO",
}
"""What a recovered service was, after `Recovered`."""
CONDITIONS: Mapping[ConditionKind, str] = {
    "healthy": "Healthy",
    "affected": "Affected",
    "recovering": "Recovering",
    "at_risk": "At risk",
    "noisy_neighbor": "Noisy neighbor",
    "suspected_cause": "Suspected cause",
    "errors": "Errors",
    "slo_breach": "SLO breach",
    "no_traffic": "No traffic",
    "no_data": "No data",
}
Verdict = Literal["healthy", "warning", "unknown", "learning", "empty", "error"]
VERDICTS: Mapping[Verdict, str] = {
    "healthy": "Healthy",
    "warning": "Warning",
    "unknown": "Unknown",
    "learning": "Learning",
    "empty": "No data",
    "error": "Error",
}
"""Verdicts of the Now page without an incident."""
Role = Literal["suspect", "affected", "at_risk"]
ROLES: Mapping[Role, str] = {"suspect": "suspected cause", "affected": "affected", "at_risk": "at risk"}
"""Roles of services in an incident."""
RISKS: Mapping[Literal["latent"], str] = {"latent": "Latent risk"}
"""Incidents that affect no service yet."""
SIGNAL_HINTS: Mapping[str, str] = {
    "p95": "callers wait longer",
    "error_rate": "callers get errors",
    "gpu_wait_by": "GPU work waits while another service runs on the same GPU",
    "per_token": "larger batches, or less GPU time",
    "first_token": "requests queue before their first token",
    "waiting": "requests arrive faster than they are served",
    "cache": "a full KV cache queues or preempts requests",
    "preempted": "requests are preempted and recomputed",
    "queued": "requests wait longer for a place in the batch",
    "attempts": "retries amplify load",
    "excess": "network or proxy latency",
    "flight": "more concurrent requests than the baseline",
    "throttled": "the GPU is throttled (thermal or power)",
    "errors": "the GPU reports errors",
    "ready": "fewer replicas are ready than desired",
}
"""Why an anomaly of a signal matters, by signal."""
SIGNAL_KINDS: Mapping[SignalKind, str] = {
    "latency": "latency",
    "errors": "error rate",
    "traffic": "request rate",
    "availability": "availability",
    "resource": "resource usage",
    "calls": "call graph",
    "other": "other",
}
"""Kinds of signals that an explanation compares."""
WORLD_METRICS: Mapping[str, str] = {
    "latency_seconds": "latency",
    "error_ratio": "error rate",
    "requests_per_second": "request rate",
}
"""Metrics of the hub's own signals that a root cause is compared by (`root_cause/world_rows.py`)."""
UNKNOWN_WITHOUT: Mapping[SignalKind, str] = {
    "latency": "which service is slow",
    "errors": "which service fails",
    "traffic": "whether load grew, or traffic was lost",
    "availability": "whether a service is down or has no traffic",
    "resource": "which resource is exhausted (CPU, memory, disk, connections)",
    "calls": "which service is the cause, and which only calls it",
    "other": "",
}
"""The question that `explain` cannot answer without any signal of a kind, as part of a sentence."""
HUB_UNKNOWN_WITHOUT: Mapping[str, str] = {
    "Requests": "which service is slow, fails, or breaches its SLO",
    "Calls": "which service is the cause, which only calls it, and where a slowdown spreads",
    "GPUs": "how busy a GPU is",
    "GPU use by service": "which service keeps a GPU busy",
    "GPU wait": "which service a noisy neighbor slows",
    "GPU health": "whether a slow GPU is throttled, failing, or lost",
    "Model servers": "whether a model server is overloaded, and when it will be",
    "Replicas": "whether lost or pending replicas are the cause",
    "Quota": "whether more replicas fit into the quota",
    "Network": "whether the network is the cause",
}
"""The question that the hub cannot answer without a signal, by its name on the Status page."""
EMPTY: Mapping[str, str] = {
    "services": "No services: no spans received, no process seen on a GPU. Send OTLP spans or run foreshock-exporter.",
    "gpus": "No GPUs: no target exports gpu_info.",
    "own_gpus": "Runs on no known GPU.",
    "neighbors": "No other service on its GPUs.",
    "pairs": "No services share a GPU.",
    "gpu_wait": "No data on GPU wait.",
    "calls": "No calls: no client and server spans received. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).",
    "callers": "No callers observed.",
    "dependencies": "No calls to other services observed.",
    "replicas": "No fresh data of its replicas.",
    "incidents": "No incidents in the last hour.",
    "timeline": "No anomalies in this time range.",
    "signals": "No anomalous signals.",
    "breaches": "No SLO breach forecast in the next 30 min.",
    "first_evaluation": "No data yet.",
}
"""Messages of panels without data, by panel."""


def in_sentence(label: str) -> str:
    """A label within a sentence: `overload`, `GPU contention`."""
    return label if label[:2].isupper() else f"{label[0].lower()}{label[1:]}"


def words_module() -> str:
    """The catalog as the JavaScript module `web/assets/words.js`."""
    tables: Mapping[str, Iterable[tuple[str, str]]] = {
        "SEVERITIES": SEVERITIES.items(),
        "STATES": STATES.items(),
        "CAUSES": CAUSES.items(),
        "LOCAL_CAUSES": LOCAL_CAUSES.items(),
        "CONFIDENCE_LEVELS": CONFIDENCE_LEVELS.items(),
        "FEEDBACK": FEEDBACK.items(),
        "HEALTHS": HEALTHS.items(),
        "STAGES": STAGES.items(),
        "PAST_STAGES": PAST_STAGES.items(),
        "CONDITIONS": CONDITIONS.items(),
        "ROLES": ROLES.items(),
        "RISKS": RISKS.items(),
        "VERDICTS": VERDICTS.items(),
        "EMPTY": EMPTY.items(),
    }
    lines = ["// The catalog of words. Generated from render/words.py by `make golden`: change it there."]
    for name, table in tables.items():
        entries = [f'  {key}: "{word}",' for key, word in table]
        lines += ["", f"export const {name} = /** @type {{const}} */ ({{", *entries, "});"]
    return "\n".join(lines) + "\n"
