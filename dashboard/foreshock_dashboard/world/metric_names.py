"""Which metrics a source has, so that it need not be asked for others."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

Told = frozenset[str] | None
"""Names of metrics; None where a source does not tell them: then everything is asked for."""

FRESH = 60.0
"""Seconds for which an answer goes on: a metric of a new name is read for the first time that much later at most."""


@runtime_checkable
class TellsNames(Protocol):
    """A source of which it pays to ask what it has: each question to another process costs a round trip."""

    def names_between(self, start: float, end: float) -> Told:
        """The metrics that have samples between two instants, Unix seconds, and maybe others."""
        ...


class Names:
    """Which of the wanted metrics a source has, asked for the range that is about to be read.

    An answer goes on for as long as it has been the same, and `FRESH` at most: where metrics have just begun to come,
    the next ones are seen at once.
    """

    def __init__(self, source: TellsNames, wanted: frozenset[str]) -> None:
        self._source = source
        self._wanted = wanted
        self._kept: Told = None
        self._start = math.inf
        self._end = self._same = -math.inf

    def between(self, start: float, end: float) -> Told:
        """The metrics between two instants, Unix seconds."""
        if start < self._start or end >= self._end + min(FRESH, self._end - self._same):
            told = self._source.names_between(start, end)
            kept = None if told is None else told & self._wanted
            if kept != self._kept or self._start == math.inf:
                self._same = end
            self._kept, self._start, self._end = kept, start, end
        return self._kept
