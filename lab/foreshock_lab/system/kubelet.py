"""Starts replicas again that ended by themselves, as kubelet does."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

CHECK_SECONDS = 0.5
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 30.0
"""Time before a failed replica starts again, doubled with each failure; kubelet's is 10 s to 300 s."""
STABLE_SECONDS = 60.0
"""A replica that ran so long starts again without the delays of earlier failures."""


class Restartable(Protocol):
    """A replica. wanted: whether it should run. started: Unix time of its last start. restarts: by the kubelet."""

    name: str
    wanted: bool
    started: float
    restarts: int

    @property
    def running(self) -> bool:
        """Whether its process lives."""

    def start(self) -> None:
        """Start its process."""


class Kubelet:
    """Watches replicas in a thread. paused: a lock, under which it starts none."""

    def __init__(self) -> None:
        self.paused = threading.RLock()
        self._closing = threading.Event()
        self._due: dict[str, float] = {}
        self._delays: dict[str, float] = {}

    def start(self, replicas: Sequence[Restartable]) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, args=(replicas,), name="kubelet")
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _watch(self, replicas: Sequence[Restartable]) -> None:
        while not self._closing.wait(CHECK_SECONDS):
            for replica in replicas:
                with self.paused:
                    self.check(replica, time.time())

    def check(self, replica: Restartable, now: float) -> None:
        """Start a replica if it ended and its delay has passed; now in Unix seconds."""
        name = replica.name
        if replica.running or not replica.wanted:
            self._due.pop(name, None)
        elif name not in self._due:
            delay = self._delays.get(name, BACKOFF_SECONDS)
            if now - replica.started > STABLE_SECONDS:
                delay = BACKOFF_SECONDS
            self._due[name], self._delays[name] = now + delay, min(MAX_BACKOFF_SECONDS, 2 * delay)
        elif now >= self._due[name]:
            del self._due[name]
            replica.restarts += 1
            replica.start()
