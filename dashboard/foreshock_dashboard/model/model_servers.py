"""State of model servers, by service and by replica."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


class Replica(NamedTuple):
    """One model server of a service. `instance` is its pod where known, else the scrape target."""

    service: Service
    instance: str


@dataclass(frozen=True, slots=True)
class ModelServers:
    """Arrays of shape (services, times) and (replicas, times); NaN is no sample.

    running, waiting: requests, summed over replicas. cache: KV-cache usage, 0 to 1, mean over replicas.
    preempted, finished: requests per second. queued: queue time in seconds, mean of the requests that left the queue.
    first_token: p95 of the TTFT, seconds. per_token: mean TPOT, seconds.
    prompt_tokens, generated_tokens: tokens per second.
    replica_busy: requests running and waiting on a replica. replica_finished: requests per second.
    replica_seconds: mean seconds from arrival to the last token.
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

    def reporting_replicas(self, columns: slice) -> Floats:
        """Number of replicas that report, at least 1, by service; shape (services, columns)."""
        row = {service: i for i, service in enumerate(self.services)}
        owners = np.array([row.get(replica.service, -1) for replica in self.replicas], np.intp)
        order = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
        reporting = np.isfinite(self.replica_busy[:, columns])[order]
        out = np.zeros((len(self.services), reporting.shape[1]))
        if len(order):
            first = np.flatnonzero(np.diff(owners[order], prepend=-1))
            out[owners[order][first]] = np.add.reduceat(reporting, first, axis=0, dtype=np.float64)
        return np.maximum(out, 1.0)

    @classmethod
    def empty(cls, points: int) -> ModelServers:
        """No model server reports."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, none, none, none, none, none, none, (), none, none, none)
