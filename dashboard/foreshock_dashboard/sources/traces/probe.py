"""Health probe of another system, repeated in its own thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from foreshock_dashboard.common.log_on_change import LogOnChange

log = logging.getLogger(__name__)


class HealthProbe:
    """Runs a probe at intervals.

    Args:
        probe: returns why the system cannot answer; "" if it can.
        interval: seconds between two probes.
    """

    def __init__(self, probe: Callable[[], str], interval: float = 10.0) -> None:
        self._probe, self._interval = probe, interval
        self._error = ""
        self._log = LogOnChange(log, recovered="it answers again, after: {}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def error(self) -> str:
        """Result of the last probe: why the system cannot answer; "" if it can, or before the first probe."""
        return self._error

    def start(self) -> None:
        """Start probing."""
        self._thread.start()

    def close(self) -> None:
        """Stop probing; wait at most a second for a probe in progress."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                error = self._probe()
            except Exception as failure:  # outermost loop: the next probe takes place
                log.exception("a probe failed")
                error = f"it cannot be told whether it answers: {failure}"
            self._log.update(error)
            self._error = error
            self._stop.wait(self._interval)
