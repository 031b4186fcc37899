"""Autoscaling and capacity under the names of kube-state-metrics (its docs/metrics)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import get_args

from foreshock_exporter.model.family import Families, Family, Sample
from foreshock_simulator.control.states import AutoscalerState, DeploymentState, Phase, QuotaState

PHASES: tuple[str, ...] = get_args(Phase)
RESOURCE = "requests.nvidia.com/gpu"
"""What a ResourceQuota limits GPUs by."""

_HPA = ("namespace", "horizontalpodautoscaler")
_TARGET = (*_HPA, "metric_name", "metric_target_type")
_DEPLOYMENT = ("namespace", "deployment")
_POD = ("namespace", "pod", "uid")


def _gauge(name: str, labels: tuple[str, ...], help_: str) -> Family:
    return Family(name, "gauge", labels, help_)


HPA_INFO = _gauge(
    "kube_horizontalpodautoscaler_info",
    (*_HPA, "scaletargetref_api_version", "scaletargetref_kind", "scaletargetref_name"),
    "What the autoscaler scales; always 1.",
)
HPA_MINIMUM = _gauge("kube_horizontalpodautoscaler_spec_min_replicas", _HPA, "Least replicas.")
HPA_MAXIMUM = _gauge("kube_horizontalpodautoscaler_spec_max_replicas", _HPA, "Most replicas.")
HPA_TARGET = _gauge("kube_horizontalpodautoscaler_spec_target_metric", _TARGET, "The metric's target.")
HPA_VALUE = _gauge("kube_horizontalpodautoscaler_status_target_metric", _TARGET, "The metric when it was last read.")
HPA_CURRENT = _gauge("kube_horizontalpodautoscaler_status_current_replicas", _HPA, "Replicas that there are.")
HPA_DESIRED = _gauge("kube_horizontalpodautoscaler_status_desired_replicas", _HPA, "Replicas that are wanted.")
DEPLOYMENT_SPEC = _gauge("kube_deployment_spec_replicas", _DEPLOYMENT, "Replicas that are wanted.")
DEPLOYMENT_REPLICAS = _gauge("kube_deployment_status_replicas", _DEPLOYMENT, "Replicas that there are.")
DEPLOYMENT_READY = _gauge("kube_deployment_status_replicas_ready", _DEPLOYMENT, "Replicas that are ready.")
DEPLOYMENT_AVAILABLE = _gauge("kube_deployment_status_replicas_available", _DEPLOYMENT, "Replicas that are available.")
DEPLOYMENT_UNAVAILABLE = _gauge(
    "kube_deployment_status_replicas_unavailable", _DEPLOYMENT, "Replicas that are wanted and not available."
)
POD_CREATED = _gauge("kube_pod_created", _POD, "When the pod was created, in Unix seconds.")
POD_PHASE = _gauge("kube_pod_status_phase", (*_POD, "phase"), "1 for the phase that the pod is in, else 0.")
POD_SCHEDULED = _gauge("kube_pod_status_scheduled", (*_POD, "condition"), "1 for whether the pod has its node, else 0.")
QUOTA = _gauge(
    "kube_resourcequota",
    ("namespace", "resourcequota", "resource", "type"),
    "What a quota allows (`hard`) and what is used of it.",
)


def emit(
    autoscalers: Sequence[AutoscalerState],
    deployments: Sequence[DeploymentState],
    quotas: Sequence[QuotaState],
    epoch: float,
) -> Families:
    """The states as families; `epoch` is the start of the simulation in Unix seconds. What is NaN is left out."""
    pods = [(_pod(one.name.namespace, pod.name), pod) for one in deployments for pod in one.pods]
    return [
        (HPA_INFO, [Sample((*one.name, "apps/v1", "Deployment", one.name.name), 1.0) for one in autoscalers]),
        (HPA_MINIMUM, [Sample(one.name, one.minimum) for one in autoscalers]),
        (HPA_MAXIMUM, [Sample(one.name, one.maximum) for one in autoscalers]),
        (HPA_TARGET, [Sample(_target(one), one.target) for one in autoscalers]),
        (HPA_VALUE, [Sample(_target(one), one.value) for one in autoscalers if not math.isnan(one.value)]),
        (HPA_CURRENT, [Sample(one.name, one.current) for one in autoscalers]),
        (HPA_DESIRED, [Sample(one.name, one.desired) for one in autoscalers]),
        (DEPLOYMENT_SPEC, [Sample(one.name, one.desired) for one in deployments]),
        (DEPLOYMENT_REPLICAS, [Sample(one.name, len(one.pods)) for one in deployments]),
        (DEPLOYMENT_READY, [Sample(one.name, one.ready) for one in deployments]),
        (DEPLOYMENT_AVAILABLE, [Sample(one.name, one.ready) for one in deployments]),
        (DEPLOYMENT_UNAVAILABLE, [Sample(one.name, max(len(one.pods) - one.ready, 0)) for one in deployments]),
        (POD_CREATED, [Sample(labels, epoch + pod.created) for labels, pod in pods]),
        (
            POD_PHASE,
            [Sample((*labels, phase), float(pod.phase == phase)) for labels, pod in pods for phase in PHASES],
        ),
        (
            POD_SCHEDULED,
            [
                Sample((*labels, condition), float(condition == str(pod.scheduled).lower()))
                for labels, pod in pods
                for condition in ("true", "false", "unknown")
            ],
        ),
        (
            QUOTA,
            [
                Sample((quota.namespace, quota.pool, RESOURCE, kind), value)
                for quota in quotas
                for kind, value in (("hard", quota.hard), ("used", quota.used))
            ],
        ),
    ]


def _target(one: AutoscalerState) -> tuple[str, ...]:
    return (*one.name, one.metric, "average")


@lru_cache(maxsize=4096)
def _pod(namespace: str, name: str) -> tuple[str, ...]:
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()
    uid = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    return namespace, name, uid
