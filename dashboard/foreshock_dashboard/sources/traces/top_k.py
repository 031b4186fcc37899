"""Top-k search over a source that returns the first matches in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar


class _Hit(Protocol):
    @property
    def trace_id(self) -> str: ...


Hit = TypeVar("Hit", bound=_Hit)


class TopKSearch(NamedTuple):
    """Limits of a search.

    limit: number of traces wanted.
    page, max_page: traces per request, at first and at most.
    max_rounds: limit of requests.
    resolution: floors within the same multiple of it are equal for the source.
    lowest_floor: a lower floor has no effect.
    """

    limit: int
    page: int
    max_page: int
    max_rounds: int
    resolution: int = 1
    lowest_floor: int = 0


def top_k(
    search: TopKSearch, fetch: Callable[[int, int | None], tuple[Iterable[Hit], bool]], rank: Callable[[Hit], int]
) -> tuple[list[Hit], bool]:
    """Return the hits of highest rank, and whether no other hit can rank higher.

    Each round requests several times the limit. The k-th best hit so far is a floor: no hit below it can be among the
    best, so the next round requests only hits above it. A response without further hits ends the search. If responses
    are random samples, each round leaves about a quarter of the hits.

    Args:
        search: the limits.
        fetch: returns hits for a page size and a floor, and whether there are more.
        rank: returns the rank of a hit, in the unit of the floor.
    """
    hits_by_id: dict[str, Hit] = {}
    page, floor = search.page, None
    ranked: list[Hit] = []
    for _ in range(search.max_rounds):
        hits, has_more = fetch(page, floor)
        for hit in hits:
            hits_by_id[hit.trace_id] = max(hit, hits_by_id.get(hit.trace_id, hit), key=rank)
        ranked = sorted(hits_by_id.values(), key=lambda hit: (-rank(hit), hit.trace_id))[: search.limit]
        if not has_more:
            return ranked, True
        previous: int | None = floor
        kth = rank(ranked[-1]) if len(ranked) == search.limit else -1
        floor = kth if kth >= search.lowest_floor else None
        if floor is None:
            page = min(search.max_page, 4 * page)
        elif previous is not None and floor // search.resolution == previous // search.resolution:
            return ranked, True
    return ranked, False
