"""Forecast of every service from the state of the analysis; unknown values are left out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from tests.analysis.conftest import AGGRESSOR, BYSTANDER, CALLER, GPUS, VICTIM, Scene, world_of_scene

from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.forecast_summary import forecast
from foreshock_dashboard.analysis.incidents.lifecycle import State
from foreshock_dashboard.model.forecast import Forecast, GpuWait, Imbalance, RetryAmplification, Risk, Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import ModelServers, Replica
from foreshock_dashboard.stats.level_crossing import QUANTILES


def own_risk(probability: float, load: float = math.nan) -> ServiceRisk:
    """The own risk of a service: 100 s times each quantile until it breaches its SLO."""
    seconds = tuple(100 * item for item in QUANTILES)
    strain = Utilization(1.0, 0.0, 0.5, 0.0, 40.0, load, (load,) * 3, 0.4, 0.6) if load == load else None
    return ServiceRisk(False, 1.0, probability, seconds, False, strain)


def forecast_of(world: World, known: dict[Service, ServiceRisk]) -> Forecast:
    """The forecast of a state with these own risks."""
    return forecast(replace(State(), service_risks=known), world)


def test_risks_have_the_quantiles_of_the_analysis() -> None:
    """Of services whose probability is known."""
    summary = forecast_of(world_of_scene(Scene()), {VICTIM: own_risk(0.7), CALLER: own_risk(math.nan)})
    assert summary.risks == (Risk(VICTIM, 0.7, 10.0, 20.0, 50.0, 80.0, 90.0),)


def test_loads_are_of_services_with_model_servers_and_a_safe_limit() -> None:
    """With the pool of all their GPUs, and the limit of a mean of two minutes."""
    world = replace(world_of_scene(Scene()), pool=("gold",) * len(GPUS))
    (load,) = forecast_of(world, {VICTIM: own_risk(0.1, load=0.8), CALLER: own_risk(0.1)}).loads
    assert (load.service, load.pool, load.ratio) == (VICTIM, "gold", 0.8)
    assert load.safe == 0.76
    (apart,) = forecast_of(replace(world, pool=("gold", "lead")), {VICTIM: own_risk(0.1, load=0.8)}).loads
    assert apart.pool == ""


def test_gpu_wait_is_the_mean_over_shared_gpus_and_attempts_are_per_edge() -> None:
    """Newest values; a pair without values has none."""
    world = world_of_scene(Scene(wait_by_aggressor=lambda _: 0.3, wait_by_bystander=lambda _: math.nan))
    summary = forecast_of(replace(world, attempts=np.full(world.attempts.shape, 1.5)), {})
    assert summary.gpu_wait == (GpuWait(VICTIM, AGGRESSOR, "", 0.3),)
    assert summary.amplification == (RetryAmplification(CALLER, VICTIM, 1.5),)
    assert BYSTANDER not in {item.noisy_neighbor for item in summary.gpu_wait}


def test_imbalance_is_the_busiest_replica_over_the_mean() -> None:
    """Of services with at least two replicas."""
    world = world_of_scene(Scene())
    points = len(world.times)
    replicas = (Replica(CALLER, "c:1"), Replica(VICTIM, "a:1"), Replica(VICTIM, "b:1"))
    busy = np.repeat([[5.0], [10.0], [30.0]], points, axis=1)
    servers = replace(
        ModelServers.empty(points), replicas=replicas, replica_busy=busy, replica_finished=busy, replica_seconds=busy
    )
    assert forecast_of(replace(world, model_servers=servers), {}).imbalance == (Imbalance(VICTIM, 1.5),)


def test_the_forecast_is_empty_before_a_baseline_is_learned() -> None:
    nothing = world_of_scene(Scene(wait_by_aggressor=lambda _: math.nan, wait_by_bystander=lambda _: math.nan))
    summary = forecast_of(replace(nothing, attempts=np.full(nothing.attempts.shape, math.nan)), {})
    assert summary == Forecast()
