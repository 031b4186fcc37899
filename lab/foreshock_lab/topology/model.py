"""Description of a system, and its JSON form that the services read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Json = dict[str, Any]
Stack = Literal["fastapi", "node", "model"]
NAMESPACE = "shop"
"""Namespace of all services, as in `service.namespace`."""


@dataclass(frozen=True, slots=True)
class Compute:
    """CPU time in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Waiting without CPU, such as for an external provider: the mean in seconds, log-normal with sigma 0.3."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Query:
    """An SQL statement; `$1` is the item of the request."""

    sql: str


@dataclass(frozen=True, slots=True)
class Cache:
    """A read of the item from Valkey; on a miss `steps` follow, and the item is kept for `ttl` seconds."""

    prefix: str
    ttl: float
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A request to another service.

    ratio: share of requests that make it. required: whether its failure fails the caller.
    """

    service: str
    operation: str
    ratio: float = 1.0
    required: bool = True


@dataclass(frozen=True, slots=True)
class Parallel:
    """Steps at the same time."""

    steps: tuple[Step, ...]


Step = Compute | Sleep | Query | Cache | Call | Parallel


@dataclass(frozen=True, slots=True)
class Operation:
    """What a service does for one path."""

    name: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model server with continuous batching.

    Args:
        name: the model, as in `model_name`.
        slots: requests in one batch.
        kv_tokens: capacity of the KV cache.
        step_seconds: duration of a decoding step of an empty batch.
        sequence_seconds: what each request of the batch adds to it.
        prefill_tokens_per_second: speed of reading prompts.
    """

    name: str
    slots: int
    kv_tokens: int
    step_seconds: float = 0.025
    sequence_seconds: float = 0.001
    prefill_tokens_per_second: float = 8000.0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service and its replicas.

    Args:
        role: what it is for; names differ between topologies, roles do not.
        workers: requests at the same time in one replica; further ones wait.
        pool_size: connections to PostgreSQL of one replica.
        timeout: seconds that it waits for a callee, a connection, or a query.
        retries: further attempts after a failed call.
    """

    name: str
    role: str
    operations: tuple[Operation, ...]
    stack: Stack = "fastapi"
    replicas: int = 1
    workers: int = 32
    pool_size: int = 5
    timeout: float = 10.0
    retries: int = 0
    model: ModelSpec | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, those inside others as well."""
        return _flat(tuple(step for operation in self.operations for step in operation.steps))

    @property
    def callees(self) -> frozenset[str]:
        """Names of the services that it calls."""
        return frozenset(step.service for step in self.steps if isinstance(step, Call))

    @property
    def stores(self) -> frozenset[str]:
        """`postgres` and `valkey`, as far as it uses them."""
        used = {Query: "postgres", Cache: "valkey"}
        return frozenset(used[type(step)] for step in self.steps if type(step) in used)


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation of the front service that users ask for, with its share of the requests."""

    operation: str
    share: float


@dataclass(frozen=True, slots=True)
class Topology:
    """A system. `rate` is the mean of user requests per second; the first service is the front."""

    name: str
    seed: int
    services: tuple[ServiceSpec, ...]
    entries: tuple[Entry, ...]
    rate: float

    @property
    def front(self) -> ServiceSpec:
        """The service that users call."""
        return self.services[0]

    def service(self, name: str) -> ServiceSpec:
        """The service with a name.

        Raises:
            KeyError: there is none.
        """
        return next((item for item in self.services if item.name == name), None) or _missing(name)

    def role(self, role: str) -> ServiceSpec | None:
        """The first service of a role."""
        return next((item for item in self.services if item.role == role), None)

    def callers(self, name: str) -> frozenset[str]:
        """Names of the services that call a service."""
        return frozenset(item.name for item in self.services if name in item.callees)


def service_json(service: ServiceSpec) -> Json:
    """What the program of a service reads: its fields, where each step has the `kind` of its class."""
    operations = [
        {"name": item.name, "steps": [_step_json(step) for step in item.steps]} for item in service.operations
    ]
    return asdict(service) | {"operations": operations}


def _step_json(step: Step) -> Json:
    fields = asdict(step) | {"kind": type(step).__name__.lower()}
    return (
        fields | {"steps": [_step_json(item) for item in step.steps]} if isinstance(step, Cache | Parallel) else fields
    )


def _flat(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    inner = (item for step in steps for item in (_flat(step.steps) if isinstance(step, Cache | Parallel) else ()))
    return (*steps, *inner)


def _missing(name: str) -> ServiceSpec:
    raise KeyError(f"no service {name}")
