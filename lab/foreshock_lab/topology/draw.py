"""Topologies drawn by seed: names, layers, fan-out, caches, stacks, and replicas differ."""

from __future__ import annotations

import random
from collections.abc import Mapping

from foreshock_lab.topology.model import (
    Cache,
    Call,
    Compute,
    Entry,
    ModelSpec,
    Operation,
    Parallel,
    Query,
    ServiceSpec,
    Sleep,
    Stack,
    Step,
    Topology,
)

NAMES: Mapping[str, tuple[str, ...]] = {
    "front": ("storefront", "web", "portal", "frontend"),
    "api": ("api", "bff", "edge-api"),
    "auth": ("auth", "sessions", "identity"),
    "catalog": ("catalog", "products", "listing"),
    "pricing": ("pricing", "offers", "currency"),
    "reviews": ("reviews", "ratings"),
    "cart": ("cart", "basket"),
    "checkout": ("checkout", "orders", "purchase"),
    "payment": ("payment", "billing", "cashier"),
    "gateway": ("ai-gateway", "llm-router", "assistant"),
    "chat": ("chat-model", "llm-large", "generator"),
    "guard": ("guard-model", "llm-small", "moderator"),
    "embedder": ("embedder", "vectorizer"),
    "retriever": ("retriever", "knowledge", "search"),
}
PRODUCT = "select id, name, price from products where id = $1"
PRODUCTS = "select id, name, price from products where category = $1 % 40 order by price limit 20"
STOCK = "update stock set quantity = quantity - 1 where product = $1"
ORDER = "insert into orders (product, created) values ($1, now())"
CART = "insert into carts (product, created) values ($1, now())"
REVIEWS = "select stars, text from reviews where product = $1 limit 20"
NEIGHBORS = "select id, text from documents where topic = $1 % 50 order by abs(id - $1) limit 5"


