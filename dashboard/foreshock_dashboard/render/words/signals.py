"""Words of signals: why they matter, and what is unknown without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from foreshock_dashboard.model.explanation import MissingKind

SIGNAL_HINTS: Mapping[str, str] = {
    "p95": "callers wait longer",
    "error_rate": "callers get errors",
    "gpu_wait_by": "the service waits while another one runs on the same GPU",
    "per_token": "larger batches, or less GPU time",
    "first_token": "requests queue before their first token",
    "waiting": "requests arrive faster than they are served",
    "cache": "a full KV cache queues or preempts requests",
    "preempted": "requests are preempted and recomputed",
    "queued": "requests wait longer for a slot in the batch",
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
    "changes": "change",
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
    "up_ratio": "scrape targets up (share of all)",
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
    "traffic": "whether load grew or traffic was lost",
    "availability": "whether a service is down or has no traffic",
    "resource": "which resource is exhausted (CPU, memory, disk, connections)",
    "calls": "which service is the root cause, and which services only call it",
    "other": "",
    "changes": "whether a deployment or another change preceded the incident",
}
"""The question that `explain` cannot answer without any signal of a kind, as part of a sentence."""


class SignalWords(NamedTuple):
    """A signal of the Status page: what reports it, what it is used for, what is unknown without it, and its setup."""

    kind: str
    features: str
    unknown: str
    remedy: str


_SPANS = "Send OTLP spans to this hub, or use --prometheus-url with span metrics of a Collector or Tempo."
_EXPORTER = "Run foreshock-exporter on the GPU hosts and list them in --targets."
_GPU_WAIT = "Run foreshock-exporter on the GPU hosts. No data is normal where no GPU is shared."
_SERVERS = "Scrape /metrics of vLLM, SGLang, TGI, or Triton with --targets or --prometheus-url."
_CLUSTER = "Scrape kube-state-metrics with --targets or --prometheus-url."
_HOSTS = "Run foreshock-exporter or node_exporter on the hosts."
HUB_SIGNALS: Mapping[str, SignalWords] = {
    "Requests": SignalWords(
        "service", "request rate, latency, errors, SLOs", "which service is slow, fails, or breaches its SLO", _SPANS
    ),
    "Calls": SignalWords(
        "call edge",
        "service map, cascade forecast",
        "which service is the root cause, which services only call it, and where a slowdown propagates",
        _SPANS,
    ),
    "GPUs": SignalWords("GPU", "GPU utilization", "how busy a GPU is", _EXPORTER),
    "GPU use by service": SignalWords("GPU tenant", "GPU use by service", "which service keeps a GPU busy", _EXPORTER),
    "GPU wait": SignalWords(
        "pair", "noisy neighbors, GPU contention", "which service a noisy neighbor slows down", _GPU_WAIT
    ),
    "GPU health": SignalWords(
        "GPU", "throttling, XID errors, lost GPUs", "whether a slow GPU is throttled, failing, or lost", _EXPORTER
    ),
    "Model servers": SignalWords(
        "service",
        "queue, KV cache, TTFT, TPOT, load",
        "whether a model server is overloaded, or when it will become overloaded",
        _SERVERS,
    ),
    "Replicas": SignalWords(
        "service", "replicas, scale-up lag", "whether lost or pending replicas are the cause", _CLUSTER
    ),
    "Quota": SignalWords("pool", "GPU quota by pool", "whether more replicas fit within the quota", _CLUSTER),
    "Network": SignalWords("host", "network root causes", "whether the network is the cause", _HOSTS),
}
"""The signals that the hub reads, by their name on the Status page."""
