"""Faults that take a while: a leak of memory, a cache that decays, a rack that heats up, a replica in a crash loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foreshock_exporter.model.family import Sample
from foreshock_simulator.scenarios.load import parse
from foreshock_simulator.scenarios.parsing.document import ScenarioError
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.world.faults import schedule_faults
from foreshock_simulator.world.platform import Platform

PLATFORM = """
description: A slow fault.
duration: 20m
platform:
  hosts: [{name: plain, gpus: 0}, {name: gpus, gpus: 1, rack: rack-1}]
  pools: [{name: embed, places: [gpus/0]}]
  services:
    - name: shop/front
      hosts: [plain]
      replicas: 2
      operations:
        - route: GET /
          steps:
            - cached:
                cache: pages
                hit_ratio: 0.9
                refill: 50
                steps: [call: {service: back, route: GET /, policy: {timeout: 5s}}]
    - name: shop/back
      hosts: [plain]
      replicas: 2
      memory_bytes: 1GB
      operations: [{route: GET /, steps: [cpu: {median: 4ms}]}]
    - name: shop/model
      pool: embed
      model: {batch_model: {model: m, seconds: 1s, sm: 0.95, dram: 0.5, max_batch: 1}}
      operations: [{route: GET /, steps: [serve]}]
  tenants: []
  flows:
    - {name: users, service: front, route: GET /, rate: 10, arrivals: poisson}
    - {name: images, service: model, route: GET /, rate: 0.9, arrivals: poisson}
faults: [%s]
"""


def played(fault: str) -> Simulation:
    """A platform that runs to the start of its fault, at 300 s."""
    simulation = Simulation(parse(PLATFORM % fault, "slow.yaml"), 1, 0.0)
    simulation.advance(300.0)
    return simulation


def calls_per_request(simulation: Simulation, until: float) -> float:
    """Share of the requests until a time that miss the cache."""
    names = [span.resource["service.name"] for span in simulation.advance(until) if span.kind == "server"]
    return names.count("back") / names.count("front")


def memory(simulation: Simulation) -> dict[str, float]:
    """Bytes in use by pod, as a kubelet reports them."""

    def found() -> Iterator[tuple[str, float]]:
        for family, samples in simulation.capacity():
            for sample in samples:
                if family.name == "container_memory_working_set_bytes" and isinstance(sample, Sample):
                    yield sample.labels[1], sample.value

    return dict(found())


def ready(simulation: Simulation, service: str) -> int:
    """Replicas of a service that serve."""
    return int(
        next(
            sample.value
            for family, samples in simulation.capacity()
            if family.name == "kube_deployment_status_replicas_ready"
            for sample in samples
            if isinstance(sample, Sample) and sample.labels[1] == service
        )
    )


def test_a_leak_fills_the_memory_until_the_replicas_are_killed_and_start_with_what_they_need() -> None:
    """700 MB at 2 MB per second: 350 s, and about half a minute to start again."""
    simulation = played("memory_leak: {service: back, at: 300s, bytes_per_second: 2MB}")
    assert list(memory(simulation).values()) == [3e8, 3e8]
    simulation.advance(500.0)
    assert list(memory(simulation).values()) == [7e8, 7e8]
    simulation.advance(651.0)
    assert (memory(simulation), ready(simulation, "back")) == ({}, 0)
    simulation.advance(800.0)
    assert ready(simulation, "back") == 2
    assert all(3e8 < used < 7e8 for used in memory(simulation).values())


def test_a_restart_clears_a_leak() -> None:
    leak = "memory_leak: {service: back, at: 300s, bytes_per_second: 2MB}"
    simulation = played(f"{leak}, restart: {{service: back, at: 500s, pause: 5s}}")
    simulation.advance(700.0)
    assert ready(simulation, "back") == 2
    assert all(used < 7e8 for used in memory(simulation).values())


def test_a_leak_needs_a_limit() -> None:
    with pytest.raises(ScenarioError, match="'front' has no limit of memory; add"):
        played("memory_leak: {service: front, at: 300s, bytes_per_second: 2MB}")


def test_a_cache_that_holds_fewer_keys_is_missed_until_it_is_large_enough_again_and_refilled() -> None:
    """90% of the requests hit it, then 9%."""
    simulation = played("cache_decay: {cache: pages, at: 300s, ratio: 10%, ramp: 100s, duration: 300s}")
    assert calls_per_request(simulation, 400.0) == pytest.approx(0.55, abs=0.12)
    assert calls_per_request(simulation, 600.0) == pytest.approx(0.91, abs=0.05)
    simulation.advance(800.0)
    assert calls_per_request(simulation, 1100.0) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(("celsius", "throttles"), [(40, False), (75, True)])
def test_warm_air_throttles_gpus_from_their_maximum_temperature_on(celsius: int, throttles: bool) -> None:
    """An H100 with 600 W is 37 °C above its air, and has at most 87 °C."""
    spec = parse(PLATFORM % f"heat: {{rack: rack-1, at: 300s, celsius: {celsius}, ramp: 60s}}", "slow.yaml")
    platform = Platform(spec.platform, 1, 0.0)
    platform.start_traffic(spec.faults, 1, 0.0)
    schedule_faults(platform, spec.faults)
    platform.engine.run(900.0)
    (gpu,) = platform.rack_gpus("rack-1")
    assert (gpu.state_at(900.0).throttled_seconds["thermal"] > 100) == throttles


def test_one_replica_crashes_and_the_other_one_serves() -> None:
    simulation = played("crash_loop: {service: back, at: 300s, replicas: 1, uptime: 10s}")
    serving = []
    for time in range(300, 900, 5):
        simulation.advance(float(time))
        serving.append(ready(simulation, "back"))
    assert set(serving[1:]) == {1, 2}
    assert serving.count(1) > serving.count(2), "a start takes longer than the uptime"


def test_a_crash_loop_goes_on_after_its_loading_replica_was_scaled_down() -> None:
    """Of three replicas, one crashes at 10 s; the scale-down at 30 s removes it, and the next one crashes."""
    spec = parse(
        PLATFORM.replace("replicas: 2\n      memory", "replicas: 3\n      memory")
        % "crash_loop: {service: back, at: 10s, replicas: 1, uptime: 20s}",
        "slow.yaml",
    )
    platform = Platform(spec.platform, 1, 0.0)
    schedule_faults(platform, spec.faults)
    deployment = platform.replicas["back"].deployment
    platform.engine.schedule(30.0, deployment.scale_to, 2)
    platform.engine.run(20.0)
    assert (deployment.ready, len(deployment.pods)) == (2, 3)
    platform.engine.run(600.0)
    assert [pod.starts > 1 for pod in deployment.pods] == [True, False]