def draw(seed: int) -> Topology:
    """The topology of a seed; equal seeds give equal topologies."""
    rng = random.Random(f"topology {seed}")  # noqa: S311 - not for secrets
    name = {role: rng.choice(names) for role, names in NAMES.items()}
    has = {item: rng.random() < 0.5 for item in ("api", "auth", "pricing", "reviews", "catalog cache", "cart table")}
    has |= {item: rng.random() < 0.5 for item in ("parallel", "guard first", "answer cache", "shared search")}

    def call(role: str, operation: str, ratio: float = 1.0, required: bool = True) -> Call:
        return Call(name[role], operation, ratio, required)

    def group(*steps: Step) -> tuple[Step, ...]:
        return (Parallel(steps),) if has["parallel"] and len(steps) > 1 else steps

    def cached(prefix: str, *steps: Step) -> tuple[Step, ...]:
        return (Cache(prefix, 60.0, steps),) if has["catalog cache"] else steps

    price = (call("pricing", "price"),) if has["pricing"] else ()
    stars = (call("reviews", "reviews", 0.7, required=False),) if has["reviews"] else ()
    session: tuple[Step, ...] = (call("auth", "session"),) if has["auth"] else ()
    pages = (
        Operation("home", (*session, *group(call("catalog", "list"), *([call("cart", "view")] * (not has["auth"]))))),
        Operation("product", (*session, *group(call("catalog", "product"), *stars))),
        Operation("add", (*session, call("cart", "add"))),
        Operation("buy", (*session, call("checkout", "buy"))),
        Operation("ask", (*session, call("gateway", "chat"))),
    )
    documents: tuple[Step, ...] = (call("embedder", "embed"), Query(NEIGHBORS))
    answer: tuple[Step, ...] = (call("retriever", "search"), call("chat", "v1/chat/completions"))
    if has["guard first"]:
        answer = (call("guard", "v1/chat/completions"), *answer)
    else:
        answer = (*answer, call("guard", "v1/chat/completions", 0.5, required=False))
    search = (call("retriever", "search", 0.3, required=False),) if has["shared search"] else ()

    front = _service(rng, name, "front", pages) if not has["api"] else _passing(rng, name, pages)
    services = [
        front,
        *([_service(rng, name, "api", pages)] if has["api"] else []),
        *(
            [_service(rng, name, "auth", (Operation("session", (Cache("session", 120.0, (Sleep(0.004),)),)),))]
            * has["auth"]
        ),
        _service(
            rng,
            name,
            "catalog",
            (
                Operation("list", (Compute(0.001), *cached("list", Query(PRODUCTS)), *search)),
                Operation("product", (*cached("product", Query(PRODUCT)), *price)),
            ),
            replicas=rng.choice((1, 2)),
        ),
        *([_service(rng, name, "pricing", (Operation("price", (Compute(0.0005), Sleep(0.003))),))] * has["pricing"]),
        *([_service(rng, name, "reviews", (Operation("reviews", (Query(REVIEWS),)),))] * has["reviews"]),
        _service(
            rng,
            name,
            "cart",
            (
                Operation("view", (Cache("cart", 30.0),)),
                Operation("add", (Cache("cart", 30.0), *([Query(CART)] * has["cart table"]), *price)),
            ),
        ),
        _service(
            rng,
            name,
            "checkout",
            (
                Operation(
                    "buy",
                    (
                        *group(call("cart", "view"), call("catalog", "product")),
                        Query(STOCK),
                        Query(ORDER),
                        call("payment", "charge"),
                    ),
                ),
            ),
            retries=rng.choice((0, 2)),
        ),
        _service(rng, name, "payment", (Operation("charge", (Compute(0.001), Sleep(rng.choice((0.04, 0.08))))),)),
        _service(
            rng,
            name,
            "gateway",
            (
                Operation(
                    "chat", (Compute(0.001), *((Cache("answer", 20.0, answer),) if has["answer cache"] else answer))
                ),
            ),
            timeout=30.0,
            retries=rng.choice((0, 1, 2)),
        ),
        _model(rng, name["chat"], "chat", "llama-3.1-8b", replicas=rng.choice((1, 2)), slots=rng.choice((4, 5, 6))),
        _model(rng, name["guard"], "guard", "qwen-2.5-1.5b", replicas=1, slots=4),
        _service(rng, name, "retriever", (Operation("search", documents),), pool_size=rng.choice((3, 5))),
        _service(rng, name, "embedder", (Operation("embed", (Compute(0.003), Sleep(0.008))),), workers=4),
    ]
    entries = (Entry("home", 0.3), Entry("product", 0.3), Entry("add", 0.13), Entry("buy", 0.12), Entry("ask", 0.15))
    return Topology(f"shop-{seed}", seed, tuple(services), entries, rate=rng.uniform(5.0, 8.0))


def _service(
    rng: random.Random,
    name: Mapping[str, str],
    role: str,
    operations: tuple[Operation, ...],
    *,
    replicas: int = 1,
    workers: int = 32,
    pool_size: int = 5,
    timeout: float = 5.0,
    retries: int = 0,
) -> ServiceSpec:
    """A service of one of the stacks; Node's has one replica, because several cannot share an address."""
    stack: Stack = "node" if rng.random() < 0.3 and replicas == 1 else "fastapi"
    if role in ("front", "api"):
        timeout = 30.0
    return ServiceSpec(
        name[role], role, operations, stack, replicas, workers, pool_size=pool_size, timeout=timeout, retries=retries
    )


def _passing(rng: random.Random, name: Mapping[str, str], pages: tuple[Operation, ...]) -> ServiceSpec:
    """A front that renders what the API layer behind it answers."""
    operations = tuple(Operation(page.name, (Compute(0.001), Call(name["api"], page.name))) for page in pages)
    return _service(rng, name, "front", operations)


def _model(rng: random.Random, name: str, role: str, model: str, *, replicas: int, slots: int) -> ServiceSpec:
    """A model server, fast enough for its share of the load with a margin drawn by the seed."""
    spec = ModelSpec(
        model,
        slots,
        kv_tokens=slots * rng.choice((450, 600, 750)),
        step_seconds=0.012 if role == "guard" else rng.uniform(0.02, 0.03),
        sequence_seconds=0.0005 if role == "guard" else 0.001,
    )
    return ServiceSpec(
        name,
        role,
        (Operation("v1/chat/completions"),),
        "model",
        replicas,
        workers=256,
        pool_size=0,
        timeout=60.0,
        model=spec,
    )
