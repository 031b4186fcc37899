"""The services and tenants of every generated platform, in the format of scenario files; see catalog.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Final

from foreshock_simulator.scenarios.parsing.document import Problems, compose
from foreshock_simulator.scenarios.parsing.reader import Reader
from foreshock_simulator.spec.platform import PoolSpec
from foreshock_simulator.spec.services import ServiceSpec, TenantSpec

CHAT: Final = "POST /v1/chat/completions"
CODE: Final = "POST /v1/completions"
EMBED: Final = "POST /v1/embeddings"
INGEST: Final = "POST /v1/embeddings/documents"
GENERATE: Final = "POST /generate"
VERIFY: Final = "POST /verify"
QUERY: Final = "POST /collections/documents/query"
UPSERT: Final = "PUT /collections/documents/points"
ASK: Final = "POST /assistant"
SEARCH: Final = "GET /search"
MODEL_BY_ROUTE: Final = {
    CHAT: "llm-chat",
    CODE: "llm-code",
    EMBED: "embedder",
    "POST /v1/rerank": "reranker",
    "POST /v1/images/generations": "image-gen",
}
"""The model behind each route of the gateway."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Services and tenants without hosts and places."""

    services: tuple[ServiceSpec, ...]
    tenants: tuple[TenantSpec, ...]

    def tenant(self, name: str) -> TenantSpec:
        """The tenant with this name."""
        return next(tenant for tenant in self.tenants if tenant.name.name == name)


@cache
def catalog() -> Catalog:
    """The catalog; `topology.restrict` removes the services that a platform lacks."""
    problems = Problems("catalog.yaml")
    text = files("foreshock_simulator.scenarios.platforms").joinpath("catalog.yaml").read_text(encoding="utf-8")
    root = compose(text, problems)
    result = root and Reader(problems).read(root, Catalog, "the catalog")
    problems.raise_if_any()
    assert isinstance(result, Catalog)  # noqa: S101 - else there was a problem
    return result


def with_mig(pool: PoolSpec) -> PoolSpec:
    """The pool with a MIG instance for each replica that a GPU takes, and the last one for a tenant."""
    return replace(pool, sharing="mig", mig_slices=(4, 3) if pool.slots == 1 else (3, 2, 2))


def mig_tenants(pools: Iterable[PoolSpec]) -> tuple[TenantSpec, ...]:
    """Batch tenants in the last MIG instance of each GPU with MIG."""
    return tuple(
        replace(catalog().tenant("sliced-batch"), places=pool.places, slice=len(pool.mig_slices) - 1)
        for pool in pools
        if pool.mig_slices
    )
