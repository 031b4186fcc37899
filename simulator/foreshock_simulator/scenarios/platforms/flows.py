"""Traffic of generated platforms."""

from __future__ import annotations

import random

from foreshock_simulator.scenarios.platforms import catalogue
from foreshock_simulator.scenarios.platforms.capacity import TOKEN_MIXES, ReplicaCapacity, token_mix_name
from foreshock_simulator.scenarios.platforms.cells import ARRIVALS, ExtraServices
from foreshock_simulator.spec.scenario import PlatformSpec, Topology
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec
from foreshock_simulator.spec.traffic import FlowSpec

INGEST_PER_REPLICA = 0.05
"""Documents per second for each replica of the embedder, for at least four replicas."""
CODE_LOAD_RATIO = 0.15
"""The code trace is idle for minutes and then peaks at thirty requests per second: its safe mean load is 0.17."""


def flows_of(
    platform: PlatformSpec, extra: ExtraServices, topology: Topology, rng: random.Random
) -> tuple[FlowSpec, ...]:
    """The flows of a platform: language models get their load, other services moderate traffic."""
    max_rates = {service.name.name: _max_rate(service, platform) for service in platform.services}
    chat = topology.load * max_rates["llm-chat"]
    embedders = next(service.replicas for service in platform.services if service.name.name == "embedder")
    flows = [
        FlowSpec("assistant", "assistant-feature", catalogue.ASK, _three_digits(0.7 * chat)),
        FlowSpec("chat", "gateway", catalogue.CHAT, _three_digits(0.3 * chat)),
        FlowSpec("ingest", "gateway", catalogue.INGEST, INGEST_PER_REPLICA * max(4, embedders), "poisson"),
    ]
    if "llm-code" in max_rates:
        code = _three_digits(CODE_LOAD_RATIO * max_rates["llm-code"])
        flows.append(FlowSpec("code", "gateway", catalogue.CODE, code, "azure-code", "azure-code"))
    if "search-feature" in max_rates:
        flows.append(FlowSpec("search", "search-feature", catalogue.SEARCH, _three_digits(0.5 * chat)))
    for model, (service, route) in extra.features.items():
        load = topology.load * rng.uniform(0.7, 1.0)
        arrivals = rng.choice(ARRIVALS)
        name = service.removesuffix("-feature")
        flows.append(FlowSpec(name, service, route, _three_digits(load * max_rates[model]), arrivals, cv=1.5))
    for service, route in extra.pipelines:
        name = service.removesuffix("-api")
        flows.append(FlowSpec(name, service, route, _three_digits(rng.uniform(1.5, 4.0)), rng.choice(ARRIVALS), cv=1.5))
    return tuple(flows)


def _max_rate(service: ServiceSpec, platform: PlatformSpec) -> float:
    """Requests per second that the initial replicas of a language model can serve; 0 for other services."""
    if not isinstance(service.model, LlmSpec):
        return 0.0
    pool = next(pool for pool in platform.pools if pool.name == service.pool)
    host = next(host for host in platform.hosts if host.name == pool.places[0].host)
    return (
        service.replicas
        * ReplicaCapacity(service.model, host.gpu_model, TOKEN_MIXES[token_mix_name(service)]).max_rate()
    )


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
