"""Metrics that come from elsewhere: whose they are, where they are described, and which labels they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Producer(NamedTuple):
    """Who emits metrics, with where that is written; the labels they have, and the metrics themselves."""

    described: str
    labels: frozenset[str]
    metrics: frozenset[str]


def _of(described: str, labels: str, metrics: str) -> Producer:
    return Producer(described, frozenset(labels.split()), frozenset(metrics.split()))


PRODUCERS = (
    _of("Prometheus itself, for each target", "", "up"),
    _of("targets, by scrape configuration (docs/reference/collected-metrics.md)", "service_name service_namespace tier",
        "service_tier_info"),
    _of("dcgm-exporter, default-counters.csv, comments in it included",
        "gpu UUID device modelName Hostname DCGM_FI_DRIVER_VERSION GPU_I_ID pod namespace",
        """DCGM_FI_DEV_XID_ERRORS DCGM_FI_DEV_ROW_REMAP_FAILURE DCGM_FI_DEV_ECC_DBE_VOL_TOTAL DCGM_FI_DEV_GPU_UTIL
        DCGM_FI_PROF_GR_ENGINE_ACTIVE DCGM_FI_DEV_FB_USED DCGM_FI_DEV_FB_FREE DCGM_FI_DEV_POWER_USAGE
        DCGM_FI_DEV_GPU_TEMP DCGM_FI_DEV_SM_CLOCK"""),
    _of("dcgm-exporter, fields of DCGM that a list of one's own adds (110, 112, 250, 113)",
        "gpu UUID device modelName Hostname GPU_I_ID pod namespace",
        "DCGM_FI_DEV_APP_SM_CLOCK DCGM_FI_DEV_CLOCK_THROTTLE_REASONS DCGM_FI_DEV_FB_TOTAL DCGM_FI_DEV_MAX_SM_CLOCK"),
    _of("vLLM, docs/usage/metrics", "model_name engine finished_reason le",
        """vllm:num_requests_running vllm:num_requests_waiting vllm:kv_cache_usage_perc vllm:num_preemptions_total
        vllm:request_success_total vllm:prompt_tokens_total vllm:generation_tokens_total
        vllm:time_to_first_token_seconds_bucket vllm:request_queue_time_seconds_sum
        vllm:request_queue_time_seconds_count vllm:inter_token_latency_seconds_sum
        vllm:inter_token_latency_seconds_count vllm:e2e_request_latency_seconds_sum
        vllm:e2e_request_latency_seconds_count"""),
    _of("vLLM before 0.10", "model_name engine",
        """vllm:gpu_cache_usage_perc vllm:time_per_output_token_seconds_sum
        vllm:time_per_output_token_seconds_count"""),
    _of("SGLang, production metrics", "model_name le",
        """sglang:num_running_reqs sglang:num_queue_reqs sglang:token_usage sglang:num_requests_total
        sglang:prompt_tokens_total sglang:generation_tokens_total sglang:time_to_first_token_seconds_bucket
        sglang:queue_time_seconds_sum sglang:queue_time_seconds_count sglang:inter_token_latency_seconds_sum
        sglang:inter_token_latency_seconds_count sglang:e2e_request_latency_seconds_sum
        sglang:e2e_request_latency_seconds_count"""),
    _of("Text Generation Inference, metrics of the server", "",
        """tgi_batch_current_size tgi_queue_size tgi_request_success tgi_request_input_length_sum
        tgi_request_generated_tokens_sum tgi_request_queue_duration_sum tgi_request_queue_duration_count
        tgi_request_mean_time_per_token_duration_sum tgi_request_mean_time_per_token_duration_count
        tgi_request_duration_sum tgi_request_duration_count"""),
    _of("Triton Inference Server, metrics", "model version",
        """nv_inference_pending_request_count nv_inference_request_success nv_inference_queue_duration_us
        nv_inference_request_duration_us"""),
    _of("Tempo's metrics-generator, processor span-metrics",
        "service service_namespace span_name span_kind status_code le",
        "traces_spanmetrics_calls_total traces_spanmetrics_latency_bucket"),
    _of("OpenTelemetry Collector, span metrics connector in milliseconds",
        "service_name service_namespace span_name span_kind status_code le",
        "traces_span_metrics_duration_milliseconds_bucket"),
    _of("Istio, standard metrics",
        """reporter source_workload source_workload_namespace destination_workload destination_workload_namespace
        destination_service_name destination_service_namespace response_code grpc_response_status le""",
        "istio_requests_total istio_request_duration_milliseconds_bucket"),
    _of("OpenTelemetry's semantic conventions, HTTP servers",
        "http_request_method http_response_status_code http_route le",
        "http_server_request_duration_seconds_count http_server_request_duration_seconds_bucket"),
    _of("OpenTelemetry Collector's own, with the suffix of later releases and without", "receiver transport",
        "otelcol_receiver_refused_spans_total otelcol_receiver_refused_spans"),
    _of("node_exporter, collector uname", "nodename", "node_uname_info"),
    _of("node_exporter, collector meminfo", "", "node_memory_MemAvailable_bytes node_memory_MemTotal_bytes"),
    _of("kube-state-metrics, horizontal pod autoscalers",
        "namespace horizontalpodautoscaler scaletargetref_kind scaletargetref_name metric_name metric_target_type",
        """kube_horizontalpodautoscaler_info kube_horizontalpodautoscaler_status_desired_replicas
        kube_horizontalpodautoscaler_spec_min_replicas kube_horizontalpodautoscaler_spec_max_replicas
        kube_horizontalpodautoscaler_spec_target_metric"""),
    _of("kube-state-metrics, pods", "namespace pod phase", "kube_pod_status_phase"),
    _of("kube-state-metrics, deployments", "namespace deployment",
        "kube_deployment_spec_replicas kube_deployment_status_replicas_ready kube_deployment_metadata_generation"),
    _of("kube-state-metrics, annotations of deployments",
        "namespace deployment annotation_deployment_kubernetes_io_revision", "kube_deployment_annotations"),
    _of("kube-state-metrics, nodes", "node", "kube_node_info"),
    _of("OpenTelemetry, resource of OTLP metrics in Prometheus",
        "service_version exported_instance k8s_pod_uid server_address server_port", "target_info"),
    _of("Tempo's metrics-generator, target info",
        "service_version exported_instance k8s_pod_uid server_address server_port", "traces_target_info"),
    _of("kube-state-metrics, stateful sets", "namespace statefulset",
        "kube_statefulset_replicas kube_statefulset_status_replicas_ready"),
    _of("kube-state-metrics, containers", "namespace pod container uid image image_spec",
        "kube_pod_container_status_restarts_total kube_pod_container_info"),
    _of("cAdvisor, in the kubelet", "namespace pod container id image name",
        """container_cpu_cfs_throttled_periods_total container_cpu_cfs_periods_total container_memory_working_set_bytes
        container_spec_memory_limit_bytes container_oom_events_total container_cpu_usage_seconds_total
        container_spec_cpu_quota container_spec_cpu_period"""),
    _of("the kubelet, volume statistics", "namespace persistentvolumeclaim",
        "kubelet_volume_stats_used_bytes kubelet_volume_stats_capacity_bytes"),
    _of("Prometheus client libraries, of their process; Kubernetes discovery adds the namespace", "namespace",
        "process_open_fds process_max_fds"),
    _of("OpenTelemetry's semantic conventions, database clients, before and after they were renamed in 2024",
        "namespace state db_client_connection_state pool_name db_client_connection_pool_name",
        """db_client_connections_usage db_client_connections_max db_client_connections_pending_requests
        db_client_connections_wait_time_milliseconds_sum db_client_connections_wait_time_milliseconds_count
        db_client_connections_wait_time_seconds_sum db_client_connections_wait_time_seconds_count
        db_client_connection_count db_client_connection_max db_client_connection_pending_requests
        db_client_connection_wait_time_seconds_sum db_client_connection_wait_time_seconds_count"""),
    _of("HikariCP, by Micrometer", "namespace pool",
        """hikaricp_connections_active hikaricp_connections_max hikaricp_connections_pending
        hikaricp_connections_acquire_seconds_sum hikaricp_connections_acquire_seconds_count"""),
    _of("kube-state-metrics, resource quotas", "namespace resourcequota resource type", "kube_resourcequota"),
)  # fmt: skip
FOREIGN: Mapping[str, frozenset[str]] = {metric: each.labels for each in PRODUCERS for metric in each.metrics}
"""The labels of each foreign metric."""
BY_THE_SCRAPE = frozenset({
    "job", "instance", "environment", "service_name", "service_namespace", "pod", "k8s_pod_name",
    "exported_namespace", "exported_pod", "exported_job",
})  # fmt: skip
"""Labels that the scrape configuration adds, or renames where a target has one of that name."""
