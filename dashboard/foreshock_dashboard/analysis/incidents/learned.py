"""What the analysis learns from history once a minute: baselines and batching laws."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.model.forecast import BatchingLaw
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, GpuWaitPair, Tenant, World

LEARN_SECONDS = 60.0
"""Seconds between two updates, aligned to the epoch so that two hubs update at the same times."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Baselines of all signals, and the batching law of each model server."""

    baselines: Baselines = field(default_factory=lambda: Baselines(float("-inf"), {}))
    laws: Mapping[Service, BatchingLaw] = field(default_factory=dict)


def relearned(
    known: Learned, world: World, at: int, frozen: Set[Service], cache: IdentityCache | None = None
) -> Learned:
    """Learn again if `LEARN_SECONDS` have passed. What concerns `frozen` services stays, if it is known.

    So the state during a long incident does not become the baseline, nor does the share that a noisy neighbor takes of
    their GPUs. A latent risk freezes nothing: it may last for days, and the first batching law of a service rests on
    few loads.
    """
    time = float(world.times[at])
    if known.baselines.levels and time // LEARN_SECONDS == known.baselines.time // LEARN_SECONDS:
        return known
    baselines, laws = baselines_at(world, at, cache=cache), fit_batching_laws(world, at)
    laws = {**laws, **{service: law for service, law in known.laws.items() if service in frozen}}
    if not frozen or not known.baselines.levels:
        return Learned(baselines, laws)
    gpus = frozenset(tenant.gpu for tenant in world.tenants if tenant.service in frozen)
    concerned = frozen | gpus | {gpu.host for gpu in gpus}
    frozen_rows: dict[int, Sequence[int]] = {}  # by the identity of the entities: many signals share them
    levels = dict(baselines.levels)
    for name, before in known.baselines.levels.items():
        if name in levels:
            kind = id(before.entities)
            if kind not in frozen_rows:
                frozen_rows[kind] = [row for row, key in enumerate(before.entities) if _concerns(key, concerned)]
            levels[name] = levels[name].with_frozen(before, frozen_rows[kind])
    return Learned(Baselines(baselines.time, levels), laws)


def _concerns(key: Hashable, concerned: Set[Hashable]) -> bool:
    """Whether a key is one of the concerned services, GPUs, and hosts, or an edge, tenant, or GPU-wait pair of one."""
    if isinstance(key, Edge):
        return key.client in concerned or key.server in concerned
    if isinstance(key, GpuWaitPair):
        return key.affected in concerned
    if isinstance(key, Tenant):
        return key.service in concerned or key.gpu in concerned
    return key in concerned
