"""Pools of generated platforms that are cut into MIG instances, and the tenant that has the last of them."""

from __future__ import annotations

from dataclasses import replace

from foreshock_simulator.scenarios.platforms import catalogue
from foreshock_simulator.spec.hosts import PoolSpec
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import TenantSpec


def cut(pool: PoolSpec) -> PoolSpec:
    """With a MIG instance for each replica that a GPU takes, and the last one for a tenant."""
    return replace(pool, sharing="mig", mig_slices=(4, 3) if pool.slots == 1 else (3, 2, 2))


def sliced(platform: PlatformSpec) -> tuple[TenantSpec, ...]:
    """A batch tenant in the last MIG instance of each GPU that is cut."""
    return tuple(
        replace(catalogue.SLICED_BATCH, places=pool.places, slice=len(pool.mig_slices) - 1)
        for pool in platform.pools
        if pool.mig_slices
    )
