"""Replays a recording: the incidents that a hub would have told while it happened, grid point by grid point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foreshock_dashboard.analysis.incidents.lifecycle import State, advance, learning
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.world.builder import build_world, with_quantiles
from foreshock_dashboard.world.catalogue.catalogue import catalogue
from foreshock_dashboard.world.catalogue.row import quick_window
from foreshock_dashboard.world.observer import Observer

DEFAULTS = Settings()
HOUR_SECONDS = 3600.0
MAX_WHOLE_SECONDS = 26 * HOUR_SECONDS
"""A recording that is no longer than this (seconds) is one World, at the default step."""
PIECE_SECONDS = 6 * HOUR_SECONDS
"""Seconds of a longer one that are judged at once; memory does not grow with the recording."""
LOOKBACK_SECONDS = 3 * HOUR_SECONDS
"""Seconds before a piece that its World has as well, as a hub has them: what is usual rests on them."""

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of it (0…1) is over."""


@dataclass(frozen=True, slots=True)
class ReplayTiming:
    """The grid of a replay, in seconds: how far apart its points are, and how far back rates look at each.

    quick: those that show a neighbour's step at once.
    """

    step: float
    window: float
    quick: float

    @classmethod
    def of(cls, interval: float) -> ReplayTiming:
        """The hub's own pace, or a slower one where samples come less often than its grid's points."""
        window = Settings(scrape_interval=interval).window
        return cls(max(DEFAULTS.step, float(math.ceil(interval))), window, quick_window(interval))


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What became of a recording.

    times: the grid points that were judged, Unix seconds. history: after each at which something changed, the incidents
    as they were told then. final: every incident that ever opened, as it was last, in the order of opening. paged: by
    id, those that paged, as they were when they did. world: the whole recording; its last hours where it is longer than
    `WHOLE`. learning: how much history there was at its end.
    """

    times: Floats
    history: tuple[tuple[float, tuple[Incident, ...]], ...]
    final: tuple[Incident, ...]
    paged: Mapping[str, Incident]
    world: World
    learning: Learning


def replay_folder(folder: Path, until: float | None = None, progress: Progress = lambda *_: None) -> ReplayResult:
    """Replay a recording from its start, up to `until` (Unix seconds) or its end.

    Raises:
        RecordingError: it is none, cannot be read, holds no metrics, or begins after `until`.
    """
    with closing(Recording(folder)) as recording:
        return replay(recording, until, progress)


def replay(
    recording: Recording,
    until: float | None = None,
    progress: Progress = lambda *_: None,
    source: Callable[[Recording], MetricSource] = RecordedMetrics,
) -> ReplayResult:
    """As `play`, of a recording that is open. `source`: how it is read."""
    state, world = State(), None
    times: list[float] = []
    history: list[tuple[float, tuple[Incident, ...]]] = []
    ever: dict[str, Incident] = {}
    paged: dict[str, Incident] = {}
    for world, first in worlds(recording, until, progress, source=source):
        for at in range(first, len(world.times)):
            before, state = state.incidents, advance(state, world, at)
            time, now = float(world.times[at]), state.incidents
            times.append(time)
            if now != before:
                history.append((time, now))
                ever |= {item.id: item for item in now}
                paged = {item.id: item for item in now if item.paged is not None} | paged
    if world is None:
        raise RecordingError(f"recording {recording.path}: there is no grid point in it; it is too short")
    final = tuple(sorted(ever.values(), key=lambda item: (item.opened, item.id)))
    return ReplayResult(np.array(times), tuple(history), final, paged, world, learning(world))


def worlds(
    recording: Recording,
    until: float | None = None,
    progress: Progress = lambda *_: None,
    pace: ReplayTiming | None = None,
    source: Callable[[Recording], MetricSource] = RecordedMetrics,
) -> Iterator[tuple[World, int]]:
    """The Worlds of a recording, one after the other, each with the index of its first grid point that is new.

    Raises:
        RecordingError: it cannot be read, holds no metrics, or begins after `until`.
    """
    start, end = sample_range(recording, until)
    pace = pace or ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
    first, last = math.ceil(start / pace.step) * pace.step, math.floor(end / pace.step) * pace.step
    slower = pace.step / DEFAULTS.step
    whole = last - first <= MAX_WHOLE_SECONDS * slower
    piece = last - first + pace.step if whole else PIECE_SECONDS * slower
    keep = math.inf if whole else piece + LOOKBACK_SECONDS * slower
    metrics, read = source(recording), catalogue(pace.window, pace.quick)
    observer = Observer(metrics, read, pace.step, with_quantiles, keep, begin=lambda _: first)
    seasons = SeasonalHistory(metrics, lambda apart: catalogue(max(apart, pace.window)))
    reached = first - pace.step
    while reached < last:
        told = min(last, reached + piece)
        world = build_world(observer.read(told), pace.step, observer.missing())
        if recording.meta.simulated:
            world = replace(world, simulated=True)
        seasons.load(float(world.times[0]), world.time)
        yield seasons.attach(world), int(np.searchsorted(world.times, reached, side="right"))
        reached = told
        progress("replaying", (reached - first) / max(last - first, pace.step))


def sample_range(recording: Recording, until: float | None) -> tuple[float, float]:
    """When a recording's samples begin and end, in Unix seconds; the end is `until` where that is earlier.

    Raises:
        RecordingError: it holds no metrics, or begins after `until`.
    """
    meta = recording.meta
    if meta.start is None or meta.end is None or not recording.series:
        what = "spans but no samples: count them first, with a hub or a Collector" if meta.end else "no sample"
        raise RecordingError(f"recording {recording.path}: it holds {what}; nothing can be judged by that")
    if until is not None and until < meta.start:
        raise RecordingError(f"recording {recording.path}: it begins after {until:.0f}; name a later time")
    return meta.start, meta.end if until is None else min(until, meta.end)
