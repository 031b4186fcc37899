"""The simulated platform: which service runs where, and what traffic comes in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from foreshock_simulator import behaviour, jobs
from foreshock_simulator.engine import Engine, Process
from foreshock_simulator.gpu import Worker
from foreshock_simulator.machine import Machine
from foreshock_simulator.mesh import Instance, Mesh
from foreshock_simulator.names import ServiceName
from foreshock_simulator.randomness import stream
from foreshock_simulator.scenario import Growth, Place
from foreshock_simulator.traffic import Arrival, TraceName, divide, load, replay

GIB = 1024**3
HOSTS = ("host-1", "host-2", "host-3", "host-4")
SERVING_HOSTS = HOSTS[:2]
BATCH_EMBED = ServiceName("ml", "batch-embed")
TRAIN = ServiceName("ml", "train-llm")
EVALUATE = ServiceName("ml", "nightly-eval")


class Servers(NamedTuple):
    """A service without GPUs: a replica on each of some hosts."""

    service: ServiceName
    hosts: tuple[str, ...]
    concurrency: int


class Models(NamedTuple):
    """A model service: a replica on each of some GPUs of both serving hosts.

    Memory in bytes; its intensity is the share of the GPU's memory bandwidth that it uses while it runs; `batch_cost`
    is b of foreshock_simulator.gpu.
    """

    service: ServiceName
    gpus: tuple[int, ...]
    memory_bytes: float
    memory_intensity: float
    concurrency: int
    batch_cost: float


class Flow(NamedTuple):
    """Traffic from outside: a share of a trace's requests goes to an operation."""

    service: str
    route: str
    share: float


SERVERS = (
    Servers(ServiceName("product", "assistant-feature"), ("host-3", "host-4"), 96),
    Servers(ServiceName("product", "search-feature"), ("host-3", "host-4"), 64),
    Servers(ServiceName("serving", "gateway"), ("host-1", "host-2", "host-3"), 128),
    Servers(ServiceName("platform", "auth"), ("host-3", "host-4"), 64),
    Servers(ServiceName("data", "vector-store"), ("host-2", "host-4"), 32),
    Servers(ServiceName("ml", "ml-platform"), ("host-3", "host-4"), 64),
)
MODELS = (
    Models(ServiceName("serving", "llm-chat"), (0, 1), 46 * GIB, 0.85, 24, 0.03),
    Models(ServiceName("serving", "llm-code"), (2, 3), 46 * GIB, 0.70, 32, 0.03),
    Models(ServiceName("serving", "embedder"), (4, 5), 8 * GIB, 0.45, 32, 0.05),
    Models(ServiceName("serving", "reranker"), (4, 5), 10 * GIB, 0.50, 16, 0.05),
    Models(ServiceName("serving", "image-gen"), (6,), 38 * GIB, 0.60, 1, 0.0),
)
TRAINING = tuple(Place(host, gpu) for host in HOSTS[2:] for gpu in range(6))
EVALUATION = (*(Place(host, gpu) for host in SERVING_HOSTS for gpu in (2, 3)), Place("host-3", 6), Place("host-4", 6))
FILLERS = tuple(Place(host, gpu) for host in SERVING_HOSTS for gpu in (0, 1))
DEDICATED = (
    Place("host-1", 7), Place("host-2", 7), Place("host-3", 7), Place("host-4", 6), Place("host-4", 7),
)  # fmt: skip
TRAFFIC: tuple[tuple[TraceName, tuple[Flow, ...]], ...] = (
    (
        "conversation",
        (Flow("assistant-feature", behaviour.ASK, 0.50), Flow("gateway", behaviour.CHAT, 0.20)),
    ),
    ("conversation", (Flow("search-feature", behaviour.SEARCH, 0.45),)),
    ("code", (Flow("gateway", behaviour.CODE, 0.60),)),
)
"""Each entry is a trace replayed from a point of its own. 8 requests a second in the mean."""


class Platform:
    """Hosts, services, tenants and traffic on one engine."""

    def __init__(self, engine: Engine, mesh: Mesh, seed: int) -> None:
        self.machines = {name: Machine(engine, name) for name in HOSTS}
        self._engine, self._mesh = engine, mesh
        for operation in behaviour.OPERATIONS:
            mesh.offer(operation)
        self._start_servers()
        self._start_tenants()
        for index, (trace, flows) in enumerate(TRAFFIC):
            engine.spawn(self._traffic(trace, flows, stream(seed, f"traffic/{index}")))

    def grow(self, growth: Growth, onset: float) -> None:
        """Let a tenant start more workers, the first at `onset` (seconds since the start), evenly over the ramp."""
        self._engine.at(onset, lambda _: self._engine.spawn(self._growth(growth)))

    def _start_servers(self) -> None:
        for service, hosts, concurrency in SERVERS:
            for host in hosts:
                self._mesh.place(service, self.machines[host], concurrency=concurrency)
        for model in MODELS:
            for host in SERVING_HOSTS:
                for gpu in model.gpus:
                    machine = self.machines[host]
                    worker = machine.start_worker(
                        model.service, gpu, model.memory_bytes, model.memory_intensity, model.batch_cost
                    )
                    self._mesh.place(model.service, machine, worker, model.concurrency)

    def _start_tenants(self) -> None:
        engine, mesh = self._engine, self._mesh
        ranks = [self._tenant(TRAIN, place, 58 * GIB, 0.55) for place in TRAINING]
        engine.spawn(jobs.train(mesh, ranks))
        for place in EVALUATION:
            engine.spawn(jobs.evaluate(mesh, self._tenant(EVALUATE, place, 14 * GIB, 0.4)))
        for place in FILLERS:
            engine.spawn(jobs.batch_embed(mesh, self._embedding(place), jobs.GENTLE))
        for place in DEDICATED:
            engine.spawn(jobs.batch_embed(mesh, self._embedding(place), jobs.STEADY))

    def _embedding(self, place: Place) -> Instance:
        return self._tenant(BATCH_EMBED, place, 6 * GIB, 0.5)

    def _tenant(self, service: ServiceName, place: Place, memory_bytes: float, memory_intensity: float) -> Instance:
        machine = self.machines[place.host]
        worker: Worker = machine.start_worker(service, place.gpu, memory_bytes, memory_intensity, 0.0)
        return self._mesh.place(service, machine, worker)

    def _growth(self, growth: Growth) -> Process:
        for _ in range(growth.workers):
            for place in growth.places:
                worker = self._tenant(growth.aggressor, place, 6 * GIB, 0.6)
                self._engine.spawn(jobs.batch_embed(self._mesh, worker, jobs.GREEDY))
            yield growth.ramp / growth.workers

    def _traffic(self, name: TraceName, flows: Sequence[Flow], rng: random.Random) -> Process:
        trace = load(name)
        arrivals: Iterator[tuple[int, Arrival]] = divide(
            replay(trace, rng.random() * trace.period), [flow.share for flow in flows], rng
        )
        for flow, arrival in arrivals:
            yield max(0.0, arrival.time - self._engine.now)
            target = flows[flow]
            self._mesh.enter(target.service, target.route, arrival.prompt_tokens, arrival.generated_tokens)
