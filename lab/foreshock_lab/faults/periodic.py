"""A fault that is done again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Periodic:
    """Something that is done again and again in a thread, with a pause that follows from the amount."""

    def __init__(self, action: Callable[[float], float]) -> None:
        self._action = action
        self._amount = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault")

    def set(self, amount: float) -> None:
        """Set the amount, and begin."""
        self._amount = amount
        if not self._thread.ident:
            self._thread.start()

    def clear(self) -> None:
        """End it, and wait until it has ended."""
        self._ended.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = self._action(self._amount)
