"""Additional services of larger platforms, drawn by seed: features with models of their own, pipelines, and leaves.

Calls go from features over gateways and workers to stores, models and leaves, so there is no cycle.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, Final

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.scenarios.platforms.catalog import EMBED, GENERATE, QUERY, UPSERT, VERIFY
from foreshock_simulator.spec.platform import Arrivals
from foreshock_simulator.spec.services import (
    Cached,
    Call,
    CallPolicy,
    Cpu,
    LlmSpec,
    OperationSpec,
    Serve,
    ServiceSpec,
    Slo,
    Sometimes,
    Step,
)  # fmt: skip

QUICK: Final = CallPolicy(timeout=1.0, attempts=2)
OPTIONAL: Final = CallPolicy(timeout=0.5, required=False)
MODEL: Final = CallPolicy(timeout=20.0, attempts=2)
"""Policy of a gateway towards a language model."""
FEATURE: Final = CallPolicy(timeout=32.0, attempts=2)
"""Policy of a product feature towards the gateway."""
CHAT_MODEL: Final = LlmSpec("chat-13b", memory_share=0.75)
"""It leaves a quarter of the GPU's memory to tenants."""
WORDS = (
    "support", "legal", "sales", "translate", "catalog", "travel", "claims", "mail", "voice", "docs", "recipes",
    "tutor", "health", "careers", "news", "games", "fraud", "pricing", "supply", "field", "audit", "grants", "survey",
    "events", "media", "realty", "fleet", "energy",
)  # fmt: skip
LEAVES = ("flags", "quota", "billing", "notify", "geo", "profile", "consent", "currency", "limits", "locale")
MODELS = (
    CHAT_MODEL,
    replace(CHAT_MODEL, model="instruct-13b", memory_share=0.85),
    LlmSpec("instruct-34b", 34.0, 196_608.0, tensor_parallel=2, max_sequences=48, memory_share=0.8),
    LlmSpec("instruct-70b", 70.0, 327_680.0, tensor_parallel=4, max_sequences=48, memory_share=0.85),
)
ARRIVALS: tuple[Arrivals, ...] = ("azure-conversation", "servegen", "gamma", "mooncake")


@dataclass(frozen=True, slots=True)
class ExtraServices:
    """Additional services without their places.

    `gateway_routes`: additional operations of gateways by name. `pools`: model services of each pool. `features`:
    (service, route) of the feature that calls a model service. `pipelines`: (service, route) of flows without a
    language model.
    """

    services: tuple[ServiceSpec, ...] = ()
    gateway_routes: dict[str, tuple[OperationSpec, ...]] = field(default_factory=dict)
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: dict[str, tuple[str, str]] = field(default_factory=dict)
    pipelines: tuple[tuple[str, str], ...] = ()


