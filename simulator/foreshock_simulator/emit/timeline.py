"""The simulation, as far as those who read it need it."""

from __future__ import annotations

from threading import RLock
from typing import Protocol


class Timeline(Protocol):
    """Its time, and a lock under which it stands still."""

    @property
    def lock(self) -> RLock:
        """Held while the model runs."""
        ...

    @property
    def start(self) -> float:
        """Unix seconds."""
        ...

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        ...

    def catch_up(self) -> None:
        """Run to the present of whatever clock is followed; called under the lock."""
        ...
