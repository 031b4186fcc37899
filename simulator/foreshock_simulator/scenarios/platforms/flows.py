"""Traffic of generated platforms: language models get their load, the rest something to do."""

from __future__ import annotations

import random

from foreshock_simulator.scenarios.platforms import catalogue
from foreshock_simulator.scenarios.platforms.capacity import MIXES, Replica, tokens_of
from foreshock_simulator.scenarios.platforms.cells import LOOK, Extra
from foreshock_simulator.spec.scenario import PlatformSpec, Topology
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec
from foreshock_simulator.spec.traffic import FlowSpec

INGEST = 0.05
"""Documents a second that are taken in for each replica of the embedder where it has four or more; fewer get as many as
four."""
CODE_LOAD = 0.15
"""The code trace is silent for minutes and then asks thirty times a second: its safe mean load is 0.17."""


def flows_of(platform: PlatformSpec, extra: Extra, knobs: Topology, rng: random.Random) -> tuple[FlowSpec, ...]:
    """Traffic that gives language models their load, and the rest something to do."""
    served = {service.name.name: _served(service, platform) for service in platform.services}
    chat = knobs.load * served["llm-chat"]
    embedders = next(service.replicas for service in platform.services if service.name.name == "embedder")
    flows = [
        FlowSpec("assistant", "assistant-feature", catalogue.ASK, _round(0.7 * chat)),
        FlowSpec("chat", "gateway", catalogue.CHAT, _round(0.3 * chat)),
        FlowSpec("ingest", "gateway", catalogue.INGEST, INGEST * max(4, embedders), "poisson"),
    ]
    if "llm-code" in served:
        code = _round(CODE_LOAD * served["llm-code"])
        flows.append(FlowSpec("code", "gateway", catalogue.CODE, code, "azure-code", "azure-code"))
    if "search-feature" in served:
        flows.append(FlowSpec("search", "search-feature", catalogue.SEARCH, _round(0.5 * chat)))
    for model, (service, route) in extra.features.items():
        load = knobs.load * rng.uniform(0.7, 1.0)
        arrivals = rng.choice(LOOK)
        name = service.removesuffix("-feature")
        flows.append(FlowSpec(name, service, route, _round(load * served[model]), arrivals, cv=1.5))
    for service, route in extra.pipelines:
        name = service.removesuffix("-api")
        flows.append(FlowSpec(name, service, route, _round(rng.uniform(1.5, 4.0)), rng.choice(LOOK), cv=1.5))
    return tuple(flows)


def _served(service: ServiceSpec, platform: PlatformSpec) -> float:
    """Requests a second that a language model's replicas serve at the start; 0 for others."""
    if not isinstance(service.model, LlmSpec):
        return 0.0
    pool = next(pool for pool in platform.pools if pool.name == service.pool)
    host = next(host for host in platform.hosts if host.name == pool.places[0].host)
    return service.replicas * Replica(service.model, host.gpu_model, MIXES[tokens_of(service)]).rate()


def _round(value: float) -> float:
    return float(f"{value:.3g}")
