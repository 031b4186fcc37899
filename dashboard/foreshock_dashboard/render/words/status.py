"""Words of the Status page: the state of data, targets, spans, and access, and how to connect sources."""

from __future__ import annotations

from collections.abc import Mapping

_BUILDING, _READING = "Building baseline: {progress}", "Reading the history"
_UNTIL_THEN = "Incidents are not detected until then."
DATA_STATES: Mapping[str, str] = {
    "stale": "Stale, last updated {time}: {error}.",
    "no_samples": "No data: no samples from any {kind} yet.",
    "no_fresh": "No data: no fresh samples from any {kind}.",
    "no_fresh_samples": "No data: no fresh samples from any {kind} since {time}.",
    "lag": "the newest data is {seconds} s old",
    "lagging": "Lagging: the newest data is {seconds} s old.",
    "building": _BUILDING,
    "learning": f"{_BUILDING}. {_UNTIL_THEN}",
    "reading": _READING,
    "preview": f"{_READING}. {_UNTIL_THEN}",
    "receiving": f"{_UNTIL_THEN} Receiving data from {{services}} on {{gpus}}.",
    "no_loss": "No data loss: {reporting}.",
    "no_loss_then": "No data loss at {time}: {reporting}.",
    "reporting": "{gpus} and {services} ({serving} with requests) reporting",
}
"""Whether the data is fresh and complete. `{names}` in braces stand for values."""
PROBLEMS: Mapping[str, str] = {
    "targets": "{count} of {targets} down or stale: {names}",
    "gpus": "{count} of {gpus} without fresh data",
    "services": "{count} of {services} without fresh data: {names}",
    "store": "store failing: {error}",
    "refused": "{spans} refused",
    "dropped_samples": "{samples} dropped (limit {limit} series). {remedy}",
    "fewer_series": "Scrape fewer series",
    "more_memory": "Raise --memory-limit, or scrape fewer series",
    "dropped_spans": "{spans} dropped: invalid times",
    "notifications": "notifications to {name} failing: {error}",
    "corrupt": "{blocks} quarantined",
    "shared": "{problem}. Until then, this hub notifies alongside the others and accepts no acknowledgments",
    "shard": "shard {part} has no clusters. Assign one with --shard-clusters, or run fewer hubs",
    "uncounted": "{spans} stored but not counted in span metrics",
    "no_cluster": "{count} of {objects} without a cluster: {names}. {remedy}",
    "set_attribute": "Set the resource attribute k8s.cluster.name",
    "set_label": "Set external_labels: cluster",
    "unmatched": "--{option} names {services} without data: {names}. Fix the spelling, or ignore this until {start}",
}
"""Problems of the data and of the hub, each with its remedy after a full stop."""
JOIN_REMEDIES: Mapping[str, str] = {
    "candidates": "Possibly part of {names}. Set the labels service_name and service_namespace on its target.",
    "none": (
        "Set the labels service_name and service_namespace on its target{option}. "
        "Spans are matched by server.address and server.port, or by k8s.pod.name."
    ),
}
"""How a model server joins its service."""
TRACE_AGES: Mapping[str, str] = {
    "unknown": "unknown",
    "remote": "not measured with {kind}",
    "none": "none in {minutes} min",
}
"""Instead of the age of the newest trace."""
STATUS_TEXTS: Mapping[str, str] = {
    "degraded": "Degraded: {problem}.",
    "no_notifications": "Notifications are off: no alerts are sent. Set --alertmanager-url or --notify-file.",
    "no_sign_in": (
        "Sign-in is not required. To require it, set --auth-basic-file, --auth-token-file, --auth-header, or "
        "--oidc-issuer."
    ),
    "simulated": "The data is simulated.",
    "past": "Targets and signals are shown as of the selected time. Ingestion and storage show current values.",
    "unjoined": (
        "These model servers do not belong to any service with requests, so their queues are shown separately from "
        "request latency."
    ),
    "no_samples": "No samples for {metrics}: {names}.",
    "no_targets": "none configured",
    "replayed": "replayed from a recording",
}
TARGET_STATES: Mapping[str, str] = {"up": "up", "down": "down", "stale": "stale"}
CONNECT_NOTES: Mapping[str, str] = {
    "exporter": "Then list the hosts: foreshock serve --targets HOST,HOST. Or let Prometheus scrape port 10877.",
    "otlp": "Works with any OpenTelemetry SDK or Collector. gRPC uses port {port}.",
    "prometheus": "Reads metrics from Prometheus instead of the embedded store.",
    "traces": "For Jaeger, use --jaeger-url http://jaeger:16686.",
    "rules": "Generates rules that read this hub's /metrics and link to its pages.",
}
"""What a command that connects something does."""
SPAN_COUNTS: Mapping[str, str] = {
    "foreshock_spans_late_total": "Too late for span metrics",
    "foreshock_spans_early_total": "Start time in the future",
    "foreshock_spans_duplicate_total": "Duplicates",
    "foreshock_spans_clamped_total": "End before start",
    "foreshock_spans_uncounted_total": "Stored, not in span metrics",
    "foreshock_service_graph_dropped_spans_total": "Unpaired (buffer full)",
    "foreshock_span_metrics_overflow_total": "Over the series limit",
}
"""Spans that are not as they should be, by the hub's counter."""
AUDIT_ACTIONS: Mapping[str, str] = {
    "sign_in": "Sign-in",
    "sign_in_failed": "Failed sign-in",
    "sign_out": "Sign-out",
    "denied": "Denied",
    "rate_limited": "Rate limited",
    "download": "Download",
    "change": "Change",
}
