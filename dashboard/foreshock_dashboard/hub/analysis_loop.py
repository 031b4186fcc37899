"""What the hub does on every tick: read what is new of a source, judge it, and keep what was found."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foreshock_dashboard.analysis.baseline.objectives import Objective
from foreshock_dashboard.analysis.incidents.forecast_summary import outlook
from foreshock_dashboard.analysis.incidents.lifecycle import NEEDED, State, learning, states
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.unmatched_services import ServiceOverrides
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.seasonality import BIN_SECONDS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.replay.time_travel import SourceGrid, TimeTravel
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.world.builder import WorldBuilder
from foreshock_dashboard.world.catalogue.catalogue import catalogue
from foreshock_dashboard.world.catalogue.row import quick_window
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer
from foreshock_dashboard.world.scrape_interval import scrape_interval

log = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""Wall seconds after a grid point before it is judged, so that scrapes and spans of that moment have arrived."""
PATIENCE = 1.2
"""How many times the interval that was told samples may be apart."""
HISTORY_SECONDS = 3 * 3600.0
"""Seconds of figures at hand: the fold begins at most that long ago."""
MAX_WORLD_BYTES = 176 * 2.0**20
"""Bytes for them. Thousands of GPUs have less than three hours in it."""


@dataclass(frozen=True, slots=True)
class LoopInputs:
    """What is judged.

    source: where samples are read. own: whether that is the hub's own store. write: puts the hub's own series there
        before a tick reads it; None where it takes nothing in.
    bounds: between which instants (Unix seconds) a hub that stands in the past can be asked. simulated: whether nobody
        is served by it.
    """

    source: MetricSource
    own: bool
    write: Callable[[float, Sequence[Incident]], None] | None
    bounds: tuple[float, float] | None = None
    simulated: bool = False


class AnalysisLoop:
    """Judges what a source tells, tick by tick. One thread ticks, and one may `cover`; all may read what was found.

    promised, tiers: what the settings give for services. tick_seconds: what the last tick took.
    """

    def __init__(self, settings: Settings, clock: Clock, judged: LoopInputs) -> None:
        self._settings, self._clock, self._judged = settings, clock, judged
        self.slos = ServiceOverrides(
            "--objectives", {Service.parse(name): Objective(p95, lost) for name, p95, lost in settings.objectives}
        )
        self.tiers = ServiceOverrides("--tiers", {Service.parse(name): tier for name, tier in settings.tiers})
        self._paced = judged.own
        self._watch_at(settings.scrape_interval)
        self._state = State()
        self._snapshot = Snapshot(0, None, (), Learning(0.0, NEEDED))
        self._settle = 0.0 if settings.at is not None else SETTLE_SECONDS * clock.speed
        self.tick_seconds = 0.0

    @property
    def snapshot(self) -> Snapshot:
        """The newest tick."""
        return self._snapshot

    @property
    def time_travel(self) -> TimeTravel:
        """Earlier ticks."""
        return self._time_travel

    def tick(self) -> None:
        """Write the hub's own series, read what is new, judge it. A failure is shown, and the next tick tries again."""
        begun = time.perf_counter()
        try:
            self._judge(self._clock.now())
        except SourceError as error:
            self._fail(str(error))
        except Exception as error:  # outermost loop: whatever one tick meets, the next one tries again
            log.exception("tick failed")
            self._fail(f"the last tick failed: {error}; the log has the details")
        gc.collect(0)
        self.tick_seconds = time.perf_counter() - begun

    def load_seasons(self, now: float) -> bool:
        """See what is usual at this time of the week, and in the quarter of an hour to come; whether all is known."""
        return self._seasons.load(now - HISTORY_SECONDS, now + BIN_SECONDS)

    def _judge(self, now: float) -> None:
        judged, last = self._judged, self._snapshot
        if judged.write is not None:
            judged.write(now, last.incidents)
        if not self._paced:
            self._pace(now - self._settle)
        if judged.own or self._settings.at is not None:
            self.load_seasons(now)
        world = last.world
        for fresh in self._observer.pieces(now - self._settle):
            world = self._growing.add(fresh, self._observer.missing())
            del fresh  # hundreds of thousands of labels, in whose place the verdict finds room
            world = self._seasons.attach(replace(world, simulated=True) if judged.simulated else world)
            for state in states(self._state, world, self.slos.values):
                self._state = state
                self._time_travel.note(state, world)
        if world is not None:
            self.slos.observe(world)
            self.tiers.observe(world)
            expected = outlook(self._state, world)
            self._snapshot = Snapshot(
                last.seq + 1, world, self._state.incidents, learning(world), forecast=expected, bounds=judged.bounds
            )

    def _watch_at(self, interval: float) -> None:
        """Read the source as it fits samples so many seconds apart: a grid no finer, rates that hold two of them."""
        judged = self._judged
        settings = replace(self._settings, scrape_interval=interval)
        step = max(settings.step, float(round(interval)))
        quick = quick_window(interval)
        read = catalogue(settings.window, quick)
        self._observer = Observer(judged.source, read, step, QuantileReducer(), HISTORY_SECONDS)
        self._growing = WorldBuilder(step, HISTORY_SECONDS, np.float32, MAX_WORLD_BYTES, self.tiers.values)
        grid = SourceGrid(lambda apart: catalogue(max(apart, settings.window), max(apart, quick)), step)
        begin = judged.bounds[0] if judged.bounds else -math.inf
        self._seasons = SeasonalHistory(judged.source, grid.catalogue)
        promised, tiers = self.slos.values, self.tiers.values
        self._time_travel = TimeTravel(judged.source, grid, promised, MAX_WORLD_BYTES, judged.simulated, begin, tiers)

    def _pace(self, now: float) -> None:
        """See how often somebody else scrapes. Nobody is asked to tell; who told a longer interval is believed."""
        told = self._settings.scrape_interval
        shown = scrape_interval(self._judged.source, now, otherwise=told)
        if shown > PATIENCE * told:
            log.warning(
                "samples are %.0f s apart, not %.0f s: --scrape-interval %.0fs says so at once", shown, told, shown
            )
            self._watch_at(shown)
        self._paced = True

    def _fail(self, why: str) -> None:
        last = self._snapshot
        if why != last.error:
            log.error("%s", why)
        self._snapshot = replace(last, seq=last.seq + 1, error=why)
