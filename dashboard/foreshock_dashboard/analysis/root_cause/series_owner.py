"""Whose a series is, on a platform whose metrics nobody has told us of: by its labels."""

from __future__ import annotations

import re
from collections.abc import Mapping

from foreshock_dashboard.model.service import Service

BY_LABEL = (
    *("service_name", "service", "app", "app_kubernetes_io_name"),
    *("deployment", "statefulset", "daemonset", "workload", "horizontalpodautoscaler", "k8s_deployment_name"),
    *("container", "k8s_container_name", "container_label_com_docker_compose_service", "container_name"),
    *("pod", "k8s_pod_name", "pod_name", "job", "instance", "node", "host"),
)
"""Labels that name a service, the surest first: OpenTelemetry's, then those that applications, the cluster
(kube-state-metrics, cAdvisor, Istio) and scrape configurations set."""
NAMESPACES = {"service_name": "service_namespace"}
"""Only OpenTelemetry's name comes with a namespace that is part of the service; a cluster's is a place."""
PODS = frozenset({"pod", "k8s_pod_name", "pod_name"})
HOSTS = frozenset({"instance", "node", "host"})
REPLICA = (*sorted(PODS | HOSTS), "container_id", "id", "uid", "endpoint", "name")
"""Labels that tell one copy of a thing from another."""
_OF_OTHERS = ("node_", "container_", "kube_", "machine_", "gpu_", "DCGM_")
"""How metrics begin whose job is an exporter that tells of other things than itself."""
_NOBODY = frozenset({"", "POD", "none", "null"})
"""What cAdvisor and others write where there is no name; POD is the container that only holds a pod's network."""
_POD = re.compile(
    r"(?P<name>.+?)(?:-[0-9]+|-[a-z0-9]{5}|-[a-f0-9]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}"
    r"|-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5})"
)
"""A pod's name as Deployments, StatefulSets and DaemonSets make it (k8s.io/apimachinery/pkg/util/rand: no vowels)."""


CALLS = (
    ("client", "server", "client_service_namespace", "server_service_namespace"),
    ("source_workload", "destination_workload", "", ""),
    ("source_app", "destination_app", "", ""),
    ("source_service", "destination_service_name", "", ""),
)
"""Labels of caller and called: of the service graph (OpenTelemetry, Tempo) and of Istio."""


def call(labels: Mapping[str, str]) -> tuple[Service, Service] | None:
    """The caller and the called that a series tells of, if it tells of a call."""
    for client, server, client_namespace, server_namespace in CALLS:
        if labels.get(client) and labels.get(server):
            one = Service(labels.get(client_namespace, ""), labels[client])
            return one, Service(labels.get(server_namespace, ""), labels[server])
    return None


def owner(metric: str, labels: Mapping[str, str]) -> Service:
    """The service that a series tells of: of a call, the one called.

    Where no label says so, what the metric's name begins with.
    """
    if pair := call(labels):
        return pair[1]
    for label in BY_LABEL:
        value = labels.get(label, "")
        if value in _NOBODY or (label == "job" and metric.startswith(_OF_OTHERS)):
            continue
        if label in PODS:
            value = without_hash(value)
        elif label in HOSTS:
            value = re.sub(r":\d+$", "", value)
        return Service(labels.get(NAMESPACES.get(label, ""), ""), value)
    head, _, _ = metric.rpartition("_")
    return Service("", head or metric)


def without_hash(pod: str) -> str:
    """`checkout` of `checkout-6c5bd6d5f4-x2x9k`, of `checkout-0` and of `checkout-x2x9k`."""
    match = _POD.fullmatch(pod)
    return match["name"] if match and any(char.isdigit() for char in pod[len(match["name"]) :]) else pod


def replica(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Which copy of a thing a series tells of."""
    return tuple(labels.get(label, "") for label in REPLICA)
