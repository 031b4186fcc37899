"""Max-min fair rates, by water-filling."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

L = TypeVar("L", bound=Hashable)


class Demand(NamedTuple, Generic[L]):
    """The demand of a flow: its links, its maximum rate, and its weight (an integer, so that sums are exact)."""

    links: tuple[L, ...]
    ceiling: float
    weight: int


def max_min_rates(demands: Sequence[Demand[L]], capacities: Mapping[L, float]) -> list[float]:
    """Weighted max-min fair rate of each flow, in the unit of the capacities.

    The level (rate per weight) of all flows rises together. A flow stops at its ceiling, or when one of its links is
    full (Bertsekas and Gallager, "Data Networks", 2nd edition, section 6.5.2).
    """
    rates = [0.0] * len(demands)
    left = dict(capacities)
    weights = dict.fromkeys(capacities, 0)
    rising = dict.fromkeys(range(len(demands)))
    for demand in demands:
        for link in demand.links:
            weights[link] += demand.weight
    while rising:
        full, level = None, min(demands[flow].ceiling / demands[flow].weight for flow in rising)
        for link, weight in weights.items():
            if weight and left[link] < level * weight:
                full, level = link, left[link] / weight
        if full is None:
            done = [flow for flow in rising if demands[flow].ceiling / demands[flow].weight <= level]
        else:
            done = [flow for flow in rising if full in demands[flow].links]
        for flow in done:
            demand = demands[flow]
            rates[flow] = demand.ceiling if full is None else level * demand.weight
            del rising[flow]
            for link in demand.links:
                left[link] = max(left[link] - rates[flow], 0.0)
                weights[link] -= demand.weight
    return rates
