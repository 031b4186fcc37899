"""Replicas of services now: those ready, how many more may start, and how many the loss of a host takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.replicas import pool_of_service
from foreshock_dashboard.analysis.baseline.scale_up import DEFAULT_DELAY_SECONDS, scale_up_delays
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.model.capacity.replicas import ReplicaState
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World

READY_SECONDS = 3600.0
"""Time over which the median of ready replicas counts: a rolling update is no loss of capacity."""


def replica_states(world: World) -> Mapping[Service, ReplicaState]:
    """The replicas of every service with requests or model servers."""
    gpus: dict[Service, set[Gpu]] = {}
    for tenant in world.tenants:
        gpus.setdefault(tenant.service, set()).add(tenant.gpu)
    servers, state = model_servers(world), capacity(world)
    server_row = {service: i for i, service in enumerate(servers.services)}
    state_row = {service: i for i, service in enumerate(state.services)}
    recent = slice(max(0, len(world.times) - world.points(READY_SECONDS)), len(world.times))
    reporting = servers.reporting_replicas(recent)
    free = free_gpus(world)
    found = {}
    for service in dict.fromkeys((*world.services, *servers.services)):
        used = gpus.get(service, set())
        ready = max_replicas = math.nan
        provisioning = DEFAULT_DELAY_SECONDS
        if service in state_row:
            row = state_row[service]
            ready, max_replicas = _typical(state.ready[row, recent]), last_known(state.max_replicas[row])
            delays = scale_up_delays(state.wanted[row], state.ready[row], world.step)
            provisioning = float(np.median(delays)) if len(delays) else provisioning
        elif service in server_row:
            ready = _typical(reporting[server_row[service]])
        pool = pool_of_service(world, service, [*used]) if used else ""
        per_replica = len(used) / ready if used and ready > 0 else math.nan
        room = free.get(pool, math.nan) / per_replica
        host_ratio = max(Counter(gpu.host for gpu in used).values(), default=0) / len(used) if used else math.nan
        found[service] = ReplicaState(
            pool,
            ready,
            math.floor(room) if room >= 0 else math.nan,
            max_replicas,
            provisioning,
            per_replica,
            host_ratio,
        )
    return found


def free_gpus(world: World) -> Mapping[str, float]:
    """GPUs of each pool's quota that are not assigned; NaN where unknown."""
    state = capacity(world)
    free = (last_known(state.quota[row]) - last_known(state.used[row]) for row in range(len(state.pools)))
    return {pool: 0.0 if left < 0 else left for pool, left in zip(state.pools, free, strict=True)}


def last_known(values: Floats) -> float:
    """The newest known value; NaN without one."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else math.nan


def _typical(values: Floats) -> float:
    """Median of the known values, as a whole number; NaN without one."""
    known = values[np.isfinite(values)]
    return float(np.ceil(np.median(known))) if len(known) else math.nan
