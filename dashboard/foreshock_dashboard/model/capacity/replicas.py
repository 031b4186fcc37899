"""Replicas of a service: those ready, how many more may start, and how many it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

MORE_TRAFFIC_FACTOR = 1.3
"""Factor on traffic for which a service is planned."""


class AddedReplicas(NamedTuple):
    """A needed number of replicas, how many to add for it, and how many of these the pool cannot run.

    NaN where unknown; `short` is without a known room.
    """

    needed: float
    added: float
    short: float


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """Replicas of a service now. NaN where unknown.

    pool: "" where unknown. ready: those ready. room: further ones for which the pool has free GPUs. max_replicas: the
    most that the autoscaler may start, whatever the room. gpus_per_replica: GPUs that one uses. host_ratio: the largest
    share of its GPUs on one host, 0 to 1.
    """

    pool: str = ""
    ready: float = math.nan
    room: float = math.nan
    max_replicas: float = math.nan
    gpus_per_replica: float = math.nan
    host_ratio: float = math.nan

    def added_for(self, needed: float) -> AddedReplicas:
        """What is needed beyond the ready replicas."""
        added = max(0.0, needed - self.ready) if math.isfinite(needed - self.ready) else math.nan
        short = max(0.0, added - self.room) if math.isfinite(added - self.room) else math.nan
        return AddedReplicas(needed, added, short)

    @property
    def on_one_host(self) -> float:
        """The most replicas on one host, by GPUs."""
        return self.ready * self.host_ratio

    @property
    def most(self) -> float:
        """The most replicas that the autoscaler may start and the pool has room for, else those ready."""
        most = min(self.max_replicas, self.ready + self.room) if math.isfinite(self.room) else self.max_replicas
        return max(self.ready, most) if math.isfinite(most) else self.ready


@dataclass(frozen=True, slots=True)
class ReplicaNeed:
    """Replicas at which the load of a service stays within its safe limit. NaN where unknown.

    peak: at its peak. more_traffic: at the peak times `MORE_TRAFFIC_FACTOR`. host_lost: at the peak, also after the
    loss of the host with most of its replicas. is_lower_bound: it may need more: load above capacity is not known.
    """

    peak: float = math.nan
    more_traffic: float = math.nan
    host_lost: float = math.nan
    is_lower_bound: bool = False
