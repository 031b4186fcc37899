"""A cache by how likely it has an answer."""

from __future__ import annotations


class Cache:
    """Full at the start. After a flush each miss fills a part: over `refill` misses 63 % (1 − 1/e) of what lacks."""

    __slots__ = ("filled",)

    def __init__(self) -> None:
        self.filled = 1.0

    def flush(self) -> None:
        """Lose everything."""
        self.filled = 0.0

    def miss(self, refill: float) -> None:
        """An answer was fetched and is kept."""
        self.filled += (1.0 - self.filled) / max(1.0, refill)
