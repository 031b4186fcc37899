"""The hub's ledger of GPU time: brought up to date every ten minutes in a dedicated thread, apart from evaluations."""

from __future__ import annotations

import logging
import math
import threading
import time as wall

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.replay.cost_history import STEP_SECONDS, CostHistory

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Time of the hub until the next attempt after a failure."""
PAUSE_SECONDS = 0.2
"""Wall-clock time between two pieces of history, in which evaluations go on."""
PAST_HOURS = 25
"""Hours that a hub of the past reads: 24 full ones, and the present one."""


class CostLedgerReader:
    """Keeps the ledger. One thread calls `refresh`; all may read `ledger`.

    max_chunk_values, max_lines: as of `CostHistory`.
    """

    def __init__(self, source: MetricSource, max_chunk_values: int, stop: threading.Event, max_lines: int) -> None:
        self._stop, self._source, self._most, self._max_lines = stop, source, max_chunk_values, max_lines
        self._lock = threading.Lock()
        self._history = CostHistory(source, self._most, max_lines=max_lines)
        self._retry_at = -math.inf  # of the monotonic clock, for a hub of the past

    @property
    def ledger(self) -> CostLedger:
        """The newest one; empty before the first read."""
        return self._history.ledger

    def at(self, time: float) -> CostLedger:
        """The ledger of the day before `time` (Unix seconds), for a hub of the past; read once, a failure again."""
        with self._lock:
            is_read = math.isfinite(self.ledger.computed_at) and not self.ledger.error
            if not is_read and wall.monotonic() >= self._retry_at:
                self._history = CostHistory(self._source, self._most, PAST_HOURS, self._max_lines)
                self.refresh(time)
                self._retry_at = wall.monotonic() + RETRY_SECONDS
        return self.ledger

    def refresh(self, now: float) -> bool:
        """Read what is new up to `now` (Unix seconds); whether it succeeded. A failure becomes the ledger's error."""
        try:
            for _ in self._history.read(now):
                if self._stop.wait(PAUSE_SECONDS):
                    return False
        except SourceError as error:
            self._fail(str(error))
            return False
        except Exception as error:  # must not end the thread: the next attempt may succeed
            problem = f"reading GPU time failed: {error}; see the log for details"
            if problem != self.ledger.error:
                log.exception("reading GPU time failed")
            self._fail(problem)
            return False
        return True

    def refresh_repeatedly(self, clock: Clock) -> None:
        """Refresh after each step of the ledger until the hub stops."""
        while not self._stop.is_set():
            succeeded = self.refresh(clock.now())
            seconds = STEP_SECONDS - clock.now() % STEP_SECONDS if succeeded else RETRY_SECONDS
            self._stop.wait(max(clock.wall_seconds(seconds), 1.0))

    def _fail(self, error: str) -> None:
        if error != self.ledger.error:
            log.warning("cost: %s", error)
        self._history.fail(error)
