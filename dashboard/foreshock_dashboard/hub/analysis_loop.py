"""Evaluation loop: each evaluation reads the new samples of a source, analyzes them, and publishes a snapshot."""

from __future__ import annotations

import gc
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from prometheus_client import Histogram

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.incidents.forecast_summary import forecast
from foreshock_dashboard.analysis.incidents.lifecycle import MIN_LEARNING_SECONDS, State, advance, learning
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.identities import Identities
from foreshock_dashboard.hub.known_clusters import KnownClusters
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.hub.preview import Preview
from foreshock_dashboard.hub.service_overrides import ServiceOverrides
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world_sections import BIN_SECONDS
from foreshock_dashboard.notify.timing import retry_delay
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.replay.time_travel import SourceGrid, TimeTravel
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.world.builder import WorldBuilder, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer, scrape_interval
from foreshock_dashboard.world.row import quick_window

log = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""Wall-clock delay of an evaluation after its grid point, so that the scrapes and spans of that time have arrived."""
WRITE_SECONDS = 0.5
"""Time on the hub's clock before a grid point at which its own series are written: spans until then count there."""
WORLD_HISTORY_SECONDS = 3 * 3600.0
"""History of the World in memory; incidents are folded from at most that long ago."""
DURATION_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the histogram of evaluation durations: milliseconds for a few services, seconds for thousands of GPUs."""
MAX_RETRY_SECONDS = 60.0
"""Longest wall-clock time until a source that failed is read again, unless it sends a longer Retry-After."""
_MAX_INTERVAL_RATIO = 1.2
"""Measured over configured scrape interval, from which the measured one is used."""


class LoopInputs(NamedTuple):
    """What the loop evaluates.

    is_own_store: whether the source is the hub's own store.
    write: appends the hub's own series (Unix seconds, open incidents) to the store, from which the same evaluation
    reads them; None where the hub takes nothing in.
    memory: limits of the World and of past time ranges.
    bounds: Unix seconds between which a hub at a past time answers; None for a live hub.
    simulated: whether the samples are of a simulated platform.
    reported: returns the changes of the journal.
    identities, known_clusters: those of open incidents, and of clusters, across restarts; None where the hub is at a
    past time.
    """

    source: ClusterSource
    is_own_store: bool
    write: Callable[[float, Sequence[Incident]], None] | None
    memory: Memory
    bounds: tuple[float, float] | None = None
    simulated: bool = False
    reported: Callable[[], Sequence[Change]] = tuple
    identities: Identities | None = None
    known_clusters: KnownClusters | None = None


def evaluation_durations() -> Histogram:
    """The metric of evaluation durations, empty. It belongs to one hub, not to the process."""
    return Histogram(
        "foreshock_evaluation_duration_seconds",
        "Duration of evaluations.",
        buckets=DURATION_BUCKETS_SECONDS,
        registry=None,
    )


class AnalysisLoop:
    """Evaluates a source step by step. One thread evaluates, one may load seasons, and all may read the results.

    slos, tiers: those of the settings. snapshot: result of the newest evaluation, which took `evaluation_seconds`.
    While the first one reads the history of an external source, it is a preview with the newest values.
    retry_seconds: wall-clock time for which the source is left alone after failures, 0 if it answered.
    durations: of all evaluations. time_travel: results of earlier instants.
    """

    def __init__(self, settings: Settings, clock: Clock, inputs: LoopInputs) -> None:
        self._settings, self._clock, self._inputs = settings, clock, inputs
        self.slos = ServiceOverrides(
            "--slo", {Service.parse(name): Slo(p95, failed) for name, p95, failed in settings.slo}
        )
        self.tiers = ServiceOverrides("--tiers", {Service.parse(name): tier for name, tier in settings.tiers})
        self.snapshot = Snapshot(0, None, (), Learning(0.0, MIN_LEARNING_SECONDS))
        self.retry_seconds, self._failures = 0.0, 0
        self.evaluation_seconds = 0.0
        self._is_written = False
        self.durations = evaluation_durations()
        self._state, self._ended = State(), threading.Event()
        self._settle_seconds = 0.0 if settings.at is not None else SETTLE_SECONDS * clock.speed
        self._begin = inputs.bounds[0] if inputs.bounds else -math.inf
        self._interval_known = inputs.is_own_store
        self._read_at_interval(settings.scrape_interval)

    def write(self) -> None:
        """Write the hub's own series ahead of the next evaluation, which writes them itself after a failure."""
        if self._inputs.write is not None:
            with suppress(Exception), self._inputs.memory.turn():
                self._inputs.write(self._clock.now(), self.snapshot.incidents)
                self._is_written = True

    def evaluate(self) -> None:
        """Evaluate up to the present. A failure becomes the snapshot's error, and the next evaluation tries again."""
        begin = time.perf_counter()
        try:
            with self._inputs.memory.turn():
                self._evaluate(self._clock.now())
            self._failures, self.retry_seconds = 0, 0.0
        except SourceError as error:
            self._fail(str(error))
            self._back_off(error.retry_after)
        except Exception as error:  # outermost loop: the next evaluation tries again after any failure
            log.exception("evaluation failed")
            self.retry_seconds = 0.0  # the source did not ask to be left alone
            self._fail(f"the last evaluation failed: {error}; see the log for details")
        gc.collect(1)  # HTTP clients leave each response in a reference cycle, which is in generation 1 by now
        self._inputs.memory.has_room(0)  # else memory is made free
        self.evaluation_seconds = time.perf_counter() - begin
        self.durations.observe(self.evaluation_seconds)

    def end(self) -> None:
        """Let an evaluation that runs end soon, and later ones at once: that of the first hours takes long."""
        self._ended.set()

    def load_seasons(self, now: float) -> bool:
        """Load the load of earlier weeks around this time of the week; whether all of it could be read."""
        return self._seasons.load(now - WORLD_HISTORY_SECONDS, now + BIN_SECONDS)

    def _evaluate(self, now: float) -> None:
        inputs, end = self._inputs, now - self._settle_seconds
        if inputs.write is not None and not self._is_written:
            inputs.write(now, self.snapshot.incidents)
        self._is_written = False
        has_new_names = inputs.source.look(end, WORLD_HISTORY_SECONDS)
        if inputs.known_clusters:
            inputs.known_clusters.record(inputs.source.seen, now)
        if has_new_names:
            found = ", ".join(sorted(inputs.source.clusters))
            log.warning("several clusters found, so names now start with the cluster: %s", found)
            if inputs.identities:
                inputs.identities.rename(self._state.incidents)
            self._state = State()
            self._read_at_interval(self._interval)
        if not self._interval_known:
            self._detect_interval(end)
        if inputs.is_own_store or self._settings.at is not None:
            self.load_seasons(now)
        preview = self._preview() if self.snapshot.evaluated is None else None
        self._show(preview)
        world = self.snapshot.evaluated
        for readings in self._observer.pieces(end):
            world = self._growing.add(readings, self._observer.missing())
            del readings  # frees hundreds of thousands of labels before the analysis allocates
            world = self._seasons.attach(replace(world, simulated=True) if inputs.simulated else world)
            for at in np.flatnonzero(world.times > self._state.time).tolist():
                if self._ended.is_set():
                    return
                state = advance(self._state, world, at, self.slos.values, inputs.source.is_own)
                self._state = inputs.identities.restored(state) if inputs.identities else state
                self.time_travel.append(self._state, world)
                self._show(preview)
        if world is None:
            return
        if inputs.identities:
            self._state = inputs.identities.followed(inputs.identities.renamed(self._state))
            inputs.identities.record(self._state.incidents)
        self.slos.observe(world)
        self.tiers.observe(world)
        self.snapshot = Snapshot(
            self.snapshot.seq + 1,
            world,
            self._state.incidents,
            learning(world),
            forecast=forecast(self._state, world),
            bounds=inputs.bounds,
        )

    def _preview(self) -> Preview | None:
        """A preview of an external source; its history may take minutes, that of the own store seconds."""
        if self._inputs.is_own_store or self._settings.at is not None:
            return None
        return Preview(
            self._inputs.source,
            self._catalog,
            self._step,
            self.tiers.values,
            lambda: self._clock.now() - self._settle_seconds,
        )

    def _show(self, preview: Preview | None) -> None:
        """Publish the preview if it has a newer grid point. An error stays until an evaluation is complete."""
        world = preview.newer() if preview else None
        if world is not None:
            learned = Learning(0.0, MIN_LEARNING_SECONDS)
            error = self.snapshot.error
            self.snapshot = Snapshot(self.snapshot.seq + 1, world, (), learned, error, is_preview=True)

    def _read_at_interval(self, interval: float) -> None:
        """Begin to read a source with this scrape interval (seconds).

        The grid is not finer than the interval, and the rate window holds two samples.
        """
        source, self._interval = self._inputs.source, interval
        window = replace(self._settings, scrape_interval=interval).window
        quick = quick_window(interval)
        self._step = step = max(self._settings.evaluation_interval, float(round(interval)))
        self._catalog = catalog(window, quick)
        grid = SourceGrid(lambda spacing: catalog(max(spacing, window), max(spacing, quick)), step)
        memory = self._inputs.memory
        self._observer = Observer(
            source,
            self._catalog,
            step,
            QuantileReducer(),
            WORLD_HISTORY_SECONDS,
            max_chunk_values=memory.chunk_values,
        )
        reported = self._inputs.reported
        self._growing = WorldBuilder(
            step, WORLD_HISTORY_SECONDS, np.float32, memory.world_bytes, self.tiers.values, reported
        )
        self._seasons = SeasonalHistory(source, grid.catalog)
        self.time_travel = TimeTravel(
            source,
            grid,
            self.slos.values,
            memory.range_bytes,
            self._inputs.simulated,
            self._begin,
            self.tiers.values,
            reported,
            source.is_own,
        )

    def _detect_interval(self, now: float) -> None:
        """Measure the scrape interval of an external Prometheus; a longer configured interval wins."""
        configured = self._settings.scrape_interval
        measured = scrape_interval(self._inputs.source, now, otherwise=configured)
        if measured > _MAX_INTERVAL_RATIO * configured:
            log.warning(
                "samples are %.0f s apart, not %.0f s; set --scrape-interval %.0fs",
                measured,
                configured,
                measured,
            )
            self._read_at_interval(measured)
        self._interval_known = True

    def _back_off(self, wanted: float) -> None:
        """Leave a failing source alone for longer and longer, and for as long as it wants."""
        self._failures += 1
        growing = min(MAX_RETRY_SECONDS, retry_delay(self._failures, random.random))
        self.retry_seconds = max(growing, wanted)

    def _fail(self, error: str) -> None:
        if error != self.snapshot.error:
            log.error("%s", error)
        self.snapshot = replace(self.snapshot, seq=self.snapshot.seq + 1, error=error)
