"""Sections of a World that some platforms lack: model servers, replicas, host networks, GPU health, seasonality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

DAY_SECONDS = 86_400.0
BIN_SECONDS = 900.0
"""Width of a bin of `Seasonality`; bins are aligned to the epoch."""


class Replica(NamedTuple):
    """One model server of a service. `instance` is its pod where known, else the scrape target."""

    service: Service
    instance: str


class UnjoinedServer(NamedTuple):
    """A model server that belongs to no service with requests or GPU time. job, instance: its target.

    model: the name of its model, "" if unknown. candidates: the services that answer at its address, if several do,
    else those of its name, which may be in other namespaces.
    """

    replica: Replica
    job: str
    instance: str
    model: str
    candidates: tuple[Service, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Network:
    """Arrays of shape (hosts, times); NaN is no sample.

    used: utilization, 0 to 1, of the busier direction of the busiest interface (Ethernet or RDMA).
    bytes: bytes per second, both directions of all interfaces. retransmitted: share of TCP segments, 0 to 1.
    timeouts: TCP timeouts per second. dropped: packets per second dropped, in error, or out of sequence (RDMA).
    memory: used share of the memory, 0 to 1.
    """

    hosts: tuple[str, ...]
    used: Floats = field(repr=False)
    bytes: Floats = field(repr=False)
    retransmitted: Floats = field(repr=False)
    timeouts: Floats = field(repr=False)
    dropped: Floats = field(repr=False)
    memory: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Network:
        """No host reports its network."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, none, none)


class XidCounter(NamedTuple):
    """A counter of the XID errors of one number on the GPU with this label.

    service: that of the process to which the kernel log attributes them; None for all errors.
    """

    gpu: str
    xid: int
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """Arrays of shape (gpus, times); NaN is no sample.

    clock: SM clock as a share, 0 to 1, of the maximum. throttled: share of time, 0 to 1, throttled by power or heat.
    errors: XID and uncorrected memory errors per second. lost: 1 while the driver does not answer for the GPU.
    xids, xid_errors: counters of XID errors of any severity by GPU, and by service; shape (xids, times).
    """

    clock: Floats = field(repr=False)
    throttled: Floats = field(repr=False)
    errors: Floats = field(repr=False)
    lost: Floats = field(repr=False)
    xids: tuple[XidCounter, ...] = field(default=(), kw_only=True)
    xid_errors: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False, kw_only=True)

    @classmethod
    def empty(cls, gpus: int, points: int) -> Hardware:
        """Nothing is known of GPU health."""
        nothing = np.full((gpus, points), np.nan)
        return cls(nothing, nothing, nothing, nothing)


@dataclass(frozen=True, slots=True)
class Resources:
    """Arrays of shape (services, times); NaN is no sample.

    cpu, memory, disk, files, pool: used share of the limit, 0 to 1, of CPU time, memory, volumes, file descriptors, and
    database connections. cpu_throttled: share of CPU periods, 0 to 1. pool_wait: mean seconds until a connection was
    free. Each is that of the worst pod. restarts, oom_kills: per second. pool_pending: requests that wait for a
    connection. up: share of the scrape targets that answer.
    """

    services: tuple[Service, ...]
    cpu: Floats = field(repr=False)
    cpu_throttled: Floats = field(repr=False)
    memory: Floats = field(repr=False)
    disk: Floats = field(repr=False)
    files: Floats = field(repr=False)
    pool: Floats = field(repr=False)
    pool_wait: Floats = field(repr=False)
    restarts: Floats = field(repr=False)
    oom_kills: Floats = field(repr=False)
    pool_pending: Floats = field(repr=False)
    up: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Resources:
        """Nothing is known of resources."""
        none = np.empty((0, points))
        return cls((), *[none] * 11)


class SeasonalGrowth(NamedTuple):
    """Normal load over the load of the two hours before, at least 1, and since when (Unix seconds)."""

    growth: float
    since: float


class Seasonality(NamedTuple):
    """Load of each service in a bin over its load of the two hours before, learned from earlier weeks.

    rows: row of each service. times: start of each bin, Unix seconds, ascending. growth: shape (services, bins), at
    least 1; NaN with too little history.
    """

    rows: Mapping[Service, int]
    times: Floats
    growth: Floats

    def of(self, service: Service, time: float) -> SeasonalGrowth:
        """Seasonal growth of a service at a time (Unix seconds); 1 where unknown.

        The bin before counts as well, because a baseline ends some minutes before now.
        """
        row = self.rows.get(service)
        column = int(np.searchsorted(self.times, time, side="right")) - 1
        if row is None or column < 0 or time >= self.times[column] + BIN_SECONDS:
            return SeasonalGrowth(1.0, time)
        growth = float(np.fmax.reduce(self.growth[row, max(0, column - 1) : column + 1]))
        if not growth > 1.0:
            return SeasonalGrowth(1.0, time)
        has_grown = np.nan_to_num(self.growth[row, : column + 1], nan=1.0) > 1.0
        flat = np.flatnonzero(~has_grown[: column if has_grown[column] else max(0, column - 1)])
        first = int(flat[-1]) + 1 if len(flat) else 0
        return SeasonalGrowth(growth, float(self.times[min(first, column)]))


UNKNOWN_SEASONALITY = Seasonality({}, np.empty(0), np.empty((0, 0)))
"""Without history of earlier weeks."""
