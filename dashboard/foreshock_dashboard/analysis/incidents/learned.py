"""What the analysis knows of the platform's ordinary ways, taken anew each minute."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at
from foreshock_dashboard.analysis.saturation.batching_model import learned
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.model.batching_law import BatchingLaw
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Stall, Tenant, World

LEARN_SECONDS = 60.0
"""Seconds from one look to the next, on the grid since the epoch: two hubs look at the same times."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Baselines of all signals, and how model servers slow down with their load."""

    usual: Baselines = field(default_factory=lambda: Baselines(float("-inf"), {}))
    laws: Mapping[Service, BatchingLaw] = field(default_factory=dict)


def relearned(
    known: Learned, world: World, at: int, frozen: Set[Service], cache: IdentityCache | None = None
) -> Learned:
    """Look again where a minute has gone by. What concerns `frozen` services stays as it was, if anything was known.

    So what lasts for as long as an incident does not become what is usual.
    """
    time = float(world.times[at])
    if known.usual.levels and time // LEARN_SECONDS == known.usual.time // LEARN_SECONDS:
        return known
    usual, laws = baselines_at(world, at, cache=cache), learned(world, at)
    if not frozen or not known.usual.levels:
        return Learned(usual, laws)
    gpus = frozenset(tenant.gpu for tenant in world.tenants if tenant.service in frozen)
    theirs = gpus | {gpu.host for gpu in gpus}
    which: dict[int, Sequence[int]] = {}  # rows by what they are of: many signals are of the same things
    levels = {}
    for name, found in usual.levels.items():
        if (before := known.usual.levels.get(name)) is None:
            levels[name] = found
            continue
        kind = id(before.entities)
        if kind not in which:
            which[kind] = [row for row, key in enumerate(before.entities) if _concerns(key, frozen, theirs)]
        levels[name] = found.with_frozen(before, which[kind])
    kept = {service: law for service, law in known.laws.items() if service in frozen}
    return Learned(Baselines(usual.time, levels), {**laws, **kept})


def _concerns(key: Hashable, services: Set[Service], theirs: Set[Hashable]) -> bool:
    """Whether it is one of the services, a call or a share of theirs, or one of `theirs`: their GPUs and the hosts."""
    if isinstance(key, Edge):
        return key.client in services or key.server in services
    if isinstance(key, Stall):
        return key.victim in services
    if isinstance(key, Tenant):
        return key.service in services
    return key in services if isinstance(key, Service) else key in theirs
