"""The service of a series, and the call that it describes, by labels of common exporters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, qualified, split_cluster

SERVICE_LABELS = (
    *("service_name", "service", "app", "app_kubernetes_io_name"),
    *("deployment", "statefulset", "daemonset", "workload", "horizontalpodautoscaler", "k8s_deployment_name"),
    *("container", "k8s_container_name", "container_label_com_docker_compose_service", "container_name"),
    *("pod", "k8s_pod_name", "pod_name", "persistentvolumeclaim", "job", "instance", "node", "host"),
)
"""Labels that name a service, the most specific first: OpenTelemetry's, then those of applications, of the cluster
(kube-state-metrics, cAdvisor, Istio), and of scrape configurations."""

NAMESPACE_LABELS = {"service_name": "service_namespace"}
"""Only OpenTelemetry's namespace is part of the service's name; that of a cluster is a location."""

POD_LABELS = frozenset({"pod", "k8s_pod_name", "pod_name"})

HOST_LABELS = frozenset({"instance", "node", "host"})

REPLICA_LABELS = (
    *sorted(POD_LABELS | HOST_LABELS),
    *("container_id", "id", "uid", "endpoint", "name", "uuid", "UUID"),
)
"""Labels that distinguish replicas: pods, hosts, containers, and GPUs."""

_EXPORTER_PREFIXES = ("node_", "container_", "kube_", "kubelet_", "machine_", "gpu_", "gpus_", "DCGM_")
"""Prefixes of metrics whose `job` label names the exporter, not the service."""

_PLACEHOLDERS = frozenset({"", "POD", "none", "null"})
"""Label values without a name; cAdvisor's POD is the container that holds a pod's network."""

_POD_NAME = re.compile(
    r"(?P<name>.+?)(?:-[0-9]+|-[a-z0-9]{5}|-[a-f0-9]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}"
    r"|-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5})"
)
"""Pod name as Deployments, StatefulSets, and DaemonSets generate it (k8s.io/apimachinery/pkg/util/rand: no vowels)."""

CALL_LABELS = (
    ("client", "server", "client_service_namespace", "server_service_namespace"),
    ("source_workload", "destination_workload", "", ""),
    ("source_app", "destination_app", "", ""),
    ("source_service", "destination_service_name", "", ""),
)
"""Labels of client and server, and of their namespaces: the service graph (OpenTelemetry, Tempo), and Istio."""


def call_of(labels: Mapping[str, str]) -> tuple[Service, Service] | None:
    """Client and server of a series about calls; None for other series."""
    for client, server, client_namespace, server_namespace in CALL_LABELS:
        if labels.get(client) and labels.get(server):
            own = qualified(labels.get(CLUSTER_LABEL, ""), "")
            return (
                Service(labels.get(client_namespace) or own, labels[client]),
                Service(labels.get(server_namespace) or own, labels[server]),
            )
    return None


def owner(metric: str, labels: Mapping[str, str]) -> Service:
    """The service of a series: the server of a call, else by the first label of `SERVICE_LABELS`.

    A series without such a label belongs to a service named after the metric without its last word.
    """
    if call := call_of(labels):
        return call[1]
    label, own = owner_label(metric, labels), qualified(labels.get(CLUSTER_LABEL, ""), "")
    value = labels.get(label, "")
    if not value:
        head, _, _ = metric.rpartition("_")
        return Service(own, head or metric)
    if label in POD_LABELS:
        value = without_pod_suffix(value)
    elif label == "persistentvolumeclaim":
        value = _service_of_volume(value)
    elif label in HOST_LABELS:
        value = split_cluster(re.sub(r":\d+$", "", value))[1]
    return Service(labels.get(NAMESPACE_LABELS.get(label, "")) or own, value)


def owner_label(metric: str, labels: Mapping[str, str]) -> str:
    """The label that names the service of a series; "" without one."""
    for label in SERVICE_LABELS:
        is_exporter = label == "job" and metric.startswith(_EXPORTER_PREFIXES)
        if labels.get(label, "") not in _PLACEHOLDERS and not is_exporter:
            return label
    return ""


def without_pod_suffix(pod: str) -> str:
    """`checkout` for `checkout-6c5bd6d5f4-x2x9k`, `checkout-0`, and `checkout-x2x9k`."""
    match = _POD_NAME.fullmatch(pod)
    return match["name"] if match and any(char.isdigit() for char in pod[len(match["name"]) :]) else pod


def _service_of_volume(claim: str) -> str:
    """`store` for the claims `data-store-0` of a StatefulSet, whose first word is the volume's, and `store-data`."""
    of_replica = re.fullmatch(r"[^-]+-(.+)-\d+", claim)
    return of_replica[1] if of_replica else re.sub(r"-(data|storage|volume|disk|pvc|claim)$", "", claim)


def replica_key(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the labels that distinguish replicas."""
    return tuple(labels.get(label, "") for label in REPLICA_LABELS)
