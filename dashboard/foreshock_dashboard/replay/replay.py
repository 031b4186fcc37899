"""Replay of a recording: the incidents that a live hub would have reported, grid point by grid point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foreshock_dashboard.analysis.incidents.lifecycle import State, advance, learning
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.world.builder import build_world, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer
from foreshock_dashboard.world.row import quick_window

DEFAULTS = Settings()
HOUR_SECONDS = 3600.0
MAX_DAYS = 400
"""Longest time range. A longer one has a wrong time in it, and would not come to its end."""
MAX_WHOLE_SECONDS = 26 * HOUR_SECONDS
"""Longest recording that becomes one World, at the default step."""
PIECE_SECONDS = 6 * HOUR_SECONDS
"""Length of the pieces of a longer recording; the memory of a replay does not grow with the recording."""
LOOKBACK_SECONDS = 3 * HOUR_SECONDS
"""History of a piece's World before the piece, as in a live hub: baselines rest on it."""

Progress = Callable[[str, float], None]
"""Receives the current step and the completed share (0…1)."""


@dataclass(frozen=True, slots=True)
class ReplayTiming:
    """Grid of a replay, in seconds.

    Attributes:
        step: distance of grid points.
        window: rate window.
        quick: rate window of the readings that show a noisy neighbor's step at once.
    """

    step: float
    window: float
    quick: float

    @classmethod
    def of(cls, interval: float) -> ReplayTiming:
        """The hub's own timing, or a slower one for samples that are further apart than its step."""
        window = Settings(scrape_interval=interval).window
        return cls(max(DEFAULTS.evaluation_interval, float(math.ceil(interval))), window, quick_window(interval))


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Incidents of a replayed recording.

    Attributes:
        times: evaluated grid points, Unix seconds.
        history: the incidents after each grid point at which one changed.
        final: the last state of every incident, in the order of opening.
        paged: incidents that paged, by id, as they were at that moment.
        world: the whole recording; only its last hours if it is longer than `MAX_WHOLE_SECONDS`.
        learning: length of the history at the end.
    """

    times: Floats
    history: tuple[tuple[float, tuple[Incident, ...]], ...]
    final: tuple[Incident, ...]
    paged: Mapping[str, Incident]
    world: World
    learning: Learning


def replay_folder(folder: Path, until: float | None = None) -> ReplayResult:
    """Replay a recording from its start to `until` (Unix seconds), or to its end.

    Raises:
        RecordingError: the folder is no recording, cannot be read, holds no metrics, or begins after `until`.
    """
    with Recording(folder) as recording:
        return replay(recording, until)


def replay(
    recording: Recording,
    until: float | None = None,
    progress: Progress = lambda *_: None,
    source: Callable[[Recording], MetricSource] = RecordedMetrics,
    max_whole_seconds: float = MAX_WHOLE_SECONDS,
    piece_seconds: float = PIECE_SECONDS,
) -> ReplayResult:
    """Replay an open recording; see `replay_folder`. source: makes the source of its metrics."""
    state, world = State(), None
    times: list[float] = []
    history: list[tuple[float, tuple[Incident, ...]]] = []
    latest: dict[str, Incident] = {}
    paged: dict[str, Incident] = {}
    for world, first in worlds(recording, until, progress, source, max_whole_seconds, piece_seconds):
        for point in range(first, len(world.times)):
            previous, state = state.incidents, advance(state, world, point)
            time, incidents = float(world.times[point]), state.incidents
            times.append(time)
            if incidents != previous:
                history.append((time, incidents))
                latest |= {item.id: item for item in incidents}
                paged = {item.id: item for item in incidents if item.paged is not None} | paged
    if world is None:
        raise RecordingError(f"recording {recording.path}: too short for one evaluation interval")
    final = tuple(sorted(latest.values(), key=lambda item: (item.opened, item.id)))
    return ReplayResult(np.array(times), tuple(history), final, paged, world, learning(world))


def worlds(
    recording: Recording,
    until: float | None = None,
    progress: Progress = lambda *_: None,
    source: Callable[[Recording], MetricSource] = RecordedMetrics,
    max_whole_seconds: float = MAX_WHOLE_SECONDS,
    piece_seconds: float = PIECE_SECONDS,
) -> Iterator[tuple[World, int]]:
    """Read a recording in pieces: Worlds, each with the index of its first new grid point.

    Raises:
        RecordingError: the recording cannot be read, holds no metrics, or begins after `until`.
    """
    start, end = sample_range(recording, until)
    timing = ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
    first, last = math.ceil(start / timing.step) * timing.step, math.floor(end / timing.step) * timing.step
    scale = timing.step / DEFAULTS.evaluation_interval
    whole = last - first <= max_whole_seconds * scale
    piece = last - first + timing.step if whole else piece_seconds * scale
    keep = math.inf if whole else piece + LOOKBACK_SECONDS * scale
    metrics = ClusterSource(source(recording))
    metrics.look(last, last - first + timing.step)
    observer, seasons = readers(metrics, timing, first, keep)
    reached = first - timing.step
    while reached < last:
        end = min(last, reached + piece)
        world = build_world(observer.read(end), timing.step, observer.missing())
        if recording.meta.simulated:
            world = replace(world, simulated=True)
        seasons.load(float(world.times[0]), world.time)
        yield seasons.attach(world), int(np.searchsorted(world.times, reached, side="right"))
        reached = end
        progress("replaying", (reached - first) / max(last - first, timing.step))


def readers(
    source: MetricSource, timing: ReplayTiming, begin: float, keep: float = math.inf
) -> tuple[Observer, SeasonalHistory]:
    """Readers of a World's grid points from `begin` (Unix seconds) on, and of its seasonality.

    keep: seconds of the newest grid points.
    """
    rows = catalog(timing.window, timing.quick)
    observer = Observer(source, rows, timing.step, QuantileReducer(), keep, begin=lambda _: begin)
    return observer, SeasonalHistory(source, lambda spacing: catalog(max(spacing, timing.window)))


def sample_range(recording: Recording, until: float | None) -> tuple[float, float]:
    """Start and end of a recording's samples in Unix seconds; the end is at most `until`.

    Raises:
        RecordingError: the recording holds no metrics, begins after `until`, or is longer than `MAX_DAYS`.
    """
    meta = recording.meta
    if meta.start is None or meta.end is None or not recording.series:
        remedy = " Derive metrics from its spans with a hub or a Collector." if meta.end else ""
        raise RecordingError(f"recording {recording.path}: no samples to evaluate.{remedy}")
    if until is not None and until < meta.start:
        raise RecordingError(f"recording {recording.path}: no data before {utc_timestamp(until)}. Choose a later time.")
    end = meta.end if until is None else min(until, meta.end)
    if end - meta.start > MAX_DAYS * 86_400:
        raise RecordingError(
            f"recording {recording.path}: {(end - meta.start) / 86_400:,.0f} days are too long to evaluate (limit "
            f"{MAX_DAYS}). Remove samples with wrong times."
        )
    return meta.start, end
