"""Prices of GPU-hours."""

from __future__ import annotations

import math
import re
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
    """A price table. models: by name of GPUs, or words of it. pools: by name, with or without the cluster."""

    currency: str = ""
    models: Mapping[str, Price] = field(default_factory=dict)
    pools: Mapping[str, Price] = field(default_factory=dict)

    def hourly(self, pool: str, model: str) -> float:
        """Price of a GPU-hour: that of the pool, else of the model, on spot capacity its spot price; NaN if unknown.

        The longest name of a model counts of which each word is one of the GPU's name.
        """
        of_pool = self.pools.get(pool, self.pools.get(split_cluster(pool)[1], Price()))
        if math.isfinite(of_pool.hourly):
            return of_pool.hourly
        names = [name for name in self.models if _words(name) and _words(name) <= _words(model)]
        found = self.models[max(names, key=len)] if names else Price()
        return found.spot_hourly if of_pool.spot else found.hourly


def _words(name: str) -> set[str]:
    """`{"nvidia", "a100", "sxm4", "80gb"}`."""
    return set(re.findall(r"[^\W_]+", name.lower()))


NO_PRICES = Prices()
