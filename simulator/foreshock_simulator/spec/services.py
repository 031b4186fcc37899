"""Services: what their replicas are, what they do with a request, and whom they call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from foreshock_simulator.core.names import ServiceName

Balancing = Literal["least-load", "round-robin", "random", "two-choices"]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How a caller treats a call.

    Args:
        timeout: of one attempt.
        attempts: of all, the first included.
        backoff: before the n-th retry, a uniformly drawn share of `backoff` · 2ⁿ⁻¹ (full jitter).
        retry_budget: retries per first attempt that a replica may make, over the last ten seconds; None: no budget.
        cancels: whether the callee stops working on an attempt that was given up.
        breaker: failures among the last twenty attempts to a callee at which the caller stops asking, for
            `breaker_open` seconds, and then tries with one; None: no breaker.
        fallback: another operation, asked once where all attempts failed: (service, route).
        required: whether the caller fails with the call; otherwise it goes on without.
    """

    timeout: float
    attempts: int = 1
    backoff: float = 0.1
    retry_budget: float | None = None
    cancels: bool = False
    breaker: int | None = None
    breaker_open: float = 10.0
    fallback: tuple[str, str] | None = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class Cpu:
    """A stretch of work on the CPU that holds its thread: log-normal about the median."""

    median: float
    spread: float = 0.3


@dataclass(frozen=True, slots=True)
class Call:
    """Ask another service's operation; the thread is held meanwhile. Tokens: of the prompt and of the answer, at most.

    Tokens that are None are those of the request.
    """

    service: str
    route: str
    policy: CallPolicy
    prompt_tokens: int | None = None
    generated_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """Steps that begin at once; the next begins when all are over (fan-out)."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Sometimes:
    """Steps that a request takes with a probability."""

    probability: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Cached:
    """Steps that are only taken where a cache does not have the answer.

    The hit ratio starts at `hit_ratio` and, after a flush, grows back as misses fill the cache: over `refill` misses to
    63 % of it.
    """

    cache: str
    hit_ratio: float
    steps: tuple[Step, ...]
    refill: float = 2000.0


@dataclass(frozen=True, slots=True)
class Serve:
    """Let the replica's model server work on the request; the service has a `ModelSpec`.

    `variant`: the weights it needs, where a server holds one of several at a time (`BatchModelSpec.swap`).
    """

    variant: str = ""


Step = Cpu | Call | Together | Sometimes | Cached | Serve


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """Something a service does when asked; `route` reads `POST /v1/chat`. Bytes: of a request and of an answer."""

    route: str
    steps: tuple[Step, ...]
    request_bytes: int = 900
    response_bytes: int = 900


@dataclass(frozen=True, slots=True)
class LlmSpec:
    """A language model with continuous batching (as vLLM serves it), one replica over `tensor_parallel` GPUs.

    `parameters` in billions; `kv_bytes_per_token` over all layers; `max_sequences` run at once; a step takes
    `max_batched_tokens` of prompts at most; `memory_share` of the GPU's memory is the server's own.
    """

    model: str
    parameters: float = 13.0
    kv_bytes_per_token: float = 819_200.0
    tensor_parallel: int = 1
    max_sequences: int = 256
    max_batched_tokens: int = 8192
    memory_share: float = 0.9
    max_waiting: int = 100_000


@dataclass(frozen=True, slots=True)
class BatchModelSpec:
    """Any other model (embedder, reranker, diffusion): a request is one stretch of GPU work, `max_batch` at once.

    `seconds` and `seconds_per_token` (of the prompt) are those of a request alone on an idle GPU; `sm` and `dram` are
    the shares of the GPU's SMs and memory bandwidth that it then uses. A server holds the weights of one variant;
    `swap` seconds go by, over PCIe, before it works on another, which waits until what is being worked on is done.
    """

    model: str
    seconds: float
    seconds_per_token: float = 0.0
    sm: float = 0.5
    dram: float = 0.4
    max_batch: int = 32
    memory_bytes: float = 10e9
    max_waiting: int = 1000
    swap: float = 0.0


ModelSpec = LlmSpec | BatchModelSpec


@dataclass(frozen=True, slots=True)
class AutoscalerSpec:
    """As the Kubernetes HPA (autoscaling/v2): desired = ⌈replicas · metric / target⌉ within a tolerance of 10 %.

    Args:
        metric: what is averaged over the ready replicas.
        target: of that.
        sync: seconds between two looks.
        down_window: seconds over which the highest recommendation counts before a replica is taken away.
        cold_start: median seconds from a replica's start on a node to its first request (image, weights, warm-up).
    """

    metric: Literal["cpu", "in_flight", "gpu_busy"]
    target: float
    minimum: int = 1
    maximum: int = 20
    sync: float = 15.0
    down_window: float = 300.0
    cold_start: float = 25.0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A probe in the replica's own threads; after `failures` in a row it gets no requests until one passes."""

    period: float = 10.0
    timeout: float = 1.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Slo:
    """Of the requests within a minute, `objective` are to succeed within `latency` seconds."""

    latency: float
    objective: float = 0.95


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service and its replicas.

    Args:
        name: unique by its name alone, which calls refer to.
        operations: what it can be asked.
        replicas: at the start.
        threads: requests a replica works on at once; a service with a model has them for what surrounds the model.
        backlog: requests a replica lets wait beyond its threads; further ones are answered 503.
        hosts: where replicas run, in turn; for a service with a model None, it runs in `pool`.
        pool: of GPUs, for a service with a model.
        model: what its GPUs run.
        balancing: how callers choose among its replicas.
        tier: "" where tiers are not told apart.
        kind: databases and caches send no spans and make no calls; their callers tell of them.
        system: `db.system.name` of a database or cache; "": postgresql, redis.
    """

    name: ServiceName
    operations: tuple[OperationSpec, ...]
    replicas: int = 1
    threads: int = 64
    backlog: int = 256
    hosts: tuple[str, ...] = ()
    pool: str = ""
    model: ModelSpec | None = None
    balancing: Balancing = "least-load"
    autoscaler: AutoscalerSpec | None = None
    health: HealthCheck | None = None
    slo: Slo | None = None
    tier: str = ""
    kind: Literal["service", "database", "cache"] = "service"
    system: str = ""


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """Work on GPUs that nobody waits for: training over all its places together, or batch work on each by itself.

    A batch worker computes for `work` seconds (alone), pauses for `pause`, and every `unit` times tells its unit of
    work as a trace that calls what `calls` names. Training computes, waits for the slowest, sends `gradient_bytes`
    round the ring, and begins anew.
    """

    name: ServiceName
    kind: Literal["training", "batch"]
    places: tuple[tuple[str, int], ...]
    work: float = 0.35
    pause: float = 0.9
    sm: float = 0.6
    dram: float = 0.5
    memory_bytes: float = 6e9
    gradient_bytes: float = 0.0
    unit: int = 8
    calls: tuple[Call, ...] = field(default=())
    slice: int | None = None
    """The MIG instance of each place that it has, by its index; None where the pool has none."""
    checkpoint_every: int = 250
    """Training: steps from one checkpoint to the next, each of which takes `checkpoint_seconds` without the GPUs."""
    checkpoint_seconds: float = 8.0
