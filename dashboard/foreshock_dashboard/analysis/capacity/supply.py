"""What services and GPU pools can carry: capacity, safe limits, replicas, and the room of their pools."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.baseline.scale_up import DEFAULT_DELAY_SECONDS, scale_up_delays
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.analysis.capacity.replica_capacity import ReplicaCapacity, ServerKey, replica_capacity
from foreshock_dashboard.analysis.capacity.replica_state import free_gpus, last_known, replica_states
from foreshock_dashboard.analysis.saturation.batching_model import max_sequences_per_replica
from foreshock_dashboard.analysis.saturation.safe_limits import SAFE_LIMITS, SHOWN_LIMIT
from foreshock_dashboard.model.capacity.load import LoadKind, Subject
from foreshock_dashboard.model.forecast import BatchingLaw, Forecast
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

SAFE_QUOTA_RATIO = 1.0
"""Share of a quota that may be assigned."""
SAFE_GPU_BUSY_RATIO = 0.9
"""Busy share of a pool's GPUs at which services begin to wait for each other."""
RATE_SECONDS = 7200.0
"""Time over which tokens are compared with the batching law, and with requests."""
MIN_RATE_POINTS = 20
"""Fewest points of such a comparison."""
SAFE_RATIO = SAFE_LIMITS[SHOWN_LIMIT]
"""Safe share of the capacity of model servers. Hourly means are compared with it, which hide bursts: the higher limits
of a service that is bursty, or carried a peak of minutes, do not apply."""
CHANGED_SPEED_RATIO, CHANGED_SIZE_RATIO = 1.25, 1.5
"""Ratios of recent tokens, and of the sequences that fill a KV cache, to those of the last week, beyond which model,
options, or requests changed: then the last hours count alone."""
RECENT_ERROR = 0.15
"""Standard error of the logarithm of a capacity from the last hours alone."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What a service or a pool can carry. NaN where unknown.

    capacity: load at which `replicas` replicas are full, by kind. safe_ratio: safe share of it. error: standard error
    of the logarithm of the capacity, 0 where it is exact. replicas, ready: as in
    `LoadForecast`. room: replicas for which the pool has free GPUs. provisioning_seconds: time until a further
    replica is ready. gpus_per_replica, max_replicas: as in `LoadForecast`.
    """

    subject: Subject
    capacity: Mapping[LoadKind, float]
    safe_ratio: Mapping[LoadKind, float]
    replicas: float = math.nan
    ready: float = math.nan
    room: float = math.nan
    provisioning_seconds: float = DEFAULT_DELAY_SECONDS
    gpus_per_replica: float = math.nan
    max_replicas: float = math.nan
    error: float = 0.0


def supplies(world: World, forecast: Forecast, history: Mapping[ServerKey, Floats]) -> Mapping[Subject, Supply]:
    """Supply of every service and GPU pool, by subject without the pool of a service.

    history: figures of model servers, as `replica_capacity.observed_servers`, in steps of the forecast.
    """
    found = {Subject(service, ""): supply for service, supply in _services(world, forecast, history).items()}
    return found | {Subject(None, pool): supply for pool, supply in _pools(world).items()}


def _services(world: World, forecast: Forecast, history: Mapping[ServerKey, Floats]) -> Mapping[Service, Supply]:
    laws = {load.service: load.law for load in forecast.loads}
    server_row = {service: i for i, service in enumerate(model_servers(world).services)}
    scaling = capacity(world)
    scaling_row = {service: i for i, service in enumerate(scaling.services)}
    found = {}
    for service, state in replica_states(world, is_typical=True).items():
        full, error, provisioning = {}, 0.0, DEFAULT_DELAY_SECONDS
        if service in server_row:
            learned = replica_capacity(history, service)
            rates, error = _full_rates(world, service, server_row[service], laws.get(service), learned)
            full = {kind: rate * state.most for kind, rate in rates.items()}
        if service in scaling_row:
            row = scaling_row[service]
            delays = scale_up_delays(scaling.wanted[row], scaling.ready[row], world.step)
            provisioning = float(np.median(delays)) if len(delays) else provisioning
        found[service] = Supply(
            Subject(service, state.pool),
            full,
            dict.fromkeys(full, SAFE_RATIO),
            state.most,
            state.ready,
            state.room,
            provisioning,
            state.gpus_per_replica,
            state.max_replicas,
            error,
        )
    return found


