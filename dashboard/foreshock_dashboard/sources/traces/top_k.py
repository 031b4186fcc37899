"""The best of all that match, from a source that gives the first it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar


class Found(Protocol):
    """A trace that a search found."""

    @property
    def trace_id(self) -> str:
        """Its id."""
        ...


Hit = TypeVar("Hit", bound=Found)


class TopKSearch(NamedTuple):
    """How a search narrows.

    Args:
        limit: traces wanted.
        asked, most: traces asked for at once, at first and at most.
        rounds: requests, at most.
        resolution: a floor within the same multiple of it is no other floor for the source.
        lowest: a floor below it is none for the source.
    """

    limit: int
    asked: int
    most: int
    rounds: int
    resolution: int = 1
    lowest: int = 0


def top_k(
    search: TopKSearch, ask: Callable[[int, int | None], tuple[Iterable[Hit], bool]], rank: Callable[[Hit], int]
) -> tuple[list[Hit], bool]:
    """The hits of highest rank, and whether no other can be higher.

    Each round asks for several times the limit. As many of those found so far as the limit rank above some floor: none
    below it can be among the best, so the next round asks for those above only. An answer that has all there is ends
    the search; where answers are drawn at random, each round leaves about a quarter.

    Args:
        search: the bounds.
        ask: gives hits for a number and a floor, and whether there are more.
        rank: a hit's rank, in the units of the floor.
    """
    found: dict[str, Hit] = {}
    asked, floor = search.asked, None
    ranked: list[Hit] = []
    for _ in range(search.rounds):
        hits, more = ask(asked, floor)
        for hit in hits:
            found[hit.trace_id] = max(hit, found.get(hit.trace_id, hit), key=rank)
        ranked = sorted(found.values(), key=lambda hit: (-rank(hit), hit.trace_id))[: search.limit]
        if not more:
            return ranked, True
        below: int | None = floor
        last = rank(ranked[-1]) if len(ranked) == search.limit else -1
        floor = last if last >= search.lowest else None
        if floor is None:
            asked = min(search.most, 4 * asked)
        elif below is not None and floor // search.resolution == below // search.resolution:
            return ranked, True
    return ranked, False
