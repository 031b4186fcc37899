"""Steps of an operation, in the form in which a replica runs them, and the state of their service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any, Final, Literal, Protocol

from foreshock_simulator.calls.request import CallFailed, Job, Model, Plan, Request
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.randomness import random_stream, standard_normals
from foreshock_simulator.spec.services import LlmSpec, Release, ServiceSpec
from foreshock_simulator.tracing.service_graph import Counts, ModelUsage
from foreshock_simulator.tracing.spans import Attributes, Inference, model_attributes

OVERLOADED: Final = 503
Outcome = Literal["answered", "failed", "rejected", "dropped", "cancelled", "killed"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("answered", "failed", "rejected", "dropped", "cancelled", "killed")
"""Outcomes of a request at a replica: status 200; an error; rejected by a full queue; dropped from the queue after its
caller left; cancelled by its caller; lost with the replica."""

Observer = Callable[[float, float, bool], None]
"""Called for each request that ends: (time, seconds since arrival, success)."""


class TimeWeightedCount:
    """A count and its exact integral over time. Reading changes nothing."""

    __slots__ = ("_area", "_changed", "value")

    def __init__(self) -> None:
        self.value = 0
        self._area = self._changed = 0.0

    def add(self, time: float, number: int) -> None:
        """Add a number at a time in seconds."""
        self._area += self.value * (time - self._changed)
        self._changed = time
        self.value += number

    def integral(self, time: float) -> float:
        """The integral from 0 to `time`, which is not before the last change."""
        return self._area + self.value * (time - self._changed)


class ServiceState:
    """State of a service that its replicas share.

    `population` counts requests in the replicas, queued or running; `busy_threads` counts threads that compute. A
    share `fail_ratio` of the requests is answered with 500 after its work. `slowdown` is the factor on the duration of
    own work, 1 is normal. New replicas run `release`. `observe` is called for each request that ends.
    """

    def __init__(self, seed: int, counts: Counts, spec: ServiceSpec) -> None:
        self.spec, self.name = spec, spec.name
        self.rng = random_stream(seed, f"service/{spec.name}")
        self.normals = standard_normals(self.rng)
        self.population, self.busy_threads = TimeWeightedCount(), TimeWeightedCount()
        self.outcomes: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.fail_ratio = 0.0
        self.slowdown = 1.0
        self.release = Release(spec.version)
        self.observe: Observer | None = None
        self.model_usage: ModelUsage | None = None
        if spec.model is not None:
            self.model_usage = counts.model_usage(spec.name, spec.model.model)
        self._is_llm = isinstance(spec.model, LlmSpec)
        self._model_attributes: dict[str, Attributes] = {}

    def usage(self, request: Request, job: Job) -> tuple[int, int, float | None, float | None]:
        """Prompt tokens, generated tokens, queue time, and time to first token; the latter for language models only."""
        if self._is_llm:
            return request.prompt, request.generated, job.queued_seconds, job.first_token_seconds
        return request.prompt, 0, job.queued_seconds, None

    def inference(self, request: Request, job: Job) -> Inference:
        """Model attributes for the span of a request that the model has served."""
        model, route = self.spec.model, request.operation.route
        attributes = self._model_attributes.get(route)
        if attributes is None:
            attributes = self._model_attributes[route] = model_attributes(route, model.model if model else "")
        return Inference(attributes, *self.usage(request, job))


class Executor(Protocol):
    """A replica as its steps see it."""

    engine: Engine
    rng: Random
    service: ServiceState
    model: Model[Any] | None
    release: Release

    def run_plan(self, request: Request, plan: Plan, /) -> Process:
        """Run the steps of a plan one after another."""


@dataclass(slots=True)
class Cache:
    """A cache modeled by its fill ratio, full at the start.

    After a flush, `refill` misses bring back 1 - 1/e (63%) of the missing part. It holds a ratio `fit_ratio` of the
    keys in use.
    """

    fill_ratio: float = 1.0
    fit_ratio: float = 1.0

    def add_miss(self, refill: float) -> None:
        """Store the value of a miss."""
        self.fill_ratio += (self.fit_ratio - self.fill_ratio) / max(1.0, refill)

    def fit(self, ratio: float) -> None:
        """Change the ratio of the keys that it holds; the others are evicted at once."""
        self.fit_ratio, self.fill_ratio = ratio, min(self.fill_ratio, ratio)


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
            yield self.draw_seconds(replica.service) * replica.release.slower
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
