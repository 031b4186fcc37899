"""What a service does with a request, step by step, in the form in which it is run."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

from foreshock_simulator.calls.client import Line
from foreshock_simulator.calls.request import Failed, Request
from foreshock_simulator.core.engine import (Process, Signal)

if TYPE_CHECKING:
    from foreshock_simulator.calls.cache import Cache
    from foreshock_simulator.calls.replica import Replica
    from foreshock_simulator.calls.service import Service

OVERLOADED = 503


class Work:
    """A stretch on the CPU."""

    __slots__ = ("median", "spread")

    def __init__(self, median: float, spread: float) -> None:
        self.median, self.spread = median, spread

    def draw(self, service: Service) -> float:
        """How many seconds it takes this time."""
        return exp(next(service.normals) * self.spread) * self.median * service.slow

    def run(self, replica: Replica, _: Request) -> Process:
        """To be yielded from."""
        cpu, engine = replica.service.cpu, replica.engine
        cpu.up(engine.now)
        try:
            yield self.draw(replica.service)
        finally:
            cpu.down(engine.now)


class FanOut:
    """Plans that begin at once; over when all are, failed if one is."""

    __slots__ = ("plans",)

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans

    def run(self, replica: Replica, request: Request) -> Process:
        """To be yielded from.

        Raises:
            Failed: with the status of the first plan, in order, that failed.
        """
        engine = replica.engine
        signals = [Signal(engine) for _ in self.plans]
        branches = [_branch(replica, request, plan, signal) for plan, signal in zip(self.plans, signals, strict=True)]
        for branch in branches:
            engine.spawn(branch)
        failure = 0
        try:
            for signal in signals:
                failure = failure or (yield signal)
        except GeneratorExit:
            for branch in branches:
                branch.close()
            raise
        if failure:
            raise Failed(failure)


def _branch(replica: Replica, request: Request, plan: Plan, over: Signal) -> Process:
    status = 0
    try:
        yield from replica.follow(request, plan)
    except Failed as failure:
        status = failure.status
    over.fire(status)


class Chance:
    """A plan that is followed with a probability."""

    __slots__ = ("plan", "probability")

    def __init__(self, probability: float, plan: Plan) -> None:
        self.probability, self.plan = probability, plan

    def run(self, replica: Replica, request: Request) -> Process:
        """To be yielded from."""
        if replica.rng.random() < self.probability:
            yield from replica.follow(request, self.plan)


class Lookup:
    """A plan that is followed where a cache has no answer; the answer is kept."""

    __slots__ = ("cache", "hit_ratio", "plan", "refill")

    def __init__(self, cache: Cache, hit_ratio: float, refill: float, plan: Plan) -> None:
        self.cache, self.hit_ratio, self.refill, self.plan = cache, hit_ratio, refill, plan

    def run(self, replica: Replica, request: Request) -> Process:
        """To be yielded from."""
        if replica.rng.random() >= self.hit_ratio * self.cache.filled:
            yield from replica.follow(request, self.plan)
            self.cache.miss(self.refill)


class Infer:
    """The replica's model server works on it, with the weights of a variant."""

    __slots__ = ("variant",)

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def run(self, replica: Replica, request: Request) -> Process:
        """To be yielded from.

        Raises:
            Failed: the server refused.
        """
        model = replica.model
        if model is None:
            raise RuntimeError(f"{replica.service.name} serves a model, so its replicas need a server; give add() one")
        job = request.job = model.submit(request.prompt, request.generated, self.variant)
        try:
            served = yield job.done
        except GeneratorExit:
            model.cancel(job)
            raise
        if served is False:
            raise Failed(OVERLOADED)


Step = Work | Line | FanOut | Chance | Lookup | Infer
Plan = tuple[Step, ...]
