"""Whether another system answers, asked again and again in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class HealthProbe:
    """Asks at intervals; the first answer is there once `start` has been called and the system has answered or not.

    Args:
        probe: says why the system cannot answer; "" where it can.
        interval: seconds between an answer and the next question.
    """

    def __init__(self, probe: Callable[[], str], interval: float = 10.0) -> None:
        self._probe, self._interval = probe, interval
        self._error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="watch", daemon=True)

    @property
    def error(self) -> str:
        """What the last answer was: why it cannot answer; "" where it can, or has not been asked."""
        return self._error

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Stop asking; what is on its way is not waited for longer than a moment."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            try:
                error = self._probe()
            except Exception as unforeseen:  # outermost loop: whatever one question meets, the next one is asked
                log.exception("a probe failed")
                error = f"it cannot be told whether it answers: {unforeseen}"
            if error and error != self._error:
                log.warning("%s", error)
            elif self._error and not error:
                log.info("it answers again, after: %s", self._error)
            self._error = error
            self._stop.wait(self._interval)
