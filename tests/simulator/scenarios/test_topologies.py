"""Generated platforms: sizes, fixed names, and sensible loads."""

from __future__ import annotations

import pytest

from foreshock_simulator.scenarios.load import load, parse
from foreshock_simulator.scenarios.platforms.topology import SIZES, Size
from foreshock_simulator.scenarios.validation.capacity import initial_placement, memory_by_slot
from foreshock_simulator.spec.platform import PlatformSpec
from foreshock_simulator.spec.queries import caches, calls

SEEDS = (1, 2, 3)
GENERATED = [(size, seed) for size in ("small", "medium", "large") for seed in SEEDS]


def platform(size: str, seed: int) -> PlatformSpec:
    """The platform of the scenario without faults."""
    return load("calm", size, seed).platform


@pytest.mark.parametrize(
    ("size", "services", "gpus"), [("demo", 11, 32), ("small", 5, 8), ("medium", 25, 64), ("large", 100, 1000)]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_size_has_its_number_of_services_and_gpus(size: str, services: int, gpus: int, seed: int) -> None:
    """Tenants, which receive no calls, come in addition."""
    made = platform(size, seed)

    assert len(made.services) == services
    assert sum(host.gpus for host in made.hosts) == gpus


@pytest.mark.parametrize("size", SIZES)
def test_the_same_seed_gives_the_same_platform(size: str) -> None:
    """To the last number."""
    assert platform(size, 7) == platform(size, 7)


@pytest.mark.parametrize("size", ["medium", "large"])
def test_another_seed_gives_another_platform(size: str) -> None:
    """Other services, models and loads."""
    names = [{service.name for service in platform(size, seed).services} for seed in SEEDS]

    assert names[0] != names[1] != names[2]


@pytest.mark.parametrize("size", SIZES)
def test_names_that_scenarios_use_are_on_every_platform(size: str) -> None:
    """Services, tenants, pools and flows."""
    made = platform(size, 1)

    services = {service.name.name for service in made.services}
    assert {"assistant-feature", "gateway", "llm-chat", "embedder", "vector-store"} <= services
    assert "batch-embed" in {tenant.name.name for tenant in made.tenants}
    assert {"chat", "embed"} <= {pool.name for pool in made.pools}
    assert {"assistant", "chat", "ingest"} <= {flow.name for flow in made.flows}


def test_document_ingest_grows_with_the_embedders() -> None:
    """Otherwise its faults would have no effect on a large platform."""

    def per_embedder(size: str) -> float:
        made = platform(size, 1)
        embedder = next(service for service in made.services if service.name.name == "embedder")
        return next(flow.rate for flow in made.flows if flow.name == "ingest") / embedder.replicas

    assert per_embedder("large") == pytest.approx(per_embedder("medium"))


@pytest.mark.parametrize("size", SIZES)
def test_every_service_is_reached_by_some_flow_or_tenant(size: str) -> None:
    """A service without calls would emit nothing."""
    made = platform(size, 1)
    called = {
        service.name.name: {call.service for operation in service.operations for call in calls(operation.steps)}
        for service in made.services
    }
    waiting = {flow.service for flow in made.flows} | {call.service for item in made.tenants for call in item.calls}
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= called[name] - reached

    assert {service.name.name for service in made.services} - reached == set()


@pytest.mark.parametrize(("size", "seed"), GENERATED)
def test_memory_fits_initial_processes_and_language_models_can_grow(size: str, seed: int) -> None:
    """With room for the additional workers of a scenario."""
    made = platform(size, seed)
    held, rooms = initial_placement(made), memory_by_slot(made)

    assert all(size <= rooms[slot] for slot, size in held.bytes.items())
    for service in made.services:
        if service.autoscaler is not None:
            pool = next(pool for pool in made.pools if pool.name == service.pool)
            assert len(pool.places) > len({slot.place for slot in held.slots[service.name.name]})


@pytest.mark.parametrize("size", ["medium", "large"])
def test_services_share_pools_gpus_and_interfaces(size: str) -> None:
    """As on real platforms; without sharing there would be no contention."""
    made = platform(size, 1)
    pools = [service.pool for service in made.services if service.pool]
    hosts = [host for service in made.services for host in service.hosts]
    held = {name: {slot.place for slot in slots} for name, slots in initial_placement(made).slots.items()}
    batch = {place for tenant in made.tenants if tenant.kind == "batch" for place in tenant.places}

    assert len(set(pools)) < len(pools)
    assert len(set(hosts)) < len(hosts)
    assert held["llm-chat"] <= batch
    assert held["embedder"] == held["reranker"]


@pytest.mark.parametrize("size", ["demo", "small", "medium"])
def test_a_cache_of_answers_leaves_the_model_its_load_and_a_day_has_all_flows(size: Size) -> None:
    """Nine of ten requests are answered from the cache, so there are ten times as many."""
    text = "description: Cached.\ntopology: {cached: 90%, diurnal: 40%, peak_hour: 9}\n"
    plain, cached = platform(size, 1), parse(text, "s.yaml", size).platform
    rates = {flow.name: flow.rate for flow in plain.flows}

    assert caches(cached) - caches(plain) == {"answer-cache"}
    for flow in cached.flows:
        assert flow.rate == pytest.approx(rates[flow.name] * (10 if flow.name == "assistant" else 1))
        assert (flow.diurnal, flow.peak_hour) == (0.4, 9)
