"""Replicas of services now: those ready, how many more may start, and how many the loss of a host takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.point import gpu_pools
from foreshock_dashboard.analysis.baseline.replicas import pool_of_service
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.model.capacity.replicas import ReplicaState
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World

READY_SECONDS = 3600.0
"""Time over which the median of ready replicas is the typical number, and after which a number is no longer known."""


def replica_states(world: World, *, is_typical: bool = False) -> Mapping[Service, ReplicaState]:
    """The replicas of every service with requests or model servers.

    is_typical: ready replicas are the median of the last hour, as for a forecast: a rolling update is no loss of
    capacity. By default, they are the newest number, which a scale-up or a crash changes at once.
    """
    gpus, hosts = _gpus(world), host_ratios(world)
    servers, state = model_servers(world), capacity(world)
    server_row = {service: i for i, service in enumerate(servers.services)}
    state_row = {service: i for i, service in enumerate(state.services)}
    recent = slice(max(0, len(world.times) - world.points(READY_SECONDS)), len(world.times))
    reporting = np.where(np.isfinite(servers.running[:, recent]), servers.reporting_replicas(recent), np.nan)
    free, pools = free_gpus(world), gpu_pools(world.gpus, world.pool)
    found = {}
    for service in dict.fromkeys((*world.services, *servers.services)):
        used = gpus.get(service, set())
        counts, max_replicas = np.empty(0), math.nan
        if service in state_row:
            row = state_row[service]
            counts, max_replicas = state.ready[row, recent], last_known(state.max_replicas[row])
        elif service in server_row:
            counts = reporting[server_row[service]]
        typical = _typical(counts)
        ready = typical if is_typical else last_known(counts)
        pool = pool_of_service(world, service, pools, used) if used else ""
        holders = max(ready, typical)  # a crashed replica still has its GPUs
        per_replica = len(used) / holders if used and holders > 0 else math.nan
        room = free.get(pool, math.nan) / per_replica
        found[service] = ReplicaState(
            pool,
            ready,
            math.floor(room) if room >= 0 else math.nan,
            max_replicas,
            per_replica,
            hosts.get(service, math.nan),
        )
    return found


def host_ratios(world: World) -> Mapping[Service, float]:
    """The largest share of the GPUs of each service on one host, 0 to 1."""
    return {
        service: max(Counter(gpu.host for gpu in used).values()) / len(used) for service, used in _gpus(world).items()
    }


def free_gpus(world: World) -> Mapping[str, float]:
    """GPUs of each pool's quota that are not assigned; NaN where unknown."""
    state = capacity(world)
    free = (last_known(state.quota[row]) - last_known(state.used[row]) for row in range(len(state.pools)))
    return {pool: 0.0 if left < 0 else left for pool, left in zip(state.pools, free, strict=True) if pool}


def last_known(values: Floats) -> float:
    """The newest known value; NaN without one."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else math.nan


def _gpus(world: World) -> Mapping[Service, set[Gpu]]:
    """The GPUs that each service uses."""
    gpus: dict[Service, set[Gpu]] = {}
    for tenant in world.tenants:
        gpus.setdefault(tenant.service, set()).add(tenant.gpu)
    return gpus


def _typical(values: Floats) -> float:
    """Median of the known values, as a whole number; NaN without one."""
    known = values[np.isfinite(values)]
    return float(np.ceil(np.median(known))) if len(known) else math.nan