def draw_services(count: int, rng: random.Random, max_gpus: int) -> ExtraServices:
    """Draw `count` services: a leaf for every eleven, a gateway for every thirty, the rest in cells of three.

    A replica of a model takes up to `max_gpus` GPUs.
    """
    more_gateways = count // 30
    leaves = max(1, count // 11)
    leaves += (count - more_gateways - leaves) % 3
    models = [model for model in MODELS if model.tensor_parallel <= max_gpus]
    cells = (count - more_gateways - leaves) // 3
    words = rng.sample(WORDS, cells)
    leaf_names = [f"{name}-service" for name in rng.sample(LEAVES, leaves)]
    gateways = ["gateway", *(f"gateway-{number + 2}" for number in range(more_gateways))]
    services = [_leaf(name, rng) for name in leaf_names]
    routes: dict[str, tuple[OperationSpec, ...]] = dict.fromkeys(gateways, ())
    pools: dict[str, tuple[str, ...]] = {}
    features: dict[str, tuple[str, str]] = {}
    pipelines: list[tuple[str, str]] = []
    for number, word in enumerate(words):
        leaf = leaf_names[number % len(leaf_names)]
        if number % 4 == 3:
            services += _pipeline(word, leaf, rng)
            pipelines.append((f"{word}-api", f"POST /{word}"))
            continue
        gateway = gateways[len(features) % len(gateways)]
        services += _feature(word, gateway, leaf, rng.choice(models), rng)
        steps = Cpu(0.0015), Call(f"llm-{word}", GENERATE, MODEL)
        routes[gateway] += (OperationSpec(f"POST /v1/{word}", steps),)
        features[f"llm-{word}"] = (f"{word}-feature", f"POST /{word}")
        previous = next(reversed(pools), "")
        shares = previous and number % 3 == 1 and len(pools[previous]) == 1
        pools[previous if shares else word] = (*(pools[previous] if shares else ()), f"llm-{word}")
    for name in gateways[1:]:
        services.append(_gateway(name, routes.pop(name)))
    return ExtraServices(tuple(services), routes, pools, features, tuple(pipelines))


def _service(namespace: str, name: str, route: str, *steps: Step, slo: float, tier: str, **more: Any) -> ServiceSpec:  # noqa: ANN401
    """A service with one operation and two replicas; `more` are other fields."""
    operations = (OperationSpec(route, steps),)
    return ServiceSpec(ServiceName(namespace, name), operations, replicas=2, slo=Slo(slo), tier=tier, **more)


def _leaf(name: str, rng: random.Random) -> ServiceSpec:
    return _service("platform", name, "GET /", Cpu(round(rng.uniform(0.001, 0.006), 4)), slo=0.2, tier="platform")


def _gateway(name: str, routes: tuple[OperationSpec, ...]) -> ServiceSpec:
    models = OperationSpec("GET /v1/models", (Cpu(0.001),))
    return ServiceSpec(
        ServiceName("serving", name), (models, *routes), replicas=3, threads=128, slo=Slo(18.0), tier="platform"
    )


def _feature(word: str, gateway: str, leaf: str, model: LlmSpec, rng: random.Random) -> list[ServiceSpec]:
    store, route, more = f"{word}-store", f"POST /{word}", {"threads": 512, "backlog": 1024}
    steps: list[Step] = [
        Cpu(round(rng.uniform(0.002, 0.008), 4)),
        Call("auth", VERIFY, QUICK),
        Cached(f"{word}-cache", round(rng.uniform(0.5, 0.9), 2), (Call(store, QUERY, QUICK),)),
        Sometimes(round(rng.uniform(0.2, 0.8), 2), (Call(leaf, "GET /", OPTIONAL),)),
    ]
    if rng.random() < 0.4:
        steps.append(Sometimes(0.5, (Call("vector-store", QUERY, QUICK),)))
    steps.append(Call(gateway, f"POST /v1/{word}", FEATURE))
    return [
        _service("product", f"{word}-feature", route, *steps, slo=20.0, tier="interactive", threads=96),
        _service("serving", f"llm-{word}", GENERATE, Serve(), slo=16.0, tier="interactive", model=model, **more),
        _store(store, rng),
    ]


def _pipeline(word: str, leaf: str, rng: random.Random) -> list[ServiceSpec]:
    store, worker = f"{word}-store", f"{word}-worker"
    front = Cpu(0.002), Call("auth", VERIFY, QUICK), Call(worker, "POST /run", CallPolicy(4.0, attempts=2))
    embed = Call("gateway", EMBED, CallPolicy(2.0, attempts=2, required=False), 256, 0)
    run = (
        Cpu(round(rng.uniform(0.004, 0.012), 4)),
        Call(store, QUERY, QUICK),
        Call(leaf, "GET /", OPTIONAL),
        Sometimes(round(rng.uniform(0.2, 0.6), 2), (embed,)),
        Sometimes(0.1, (Call(store, UPSERT, QUICK),)),
    )
    return [
        _service("product", f"{word}-api", f"POST /{word}", *front, slo=1.5, tier="interactive"),
        _service("product", worker, "POST /run", *run, slo=1.2, tier="background"),
        _store(store, rng),
    ]


def _store(name: str, rng: random.Random) -> ServiceSpec:
    """A database that answers queries and accepts documents."""
    median = round(rng.uniform(0.004, 0.012), 4)
    query = OperationSpec(QUERY, (Cpu(median, 0.4),), request_bytes=6600, response_bytes=24_000)
    upsert = OperationSpec(UPSERT, (Cpu(0.030, 0.4),), request_bytes=800_000)
    return ServiceSpec(
        ServiceName("data", name), (query, upsert), 2, threads=32, slo=Slo(0.3), tier="data", kind="database"
    )
