"""Steps of an operation, in the form in which a replica runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any, Final, Protocol

from foreshock_simulator.calls.request import CallFailed, Model, Plan, Request
from foreshock_simulator.calls.service_state import ServiceState
from foreshock_simulator.core.engine import Engine, Process, Signal

OVERLOADED: Final = 503


class Executor(Protocol):
    """A replica as its steps see it."""

    @property
    def engine(self) -> Engine: ...

    @property
    def rng(self) -> Random: ...

    @property
    def service(self) -> ServiceState: ...

    @property
    def model(self) -> Model[Any] | None: ...

    def run_plan(self, request: Request, plan: Plan, /) -> Process:
        """Run the steps of a plan one after another."""


@dataclass(slots=True)
class Cache:
    """A cache modeled by its fill ratio, full at the start.

    After a flush, `refill` misses bring back 1 - 1/e (63%) of the missing part.
    """

    fill_ratio: float = 1.0

    def add_miss(self, refill: float) -> None:
        """Store the value of a miss."""
        self.fill_ratio += (1.0 - self.fill_ratio) / max(1.0, refill)


@dataclass(slots=True)
class CpuWork:
    """Work on the CPU with a log-normal duration."""

    median: float
    sigma: float

    def draw_seconds(self, service: ServiceState) -> float:
        """The duration of one execution."""
        return exp(next(service.normals) * self.sigma) * self.median * service.slowdown

    def run(self, replica: Executor, _: Request) -> Process:
        busy_threads, engine = replica.service.busy_threads, replica.engine
        busy_threads.add(engine.now, 1)
        try:
            yield self.draw_seconds(replica.service)
        finally:
            busy_threads.add(engine.now, -1)


@dataclass(slots=True)
class FanOut:
    """Plans that run in parallel. The step ends with the last one, and fails as the first in order that failed."""

    plans: Sequence[Plan]

    def run(self, replica: Executor, request: Request) -> Process:
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
            raise CallFailed(failure)


def _branch(replica: Executor, request: Request, plan: Plan, done: Signal) -> Process:
    status = 0
    try:
        yield from replica.run_plan(request, plan)
    except CallFailed as failure:
        status = failure.status
    done.fire(status)


@dataclass(slots=True)
class ProbabilisticPlan:
    """A plan that runs with a probability."""

    probability: float
    plan: Plan

    def run(self, replica: Executor, request: Request) -> Process:
        if replica.rng.random() < self.probability:
            yield from replica.run_plan(request, self.plan)


@dataclass(slots=True)
class CacheLookup:
    """A plan that runs on a cache miss and fills the cache."""

    cache: Cache
    hit_ratio: float
    refill: float
    plan: Plan

    def run(self, replica: Executor, request: Request) -> Process:
        if replica.rng.random() >= self.hit_ratio * self.cache.fill_ratio:
            yield from replica.run_plan(request, self.plan)
            self.cache.add_miss(self.refill)


@dataclass(slots=True)
class ServeModel:
    """Inference at the model server of the replica, with the weights of a variant."""

    variant: str

    def run(self, replica: Executor, request: Request) -> Process:
        model = replica.model
        if model is None:
            raise RuntimeError(f"{replica.service.name} serves a model, so its replicas need a server; give add() one")
        job = request.job = model.submit(request.prompt, request.generated, self.variant)
        try:
            succeeded = yield job.done
        except GeneratorExit:
            model.cancel(job)
            raise
        if succeeded is False:
            raise CallFailed(OVERLOADED)
