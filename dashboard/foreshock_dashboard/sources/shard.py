"""Shards: hubs that each read the clusters of their own part of one Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`. assigned: clusters with a fixed shard, the same on all hubs.

    The shard of any other cluster follows from its name and `count` alone, so that hubs agree without talking to each
    other, and no cluster moves because another one comes or goes.
    """

    number: int
    count: int
    assigned: tuple[tuple[str, int], ...] = ()

    def has(self, cluster: str) -> bool:
        """Whether a cluster belongs to this shard; "" is that of series without a cluster."""
        return shard_of(cluster, self.count, dict(self.assigned)) == self.number

    def clusters(self, known: Iterable[str]) -> tuple[str, ...]:
        """The clusters of this shard, in order."""
        return tuple(sorted(filter(self.has, known)))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard_of(cluster: str, count: int, assigned: dict[str, int]) -> int:
    """The shard of a cluster, 1 to `count`: the assigned one, else that with the highest hash of both names.

    With one shard more, only the clusters of the new one move (highest random weight; Thaler and Ravishankar, 1998).
    """

    def weight(number: int) -> bytes:
        return blake2b(f"{number}/{cluster}".encode(), digest_size=8).digest()

    return assigned.get(cluster) or max(range(1, count + 1), key=weight)
