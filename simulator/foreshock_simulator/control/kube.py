"""State of autoscalers, deployments and quotas as metrics of kube-state-metrics (its docs/metrics)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, get_args

from foreshock_exporter.model.family import Families, Family, Sample
from foreshock_simulator.control.autoscaler import Autoscaler
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.deployment import Deployment, Phase
from foreshock_simulator.core.names import ServiceName, uuid_digits

PHASES: tuple[str, ...] = get_args(Phase)
GPU_RESOURCE = "requests.nvidia.com/gpu"
"""Resource name of GPUs in a ResourceQuota."""
QUOTA_NAMESPACE = "gpu-pools"
"""Namespace of the pools' resource quotas."""

_HPA = ("namespace", "horizontalpodautoscaler")
_TARGET = (*_HPA, "metric_name", "metric_target_type")
_DEPLOYMENT = ("namespace", "deployment")
_POD = ("namespace", "pod", "uid")


def _gauge(name: str, labels: tuple[str, ...], help_: str) -> Family:
    return Family(f"kube_{name}", "gauge", labels, help_)


HPA_INFO = _gauge(
    "horizontalpodautoscaler_info",
    (*_HPA, "scaletargetref_api_version", "scaletargetref_kind", "scaletargetref_name"),
    "What the autoscaler scales; always 1.",
)
HPA_TARGET = _gauge("horizontalpodautoscaler_spec_target_metric", _TARGET, "The metric's target.")
HPA_VALUE = _gauge("horizontalpodautoscaler_status_target_metric", _TARGET, "The metric when it was last read.")
_HPA_LIMITS: tuple[tuple[Family, Callable[[Autoscaler], int]], ...] = (
    (_gauge("horizontalpodautoscaler_spec_min_replicas", _HPA, "Least replicas."), lambda hpa: hpa.spec.minimum),
    (_gauge("horizontalpodautoscaler_spec_max_replicas", _HPA, "Most replicas."), lambda hpa: hpa.spec.maximum),
)
_HPA_REPLICAS = (
    _gauge("horizontalpodautoscaler_status_current_replicas", _HPA, "Replicas that there are."),
    _gauge("horizontalpodautoscaler_status_desired_replicas", _HPA, "Replicas that are wanted."),
)
_COUNTS: tuple[tuple[Family, Callable[[Deployment[Any]], int]], ...] = (
    (
        _gauge("deployment_metadata_generation", _DEPLOYMENT, "Number of the specification that is wanted."),
        lambda item: item.generation,
    ),
    (_gauge("deployment_spec_replicas", _DEPLOYMENT, "Replicas that are wanted."), lambda item: item.desired),
    (_gauge("deployment_status_replicas", _DEPLOYMENT, "Replicas that there are."), lambda item: len(item.pods)),
    (_gauge("deployment_status_replicas_ready", _DEPLOYMENT, "Replicas that are ready."), lambda item: item.ready),
    (
        _gauge("deployment_status_replicas_available", _DEPLOYMENT, "Replicas that are available."),
        lambda item: item.ready,
    ),
    (
        _gauge("deployment_status_replicas_unavailable", _DEPLOYMENT, "Replicas that are wanted and not available."),
        lambda item: max(len(item.pods) - item.ready, 0),
    ),
)
POD_CREATED = _gauge("pod_created", _POD, "When the pod was created, in Unix seconds.")
POD_CONTAINER = _gauge("pod_container_info", (*_POD, "container", "image_spec", "image"), "A container; always 1.")
POD_PHASE = _gauge("pod_status_phase", (*_POD, "phase"), "1 for the phase that the pod is in, else 0.")
POD_SCHEDULED = _gauge("pod_status_scheduled", (*_POD, "condition"), "1 for whether the pod has its node, else 0.")
QUOTA = _gauge(
    "resourcequota",
    ("namespace", "resourcequota", "resource", "type"),
    "Hard limit and used amount of a resource quota.",
)

_CONTAINER = ("namespace", "pod", "container")
MEMORY = Family("container_memory_working_set_bytes", "gauge", _CONTAINER, "Memory that cannot be freed.")
MEMORY_LIMIT = Family("container_spec_memory_limit_bytes", "gauge", _CONTAINER, "Memory at which it is killed.")


class PodMemory(NamedTuple):
    """Memory of a running pod in bytes: in use, and its limit."""

    service: ServiceName
    pod: str
    used: float
    limit: float


def memory_families(pods: Sequence[PodMemory]) -> Families:
    """Memory of containers, named as by cAdvisor; no families without pods."""
    labels = [(pod.service.namespace, pod.pod, pod.service.name) for pod in pods]
    used = [Sample(names, pod.used) for names, pod in zip(labels, pods, strict=True)]
    limits = [Sample(names, pod.limit) for names, pod in zip(labels, pods, strict=True)]
    return [(MEMORY, used), (MEMORY_LIMIT, limits)] if pods else []


def families(
    autoscalers: Sequence[Autoscaler], deployments: Sequence[Deployment[Any]], capacity: Capacity, epoch: float
) -> Families:
    """The metric families. `epoch` is the start of the simulation in Unix seconds. NaN values are left out."""
    targets = [((*hpa.name, hpa.spec.metric, "average"), hpa) for hpa in autoscalers]
    pods = [(_pod_labels(item.name.namespace, pod.name), pod) for item in deployments for pod in item.pods]
    return [
        (HPA_INFO, [Sample((*hpa.name, "apps/v1", "Deployment", hpa.name.name), 1.0) for hpa in autoscalers]),
        *((family, [Sample(hpa.name, limit(hpa)) for hpa in autoscalers]) for family, limit in _HPA_LIMITS),
        (HPA_TARGET, [Sample(labels, hpa.spec.target) for labels, hpa in targets]),
        (HPA_VALUE, [Sample(labels, hpa.value) for labels, hpa in targets if not math.isnan(hpa.value)]),
        *((family, [Sample(hpa.name, hpa.target.desired) for hpa in autoscalers]) for family in _HPA_REPLICAS),
        *((family, [Sample(item.name, count(item)) for item in deployments]) for family, count in _COUNTS),
        (POD_CREATED, [Sample(labels, epoch + pod.created) for labels, pod in pods]),
        (POD_CONTAINER, [Sample(_container_labels(*labels, pod.version), 1.0) for labels, pod in pods if pod.version]),
        (POD_PHASE, [Sample((*labels, phase), float(pod.phase == phase)) for labels, pod in pods for phase in PHASES]),
        (
            POD_SCHEDULED,
            [
                Sample((*labels, condition), float(condition == ("true" if pod.claim is None else "false")))
                for labels, pod in pods
                for condition in ("true", "false", "unknown")
            ],
        ),
        (
            QUOTA,
            [
                Sample((QUOTA_NAMESPACE, pool, GPU_RESOURCE, kind), value)
                for pool, quota in capacity.quotas().items()
                for kind, value in (("hard", quota.hard), ("used", quota.used))
            ],
        ),
    ]


@lru_cache(maxsize=4096)
def _container_labels(namespace: str, pod: str, uid: str, version: str) -> tuple[str, ...]:
    name = pod.rpartition("-")[0]
    image = f"example.com/{namespace}/{name}:{version}"
    return namespace, pod, uid, name, image, image


@lru_cache(maxsize=4096)
def _pod_labels(namespace: str, name: str) -> tuple[str, ...]:
    return namespace, name, uuid_digits(f"{namespace}/{name}")
