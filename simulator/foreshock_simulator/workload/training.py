"""Data-parallel training: compute, wait for the slowest, send gradients round a ring, and now and then a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from foreshock_simulator.core.engine import Process, Signal
from foreshock_simulator.hardware.work import GpuWork
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec.services import TenantSpec
from foreshock_simulator.workload.around import Around, compute

T = TypeVar("T")
_SPREAD: Final = 0.03
_RING_SM: Final = 0.1
"""SMs that a collective operation holds within a host; an assumption (NCCL takes 8 to 24 of 132)."""


def train(tenant: TenantSpec, workers: Sequence[Worker], around: Around[T]) -> Process:
    """Train until one of the processes ends; then the others have nothing to do and stop as well.

    Each rank sends `tenant.gradient_bytes` to the next: over NVLink (or PCIe) within a host, over the network between
    hosts. A step ends when the last has arrived.
    """
    engine, rng = around.engine, around.rng
    step = 0
    while True:
        trace, began = around.begin(workers[0]), engine.now
        if not (yield from _together([worker.run(compute(tenant, rng, _SPREAD)) for worker in workers])):
            break
        slowest = engine.now
        if not (yield from _together(_ring(tenant, workers, around))):
            break
        step += 1
        attributes = {"app.step": step, "app.reduce_seconds": engine.now - slowest}
        if tenant.checkpoint_every and step % tenant.checkpoint_every == 0:
            yield tenant.checkpoint_seconds
            attributes["app.checkpoint"] = True
        around.record(trace, "train step", began, attributes)
    for worker in workers:
        worker.stop()


def _ring(tenant: TenantSpec, workers: Sequence[Worker], around: Around[T]) -> list[Signal]:
    size = tenant.gradient_bytes
    if not size or len(workers) < 2:
        return []
    signals: list[Signal] = []
    for rank, successor in zip(workers, [*workers[1:], workers[0]], strict=True):
        source, target = rank.gpus[0], successor.gpus[0]
        if source.host != target.host:
            signals.append(around.bulk(source.host, target.host, size))
        elif source.model.nvlink_bandwidth:
            signals.append(rank.run(GpuWork(size / source.model.nvlink_bandwidth, _RING_SM, nvlink=1.0)))
        else:
            signals.append(rank.run(GpuWork(size / source.model.pcie_bandwidth, _RING_SM, pcie=1.0)))
    return signals


def _together(signals: Sequence[Signal]) -> Process:
    """Wait for all; whether none of them was given up."""
    going = True
    for signal in signals:
        going = (yield signal) is not False and going
    return going
