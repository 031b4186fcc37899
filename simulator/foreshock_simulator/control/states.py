"""How autoscaling and capacity stand, as frozen values: what a cluster's API would tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreshock_simulator.core.names import ServiceName

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclass(frozen=True, slots=True)
class AutoscalerState:
    """An autoscaler. `value` is the metric when it last looked, NaN before and where there was none."""

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
    """A replica as a pod. `created` in seconds since the start; `scheduled`: it has its place, or needs none."""

    name: str
    phase: Phase
    ready: bool
    scheduled: bool
    created: float


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A service's replicas: how many are wanted, and the pods that there are."""

    name: ServiceName
    desired: int
    pods: tuple[PodState, ...]

    @property
    def ready(self) -> int:
        """Pods that take requests."""
        return sum(pod.ready for pod in self.pods)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The GPUs of a pool: how many may be held at once, and how many are."""

    namespace: str
    pool: str
    hard: int
    used: int
