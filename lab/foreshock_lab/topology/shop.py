"""A shop in the style of Online Boutique, with an assistant."""

from __future__ import annotations

import random
from collections.abc import Mapping

from foreshock_lab.topology.draft import AI_NAMES, USER_RATES, Draft
from foreshock_lab.topology.model import Cache, Compute, Entry, Operation, Query, Sleep, Step, Topology

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
    **AI_NAMES,
}
OPTIONS = (
    *("api", "auth", "pricing", "reviews", "catalog cache", "cart table"),
    *("parallel", "guard first", "answer cache", "shared search"),
)
PRODUCT = "select id, name, price from products where id = $1"
PRODUCTS = "select id, name, price from products where category = mod($1, 40) order by price limit 20"
STOCK = "update stock set quantity = quantity - 1 where product = $1"
ORDER = "insert into orders (product, created) values ($1, now())"
CART = "insert into carts (product, created) values ($1, now())"
REVIEWS = "select stars, text from reviews where product = $1 limit 20"


def draw_shop(seed: int, rng: random.Random) -> Topology:
    """The shop of a seed."""
    draft = Draft(rng, NAMES, OPTIONS)
    has, call, group, service = draft.has, draft.call, draft.group, draft.service

    def cached(prefix: str, *steps: Step) -> tuple[Step, ...]:
        return (Cache(prefix, 60.0, steps),) if has("catalog cache") else steps

    price = (call("pricing", "price"),) if has("pricing") else ()
    stars = (call("reviews", "reviews", 0.7, required=False),) if has("reviews") else ()
    session: tuple[Step, ...] = (call("auth", "session"),) if has("auth") else ()
    basket = () if has("auth") else (call("cart", "view"),)
    search = (call("retriever", "search", 0.3, required=False),) if has("shared search") else ()
    stored: tuple[Step, ...] = (Query(CART),) if has("cart table") else ()
    services = draft.front(
        Operation("home", (*session, *group(call("catalog", "list"), *basket))),
        Operation("product", (*session, *group(call("catalog", "product"), *stars))),
        Operation("add", (*session, call("cart", "add"))),
        Operation("buy", (*session, call("checkout", "buy"))),
        Operation("ask", (*session, call("gateway", "chat"))),
    )
    services += [
        service("auth", Operation("session", (Cache("session", 120.0, (Sleep(0.004),)),))),
        service(
            "catalog",
            Operation("list", (Compute(0.001), *cached("list", Query(PRODUCTS)), *search)),
            Operation("product", (*cached("product", Query(PRODUCT)), *price)),
            replicas=rng.choice((1, 2)),
        ),
        service("pricing", Operation("price", (Compute(0.0005), Sleep(0.003)))),
        service("reviews", Operation("reviews", (Query(REVIEWS),))),
    ]
    order = (*group(call("cart", "view"), call("catalog", "product")), Query(STOCK), Query(ORDER))
    services += [
        service(
            "cart",
            Operation("view", (Cache("cart", 30.0),)),
            Operation("add", (Cache("cart", 30.0), *stored, *price)),
        ),
        service("checkout", Operation("buy", (*order, call("payment", "charge"))), retries=rng.choice((0, 2))),
        service("payment", Operation("charge", (Compute(0.001), Sleep(rng.choice((0.04, 0.08)))))),
        *draft.ai_path(),
    ]
    missing = {role for role in ("auth", "pricing", "reviews") if not has(role)}
    present = tuple(item for item in services if item.role not in missing)
    entries = (Entry("home", 0.24), Entry("product", 0.24), Entry("add", 0.16), Entry("buy", 0.16), Entry("ask", 0.2))
    return Topology(f"shop-{seed}", seed, present, entries, rate=rng.uniform(*USER_RATES))
