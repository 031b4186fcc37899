"""What the autoscaler wants, what is there, and what the quota allows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Capacity:
    """Arrays of shape (services, times) and (pools, times), NaN where there is no sample.

    wanted: replicas that the autoscaler wants, or where there is none those that the deployment specifies.
    ready: replicas that serve. most: the autoscaler's bound (NaN without one). pending: pods that wait for a node.
    quota, used: GPUs that each pool's resource quota allows and has given out.
    """

    services: tuple[Service, ...]
    wanted: Floats = field(repr=False)
    ready: Floats = field(repr=False)
    most: Floats = field(repr=False)
    pending: Floats = field(repr=False)
    pools: tuple[str, ...]
    quota: Floats = field(repr=False)
    used: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Capacity:
        """Nobody tells of replicas and quotas."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, (), none, none)
