"""The jobs of tenants: batch work on each GPU by itself, and data-parallel training over all GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from foreshock_simulator.core.engine import Process, Signal
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.spec.services import TenantSpec
from foreshock_simulator.workload.environment import Environment, compute

T = TypeVar("T")
_BATCH_JITTER_RATIO: Final = 0.15
_TRAINING_JITTER_RATIO: Final = 0.03
_RING_SM_RATIO: Final = 0.1
"""Share of SMs that a collective operation holds within a host; an assumption (NCCL takes 8 to 24 of 132)."""


def batch(tenant: TenantSpec, worker: Worker, environment: Environment[T]) -> Process:
    """Process units of work until the process ends. A unit is `tenant.unit` computations with pauses between them.

    All calls but the last precede the computations (claim the work, fetch its data); the last follows (write results).
    """
    engine, rng = environment.engine, environment.rng
    yield rng.random() * (tenant.work + tenant.pause)
    while not worker.stopped:
        trace, began = environment.begin(worker), engine.now
        for call in tenant.calls[:-1]:
            yield from environment.call(trace, call)
        for _ in range(tenant.unit):
            if not (yield worker.run(compute(tenant, rng, _BATCH_JITTER_RATIO))):
                return
            yield tenant.pause * (0.5 + rng.random())
        for call in tenant.calls[-1:]:
            yield from environment.call(trace, call)
        environment.record(trace, "process unit", began, {"app.batches": tenant.unit})


def train(tenant: TenantSpec, workers: Sequence[Worker], environment: Environment[T]) -> Process:
    """Train until one of the processes ends, then stop the others.

    In each step, each rank sends `tenant.gradient_bytes` to the next one: over NVLink (or PCIe) within a host, over the
    network between hosts. The step ends when all have arrived; some steps are followed by a checkpoint.
    """
    engine, rng = environment.engine, environment.rng
    step = 0
    while True:
        trace, began = environment.begin(workers[0]), engine.now
        tasks = [worker.run(compute(tenant, rng, _TRAINING_JITTER_RATIO)) for worker in workers]
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
        environment.record(trace, "train step", began, attributes)
    for worker in workers:
        worker.stop()


def _ring_transfers(tenant: TenantSpec, workers: Sequence[Worker], environment: Environment[T]) -> list[Signal]:
    size = tenant.gradient_bytes
    if not size or len(workers) < 2:
        return []
    signals: list[Signal] = []
    for rank, successor in zip(workers, [*workers[1:], workers[0]], strict=True):
        source, target = rank.gpus[0], successor.gpus[0]
        if source.host != target.host:
            signals.append(environment.transfer(source.host, target.host, size))
        elif source.model.nvlink_bandwidth:
            signals.append(rank.run(GpuWork(size / source.model.nvlink_bandwidth, _RING_SM_RATIO, nvlink=1.0)))
        else:
            signals.append(rank.run(GpuWork(size / source.model.pcie_bandwidth, _RING_SM_RATIO, pcie=1.0)))
    return signals


def _wait_for_all(signals: Sequence[Signal]) -> Process:
    """Wait for all signals; returns whether none of them fired with False."""
    succeeded = True
    for signal in signals:
        succeeded = (yield signal) is not False and succeeded
    return succeeded