def _full_rates(
    world: World, service: Service, row: int, recent_law: BatchingLaw | None, learned: ReplicaCapacity | None
) -> tuple[Mapping[LoadKind, float], float]:
    """Tokens and requests per second of a full replica, as far as known, and the error of their logarithm.

    learned: from the last week. It counts unless the last hours contradict it, or it is unknown. Then m sequences at a
    full KV cache generate m / (a + b·m) tokens per second by the law of the last hours, corrected by what replicas
    generate over what the law says for their sequences. Requests follow at the present tokens per request.
    """
    columns = slice(max(0, len(world.times) - world.points(RATE_SECONDS)), len(world.times))
    servers = model_servers(world)
    replicas = servers.reporting_replicas(columns)[row]
    sequences = servers.running[row, columns] / replicas
    tokens = servers.generated_tokens[row, columns].astype(np.float64)
    most = float(max_sequences_per_replica(world, columns)[row])

    def speed(base: float, per_sequence: float) -> float:
        """Tokens over those of a law."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return _ratio(tokens, sequences / (base + per_sequence * sequences) * replicas)

    if learned and not _has_changed(speed(learned.base, learned.per_sequence), most / learned.sequences):
        full, error = learned.tokens, learned.error
    elif recent_law is None:
        return {}, 0.0
    else:
        base, per_sequence = recent_law.base, recent_law.per_sequence
        full, error = most / (base + per_sequence * most) * speed(base, per_sequence), RECENT_ERROR
    rates = {LoadKind.TOKENS: full} if math.isfinite(full) else {}
    if rates and service in world.services:
        requests = world.red.rate[world.services.index(service), columns].astype(np.float64)
        per_request = _ratio(tokens, requests)
        if per_request > 0:
            rates[LoadKind.REQUESTS] = full / per_request
    return rates, error


def _has_changed(speed_ratio: float, size_ratio: float) -> bool:
    """Whether replicas differ from those of the last week; ratios that are not known say nothing."""
    return any(
        not 1 / bound <= ratio <= bound
        for ratio, bound in ((speed_ratio, CHANGED_SPEED_RATIO), (size_ratio, CHANGED_SIZE_RATIO))
        if math.isfinite(ratio)
    )


def _ratio(values: Floats, reference: Floats) -> float:
    """Sum over sum where both are known; NaN with too little of either."""
    known = np.isfinite(values) & np.isfinite(reference)
    if known.sum() < MIN_RATE_POINTS or not reference[known].sum() > 0:
        return math.nan
    return float(values[known].sum() / reference[known].sum())


def _pools(world: World) -> Mapping[str, Supply]:
    state, found = capacity(world), {}
    quotas = {pool: last_known(state.quota[row]) for row, pool in enumerate(state.pools)}
    free = free_gpus(world)
    for pool in sorted({*quotas, *world.pool} - {""}):
        gpus = float(sum(name == pool for name in world.pool))
        full = {LoadKind.GPU_QUOTA: quotas.get(pool, math.nan), LoadKind.GPU_BUSY: gpus or math.nan}
        safe = {LoadKind.GPU_QUOTA: SAFE_QUOTA_RATIO, LoadKind.GPU_BUSY: SAFE_GPU_BUSY_RATIO}
        count = gpus or quotas.get(pool, math.nan)
        found[pool] = Supply(Subject(None, pool), full, safe, count, count, free.get(pool, math.nan), math.nan)
    return found
