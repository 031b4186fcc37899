"""Catalogue of the cluster: autoscalers, deployments, pods, and quotas of kube-state-metrics."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import CatalogueRow, Producer, RateWindows

NAMESPACE_LABELS = ("namespace", "exported_namespace")
"""`exported_namespace` if the scrape target has a label `namespace` (scrapes without honor_labels)."""
_AUTOSCALER = "kube_horizontalpodautoscaler"
_STATEFUL_SET_RENAMES = {"statefulset": "deployment"}


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Readings by deployment (or stateful set), autoscaler, pod, and quota.

    Names: kube-state-metrics/docs/metrics (workload, cluster).
    """
    last = windows.last
    scaler, deployment = (*NAMESPACE_LABELS, "horizontalpodautoscaler"), (*NAMESPACE_LABELS, "deployment")
    stateful = (*NAMESPACE_LABELS, "statefulset")
    return {
        "scaler_target": CatalogueRow(
            last(f"{_AUTOSCALER}_info", (*scaler, "scaletargetref_name")),
            "which autoscaler is whose, where names differ",
        ),
        "scaler_wanted": CatalogueRow(
            last(f"{_AUTOSCALER}_status_desired_replicas", scaler), "replicas that an autoscaler wants"
        ),
        "scaler_most": CatalogueRow(last(f"{_AUTOSCALER}_spec_max_replicas", scaler), "how far an autoscaler may go"),
        "specified": CatalogueRow(
            last("kube_deployment_spec_replicas", deployment),
            "replicas wanted of what no autoscaler scales",
            also=(Producer(last("kube_statefulset_replicas", stateful), _STATEFUL_SET_RENAMES),),
        ),
        "ready": CatalogueRow(
            last("kube_deployment_status_replicas_ready", deployment),
            "replicas that serve",
            also=(Producer(last("kube_statefulset_status_replicas_ready", stateful), _STATEFUL_SET_RENAMES),),
        ),
        "pending": CatalogueRow(
            last("kube_pod_status_phase", (*NAMESPACE_LABELS, "pod", "exported_pod"), Matcher("phase", "=", "Pending")),
            "pods that wait for a node",
        ),
        "quota": CatalogueRow(
            last(
                "kube_resourcequota",
                (*NAMESPACE_LABELS, "resourcequota", "type"),
                Matcher("resource", "=", "requests.nvidia.com/gpu"),
            ),
            "quotas of GPUs, and what is left of them",
        ),
    }
