"""How one of several replicas is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, TypeVar

from foreshock_simulator.spec.services import Balancing


class Loaded(Protocol):
    """Something that has work."""

    load: int
    """Requests that it has taken and not answered."""


R = TypeVar("R", bound=Loaded)
Choose = Callable[[Sequence[R]], R]
"""Picks one of at least one."""


class _InTurn:
    def __init__(self) -> None:
        self._turn = 0

    def round_robin(self, replicas: Sequence[R]) -> R:
        self._turn += 1
        return replicas[self._turn % len(replicas)]

    def least_load(self, replicas: Sequence[R]) -> R:
        """The first with the least to do after the one chosen last, so that equals take turns."""
        count = len(replicas)
        chosen = self._turn % count
        best = replicas[chosen]
        least = best.load
        if least:
            for index in range(chosen + 1 - count, chosen):
                other = replicas[index]
                if other.load < least:
                    best, least, chosen = other, other.load, index
                    if not least:
                        break
        self._turn = chosen + 1
        return best


def choose_by(policy: Balancing, rng: Random) -> Choose[R]:
    """A policy with its own memory. Two-choices: the less loaded of two drawn (Mitzenmacher, IEEE TPDS 2001)."""
    if policy == "least-load":
        return _InTurn().least_load
    if policy == "round-robin":
        return _InTurn().round_robin

    def at_random(replicas: Sequence[R]) -> R:
        return replicas[int(rng.random() * len(replicas))]

    def two_choices(replicas: Sequence[R]) -> R:
        one, other = at_random(replicas), at_random(replicas)
        return other if other.load < one.load else one

    return at_random if policy == "random" else two_choices
