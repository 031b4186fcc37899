"""Load of services and GPU pools in a World, as the history of forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.model.capacity.load import LoadKind, Subject
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

T = TypeVar("T")
LoadKey = tuple[Subject, LoadKind]
"""A service without its pool, which may change, or a pool."""


def observed_loads(world: World) -> Mapping[LoadKey, Floats]:
    """Load by subject and kind at the World's times, shape (times,); NaN is missing. All-missing rows are left out."""
    rows: dict[LoadKey, Floats] = {}
    for key, values in _rows(world):
        if np.isfinite(values).any():
            rows[key] = values.astype(np.float64)
    return rows


def _rows(world: World) -> Iterator[tuple[LoadKey, Floats]]:
    servers, quotas = model_servers(world), capacity(world)
    tenants = [tenant.service for tenant in world.tenants]
    for kind, services, values in (
        (LoadKind.REQUESTS, world.services, world.red.rate),
        (LoadKind.TOKENS, servers.services, servers.generated_tokens),
        (LoadKind.KV_CACHE, servers.services, servers.cache),
        (LoadKind.QUEUE, servers.services, servers.waiting),
        (LoadKind.GPU_BUSY, *_sums(tenants, world.busy)),
    ):
        yield from (((_service(service), kind), row) for service, row in zip(services, values, strict=True))
    for kind, pools, values in (
        (LoadKind.GPU_QUOTA, quotas.pools, quotas.used),
        (LoadKind.GPU_BUSY, *_sums(world.pool, world.utilization)),
    ):
        yield from (((Subject(None, pool), kind), row) for pool, row in zip(pools, values, strict=True) if pool)


def _service(service: Service) -> Subject:
    return Subject(service, "")


def _sums(owners: Sequence[T], values: Floats) -> tuple[Iterable[T], Floats]:
    """Sum over the rows of each owner, NaN where all are."""
    names = list(dict.fromkeys(owners))
    row = {name: i for i, name in enumerate(names)}
    index = np.array([row[owner] for owner in owners], np.intp)
    total, known = np.zeros((len(names), values.shape[1])), np.zeros((len(names), values.shape[1]), bool)
    of_owners = values[: len(index)]
    np.add.at(total, index, np.nan_to_num(of_owners))
    np.logical_or.at(known, index, np.isfinite(of_owners))
    return names, np.where(known, total, np.nan)
