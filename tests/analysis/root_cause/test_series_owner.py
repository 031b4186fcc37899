"""The service of a series, the call that it describes, and what its metric measures."""

from __future__ import annotations

import pytest

from foreshock_dashboard.analysis.root_cause.metric_kinds import is_failure, metric_kind, statistic
from foreshock_dashboard.analysis.root_cause.series_owner import call_of, owner, without_pod_suffix
from foreshock_dashboard.model.service import Service


@pytest.mark.parametrize(
    ("pod", "name"),
    [
        ("checkout-6c5bd6d5f4-x2x9k", "checkout"),
        ("redis-cart-7d9bbd8c5-kzbvm", "redis-cart"),
        ("ts-order-service-v1-0", "ts-order-service-v1"),
        ("fluentd-x7k2p", "fluentd"),
        ("front-end", "front-end"),
        ("ts-auth-service", "ts-auth-service"),
        ("llm-a100", "llm-a100"),
    ],
)
def test_a_generated_suffix_of_a_pod_name_is_removed(pod: str, name: str) -> None:
    """Hyphens and digits of service names stay."""
    assert without_pod_suffix(pod) == name


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [
        ("x", {"service_name": "a", "service_namespace": "n", "job": "j"}, Service("n", "a")),
        ("x", {"service": "a", "namespace": "n", "pod": "p-0"}, Service("", "a")),
        ("container_cpu_usage_seconds_total", {"container": "POD", "pod": "a-0", "job": "kubelet"}, Service("", "a")),
        ("container_cpu_usage_seconds_total", {"container": "a", "pod": "b-0", "job": "kubelet"}, Service("", "a")),
        ("kubelet_volume_stats_used_bytes", {"persistentvolumeclaim": "data-a-0", "job": "k"}, Service("", "a")),
        ("kubelet_volume_stats_used_bytes", {"persistentvolumeclaim": "a-data", "job": "k"}, Service("", "a")),
        ("node_load1", {"job": "node-exporter", "instance": "host-1:9100"}, Service("", "host-1")),
        ("gpus_present", {"job": "foreshock-exporter", "instance": "host-1:10877"}, Service("", "host-1")),
        ("http_requests_total", {"job": "a", "instance": "10.0.0.1:80"}, Service("", "a")),
        ("x", {"client": "a", "server": "b", "server_service_namespace": "n", "job": "j"}, Service("n", "b")),
        ("checkout_cpu", {}, Service("", "checkout")),
        ("up", {}, Service("", "up")),
    ],
)
def test_a_series_belongs_to_the_service_of_its_most_specific_label(
    metric: str, labels: dict[str, str], expected: Service
) -> None:
    """A call belongs to its server; a series without such a label, to the metric's name."""
    assert owner(metric, labels) == expected


def test_calls_are_recognized_by_the_labels_of_service_graphs_and_meshes() -> None:
    """OpenTelemetry's, Tempo's and Istio's."""
    assert call_of({"client": "a", "server": "b"}) == (Service("", "a"), Service("", "b"))
    assert call_of({"source_workload": "a", "destination_workload": "b"}) == (Service("", "a"), Service("", "b"))
    assert call_of({"client": "a"}) is None


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("http_server_request_duration_seconds", "latency"),
        ("app_latency", "latency"),
        ("checkout_p95", "latency"),
        ("traces_service_graph_request_failed_total", "errors"),
        ("http_requests_total", "traffic"),
        ("availability_percent", "success"),
        ("up", "availability"),
        ("kube_deployment_status_replicas_unavailable", "availability"),
        ("container_cpu_usage_seconds_total", "resource"),
        ("container_cpu_cfs_throttled_periods_total", "resource"),
        ("container_memory_working_set_bytes", "resource"),
        ("process_open_fds", "resource"),
        ("node_disk_io_time_seconds_total", "resource"),
        ("db_client_connections_usage", "resource"),
        ("container_network_receive_bytes_total", "other"),
        ("carts_load", "traffic"),
        ("temperature_of_the_sea", "resource"),
        ("hue", "other"),
    ],
)
def test_a_metric_is_recognized_by_the_words_of_its_name(metric: str, kind: str) -> None:
    """Names of OpenTelemetry, cAdvisor, node_exporter, and of columns of a table."""
    assert metric_kind(metric) == kind


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [
        ("latency", {"quantile": "0.95"}, "p95"),
        ("latency", {"quantile": "0.5"}, "p50"),
        ("latency", {"stat": "Average"}, "mean"),
        ("latency", {"stat": "p99"}, "p99"),
        ("latency_p90", {}, "p90"),
        ("latency_avg", {}, "mean"),
        ("latency", {}, ""),
    ],
)
def test_a_latency_is_a_mean_or_a_quantile(metric: str, labels: dict[str, str], expected: str) -> None:
    """By a label or by its name."""
    assert statistic(metric, labels) == expected


def test_a_failed_request_is_recognized_by_its_status() -> None:
    """HTTP, gRPC, and spans."""
    failed: tuple[dict[str, str], ...] = (
        *({"code": "503"}, {"status_code": "STATUS_CODE_ERROR"}, {"grpc_status": "14"}, {"outcome": "SERVER_ERROR"}),
        {"response_code": "200", "grpc_response_status": "14"},
        *({"grpc_code": "Unavailable"}, {"grpc_code": "DeadlineExceeded"}, {"rpc_grpc_status_code": "12"}),
        *({"rpc_response_status_code": "DEADLINE_EXCEEDED"}, {"grpc_code": "Unimplemented"}),
    )
    assert [labels for labels in failed if not is_failure(labels)] == []
    passed: tuple[dict[str, str], ...] = (
        *({"code": "200"}, {"status_code": "STATUS_CODE_UNSET"}, {"grpc_status": "0"}, {}),
        *({"grpc_code": "NotFound"}, {"rpc_response_status_code": "5"}, {"status": "", "code": "404"}),
    )
    assert [labels for labels in passed if is_failure(labels)] == []
