"""How many there are of something, and the exact integral of that over time."""

from __future__ import annotations


class Level:
    """A count that changes in steps. Reading it changes nothing, so that it may be read at any time."""

    __slots__ = ("_area", "_since", "now")

    def __init__(self) -> None:
        self.now = 0
        self._area = self._since = 0.0

    def up(self, time: float) -> None:
        """One more from `time` (s) on."""
        self._area += self.now * (time - self._since)
        self._since = time
        self.now += 1

    def down(self, time: float) -> None:
        """One less from `time` (s) on."""
        self._area += self.now * (time - self._since)
        self._since = time
        self.now -= 1

    def seconds(self, time: float) -> float:
        """The integral from 0 to `time`, which must not lie before the last change."""
        return self._area + self.now * (time - self._since)
