"""The forecast for every service at the World's time, as autoscalers, gateways, and dashboards read it."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.load_imbalance import replica_loads
from foreshock_dashboard.analysis.incidents.lifecycle import State
from foreshock_dashboard.analysis.saturation.pooling import safe_load
from foreshock_dashboard.model.forecast import Forecast, GpuWait, Imbalance, Load, RetryAmplification, Risk, ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.stats.level_crossing import QUANTILES

P20, P50, P80 = (QUANTILES.index(each) for each in (0.2, 0.5, 0.8))


def forecast(state: State, world: World) -> Forecast:
    """The forecast from a state as of the World's last grid point."""
    point = EvaluationPoint(world, len(world.times) - 1, state.learned.baselines, state.cache.next_step())
    return Forecast(
        _risks(state), _loads(state, world), _amplification(point), _imbalance(point), _stalled(point), _slos(state)
    )


def _risks(state: State) -> tuple[Risk, ...]:
    return tuple(
        Risk(service, own.chance, own.seconds[P20], own.seconds[P50], own.seconds[P80])
        for service, own in sorted(state.own.items())
        if math.isfinite(own.chance)
    )


def _slos(state: State) -> tuple[ServiceSlo, ...]:
    return tuple(
        ServiceSlo(service, own.slo.seconds, own.slo.failed, own.slo.learned)
        for service, own in sorted(state.own.items())
        if own.slo is not None
    )


def _loads(state: State, world: World) -> tuple[Load, ...]:
    """Load of the services with known capacity."""
    on: dict[Service, list[Gpu]] = {}
    for tenant in world.tenants:
        on.setdefault(tenant.service, []).append(tenant.gpu)
    rates = dict(zip(world.services, world.red.rate[:, -world.points(BASELINE_HISTORY_SECONDS) :], strict=True))
    found = []
    for service, own in sorted(state.own.items()):
        if own.utilization is not None and math.isfinite(own.utilization.load):
            safe = safe_load(rates[service], world.step) if service in rates else math.nan
            law = state.learned.laws.get(service)
            found.append(Load(service, pool_of(world, on.get(service, ())), own.utilization.load, safe, law))
    return tuple(found)


def _amplification(point: EvaluationPoint) -> tuple[RetryAmplification, ...]:
    """Retry amplification by edge; the worst of parallel edges."""
    worst: dict[tuple[Service, Service], float] = {}
    now = point["attempts"]
    for edge, ratio in zip(point.world.edges, now.value.tolist(), strict=True):
        if math.isfinite(ratio) and edge.connection != "virtual_node":
            worst[edge.client, edge.server] = max(ratio, worst.get((edge.client, edge.server), ratio))
    return tuple(RetryAmplification(client, server, ratio) for (client, server), ratio in sorted(worst.items()))


def _imbalance(point: EvaluationPoint) -> tuple[Imbalance, ...]:
    return tuple(
        Imbalance(service, spread.busy / spread.even)
        for service, spread in sorted(replica_loads(point).items())
        if spread.even > 0 and math.isfinite(spread.busy)
    )


def _stalled(point: EvaluationPoint) -> tuple[GpuWait, ...]:
    """GPU wait of each pair, mean over the shared GPUs where it is known."""
    shared: dict[tuple[Service, Service], list[tuple[Gpu, float]]] = {}
    for stall, ratio in zip(point.world.stalls, point["stalled_by"].value.tolist(), strict=True):
        if math.isfinite(ratio):
            shared.setdefault((stall.victim, stall.aggressor), []).append((stall.gpu, ratio))
    return tuple(
        GpuWait(
            victim,
            aggressor,
            pool_of(point.world, [gpu for gpu, _ in rows]),
            float(np.mean([each for _, each in rows])),
        )
        for (victim, aggressor), rows in sorted(shared.items())
    )
