"""The tenants that nobody waits for: batch embedding, training, evaluation. Each is a process for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foreshock_simulator.behaviour import CLAIM, UPSERT
from foreshock_simulator.engine import Process
from foreshock_simulator.machine import transfer
from foreshock_simulator.mesh import Context, Instance, Mesh
from foreshock_simulator.request import Attributes, CallFailed

GRADIENT_BYTES = 350_000_000
"""Sent by each rank to the next in a ring for one step, compressed."""
CHECKPOINT_EVERY = 250


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a batch worker goes: seconds of GPU work per batch, its intensity, the pause between batches."""

    work: float
    intensity: float
    pause: float


GENTLE = Pace(work=0.35, intensity=1.2, pause=0.9)
"""Fills what others leave: about a fifth of a GPU."""
STEADY = Pace(work=0.35, intensity=1.2, pause=0.08)
"""On a GPU of its own."""
GREEDY = Pace(work=0.60, intensity=3.0, pause=0.01)
"""Takes all the GPU it can get."""
BATCHES_PER_SHARD = 8


def batch_embed(mesh: Mesh, instance: Instance, pace: Pace) -> Process:
    """Claim a shard of documents, embed it batch by batch, write the vectors."""
    yield mesh.rng.random() * 2.0
    while True:
        ctx = mesh.job(instance)
        started = mesh.engine.now
        yield from _tolerate(ctx, "ml-platform", CLAIM)
        for _ in range(BATCHES_PER_SHARD):
            yield ctx.gpu(ctx.cpu(pace.work, 0.1), pace.intensity)
            yield ctx.cpu(pace.pause)
        yield from _tolerate(ctx, "vector-store", UPSERT)
        _record(mesh, ctx, "embed shard", started, {"app.batches": BATCHES_PER_SHARD})


def evaluate(mesh: Mesh, instance: Instance) -> Process:
    """Score a model on test cases, at a low intensity."""
    yield mesh.rng.random() * 2.0
    while True:
        ctx = mesh.job(instance)
        started = mesh.engine.now
        yield from _tolerate(ctx, "ml-platform", CLAIM)
        for _ in range(20):
            yield ctx.gpu(ctx.cpu(0.5, 0.2), 0.25)
            yield ctx.cpu(0.7)
        _record(mesh, ctx, "evaluate cases", started, {"app.cases": 20})


def train(mesh: Mesh, ranks: Sequence[Instance]) -> Process:
    """Data-parallel training: every rank computes, all wait for the slowest, gradients go round the ring."""
    step = 0
    while True:
        ctx = mesh.job(ranks[0])
        started = mesh.engine.now
        signals = [rank.worker.run(ctx.cpu(1.4, 0.03), 2.5) for rank in ranks if rank.worker is not None]
        yield from signals
        for rank, successor in zip(ranks, [*ranks[1:], ranks[0]], strict=True):
            transfer(rank.machine, successor.machine, GRADIENT_BYTES)
        yield 0.25
        step += 1
        if step % CHECKPOINT_EVERY == 0:
            yield 8.0
        _record(mesh, ctx, "train step", started, {"app.step": step})


def _tolerate(ctx: Context, service: str, route: str) -> Process:
    """Call, and carry on where it fails: a job tries again with its next shard."""
    try:
        yield from ctx.call(service, route, timeout=5.0, attempts=3)
    except CallFailed:
        return


def _record(mesh: Mesh, ctx: Context, name: str, started: float, attributes: Attributes) -> None:
    mesh.record(ctx.trace_id, ctx.span_id, "", name, "internal", started, "", ctx.instance.resource, attributes)
