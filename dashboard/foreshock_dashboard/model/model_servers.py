"""What model servers tell of themselves, by service and by replica."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


class Replica(NamedTuple):
    """One model server of a service; `instance` is its pod, where that is told, else the scraped target."""

    service: Service
    instance: str


@dataclass(frozen=True, slots=True)
class Inference:
    """Arrays of shape (services, times) and (replicas, times), NaN where there is no sample.

    running, waiting: requests, over all replicas. cache: share 0…1 of the KV cache that is used, mean over replicas.
    preempted, finished: requests per second. queued: seconds in the queue, mean of the requests that left it.
    first_token: p95 of seconds to the first token. per_token: seconds for each further token, mean.
    prompt_tokens, generated_tokens: per second.
    replica_busy: requests running and waiting on each replica; replica_finished: requests per second;
    replica_seconds: seconds from arrival to the last token, mean.
    """

    services: tuple[Service, ...]
    running: Floats = field(repr=False)
    waiting: Floats = field(repr=False)
    cache: Floats = field(repr=False)
    preempted: Floats = field(repr=False)
    finished: Floats = field(repr=False)
    queued: Floats = field(repr=False)
    first_token: Floats = field(repr=False)
    per_token: Floats = field(repr=False)
    prompt_tokens: Floats = field(repr=False)
    generated_tokens: Floats = field(repr=False)
    replicas: tuple[Replica, ...]
    replica_busy: Floats = field(repr=False)
    replica_finished: Floats = field(repr=False)
    replica_seconds: Floats = field(repr=False)

    def telling(self, columns: slice) -> Floats:
        """Replicas of each service that tell something, at least one; shape (services, columns)."""
        row = {service: i for i, service in enumerate(self.services)}
        owners = np.array([row.get(replica.service, -1) for replica in self.replicas], np.intp)
        order = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
        told = np.isfinite(self.replica_busy[:, columns])[order]
        out = np.zeros((len(self.services), told.shape[1]))
        if len(order):
            first = np.flatnonzero(np.diff(owners[order], prepend=-1))
            out[owners[order][first]] = np.add.reduceat(told, first, axis=0, dtype=np.float64)
        return np.maximum(out, 1.0)

    @classmethod
    def empty(cls, points: int) -> Inference:
        """No model server tells anything."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, none, none, none, none, none, none, (), none, none, none)
