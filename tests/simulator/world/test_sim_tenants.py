"""Batch work and training: their use of GPUs and hosts, and their traces."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.spec.services import Call, CallPolicy, TenantSpec
from foreshock_simulator.world.tenants import Attributes, Environment, batch, train

NAME = ServiceName("ml", "some-tenant")
CLAIM = Call("ml-platform", "POST /v1/jobs/claim", CallPolicy(5.0))
WRITE = Call("vector-store", "PUT /points", CallPolicy(5.0))


class World:
    """Records the work of a tenant; calls take a tenth of a second, bytes move at 1 GB/s."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.calls: list[tuple[str, str]] = []
        self.spans: list[tuple[str, float, float, dict[str, Any]]] = []
        self.moved: list[tuple[str, str, float]] = []
        self.environment: Environment[tuple[str, float]] = Environment(
            self.engine,
            Random(1),
            lambda worker: (f"pid {worker.pid}", self.engine.now),
            self.call,
            self.record,
            self.transfer,
        )

    def call(self, trace: tuple[str, float], call: Call) -> Process:
        """A call with a fixed duration."""
        self.calls.append((trace[0], call.service))
        yield 0.1

    def record(self, trace: tuple[str, float], name: str, attributes: Attributes) -> None:
        """A span that ends now."""
        self.spans.append((*trace, self.engine.now, dict(attributes)))
        assert name in ("process unit", "train step")

    def transfer(self, source: str, target: str, size: float) -> Signal:
        """A transfer at a fixed rate."""
        self.moved.append((source, target, size))
        signal = Signal(self.engine)
        self.engine.schedule(self.engine.now + size / 1e9, signal.fire)
        return signal

    def worker(self, host: str = "host-1", index: int = 0, model: str = "H100") -> Worker:
        """A process on a dedicated GPU."""
        return Worker([Gpu(self.engine, MODELS[model], host, index)], index, NAME, 1e9)


def test_a_batch_worker_claims_computes_and_writes() -> None:
    """A trace for each unit: a call before, eight computations with pauses, a call after."""
    world = World()
    worker = world.worker()
    tenant = TenantSpec(NAME, "batch", (), work=0.4, pause=0.6, sm=0.5, unit=8, calls=(CLAIM, WRITE))
    world.engine.spawn(batch(tenant, worker, world.environment))
    world.engine.run(500.0)
    assert world.calls[:4] == [("pid 0", "ml-platform"), ("pid 0", "vector-store")] * 2
    took = [end - began for _, began, end, _ in world.spans]
    assert sum(took) / len(took) == pytest.approx(8 * (0.4 + 0.6) + 0.2, rel=0.03)
    assert worker.busy_seconds_at(500.0) / 500.0 == pytest.approx(0.5 * 0.4 * 8 / 8.2, rel=0.03)
    assert world.spans[0][3] == {"app.batches": 8}


def test_a_batch_worker_whose_process_ends_stops_in_the_middle() -> None:
    """The unfinished unit has no span."""
    world = World()
    worker = world.worker()
    world.engine.spawn(batch(TenantSpec(NAME, "batch", (), work=100.0, pause=0.0), worker, world.environment))
    world.engine.schedule(150.0, lambda _: worker.stop())
    world.engine.run(1000.0)
    assert world.spans == []
    assert worker.busy_seconds_at(1000.0) < 100.0


def test_training_waits_for_the_slowest() -> None:
    """With a neighbor on one of its GPUs, every step takes as long as there, and the other GPUs idle."""
    took = {}
    for shared in (False, True):
        world = World()
        ranks = [world.worker(index=index) for index in range(4)]
        if shared:
            Worker(ranks[2].gpus, 9, NAME, 1e9).run(GpuWork(1e6, sm=1.0))
        world.engine.spawn(train(TenantSpec(NAME, "training", (), work=1.0, sm=1.0), ranks, world.environment))
        world.engine.run(100.0)
        took[shared] = sum(end - began for _, began, end, _ in world.spans) / len(world.spans)
        idle = [100.0 - gpu.busy_seconds_at(100.0) for rank in ranks for gpu in rank.gpus]
    assert took[True] > 1.9 * took[False]
    assert idle[2] < 1e-6
    assert min(idle[0], idle[1], idle[3]) > 40.0


def test_gradients_move_around_a_ring() -> None:
    """Over NVLink within a host, over the network between two; the step waits for the slower."""
    world = World()
    ranks = [world.worker(host, index) for host in ("host-1", "host-2") for index in range(2)]
    tenant = TenantSpec(NAME, "training", (), work=1.0, gradient_bytes=2e9, checkpoint_every=0)
    world.engine.spawn(train(tenant, ranks, world.environment))
    world.engine.run(3.5)
    assert world.moved == [("host-1", "host-2", 2e9), ("host-2", "host-1", 2e9)]
    assert [rank.gpus[0].state_at(3.5).nvlink_bytes for rank in ranks] == pytest.approx([2e9, 0.0, 2e9, 0.0])
    assert world.spans[0][2] == pytest.approx(3.0, abs=0.05)
    assert world.spans[0][3]["app.reduce_seconds"] == pytest.approx(2.0)


def test_gpus_without_nvlink_exchange_gradients_over_pcie() -> None:
    """At its bandwidth."""
    world = World()
    ranks = [world.worker(index=index, model="L40S") for index in range(2)]
    world.engine.spawn(train(TenantSpec(NAME, "training", (), gradient_bytes=32e9), ranks, world.environment))
    world.engine.run(1.5)
    assert ranks[0].gpus[0].state_at(1.5).pcie_bytes == pytest.approx(32e9)
    assert world.spans[0][3]["app.reduce_seconds"] == pytest.approx(1.0)


def test_gpus_idle_during_checkpoints() -> None:
    """Every fourth step takes eight seconds more and has an attribute for it."""
    world = World()
    rank = world.worker()
    tenant = TenantSpec(NAME, "training", (), work=1.0, sm=1.0, checkpoint_every=4, checkpoint_seconds=8.0)
    world.engine.spawn(train(tenant, [rank], world.environment))
    world.engine.run(120.0)
    saved = [end - began for _, began, end, said in world.spans if said.get("app.checkpoint")]
    other = [end - began for _, began, end, said in world.spans if not said.get("app.checkpoint")]
    assert len(other) == pytest.approx(3 * len(saved), abs=3)
    assert min(saved) > 8.9
    assert max(other) < 1.1
    assert rank.busy_seconds_at(120.0) / 120.0 == pytest.approx(4 / 12, rel=0.05)


def test_training_ends_when_one_of_its_processes_does() -> None:
    """The others are stopped and free their GPUs."""
    world = World()
    ranks = [world.worker(index=index) for index in range(3)]
    world.engine.spawn(train(TenantSpec(NAME, "training", (), work=1.0), ranks, world.environment))
    world.engine.schedule(5.5, lambda _: ranks[1].stop())
    world.engine.run(20.0)
    assert all(rank.stopped for rank in ranks)
    assert len(world.spans) == 5
    assert [rank.gpus[0].workers for rank in ranks] == [[], [], []]
