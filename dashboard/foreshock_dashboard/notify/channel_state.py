"""What is known of one channel: its deliveries, its last success, and its last error."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Outcome = Literal["sent", "failed", "dropped"]
OUTCOMES: tuple[Outcome, ...] = ("sent", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """Deliveries of a channel since the start.

    kind: `alertmanager`, or the schema of the URL, such as `slack`. waiting: messages to be sent. last_success,
    last_error_at: Unix seconds; None if there was none. error: why the last attempt failed, "" if it succeeded.
    outcomes: attempts that succeeded or failed, and messages dropped as too old.
    """

    name: str
    kind: str
    waiting: int = 0
    last_success: float | None = None
    last_error_at: float | None = None
    error: str = ""
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)


class ChannelState:
    """Counts the deliveries of one channel. Thread-safe."""

    def __init__(self, name: str, kind: str) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[Outcome] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._stats = ChannelStats(name, kind)

    def stats(self, waiting: int = 0) -> ChannelStats:
        """The present statistics with a number of messages that wait."""
        with self._lock:
            return replace(self._stats, waiting=waiting, outcomes=dict(self._outcomes))

    @property
    def name(self) -> str:
        """The name of the channel, which changes when lines of the file move."""
        return self._stats.name

    def rename(self, name: str) -> None:
        """Give the channel another name."""
        with self._lock:
            self._stats = replace(self._stats, name=name)

    def sent(self, now: float, *, counted: bool = True) -> None:
        """Note a success. counted: whether it delivered something, or only showed that the channel works."""
        with self._lock:
            self._outcomes["sent"] += counted
            self._stats = replace(self._stats, last_success=now, error="")

    def failed(self, now: float, error: str) -> None:
        """Note a failure."""
        with self._lock:
            self._outcomes["failed"] += 1
            self._stats = replace(self._stats, last_error_at=now, error=error)

    def dropped(self) -> None:
        """Note a message that was given up."""
        with self._lock:
            self._outcomes["dropped"] += 1
