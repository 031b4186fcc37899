"""The hub's capacity forecast: recomputed once an hour in a dedicated thread, apart from evaluations."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.capacity.forecast import capacity_forecast
from foreshock_dashboard.analysis.capacity.supply import supplies
from foreshock_dashboard.analysis.slow_burns.burns import measured, slow_burns
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.replay.capacity_history import HISTORY_SECONDS, NO_SLOS, CapacityHistory
from foreshock_dashboard.world.builder import catalog

log = logging.getLogger(__name__)

REFIT_SECONDS = 3600.0
"""Time of the hub between two forecasts."""
MAX_AGE_SECONDS = 3 * REFIT_SECONDS
"""Age from which a forecast that cannot be updated is none: autoscalers and alerts must not follow it."""
RETRY_SECONDS = 60.0
"""Time of the hub until the next attempt after a failure."""
START_SECONDS = 2.0
"""Wall-clock time until the next attempt before the first evaluation: after a restart, the forecast is soon back."""
PAUSE_SECONDS = 0.2
"""Wall-clock time between two pieces of history, in which evaluations go on."""
CHUNK_RATIO = 4
"""The values that an evaluation may read at once, over those of a piece of history."""


class CapacityForecaster:
    """Keeps the current forecast. One thread calls `refresh`; all may read `current`. slos: configured ones."""

    def __init__(
        self, source: MetricSource, memory: Memory, stop: threading.Event, slos: Mapping[Service, Slo] = NO_SLOS
    ) -> None:
        self.current = CapacityForecast()
        self._stop, self._memory = stop, memory
        self._history = CapacityHistory(source, catalog, memory.chunk_values // CHUNK_RATIO, HISTORY_SECONDS, slos)

    def refresh(self, now: float, snapshot: Snapshot) -> bool:
        """Forecast from the history up to `now` (Unix seconds); whether it succeeded.

        A failure keeps the last forecast and becomes its error.
        """
        if (world := snapshot.evaluated) is None:
            return False
        try:
            for _ in self._history.read(now):
                if self._stop.wait(PAUSE_SECONDS):
                    return False
            loads = self._history.loads()
            supply = supplies(world, snapshot.forecast, self._history.servers())
            uses, budgets = self._history.uses(), self._history.budgets()
            burns = slow_burns(self._history.end, uses, budgets)
            forecast = capacity_forecast(self._history.end, loads, supply, burns)
            if (missing := self._history.slow_burns_error) and missing != self.current.slow_burns_error:
                log.warning("slow burns: %s", missing)
            self.current = replace(forecast, slow_burns_error=missing, measured=measured(uses, budgets))
        except SourceError as error:
            self._fail(str(error), now)
            return False
        except Exception as error:  # the forecast must not end its thread: the next attempt may succeed
            log.exception("the capacity forecast failed")
            self._fail(f"the capacity forecast failed: {error}; see the log for details", now)
            return False
        return True

    def refresh_repeatedly(self, clock: Clock, snapshot: Callable[[], Snapshot]) -> None:
        """Forecast once an hour until the hub stops."""
        while not self._stop.is_set():
            newest = snapshot()
            succeeded = self.refresh(clock.now(), newest)
            seconds = clock.wall_seconds(REFIT_SECONDS if succeeded else RETRY_SECONDS)
            self._stop.wait(START_SECONDS if newest.evaluated is None else max(seconds, 1.0))

    def _fail(self, error: str, now: float) -> None:
        if error != self.current.error:
            log.warning("capacity forecast: %s", error)
        stale = now - self.current.computed_at > MAX_AGE_SECONDS
        self.current = replace(CapacityForecast() if stale else self.current, error=error)
