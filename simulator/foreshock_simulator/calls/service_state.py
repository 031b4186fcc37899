"""State of a service that its replicas share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from foreshock_simulator.calls.request import Job, Request
from foreshock_simulator.core.randomness import random_stream, standard_normals
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec
from foreshock_simulator.tracing.service_graph import Counts, ModelUsage
from foreshock_simulator.tracing.spans import Attributes, Inference, model_attributes

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
    own work, 1 is normal. `observe` is called for each request that ends.
    """

    def __init__(self, seed: int, counts: Counts, spec: ServiceSpec) -> None:
        self.spec, self.name = spec, spec.name
        self.rng = random_stream(seed, f"service/{spec.name}")
        self.normals = standard_normals(self.rng)
        self.population, self.busy_threads = TimeWeightedCount(), TimeWeightedCount()
        self.outcomes: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.fail_ratio = 0.0
        self.slowdown = 1.0
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
