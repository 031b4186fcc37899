"""Interface of the simulation for its readers."""

from __future__ import annotations

from threading import RLock
from typing import Protocol


class Timeline(Protocol):
    """The time of the simulation, and the lock that stops it."""

    @property
    def lock(self) -> RLock:
        """Held while the simulation runs."""
        ...

    @property
    def start(self) -> float:
        """Start in Unix seconds."""
        ...

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        ...

    def catch_up(self) -> None:
        """Run to the present of the clock that is followed, if any; called with `lock` held."""
        ...
