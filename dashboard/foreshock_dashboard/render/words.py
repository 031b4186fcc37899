"""The catalog of words: labels of enumerations, hints, and empty states for pages, API, CLI, and reports.

`web/assets/words.js` is generated from it (`make golden`), so that scripts have no words of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from foreshock_dashboard.model.action import ActionKind, LimitKind, ReasonKind
from foreshock_dashboard.model.explanation import MissingKind
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
SIGNAL_KINDS: Mapping[MissingKind, str] = {
    "latency": "latency",
    "errors": "error rate",
    "traffic": "request rate",
    "availability": "availability",
    "resource": "resource usage",
    "calls": "call graph",
    "other": "other",
    "changes": "changes",
}
"""Kinds of signals that an explanation compares, and changes."""
WORLD_METRICS: Mapping[str, str] = {
    "latency_seconds": "latency",
    "p50_seconds": "p50",
    "p95_seconds": "p95",
    "p99_seconds": "p99",
    "client_p50_seconds": "p50 of one client",
    "client_p95_seconds": "p95 of one client",
    "client_p99_seconds": "p99 of one client",
    "error_ratio": "error rate",
    "requests_per_second": "request rate",
    "cpu_ratio": "CPU (share of limit)",
    "cpu_throttled_ratio": "CPU throttled",
    "memory_ratio": "memory (share of limit)",
    "disk_ratio": "disk used",
    "files_ratio": "file descriptors used",
    "pool_ratio": "database connections (share of pool)",
    "pool_wait_seconds": "connection wait time",
    "pool_pending": "requests waiting for a connection",
    "restarts": "container restarts per second",
    "oom_kills": "OOM kills per second",
    "up_ratio": "scrape targets up",
    "ready_ratio": "ready replicas (share of desired)",
    "waiting": "queued requests",
    "cache_ratio": "KV cache usage",
    "preempted": "preemptions per second",
    "per_token_seconds": "time per output token",
    "reported": "series reported",
}
"""Signals that a root cause is compared by and that are no metrics of a source (`analysis/root_cause`)."""
UNKNOWN_WITHOUT: Mapping[MissingKind, str] = {
    "latency": "which service is slow",
    "errors": "which service fails",
    "traffic": "whether load grew, or traffic was lost",
    "availability": "whether a service is down or has no traffic",
    "resource": "which resource is exhausted (CPU, memory, disk, connections)",
    "calls": "which service is the cause, and which only calls it",
    "other": "",
    "changes": "whether a deployment or another change came before",
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
# Templates name fields of an `Action` or a `Reason`. `[a|b]` stands for the first alternative without an unknown field.
ACTIONS: Mapping[ActionKind, str] = {
    "add_kv_cache": "Give {service} more KV cache: replicas, or a lower context limit",
    "add_replicas": "[Scale {service} from {current:.0f} to {total:.0f} replicas|Add replicas of {service}]"
    "[ (raise the autoscaler maximum of {exceeded:.0f})| in pool {target}][ before {at:minute}]",
    "balance_load": "Load-balance {service} by outstanding requests",
    "cancel_abandoned": "Cancel requests at {service} that clients abandoned",
    "cap_gpu_share": "Cap {service}[ at {amount:percent} of GPU time] on {gpus}",
    "cap_retries": "Cap retries from {service} to {callee}[ at {amount:percent} of calls]",
    "dedicate_pool": "Give tier {target} a dedicated GPU pool",
    "dedicate_replicas": "Give [{requests} from {service}|{service}] dedicated replicas of {callee}",
    "degrade": "Degrade {callers} gracefully (timeout, circuit breaker, cached response)",
    "drain_gpus": "Drain {gpus} and reschedule {service}",
    "drain_host": "Drain host {target}",
    "drain_replica": "Drain replica {target}",
    "inspect_deploys": "Check for a recent deploy of {service}",
    "inspect_gpus": "Check {gpus} for errors, throttling, and power",
    "inspect_links": "Check the network between {service} and {callee}[, host {target} first]",
    "inspect_replicas": "Check why replicas of {service} are not ready",
    "limit_calls": "Rate-limit [{requests} from|calls from] {service} to {callee}[ to {amount:rate}]",
    "limit_length": "Limit the {requests} length of requests from {service}",
    "limit_rate": "Rate-limit {service}[ to {amount:rate} (now {current:rate})]",
    "move_off_gpus": "Move {service} off {gpus}",
    "pause": "Stop {service}: its pods are terminated",
    "raise_quota": "Raise the quota of pool {target} for [{amount:replicas}|replicas] of {service}",
    "raise_replica_limit": "Raise the autoscaler maximum of {service}[ (now {current:.0f} replicas)]",
    "restart": "Restart {service}",
    "restore_timeout": "Restore the previous timeout of {service} for {callee}",
    "roll_back": "[Roll back {service} to {target}|Roll back the last deploy of {service}]",
    "set_retry_budget": "Give {service} a retry budget[ of {amount:percent}] for {callee}",
    "shed_load": "[Shed {amount:percent} of requests to {service} with HTTP 503|Shed load at {service}]"
    "[ until new replicas are ready ({until_seconds:due})]",
}
"""The action alone."""
SUSPICIONS: Mapping[ReasonKind, str] = {
    "called_in": "called in {value:percent} of requests of {service}",
    "calls_grew": "calls to {service} {value:multiple}x baseline",
    "cause": "{name}[ of {service}]",
    "changed": "changed[ to {name}] at {since:clock}",
    "failures_grew": "error rate [{baseline:percent} → {now:percent}|+{value:points}][ since {since:clock}]",
    "metric": "{name} {before} → {after}[ since {since:clock}]",
    "no_anomaly": "no local anomaly",
    "requests_grew": "request rate {value:multiple}x baseline",
    "slower": "[{name} {before} → {after}|latency {value:multiple}x baseline][ since {since:clock}]",
}
"""Why a service is suspected."""
REASONS: Mapping[ReasonKind, str] = {
    "abandoned_calls": "{service} abandons calls that are answered at baseline latency{value:attempts}",
    "gpu_share": "{service} gets {value:percent} of GPU time (baseline {baseline:percent})",
    "idle_gpus": "Requests wait while {gpus} are {value:percent} idle",
    "lost_capacity": "{value:percent} of the capacity of {service} is lost",
    "recurring_load": "Load at that time is {value:multiple}x that of two hours before, by earlier weeks or days",
    "short_outage": "Retries would make [an outage of {value:.0f} s|any outage] permanent",
    "unexplained": "No external cause found",
}
"""Why an action is recommended."""
LIMITS: Mapping[LimitKind, str] = {
    "safe_limit": "safe limit",
    "slo": "SLO",
    "baseline": "baseline",
    "needed": "needed",
}
HOW_TO: Mapping[ActionKind, str] = {
    "add_kv_cache": "At the model server, add replicas, give the cache more GPU memory, or lower the context limit",
    "balance_load": "At the load balancer, choose least outstanding requests (Envoy LEAST_REQUEST, nginx least_conn)",
    "cancel_abandoned": "At the server, abort a request when its client disconnects, and propagate deadlines",
    "cap_gpu_share": "Lower its share of the GPU (MPS: CUDA_MPS_ACTIVE_THREAD_PERCENTAGE), or its batch size",
    "cap_retries": "At the client or service mesh, set a retry budget, with exponential backoff and jitter",
    "dedicate_pool": "In the cluster, taint a node pool, and let only this tier tolerate it",
    "dedicate_replicas": "In the cluster, deploy it a second time, and route these requests there",
    "degrade": "At the callers, shorten the timeout below their own SLO, and open the circuit breaker",
    "drain_replica": "At the load balancer, take the replica out of rotation, then replace it",
    "inspect_links": "On the hosts, check retransmits and drops (nstat, ethtool -S) and the route between them",
    "limit_calls": "At the gateway or service mesh, limit the rate on this route, answered with HTTP 429",
    "limit_length": "At the gateway, cap the prompt length and max_tokens of these requests",
    "limit_rate": "At the gateway or service mesh, limit the rate of this client, answered with HTTP 429",
    "raise_quota": "In the cluster, raise the GPU requests in its ResourceQuota",
    "restore_timeout": "At the client, set the timeout back in its configuration",
    "set_retry_budget": "At the client or service mesh, set a retry budget, with exponential backoff and jitter",
    "shed_load": "At the gateway, return HTTP 503 for {share} of arriving requests (Istio fault.abort, Envoy fault)",
}
"""Where and how to take the actions without a command, by kind."""
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


ACTION_TEXTS: Mapping[str, str] = {
    "one": "Action",
    "several": "Actions",
    "none": "No mitigation identified.",
    "alternative": "Alternative:",
    "expected": "Expected:",
    "copy": "Copy",
    "copy_revert": "Copy revert",
    "revert": "Revert:",
    "by_hand": "Manual step:",
    "next_step": "Do step 2 as well.",
    "names": "Service names come from telemetry: verify them in the cluster.",
    "simulated": "Simulated data: do not run on a live cluster.",
    "replay": "Replay: do not run these commands.",
}
"""Texts around the actions of an incident."""


COURSE: Mapping[str, str] = {
    "anomaly": "Started ",
    "anomaly_and_warning": "Started with an early warning ",
    "vulnerable": "Vulnerable since ",
    "ago": " ago",
    "warning": ", early warning ",
    "breach": ", first SLO breach ",
    "paged": ", paged ",
    "of": " for ",
    "when": " when ",
    "breached": " breached its SLO",
    "updated": ", cause updated with evidence since ",
    "recovering": ", recovering since ",
    "zone": "Times:",
}
"""The course of an incident, between its times."""
TIMELINE_TEXTS: Mapping[str, str] = {
    "assigned": "Assigned to",
    "order": "Order of impact",
    "recovery": "Recovery begins",
    "change": "Change",
    "change_at": "Change at",
    "forecast": "SLO breach forecast: tick = median, bar = 80% interval",
    "longer": ", › = longer",
    "breach": "SLO breach",
    "interval": "80% interval:",
    "began": "first anomaly",
    "ago": "ago",
    "picture": "Timeline of the cascade",
}
"""Texts of the timeline."""
EVENTS: Mapping[str, str] = {"warning": "Early warning", "paged": "Paged"}
"""Events of incidents on the timeline."""
SLO_COUNTS: Mapping[str, str] = {
    "breached": "breached",
    "degraded": "degraded",
    "at_risk": "at risk",
    "within": "within SLO",
    "few": "with too few requests",
    "without": "with no SLO",
}
"""Services by the state of their SLO, after their number."""
TILE_TEXTS: Mapping[str, str] = {
    "met": "Met",
    "no_errors": "No errors now",
    "no_baseline": "No baseline yet",
    "no_data": "No data",
    "all_services": "in all services with an SLO",
    "highest": "Highest",
    "of_capacity": "of capacity",
    "normal": "normal",
    "of": "of",
    "its": "its",
}
"""Texts of the tiles of the Now page."""
NOW_TEXTS: Mapping[str, str] = {
    "replay": " in replay",
    "none_at_risk": "None expected in the next 30 min",
    "none_of_incident": "None from this incident in the next 30 min",
    "latent_risk": "Latent risk, not part of this incident:",
    "no_impact": "No impact now.",
    "reduce_risk": "To reduce the latent risk (optional)",
    "last_data": "Last data",
    "changes": "around the first anomaly:",
    "more": "more",
    "all_services": "All services:",
    "evidence_of": "Evidence of",
    "no_anomalies": "No anomalies in the last",
    "no_counted_anomalies": "No SLO breach and no lasting anomaly in the last",
    "timeline": "Timeline: last",
    "next": "next",
    "also_in_breach": "Also in breach:",
    "in_breach": "In breach:",
    "suspected_cause": "Suspected cause:",
    "confidence": "confidence",
    "affected": "Affected services",
    "closest": "Services closest to their limits",
    "services": "Services",
}
"""Texts of the Now page."""


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
        "ACTION_TEXTS": ACTION_TEXTS.items(),
        "COURSE": COURSE.items(),
        "NOW_TEXTS": NOW_TEXTS.items(),
        "TIMELINE_TEXTS": TIMELINE_TEXTS.items(),
        "EVENTS": EVENTS.items(),
        "SLO_COUNTS": SLO_COUNTS.items(),
        "TILE_TEXTS": TILE_TEXTS.items(),
    }
    lines = ["// The catalog of words. Generated from render/words.py by `make golden`: change it there."]
    for name, table in tables.items():
        entries = [f'  {key}: "{word}",' for key, word in table]
        lines += ["", f"export const {name} = /** @type {{const}} */ ({{", *entries, "});"]
    return "\n".join(lines) + "\n"
