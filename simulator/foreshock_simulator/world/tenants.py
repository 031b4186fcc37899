"""Tenants: batch work on each of their GPUs by itself, and data-parallel training over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, TypeVar

from foreshock_simulator.calls.mesh import Mesh, Tenant
from foreshock_simulator.calls.request import UnitOfWork
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.network.network import Network
from foreshock_simulator.spec.platform import Place
from foreshock_simulator.spec.services import Call, TenantSpec
from foreshock_simulator.world.replicas import Hosts

Trace = tuple[Tenant, UnitOfWork]
Attributes = Mapping[str, "str | int | float | bool"]
T = TypeVar("T")

TENSOR_RATIO: Final = 0.5
"""Share of the tensor cores' peak while the kernels hold all SMs; an assumption."""
DISPATCHES_PER_SECOND: Final = 200.0
"""Blocking dispatches per second of a tenant; an assumption."""
_BATCH_JITTER_RATIO: Final = 0.15
_TRAINING_JITTER_RATIO: Final = 0.03
_RING_SM_RATIO: Final = 0.1
"""Share of SMs that a collective operation holds within a host; an assumption (NCCL takes 8 to 24 of 132)."""


@dataclass(frozen=True, slots=True)
class Environment(Generic[T]):
    """The environment of a tenant; T is the type of its traces.

    `begin` starts a trace at a process of the tenant. `call` makes a call in a trace; a failed call raises nothing.
    `record` ends a trace with a span of this name and attributes. `transfer` moves bytes between two hosts, and fires
    when they have arrived.
    """

    engine: Engine
    rng: Random
    begin: Callable[[Worker], T]
    call: Callable[[T, Call], Process]
    record: Callable[[T, str, Attributes], None]
    transfer: Callable[[str, str, float], Signal]


def batch(tenant: TenantSpec, worker: Worker, environment: Environment[T]) -> Process:
    """Process units of work until the process ends. A unit is `tenant.unit` computations with pauses between them.

    All calls but the last precede the computations (claim the work, fetch its data); the last follows (write results).
    """
    rng = environment.rng
    yield rng.random() * (tenant.work + tenant.pause)
    while not worker.stopped:
        trace = environment.begin(worker)
        for call in tenant.calls[:-1]:
            yield from environment.call(trace, call)
        for _ in range(tenant.unit):
            if not (yield worker.run(_compute(tenant, rng, _BATCH_JITTER_RATIO))):
                return
            yield tenant.pause * (0.5 + rng.random())
        for call in tenant.calls[-1:]:
            yield from environment.call(trace, call)
        environment.record(trace, "process unit", {"app.batches": tenant.unit})


def train(tenant: TenantSpec, workers: Sequence[Worker], environment: Environment[T]) -> Process:
    """Train until one of the processes ends, then stop the others.

    In each step, each rank sends `tenant.gradient_bytes` to the next one: over NVLink (or PCIe) within a host, over the
    network between hosts. The step ends when all have arrived; some steps are followed by a checkpoint.
    """
    engine, rng = environment.engine, environment.rng
    step = 0
    while True:
        trace = environment.begin(workers[0])
        tasks = [worker.run(_compute(tenant, rng, _TRAINING_JITTER_RATIO)) for worker in workers]
        if not (yield from _wait_for_all(tasks)):
            break
        computed = engine.now
        if not (yield from _wait_for_all(_ring_transfers(tenant, workers, environment))):
            break
        step += 1
        attributes = {"app.step": step, "app.reduce_seconds": engine.now - computed}
        if tenant.checkpoint_every and step % tenant.checkpoint_every == 0:
            yield tenant.checkpoint_seconds
            attributes["app.checkpoint"] = True
        environment.record(trace, "train step", attributes)
    for worker in workers:
        worker.stop()


def _ring_transfers(tenant: TenantSpec, workers: Sequence[Worker], environment: Environment[T]) -> list[Signal]:
    size = tenant.gradient_bytes
    if not size or len(workers) < 2:
        return []
    signals: list[Signal] = []
    for rank, successor in zip(workers, [*workers[1:], workers[0]], strict=True):
        source, target = rank.gpus[0], successor.gpus[0]
        nvlink = source.model.nvlink_bandwidth
        if source.host != target.host:
            signals.append(environment.transfer(source.host, target.host, size))
        elif nvlink:
            signals.append(rank.run(GpuWork(size / nvlink, _RING_SM_RATIO, nvlink=1.0)))
        else:
            signals.append(rank.run(GpuWork(size / source.model.pcie_bandwidth, _RING_SM_RATIO, pcie=1.0)))
    return signals


def _wait_for_all(signals: Sequence[Signal]) -> Process:
    """Wait for all signals; returns whether none of them fired with False."""
    succeeded = True
    for signal in signals:
        succeeded = (yield signal) is not False and succeeded
    return succeeded


def _compute(tenant: TenantSpec, rng: Random, jitter: float) -> GpuWork:
    """One computation of a tenant, with a uniform variation of its duration by up to the ratio `jitter`."""
    seconds = tenant.work * (1.0 + jitter * (2.0 * rng.random() - 1.0))
    return GpuWork(seconds, tenant.sm, tenant.dram, TENSOR_RATIO * tenant.sm, kernels=DISPATCHES_PER_SECOND)


class Tenants:
    """Starts the processes of tenants."""

    def __init__(self, engine: Engine, mesh: Mesh, network: Network, hosts: Hosts, seed: int) -> None:
        self._engine, self._mesh, self._network, self._hosts, self._seed = engine, mesh, network, hosts, seed
        self._callers: dict[Worker, Tenant] = {}
        self._started_jobs = 0

    def begin(self, spec: TenantSpec) -> None:
        """Start a tenant on all its places.

        Raises:
            ValueError: not enough GPU memory, or a call to an unknown service or operation.
        """
        workers = [self._start_worker(spec, Place(*place)) for place in spec.places]
        if spec.kind == "training":
            self._engine.spawn(train(spec, workers, self._environment(spec)))
        else:
            for worker in workers:
                self._engine.spawn(batch(spec, worker, self._environment(spec)))

    def grow(self, spec: TenantSpec, place: Place) -> Worker:
        """Start one more process of a batch tenant on a GPU.

        Raises:
            ValueError: not enough GPU memory.
        """
        worker = self._start_worker(spec, place)
        self._engine.spawn(batch(spec, worker, self._environment(spec)))
        return worker

    def end(self, workers: Sequence[Worker]) -> None:
        """End processes."""
        for worker in workers:
            self._callers[worker].ended = True
            worker.stop()
            self._hosts[worker.gpus[0].host].stop(worker.pid)

    def _start_worker(self, spec: TenantSpec, place: Place) -> Worker:
        host = self._hosts[place.host]
        pid = host.start(spec.name)
        worker = Worker((host.gpus[place.gpu],), pid, spec.name, spec.memory_bytes, spec.slice)
        self._callers[worker] = self._mesh.tenant(spec.name, host, pid, spec.calls)
        return worker

    def _environment(self, spec: TenantSpec) -> Environment[Trace]:
        self._started_jobs += 1
        return Environment(
            self._engine,
            random_stream(self._seed, f"workload/{spec.name}/{self._started_jobs}"),
            begin=self._begin,
            call=lambda trace, call: trace[0].try_call(trace[1], call),
            record=lambda trace, name, attributes: trace[0].end(trace[1], name, attributes),
            transfer=lambda source, target, size: self._network.bulk(source, target, size, rdma=True),
        )

    def _begin(self, worker: Worker) -> Trace:
        caller = self._callers[worker]
        return caller, caller.begin()
