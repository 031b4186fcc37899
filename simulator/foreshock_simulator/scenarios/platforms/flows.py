"""Traffic and autoscalers of generated platforms, which follow from the capacity of their language models."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import NamedTuple

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.scenarios.platforms import catalog
from foreshock_simulator.scenarios.platforms.cells import ARRIVALS, ExtraServices
from foreshock_simulator.serving.llm import ACTIVATION_BYTES
from foreshock_simulator.serving.steps import StepTimes
from foreshock_simulator.spec.platform import FlowSpec, PlatformSpec, Topology
from foreshock_simulator.spec.services import AutoscalerSpec, Cached, LlmSpec, ServiceSpec

AUTOSCALER_LOAD_RATIO = 0.9
"""Load that the autoscaler of a language model aims at."""
ASSISTANT = "assistant-feature"
INGEST_PER_REPLICA = 0.05
"""Documents per second for each replica of the embedder, for at least four replicas."""
CODE_LOAD_RATIO = 0.15
"""The code trace is idle for minutes and then peaks at thirty requests per second: its safe mean load is 0.17."""


class TokenMix(NamedTuple):
    """Mean tokens of a request."""

    prompt: float
    generated: float


CONVERSATION, CODE = TokenMix(1155.0, 211.0), TokenMix(2048.0, 28.0)
"""Means of the Azure traces."""


class ReplicaCapacity:
    """Capacity of a replica of a language model on its GPUs. `max_rate`: mean requests per second in full batches."""

    def __init__(self, service: ServiceSpec, gpu_model: str) -> None:
        spec, gpu = service.model, MODELS[gpu_model]
        assert isinstance(spec, LlmSpec)  # noqa: S101 - only these have one
        self._mix = CODE if service.name.name == "llm-code" else CONVERSATION
        self._context = self._mix.prompt + self._mix.generated / 2  # that a request holds on average
        times = self._times = StepTimes(gpu, spec.parameters, spec.kv_bytes_per_token, spec.tensor_parallel)
        kv_bytes = spec.memory_share * (gpu.memory_bytes - gpu.reserved_bytes) - times.weight_bytes - ACTIVATION_BYTES
        self._max_batch = max(1, min(spec.max_sequences, int(kv_bytes / (times.kv_bytes * self._context))))
        self.max_rate = 1.0 / self._seconds_per_request(self._max_batch)

    def in_flight(self, load: float) -> float:
        """Requests in flight at a share `load` of `max_rate`: the smallest batch that serves it."""
        rate = load * self.max_rate
        batches = enumerate(self.rates()[:-1], start=1)
        return float(next((batch for batch, most in batches if most >= rate), self._max_batch))

    def rates(self) -> list[float]:
        """Mean requests per second by the requests in flight, from 1 to full batches."""
        return [1.0 / self._seconds_per_request(batch) for batch in range(1, self._max_batch + 1)]

    def _seconds_per_request(self, batch: int) -> float:
        """Replica time of one request in a batch: its part of each decode step, and its prompt."""
        context = round(batch * self._context)
        decode = self._times.decode_seconds(batch, context)
        prompt = self._times.seconds(batch, context, [(round(self._mix.prompt), 0)]) - decode
        return prompt + self._mix.generated * decode / batch


def autoscaler(service: ServiceSpec, gpu_model: str) -> AutoscalerSpec:
    """An autoscaler that keeps a language model at AUTOSCALER_LOAD_RATIO.

    Its maximum is three times the initial replicas.
    """
    target = ReplicaCapacity(service, gpu_model).in_flight(AUTOSCALER_LOAD_RATIO)
    return AutoscalerSpec("in_flight", round(target, 1), service.replicas, 3 * service.replicas, cold_start=40.0)


def flows_of(
    platform: PlatformSpec, extra: ExtraServices, topology: Topology, rng: random.Random
) -> tuple[FlowSpec, ...]:
    """The flows of a platform: language models get their load, other services moderate traffic."""
    gpu_models = {host.name: host.gpu_model for host in platform.hosts}
    hosts = {pool.name: pool.places[0].host for pool in platform.pools if pool.places}
    max_rates = {
        service.name.name: service.replicas * ReplicaCapacity(service, gpu_models[hosts[service.pool]]).max_rate
        for service in platform.services
        if isinstance(service.model, LlmSpec)
    }
    chat = topology.load * max_rates["llm-chat"]
    replicas = {service.name.name: service.replicas for service in platform.services}
    flows = [
        FlowSpec("assistant", "assistant-feature", catalog.ASK, _three_digits(0.7 * chat)),
        FlowSpec("chat", "gateway", catalog.CHAT, _three_digits(0.3 * chat)),
        FlowSpec("ingest", "gateway", catalog.INGEST, INGEST_PER_REPLICA * max(4, replicas["embedder"]), "poisson"),
    ]
    if "llm-code" in replicas:
        code = _three_digits(CODE_LOAD_RATIO * max_rates["llm-code"])
        flows.append(FlowSpec("code", "gateway", catalog.CODE, code, "azure-code", "azure-code"))
    if "search-feature" in replicas:
        flows.append(FlowSpec("search", "search-feature", catalog.SEARCH, _three_digits(0.5 * chat)))
    for model, (service, route) in extra.features.items():
        rate = _three_digits(topology.load * rng.uniform(0.7, 1.0) * max_rates[model])
        name = service.removesuffix("-feature")
        flows.append(FlowSpec(name, service, route, rate, rng.choice(ARRIVALS), cv=1.5))
    for service, route in extra.pipelines:
        rate = _three_digits(rng.uniform(1.5, 4.0))
        flows.append(FlowSpec(service.removesuffix("-api"), service, route, rate, rng.choice(ARRIVALS), cv=1.5))
    return tuple(flows)


def with_traffic(platform: PlatformSpec, topology: Topology) -> PlatformSpec:
    """The platform with the daily curve of its topology, and with the assistant's cache, if any."""
    flows, services = platform.flows, platform.services
    if topology.diurnal:
        flows = tuple(replace(flow, diurnal=topology.diurnal, peak_hour=topology.peak_hour) for flow in flows)
    if topology.cached:
        services = tuple(_cached(item, topology) if item.name.name == ASSISTANT else item for item in services)
        more = 1.0 / (1.0 - topology.cached)
        flows = tuple(replace(flow, rate=flow.rate * more) if flow.service == ASSISTANT else flow for flow in flows)
    return replace(platform, flows=flows, services=services)


def _cached(service: ServiceSpec, topology: Topology) -> ServiceSpec:
    """The service with a cache behind the first step of its operation."""
    (operation,) = service.operations
    first, *rest = operation.steps
    steps = first, Cached("answer-cache", topology.cached, tuple(rest))
    return replace(service, operations=(replace(operation, steps=steps),))


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
