"""Which metrics a source has, so that it need not be asked for others."""

from __future__ import annotations

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
    """The metrics that a source has, asked for the range that is about to be read, and again when that has moved on."""

    def __init__(self, source: TellsNames) -> None:
        self._source = source
        self._kept: tuple[float, float, Told] | None = None

    def between(self, start: float, end: float) -> Told:
        """The metrics between two instants, Unix seconds."""
        if self._kept is None or start < self._kept[0] or end >= self._kept[1] + FRESH:
            self._kept = start, end, self._source.names_between(start, end)
        return self._kept[2]
