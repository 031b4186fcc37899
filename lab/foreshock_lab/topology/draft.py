"""Building blocks of drawn topologies: names by role, services on either stack, and the path of an AI request."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from foreshock_lab.topology.model import (
    Cache,
    Call,
    Compute,
    ModelSpec,
    Operation,
    Parallel,
    Query,
    ServiceSpec,
    Sleep,
    Stack,
    Step,
)

AI_NAMES: Mapping[str, tuple[str, ...]] = {
    "gateway": ("ai-gateway", "llm-router", "assistant"),
    "chat": ("chat-model", "llm-large", "generator"),
    "guard": ("guard-model", "llm-small", "moderator"),
    "embedder": ("embedder", "vectorizer"),
    "retriever": ("retriever", "knowledge", "search"),
}
NEIGHBORS = "select id, text from documents where topic = mod($1, 50) order by abs(id - $1) limit 5"
COMPLETIONS = "v1/chat/completions"
USER_RATES = 4.0, 6.0
"""Bounds of the mean requests of users per second: half of the operations have 40 a minute, enough for their p95."""
PAGE_SECONDS, CALL_SECONDS, MODEL_SECONDS = 30.0, 5.0, 60.0
"""Timeouts of services in front of an AI path, of others, and of model servers."""


class Draft:
    """Choices of a seed so far: a name for each role, and which options the topology has."""

    def __init__(self, rng: random.Random, names: Mapping[str, Sequence[str]], options: Sequence[str]) -> None:
        self.rng = rng
        self._names = {role: rng.choice(choices) for role, choices in names.items()}
        self._options = {option for option in options if rng.random() < 0.5}

    def has(self, option: str) -> bool:
        """Whether the topology has an option."""
        return option in self._options

    def call(self, role: str, operation: str, ratio: float = 1.0, *, required: bool = True) -> Call:
        """A call of the service with a role."""
        return Call(self._names[role], operation, ratio, required)

    def group(self, *steps: Step) -> tuple[Step, ...]:
        """Steps at the same time, if the topology has `parallel`."""
        return (Parallel(steps),) if self.has("parallel") and len(steps) > 1 else steps

    def service(
        self,
        role: str,
        *operations: Operation,
        replicas: int = 1,
        workers: int = 32,
        pool_size: int = 5,
        timeout: float = CALL_SECONDS,
        retries: int = 0,
    ) -> ServiceSpec:
        """A service on one of the stacks; Node's has one replica, because several cannot share an address."""
        stack: Stack = "node" if self.rng.random() < 0.3 and replicas == 1 else "fastapi"
        name = self._names[role]
        return ServiceSpec(name, role, operations, stack, replicas, workers, pool_size, timeout, retries)

    def front(self, *pages: Operation) -> list[ServiceSpec]:
        """The front, and behind it an API layer with the same pages if the topology has `api`."""
        if not self.has("api"):
            return [self.service("front", *pages, timeout=PAGE_SECONDS)]
        passed = [Operation(page.name, (Compute(0.001), self.call("api", page.name))) for page in pages]
        front = self.service("front", *passed, timeout=PAGE_SECONDS)
        return [front, self.service("api", *pages, timeout=PAGE_SECONDS)]

    def ai_path(self, *before: Step) -> list[ServiceSpec]:
        """Gateway, two model servers, retriever, and embedder; `before` is what the gateway does first."""
        answer: tuple[Step, ...] = (*before, self.call("retriever", "search"), self.call("chat", COMPLETIONS))
        if self.has("guard first"):
            answer = (self.call("guard", COMPLETIONS), *answer)
        else:
            answer = (*answer, self.call("guard", COMPLETIONS, 0.5, required=False))
        if self.has("answer cache"):
            answer = (Cache("answer", 20.0, answer),)
        chat, choice = Operation("chat", (Compute(0.001), *answer)), self.rng.choice
        search = Operation("search", (self.call("embedder", "embed"), Query(NEIGHBORS)))
        return [
            self.service("gateway", chat, timeout=PAGE_SECONDS, retries=choice((0, 1, 2))),
            self._model("chat", "llama-3.1-8b", replicas=choice((1, 2)), slots=choice((4, 5, 6))),
            self._model("guard", "qwen-2.5-1.5b", replicas=1, slots=4),
            self.service("retriever", search, pool_size=choice((3, 5))),
            self.service("embedder", Operation("embed", (Compute(0.003), Sleep(0.008))), workers=4),
        ]

    def _model(self, role: str, model: str, *, replicas: int, slots: int) -> ServiceSpec:
        """A model server, fast enough for its share of the load with a margin drawn by the seed."""
        is_small = role == "guard"
        spec = ModelSpec(
            model,
            slots,
            kv_tokens=slots * self.rng.choice((450, 600, 750)),
            step_seconds=0.012 if is_small else self.rng.uniform(0.02, 0.03),
            sequence_seconds=0.0005 if is_small else 0.001,
        )
        return ServiceSpec(
            self._names[role],
            role,
            (Operation(COMPLETIONS),),
            "model",
            replicas,
            workers=256,
            pool_size=0,
            timeout=MODEL_SECONDS,
            model=spec,
        )
