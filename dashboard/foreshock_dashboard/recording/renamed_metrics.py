"""Metrics renamed in 0.2, so that recordings of 0.1 and files of 0.1 exporters can be read."""

from __future__ import annotations

from foreshock_dashboard.model.samples import Labels, labels_of

_HISTOGRAMS = {
    "gpu_busy_ratio": "gpu_utilization_sample_ratio",
    "foreshock_llm_queue_seconds": "foreshock_llm_queue_duration_seconds",
}
METRICS = {
    "gpu_expected": "gpus_expected",
    "gpu_present": "gpus_present",
    "gpu_service_stalled_seconds_total": "gpu_service_wait_seconds_total",
    "gpu_service_stalled_by_seconds_total": "gpu_service_wait_by_aggressor_seconds_total",
    "gpu_memory_busy_ratio": "gpu_memory_active_ratio",
    "gpu_nvlink_link_receive_bytes_total": "gpu_nvlink_port_receive_bytes_total",
    "gpu_nvlink_link_transmit_bytes_total": "gpu_nvlink_port_transmit_bytes_total",
    "foreshock_exporter_metric_absent": "foreshock_exporter_metric_unavailable",
    "foreshock_exporter_services_over_limit": "foreshock_exporter_services_dropped",
} | {f"{old}{part}": f"{new}{part}" for old, new in _HISTOGRAMS.items() for part in ("", "_bucket", "_count", "_sum")}
ERROR_TYPE = {"severity": "error_type"}
LABELS = {
    "gpu_service_stalled_by_seconds_total": {
        "by_service_name": "aggressor_name",
        "by_service_namespace": "aggressor_namespace",
    },
    "gpu_ecc_errors_total": ERROR_TYPE,
    "gpu_remapped_rows": ERROR_TYPE,
    "foreshock_llm_tokens_total": {"direction": "gen_ai_token_type"},
}
"""New label names by the metric's old name."""


def current_names(metric: str, labels: Labels) -> tuple[str, Labels]:
    """The name and labels of a series since 0.2."""
    new = LABELS.get(metric, {})
    if not new.keys().isdisjoint(name for name, _ in labels):
        labels = labels_of({new.get(name, name): value for name, value in labels})
    return METRICS.get(metric, metric), labels
