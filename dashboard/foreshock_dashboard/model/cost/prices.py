"""Prices of GPU-hours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from foreshock_dashboard.model.service import split_cluster


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a GPU-hour, and of one on spot capacity. NaN where unknown. spot: whether a pool is spot capacity."""

    hourly: float = math.nan
    spot_hourly: float = math.nan
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table. models: by name, or part of it, of GPUs. pools: by name, with or without the cluster."""

    currency: str = ""
    models: Mapping[str, Price] = field(default_factory=dict)
    pools: Mapping[str, Price] = field(default_factory=dict)

    def hourly(self, pool: str, model: str) -> float:
        """Price of a GPU-hour: that of the pool, else of the model, on spot capacity its spot price; NaN if unknown.

        The longest name of a model that the GPU's contains counts.
        """
        of_pool = self.pools.get(pool, self.pools.get(split_cluster(pool)[1], Price()))
        if math.isfinite(of_pool.hourly):
            return of_pool.hourly
        names = [name for name in self.models if name.lower() in model.lower()]
        found = self.models[max(names, key=len)] if names else Price()
        return found.spot_hourly if of_pool.spot else found.hourly


NO_PRICES = Prices()
