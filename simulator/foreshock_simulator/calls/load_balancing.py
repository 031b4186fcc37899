"""Load balancing policies: the choice among the replicas of a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, TypeVar

from foreshock_simulator.spec.services import Balancing


class Loaded(Protocol):
    """A target of load balancing."""

    load: int
    """Requests accepted and not yet answered."""


R = TypeVar("R", bound=Loaded)
Balancer = Callable[[Sequence[R]], R]
"""Chooses from a sequence that is not empty."""


class _Rotation:
    def __init__(self) -> None:
        self._next = 0

    def round_robin(self, replicas: Sequence[R]) -> R:
        self._next += 1
        return replicas[self._next % len(replicas)]

    def least_load(self, replicas: Sequence[R]) -> R:
        """The least loaded replica; among equals, the first after the previous choice."""
        count = len(replicas)
        chosen = self._next % count
        best = replicas[chosen]
        least = best.load
        if least:
            for index in range(chosen + 1 - count, chosen):
                other = replicas[index]
                if other.load < least:
                    best, least, chosen = other, other.load, index
                    if not least:
                        break
        self._next = chosen + 1
        return best


def balancer(policy: Balancing, rng: Random) -> Balancer[R]:
    """A balancer with its own state. Two-choices: the less loaded of two random ones (Mitzenmacher, IEEE TPDS 2001)."""
    if policy == "least-load":
        return _Rotation().least_load
    if policy == "round-robin":
        return _Rotation().round_robin

    def random_choice(replicas: Sequence[R]) -> R:
        return replicas[int(rng.random() * len(replicas))]

    def two_choices(replicas: Sequence[R]) -> R:
        first, second = random_choice(replicas), random_choice(replicas)
        return second if second.load < first.load else first

    return random_choice if policy == "random" else two_choices
