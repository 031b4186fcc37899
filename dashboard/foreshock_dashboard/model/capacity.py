"""Replicas desired and ready, and the GPU quota of each pool."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Capacity:
    """Arrays of shape (services, times) and (pools, times); NaN is no sample.

    wanted: desired replicas of the autoscaler, or of the Deployment without an autoscaler. ready: replicas that serve.
    max_replicas: upper bound of the autoscaler (NaN without one). pending: pods without a node.
    quota, used: GPUs that the pool's ResourceQuota allows and has assigned.
    """

    services: tuple[Service, ...]
    wanted: Floats = field(repr=False)
    ready: Floats = field(repr=False)
    max_replicas: Floats = field(repr=False)
    pending: Floats = field(repr=False)
    pools: tuple[str, ...]
    quota: Floats = field(repr=False)
    used: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Capacity:
        """Nothing is known of replicas and quotas."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, (), none, none)
