"""The forecast for every service at the World's time, as autoscalers, gateways, and dashboards read it."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.load_imbalance import replica_loads
from foreshock_dashboard.analysis.incidents.lifecycle import State
from foreshock_dashboard.analysis.saturation.safe_limits import safe_limit
from foreshock_dashboard.model.forecast import Forecast, GpuWait, Imbalance, Load, RetryAmplification, Risk, ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, World


def forecast(state: State, world: World) -> Forecast:
    """The forecast from a state as of the World's last grid point."""
    point = EvaluationPoint(world, len(world.times) - 1, state.learned.baselines, state.cache.next_step())
    risks = sorted(state.service_risks.items())
    return Forecast(
        risks=tuple(
            Risk(service, risk.probability, *risk.seconds) for service, risk in risks if math.isfinite(risk.probability)
        ),
        loads=_loads(state, point),
        amplification=_amplification(point),
        imbalance=tuple(
            Imbalance(service, spread.busy / spread.even)
            for service, spread in sorted(replica_loads(point).items())
            if spread.even > 0 and math.isfinite(spread.busy)
        ),
        gpu_wait=_gpu_waits(point),
        slos=tuple(ServiceSlo(service, *risk.slo) for service, risk in risks if risk.slo is not None),
    )


def _loads(state: State, point: EvaluationPoint) -> tuple[Load, ...]:
    """Load of the services with known capacity."""
    loads = []
    for service, risk in sorted(state.service_risks.items()):
        if risk.utilization is not None and math.isfinite(risk.utilization.load):
            gpus = (point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ()))
            utilization, pool = risk.utilization, pool_of(point.pool_by_gpu, gpus)
            law = state.learned.laws.get(service)
            loads.append(Load(service, pool, utilization.load, safe_limit(utilization), law))
    return tuple(loads)


def _amplification(point: EvaluationPoint) -> tuple[RetryAmplification, ...]:
    """Retry amplification by edge; the worst of parallel edges."""
    worst: dict[tuple[Service, Service], float] = {}
    for edge, ratio in zip(point.world.edges, point["attempts"].value.tolist(), strict=True):
        if math.isfinite(ratio) and edge.connection != "virtual_node":
            worst[edge.client, edge.server] = max(ratio, worst.get((edge.client, edge.server), ratio))
    return tuple(RetryAmplification(client, server, ratio) for (client, server), ratio in sorted(worst.items()))


def _gpu_waits(point: EvaluationPoint) -> tuple[GpuWait, ...]:
    """GPU wait of each pair, mean over the shared GPUs where it is known."""
    pairs: dict[tuple[Service, Service], dict[Gpu, float]] = {}
    for pair, ratio in zip(point.world.gpu_wait_pairs, point["gpu_wait_by"].value.tolist(), strict=True):
        if math.isfinite(ratio):
            pairs.setdefault((pair.affected, pair.noisy_neighbor), {})[pair.gpu] = ratio
    return tuple(
        GpuWait(affected, neighbor, pool_of(point.pool_by_gpu, ratios), float(np.mean([*ratios.values()])))
        for (affected, neighbor), ratios in sorted(pairs.items())
    )
