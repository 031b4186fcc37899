"""Services: their operations, calls, models, replicas and SLOs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from foreshock_simulator.core.names import ServiceName

Balancing = Literal["least-load", "round-robin", "random", "two-choices"]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Policy of a call.

    Args:
        timeout: of one attempt.
        attempts: in all, the first included.
        backoff: before the n-th retry, the wait is uniform from 0 to `backoff` · 2ⁿ⁻¹ (full jitter).
        retry_budget: retries per first attempt of a replica within ten seconds; None: no budget.
        cancels: whether the callee stops working on an attempt that timed out.
        breaker: failures among the last twenty attempts that open the circuit breaker for `breaker_open` seconds;
            None: no breaker.
        fallback: another operation, called once after all attempts have failed: (service, route).
        required: whether the caller fails with the call; otherwise it continues without it.
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
    """CPU work that holds its thread: log-normal about the median, with sigma `spread`."""

    median: float
    spread: float = 0.3


@dataclass(frozen=True, slots=True)
class Call:
    """Call an operation of another service; it holds the thread.

    Token counts are upper bounds; None: those of the request.
    """

    service: str
    route: str
    policy: CallPolicy
    prompt_tokens: int | None = None
    generated_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """Steps that run in parallel; the next step starts when all are done (fan-out)."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Sometimes:
    """Steps that run with a probability."""

    probability: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Cached:
    """Steps that run on a cache miss only.

    The hit ratio starts at `hit_ratio`. After a flush, `refill` misses bring back 63% of it.
    """

    cache: str
    hit_ratio: float
    steps: tuple[Step, ...]
    refill: float = 2000.0


@dataclass(frozen=True, slots=True)
class Serve:
    """Inference at the model server of the replica; the service has a `ModelSpec`.

    `variant`: the weights that it needs, for servers that hold one of several at a time (`BatchModelSpec.swap`).
    """

    variant: str = ""


Step = Cpu | Call | Together | Sometimes | Cached | Serve


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """An operation of a service; `route` is such as `POST /v1/chat`. Sizes are those of a request and of a response."""

    route: str
    steps: tuple[Step, ...]
    request_bytes: int = 900
    response_bytes: int = 900


@dataclass(frozen=True, slots=True)
class LlmSpec:
    """A language model with continuous batching (as in vLLM); one replica runs on `tensor_parallel` GPUs.

    `parameters` is in billions. `kv_bytes_per_token` covers all layers. Up to `max_sequences` requests run at once. A
    step takes up to `max_batched_tokens` prompt tokens. The server has `memory_share` of the GPU's memory.
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
    """Another model (embedder, reranker, diffusion): a request is one GPU task, with up to `max_batch` at once.

    `seconds` and `seconds_per_token` (of the prompt) are the duration alone on an idle GPU; `sm` and `dram` are the
    shares of SMs and memory bandwidth used meanwhile. A server holds the weights of one variant. It loads another
    within `swap` seconds over PCIe, after all running requests are finished.
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
    """A Kubernetes HPA (autoscaling/v2): desired = ⌈replicas · metric / target⌉ within a tolerance of 10%.

    Args:
        metric: averaged over the ready replicas.
        sync: seconds between two evaluations.
        down_window: stabilization window for scale-down in seconds.
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
    """A probe in the replica's own threads.

    After `failures` in a row it receives no requests until a probe succeeds.
    """

    period: float = 10.0
    timeout: float = 1.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Slo:
    """A ratio of `objective` of the requests within a minute succeeds within `latency` seconds."""

    latency: float
    objective: float = 0.95


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a service, and what it does differently.

    Own CPU and GPU work takes `slower` times as long, a ratio `failing` of the requests is answered 500, each call is
    made `repeats` times, and prompts are sent on `prompts` times as long. Its calls time out after `timeouts` times
    as long. A replica that leaks memory is killed `leak` seconds after each start. With a wrong cache of weights, a
    model server holds those of one variant, and loads another within `swap` seconds (`BatchModelSpec.swap`).
    """

    version: str
    slower: float = 1.0
    failing: float = 0.0
    repeats: int = 1
    prompts: float = 1.0
    timeouts: float = 1.0
    leak: float | None = None
    swap: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service and its replicas.

    Args:
        name: the name without namespace is unique, calls refer to it.
        replicas: at the start.
        threads: requests that a replica runs at once; with a model, they run the work around the model.
        backlog: requests that a replica queues beyond its threads; further ones are rejected with 503.
        hosts: of the replicas, in turn; empty for a service with a model, which runs in `pool`.
        pool: of GPUs, for a service with a model.
        model: on its GPUs.
        balancing: load balancing policy of its callers.
        tier: "" without tiers.
        kind: databases and caches send no spans and make no calls; only their callers' spans show them.
        version: `service.version` in the resources of its spans.
        memory_bytes: limit of a replica's memory, which is then reported; None: neither limited nor reported.
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
    version: str = "1.4.1"
    memory_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """GPU work of a tenant: training over all its places together, or batch work on each place by itself.

    A batch worker computes for `work` seconds (alone) and pauses for `pause`. Each `unit` computations form a trace
    with the calls in `calls`. A training step computes, waits for the slowest rank, and sends `gradient_bytes` around
    the ring.
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
    """Index of its MIG instance at each place; None in a pool without MIG."""
    checkpoint_every: int = 250
    """Training steps between two checkpoints, which take `checkpoint_seconds` without the GPUs."""
    checkpoint_seconds: float = 8.0
