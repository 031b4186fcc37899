"""State of autoscalers, deployments and quotas as metrics of kube-state-metrics (its docs/metrics)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import get_args

from foreshock_exporter.model.family import Families, Family, Sample
from foreshock_simulator.control.states import AutoscalerState, DeploymentState, Phase, QuotaState

PHASES: tuple[str, ...] = get_args(Phase)
GPU_RESOURCE = "requests.nvidia.com/gpu"
"""Resource name of GPUs in a ResourceQuota."""

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


def families(
    autoscalers: Sequence[AutoscalerState],
    deployments: Sequence[DeploymentState],
    quotas: Sequence[QuotaState],
    epoch: float,
) -> Families:
    """The metric families of the states.

    `epoch` is the start of the simulation in Unix seconds. NaN values are left out.
    """
    pods = [(_pod_labels(state.name.namespace, pod.name), pod) for state in deployments for pod in state.pods]
    measured = [state for state in autoscalers if not math.isnan(state.value)]
    return [
        (HPA_INFO, [Sample((*state.name, "apps/v1", "Deployment", state.name.name), 1.0) for state in autoscalers]),
        (HPA_MINIMUM, [Sample(state.name, state.minimum) for state in autoscalers]),
        (HPA_MAXIMUM, [Sample(state.name, state.maximum) for state in autoscalers]),
        (HPA_TARGET, [Sample(_target_labels(state), state.target) for state in autoscalers]),
        (
            HPA_VALUE,
            [Sample(_target_labels(state), state.value) for state in measured],
        ),
        (HPA_CURRENT, [Sample(state.name, state.current) for state in autoscalers]),
        (HPA_DESIRED, [Sample(state.name, state.desired) for state in autoscalers]),
        (DEPLOYMENT_SPEC, [Sample(state.name, state.desired) for state in deployments]),
        (DEPLOYMENT_REPLICAS, [Sample(state.name, len(state.pods)) for state in deployments]),
        (DEPLOYMENT_READY, [Sample(state.name, state.ready) for state in deployments]),
        (DEPLOYMENT_AVAILABLE, [Sample(state.name, state.ready) for state in deployments]),
        (DEPLOYMENT_UNAVAILABLE, [Sample(state.name, max(len(state.pods) - state.ready, 0)) for state in deployments]),
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
                Sample((quota.namespace, quota.pool, GPU_RESOURCE, kind), value)
                for quota in quotas
                for kind, value in (("hard", quota.hard), ("used", quota.used))
            ],
        ),
    ]


def _target_labels(autoscaler: AutoscalerState) -> tuple[str, ...]:
    return (*autoscaler.name, autoscaler.metric, "average")


@lru_cache(maxsize=4096)
def _pod_labels(namespace: str, name: str) -> tuple[str, ...]:
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()
    uid = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    return namespace, name, uid
