"""Words of panels: titles, notes, and messages without data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from foreshock_dashboard.render.words.incidents import CAUSES, UNCERTAIN
from foreshock_dashboard.render.words.services import CONDITIONS
from foreshock_dashboard.render.words.status import DATA_STATES

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
PLATFORM_TEXTS: Mapping[str, str] = {
    "nothing_seen": "No services and no GPUs yet",
    "first_steps": (
        "Start foreshock-exporter on the GPU hosts and pass them as --targets (FORESHOCK_TARGETS). Let the services "
        "send OTLP spans to this hub: gRPC on port 4317, HTTP on port 4318."
    ),
    "may_have_changed": "The state may have changed.",
    "errors": "Elevated errors in {services}: {names}",
    "no_incidents": "No incidents: {services} on {gpus}",
}
"""States of a platform without an incident."""
EMPTY: Mapping[str, str] = {
    "services": (
        "No services: the hub has received no spans and sees no GPU processes. Send spans or run foreshock-exporter."
    ),
    "requests": (
        "No services with requests: the hub has received no spans. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP)."
    ),
    "gpus": "No GPUs: no target exports gpu_info. Run foreshock-exporter on the GPU hosts and list them in --targets.",
    "own_gpus": "No GPUs found for this service.",
    "neighbors": "No other service uses the GPUs of this service.",
    "pairs": "No services share a GPU.",
    "gpu_wait": "No GPU wait data.",
    "calls": (
        "No calls: the hub has received no client or server spans. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP)."
    ),
    "callers": "No callers observed.",
    "dependencies": "No calls to other services observed.",
    "replicas": "No recent data for the replicas of this service.",
    "incidents": "No incidents in the last hour.",
    "incidents_learning": "Incidents are not detected until the baseline is built.",
    "incidents_unknown": "Incidents are not detected without fresh data.",
    "timeline": "No anomalies in this time range.",
    "signals": "No anomalous signals.",
    "breaches": "No SLO breach forecast in the next 30 min.",
    "first_evaluation": "Waiting for the first evaluation.",
    "other_incidents": "No services are affected. Open incidents:",
    "unknown_incident": (
        "No incident {id} at the selected time. It may have resolved more than an hour earlier. Choose another time."
    ),
    "contended": "No GPU is contended.",
    "tenants": "No services on this GPU.",
    "traces": "No traces in this time range.",
    "matching_traces": "No traces match {filters} in this time range.",
    "service_traces": "No traces of {service} in this time range.",
    "shared_traces": "None of the {count} slowest traces of {service} ran on a shared GPU.",
    "targets": "No scrape targets. Set --targets or --targets-file, or --prometheus-url for an existing Prometheus.",
    "store": "No store data.",
    "matches": "No matches.",
    "silences": "No silences or maintenance windows.",
    "chart": "No data in this time range.",
    "service_chart": "No data for this service in this time range.",
    "gpu_chart": "No data for this GPU in this time range.",
    "signal": "No data for {signal} in this time range.",
    "traffic": "No requests in this time range.",
    "service_traffic": "No requests to {service} in this time range.",
    "service_gpus": "{service} is not running on any known GPU.",
    "model_servers": "{service} has no model servers.",
    "not_reported": "Not reported by {service} in this time range.",
    "no_model_servers": "No model servers: add their metrics endpoints to --targets.",
    "server_load": "Load of {service} is unknown: too few samples from its model servers.",
    "no_replicas": "No replica data: add kube-state-metrics as a scrape target.",
    "service_replicas": "No replica data for {service}: add kube-state-metrics as a scrape target.",
    "unknown_service": "Unknown service {service}.",
    "no_page": "No page at this address.",
}
"""Messages of panels without data, by panel. `{names}` in braces stand for values."""
ABSENT: Mapping[str, str] = {
    "cluster": "no cluster",
    "data": "no data",
    "errors": "no errors",
    "evaluation": "no evaluation yet",
    "gpu_metrics": "no GPU metrics",
    "gpu_wait": "no GPU wait",
    "incident": "no open incident",
    "namespace": "no namespace",
    "occupancy": "no GPU occupancy spans",
    "owner": "no owner",
    "pool": "no pool",
    "requests": "no requests",
    "retries": "retries unknown",
    "services": "no services",
    "shared_gpu": "no shared GPU",
    "tier": "no tier",
    "timestamp": "no timestamp",
}
"""What stands for a value, a name, or a group that is missing."""
CASCADE_TEXTS: Mapping[str, str] = {
    "gpu": CAUSES["gpu_contention"],
    "load": "extra load",
    "call": "degraded dependency",
    "forecast": CONDITIONS["slo_breach"],
    "older": "Older anomalies have ended. First anomaly: ",
    "calls_key": "calls (width: request rate, measured by the caller)",
    "gpu_wait_key": "GPU wait, from noisy neighbor to affected service (width: share of time)",
}
"""What a step of a cascade goes along, and texts of the Cascade page."""


class ResourceWords(NamedTuple):
    """Name of a resource at its limit, and the first step against the wait for it."""

    name: str
    step: str


RESOURCES: Mapping[str, ResourceWords] = {
    "dram": ResourceWords("DRAM bandwidth", "Move one of the services to another GPU."),
    "pcie": ResourceWords("PCIe bandwidth", "Move one of the services to another GPU, or transfer less."),
    "nvlink": ResourceWords("NVLink bandwidth", "Move one of the services to another GPU, or transfer less."),
    "power": ResourceWords("power limit", "Raise the power limit, or move one of the services to another GPU."),
    "cpu": ResourceWords("CPU time", "Raise the CPU request of the service, or move it to a host with free CPUs."),
    "steal": ResourceWords("CPU steal", "Move the service to another host: other virtual machines use these CPUs."),
    "cpu_limit": ResourceWords("CPU limit", "Raise the CPU limit of the service's containers."),
    "storage": ResourceWords(
        "storage",
        "Use faster storage. If the page cache of the service is too small (refaults), raise its memory limit.",
    ),
    "host_memory": ResourceWords(
        "host memory", "Raise the memory limit of the service, or move it to a host with free memory."
    ),
}
"""Resources besides SM time, by the name in the API."""
MPS_TEXTS: Mapping[str, str] = {
    "running": (
        "The server and the control daemon are running. GPU wait does not apply because clients run concurrently."
    ),
    "server_ended": (
        "The server has exited, because it either crashed or was stopped. A crash also kills its clients' work. "
        "Restart the services that make no progress: their new clients start a new server."
    ),
    "control_daemon_gone": (
        "The control daemon is gone. Existing clients keep running, but new ones cannot connect. "
        "Start it with nvidia-cuda-mps-control -d, then restart the services on this GPU one by one."
    ),
    "unseen": (
        "The exporter cannot see the MPS server, so its state is unknown. Run the exporter as root with hostPID: true."
    ),
    "daemon_unseen": (
        "The server is running, but the exporter cannot see its control daemon. Run the exporter as root "
        "with hostPID: true."
    ),
    "time_unknown": "GPU time per service is unknown because the driver does not split it between MPS clients.",
    "unnamed": "{clients} could not be matched to a service.",
    "pin": "Pin the service to that node's CPUs (in Kubernetes: Topology Manager policy single-numa-node).",
}
"""States after `MPS: `, with their remedies, and that of a service with CPUs far from its GPU."""
HISTORY_BEING_READ = DATA_STATES["preview"]
"""While a hub, after its start, shows the newest values of a Prometheus."""
TIMELINE_TEXTS: Mapping[str, str] = {
    "assigned": "Assigned to",
    "order": "Order of first anomaly",
    "change": "Change",
    "change_at": "Change at",
    "forecast": "SLO breach forecast: tick = median, bar = 80% interval",
    "longer": ", › = longer",
    "ahead": "Forecast",
    "breach": "SLO breach forecast:",
    "began": "first anomaly",
    "cause_began": "cause began",
    "for": "for",
    "ago": "ago",
    "picture": "Timeline of the cascade",
}
"""Texts of the timeline."""
GRID_TEXTS: Mapping[str, str] = {
    "wait": "GPU wait",
    "waits": "Share of time that each service waits for this GPU (upper bound)",
    "waiting": "with at least 10% GPU wait",
    "in_incident": "in an open incident",
    "all_in_incident": "all of them in an open incident",
    "some_in_incident": "{gpus} of them in an open incident",
    "keys": "GPUs by host. Use the arrow keys to move between GPUs, and Enter to open one.",
    "no_waits": "no GPU wait data",
}
"""Texts of the GPU grid."""
TILE_TEXTS: Mapping[str, str] = {
    "met": "Within SLO now",
    "learned": "SLOs learned from normal operation.",
    "learned_slo": (
        "Learned SLO: at least 1.6 times the baseline p95, or more if p95 varies widely. It does not change during an "
        "incident. To set your own, use --slo NAME=P95."
    ),
    "set_slos": "SLOs are learned from normal operation. Set SLOs with --slo NAME=P95.",
    "some_learned": "of the SLOs are learned from normal operation. Set SLOs with --slo NAME=P95.",
    "no_errors": "No errors",
    "before": "now; peak",
    "request_load": "Incoming work as a share of the replicas' capacity. This is not GPU utilization.",
    "no_baseline": "No baseline yet",
    "no_data": "No data",
    "all_services": "across all services with an SLO",
    "normal": "not anomalous",
    "of_capacity": "of capacity;",
    "above": "above",
    "within": "within SLO",
    "others_within": "others within SLO",
    "of": "of",
}
"""Texts of the tiles of the Now page."""
NOW_TEXTS: Mapping[str, str] = {
    "next_at_risk": "Next to breach",
    "none_at_risk": "No SLO breach is forecast in the next 30 min",
    "no_other_at_risk": "No other service is forecast to breach its SLO in the next 30 min",
    "further": "Also open",
    "first_anomaly": "first anomaly",
    "further_more": "more incident",
    "either": "Either",
    "or": "or",
    "latent_risk": "Latent risk (separate from this incident)",
    "values_at": "Values as of",
    "values_at_page": "Values when paged, at",
    "another_incident": "Separate incident:",
    "tightest_limit": "Tightest limit",
    "past_values": ". The services table shows current values.",
    "no_impact": "No impact now.",
    "postmortem": "Postmortem",
    "draft_report": "Incident report (draft)",
    "next_shortage": "Next shortage",
    "last_incident": "Last incident",
    "last_warning": "Last early warning",
    "reduce_risk": "To reduce the latent risk (optional)",
    "open_for": "open for",
    "last_data": "Last data",
    "other_gpus": "Other GPUs with at least 10% GPU wait:",
    "see_services": "See the timeline.",
    "signals_at": "at",
    "recommended": "Hardening (not urgent)",
    "newest_data": "Newest data",
    "share": "Used",
    "limit": "Limit",
    "changes": "around the first anomaly:",
    "more": "more",
    "all": "All",
    "all_services": "services",
    "evidence_of": "Evidence of",
    "no_anomalies": "No sustained anomalies in the last",
    "timeline": "Timeline: last",
    "timeline_of_incident": "Incident timeline",
    "and_forecast": "forecast",
    "times": "Times",
    "impact": "Impact",
    "also_in_breach": "Also in breach",
    "in_breach": "In breach",
    "degraded": "Also degraded",
    "breached_before": "breached before",
    "suspected_cause": "Suspected cause: {cause} ({confidence}).",
    "possible_causes": "Possible causes: {cause} ({confidence}).",
    "uncertain": UNCERTAIN,
    "candidates": "Possible causes",
    "confidence": "confidence",
    "affected": "Services in this incident",
    "closest": "Services closest to their limits",
    "services": "Services",
}
"""Texts of the Now page."""
SIGNAL_NOTES: Mapping[str, str] = {
    "at_caller": "measured by the caller",
    "first_token": "answered requests only",
    "flight": "finished requests only",
    "gpu_wait": "on a saturated GPU: the neighbor's share of GPU time",
}
"""What explains values of evidence that seem to contradict others, in short, by metric."""
SIGNAL_MEANINGS: Mapping[str, str] = {
    "at_caller": "A caller counts the requests that it sends. The request rate of a service counts those it receives.",
    "first_token": "p95 also covers requests that were rejected or timed out. Time to first token does not.",
    "flight": "This is an estimate from finished requests (rate × p50). More requests may be queued.",
    "gpu_wait": (
        "On a saturated GPU, a service waits while its neighbor runs: "
        "GPU wait is roughly the neighbor's share of GPU time."
    ),
}
"""The same in full, for a tooltip."""
