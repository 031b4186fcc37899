"""What is read of the cluster: kube-state-metrics' autoscalers, deployments, pods and quotas."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import CatalogueRow, Producer, RateWindows

NAMESPACE = ("namespace", "exported_namespace")
"""`exported_namespace` where the scrape's own label took the name (a scrape without honor_labels)."""
_HPA = "kube_horizontalpodautoscaler"
_SET = {"statefulset": "deployment"}


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """By deployment (or stateful set), autoscaler, pod and quota.

    Names: kube-state-metrics/docs/metrics (workload, cluster).
    """
    last = windows.last
    scaler, deployment = (*NAMESPACE, "horizontalpodautoscaler"), (*NAMESPACE, "deployment")
    stateful = (*NAMESPACE, "statefulset")
    return {
        "scaler_target": CatalogueRow(
            last(f"{_HPA}_info", (*scaler, "scaletargetref_name")), "which autoscaler is whose, where names differ"
        ),
        "scaler_wanted": CatalogueRow(
            last(f"{_HPA}_status_desired_replicas", scaler), "replicas that an autoscaler wants"
        ),
        "scaler_most": CatalogueRow(last(f"{_HPA}_spec_max_replicas", scaler), "how far an autoscaler may go"),
        "specified": CatalogueRow(
            last("kube_deployment_spec_replicas", deployment),
            "replicas wanted of what no autoscaler scales",
            also=(Producer(last("kube_statefulset_replicas", stateful), _SET),),
        ),
        "ready": CatalogueRow(
            last("kube_deployment_status_replicas_ready", deployment),
            "replicas that serve",
            also=(Producer(last("kube_statefulset_status_replicas_ready", stateful), _SET),),
        ),
        "pending": CatalogueRow(
            last("kube_pod_status_phase", (*NAMESPACE, "pod", "exported_pod"), Matcher("phase", "=", "Pending")),
            "pods that wait for a node",
        ),
        "quota": CatalogueRow(
            last(
                "kube_resourcequota",
                (*NAMESPACE, "resourcequota", "type"),
                Matcher("resource", "=", "requests.nvidia.com/gpu"),
            ),
            "quotas of GPUs, and what is left of them",
        ),
    }
