"""Power, clocks and temperature against measurements, closed forms, and limits."""

from __future__ import annotations

import math

import pytest
from tests.simulator.hardware.conftest import MakeGpu, MakeWorker

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.power import INLET_CELSIUS
from foreshock_simulator.hardware.worker import GpuWork

H100 = MODELS["H100"]
HEAVY = GpuWork(1e6, sm=1.0, dram=0.6, tensor=0.9)
LIGHT = GpuWork(1e6, sm=0.5, dram=0.5)

IGNITER = [(118.0, 1530e6), (185.0, 1530e6), (259.0, 1530e6), (296.0, 1486e6), (295.0, 1431e6)]
"""Watts and clock of a V100 with one to five models side by side (Xu et al., iGniter, TPDS 2023)."""
ONE_MODEL = GpuWork(1e6, sm=0.2, dram=0.16, tensor=0.17, kernels=3000.0)
"""Of what it used, only that five of them fill the GPU is known; the rest is chosen."""


@pytest.mark.parametrize("models", range(1, 6))
def test_power_rises_and_clocks_fall_as_measured(
    make_gpu: MakeGpu, make_worker: MakeWorker, engine: Engine, models: int
) -> None:
    """Within 5% for one to five models on a V100 under MPS."""
    gpu = make_gpu("V100", "mps")
    for _ in range(models):
        make_worker(gpu).run(ONE_MODEL)
    engine.run(1.0)
    assert (gpu.power_watts, gpu.clock_hertz) == pytest.approx(IGNITER[models - 1], rel=0.05)


def test_an_idle_gpu_draws_its_idle_power(engine: Engine, make_gpu: MakeGpu) -> None:
    """It starts at the temperature of its idle power."""
    gpu = make_gpu()
    engine.run(100.0)
    state = gpu.state_at(100.0)
    assert (state.power_watts, state.energy_joules) == (H100.idle_watts, 100.0 * H100.idle_watts)
    assert state.celsius == pytest.approx(INLET_CELSIUS + H100.celsius_per_watt * H100.idle_watts)
    assert state.throttled_seconds == {"power": 0.0, "thermal": 0.0}


def test_matrix_work_runs_into_the_limit_and_memory_work_does_not(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """At the limit the clock falls, time counts as throttled for power, and the power is the limit."""
    hot, cool = make_gpu(), make_gpu()
    make_worker(hot).run(HEAVY)
    make_worker(cool).run(GpuWork(1e6, sm=1.0, dram=0.9, tensor=0.05))
    engine.run(10.0)
    assert hot.power_watts == pytest.approx(H100.limit_watts, rel=1e-3)
    assert 0.8 * H100.clock_max_hertz < hot.clock_hertz < H100.clock_max_hertz
    assert hot.state_at(10.0).throttled_seconds == {"power": 10.0, "thermal": 0.0}
    assert cool.clock_hertz == H100.clock_max_hertz
    assert cool.power_watts < 0.75 * H100.limit_watts


def test_a_lower_limit_slows_compute_bound_work(make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """Memory-bound work at the same clock loses less; lifting the limit restores the speed."""
    speeds = {}
    for kind, work in (
        ("compute", GpuWork(1e6, sm=1.0, tensor=0.9)),
        ("memory", GpuWork(1e6, sm=1.0, dram=0.9, tensor=0.1)),
    ):
        gpu = make_gpu()
        worker = make_worker(gpu)
        worker.run(work)
        speeds[kind] = worker.speed
        gpu.power_limit_ratio = 0.5
        assert gpu.power_watts == pytest.approx(0.5 * H100.limit_watts, rel=1e-3)
        speeds[kind] = worker.speed / speeds[kind]
        gpu.power_limit_ratio = 1.0
        assert worker.speed > speeds[kind]
    assert speeds["compute"] < 0.85
    assert speeds["compute"] < speeds["memory"] < 1.0


def test_a_limit_below_all_clocks_leaves_the_lowest_clock(make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """Memory power does not fall with the clock, so the GPU exceeds the limit."""
    gpu = make_gpu()
    make_worker(gpu).run(LIGHT)
    gpu.power_limit_ratio = 0.15
    assert gpu.clock == H100.clock_min_ratio
    assert gpu.power_watts > 0.15 * H100.limit_watts


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.1])
def test_a_limit_out_of_range_is_rejected(make_gpu: MakeGpu, ratio: float) -> None:
    """With the value in the message."""
    with pytest.raises(ValueError, match="host-1/gpu-0: a power limit is a share of the model's, above 0"):
        make_gpu().power_limit_ratio = ratio


def test_temperature_follows_power_with_one_time_constant(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """T(t) = T∞ + (T₀ − T∞)·e^(−t/τ), read without a change and after one."""
    gpu = make_gpu()
    worker = make_worker(gpu)
    start = gpu.state_at(0.0).celsius
    task = worker.run(LIGHT)
    final = INLET_CELSIUS + H100.celsius_per_watt * gpu.power_watts
    expected = final + (start - final) * math.exp(-30.0 / H100.thermal_seconds)
    assert gpu.state_at(30.0).celsius == pytest.approx(expected)
    engine.run(30.0)
    worker.cancel(task)
    assert gpu.state_at(30.0).celsius == pytest.approx(expected)
    assert gpu.state_at(3000.0).celsius == pytest.approx(start)


def test_a_hot_gpu_throttles_at_its_maximum_temperature_until_it_has_cooled(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """In warm air it reaches its maximum temperature and stays there, throttled. In cooler air it recovers."""
    gpu = make_gpu()
    worker = make_worker(gpu)
    gpu.inlet_celsius = 55.0
    task = worker.run(HEAVY)
    engine.run(600.0)
    state = gpu.state_at(600.0)
    assert state.celsius == pytest.approx(H100.max_celsius)
    assert gpu.throttled == "thermal"
    assert state.power_watts == pytest.approx((H100.max_celsius - 55.0) / H100.celsius_per_watt, rel=1e-3)
    held = state.throttled_seconds
    assert held["power"] + held["thermal"] == pytest.approx(600.0)
    reached = (INLET_CELSIUS + H100.celsius_per_watt * H100.idle_watts, 55.0 + H100.celsius_per_watt * H100.limit_watts)
    crossing = H100.thermal_seconds * math.log((reached[1] - reached[0]) / (reached[1] - H100.max_celsius))
    assert held["power"] == pytest.approx(crossing, rel=0.01)
    worker.cancel(task)
    gpu.inlet_celsius = INLET_CELSIUS
    engine.run(700.0)
    worker.run(LIGHT)
    assert gpu.throttled is None


def test_energy_is_the_integral_of_power(engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """Ten seconds idle, five at work, five idle."""
    gpu = make_gpu()
    worker = make_worker(gpu)
    engine.run(10.0)
    worker.run(GpuWork(5.0, sm=0.5, dram=0.5))
    power = gpu.power_watts
    engine.run(20.0)
    assert gpu.state_at(20.0).energy_joules == pytest.approx(15.0 * H100.idle_watts + 5.0 * power)
