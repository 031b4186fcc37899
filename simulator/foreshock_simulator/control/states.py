"""State of autoscalers, pods, deployments and quotas, as the Kubernetes API reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreshock_simulator.core.names import ServiceName

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclass(frozen=True, slots=True)
class AutoscalerState:
    """An autoscaler. `value` is the metric at the last evaluation, NaN before the first and without a value."""

    name: ServiceName
    minimum: int
    maximum: int
    current: int
    desired: int
    metric: str
    target: float
    value: float


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of a replica. `created` is in seconds since the start; `scheduled` pods have a node or need no GPU."""

    name: str
    phase: Phase
    ready: bool
    scheduled: bool
    created: float


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment: desired replicas and pods."""

    name: ServiceName
    desired: int
    pods: tuple[PodState, ...]

    @property
    def ready(self) -> int:
        """Pods that receive requests."""
        return sum(pod.ready for pod in self.pods)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The quota of a pool: allowed GPUs and used GPUs."""

    namespace: str
    pool: str
    hard: int
    used: int
