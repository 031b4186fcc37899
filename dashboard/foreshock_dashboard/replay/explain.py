"""Who is to blame for what one service suffers at one time, from whatever a recording holds."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.incidents.retrospective import hindsight
from foreshock_dashboard.analysis.root_cause.generic_ranking import Suspect, blended, ranked, suspects
from foreshock_dashboard.analysis.root_cause.metric_anomalies import LEAST, Around, Oddity, means, oddities
from foreshock_dashboard.analysis.root_cause.series_owner import call
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.query import MetricSource, grid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import DEFAULTS, ReplayTiming, sample_range
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.world.all_series import read_all_series
from foreshock_dashboard.world.builder import build_world, with_quantiles
from foreshock_dashboard.world.catalogue.catalogue import catalogue
from foreshock_dashboard.world.observer import Observer

BEFORE, AFTER = 300.0, 600.0
"""Seconds before and after the instant that are judged: who names a time may name the cause's or the effect's."""
FEWEST_BEFORE, FEWEST_AFTER = 3, 5
"""Points that are judged at least, where samples are few."""
PAST = 720
"""Points of past that are compared with: two hours at the usual pace."""


class Explanation(NamedTuple):
    """Ranked causes; none where nothing is wrong. at: Unix seconds."""

    service: Service
    at: float
    candidates: tuple[Candidate, ...]


class Anomalies(NamedTuple):
    """What is odd about each service around an instant, and who calls whom."""

    suspects: Mapping[Service, Suspect]
    calls: Mapping[Service, tuple[Service, ...]]


def explain(recording: Recording, service: str, at: float) -> Explanation:
    """Rank who is to blame for what a service suffers around `at` (Unix seconds).

    Raises:
        RecordingError: the recording does not have the service or that time, or no past to compare with.
    """
    pace = ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
    around = analysis_window(recording, at, pace.step)
    world = load_world(RecordedMetrics(recording), around, pace)
    seen = find_anomalies(RecordedMetrics(recording), around, pace.step, world.services)
    who = resolve_service(service, {*seen.suspects, *world.services}, f"recording {recording.path}")
    known = hindsight(world, who, at, float(around.times[around.first]))
    odd = ranked(who, seen.suspects, seen.calls, pace.step)
    agreed = bool(known.candidates and odd) and known.candidates[0].service == odd[0].service
    if known.lasting or agreed:  # a tremor is nobody's doing; two looks that name the same one are more than that
        return Explanation(who, at, blended(known.candidates, odd))
    return Explanation(who, at, () if known.told else odd)


def load_world(source: MetricSource, around: Around, pace: ReplayTiming) -> World:
    """What is known of the platform from the metrics that foreshock reads.

    Raises:
        SourceError: the source cannot answer.
    """
    begin = float(around.times[0])
    read = catalogue(pace.window, pace.quick)
    observer = Observer(source, read, pace.step, with_quantiles, keep=math.inf, begin=lambda _: begin)
    seasons = SeasonalHistory(source, lambda apart: catalogue(max(apart, pace.window)))
    seasons.load(begin, float(around.times[-1]))
    return seasons.attach(build_world(observer.read(float(around.times[-1])), pace.step))


def analysis_window(recording: Recording, at: float, step: float) -> Around:
    """The grid points around an instant.

    Raises:
        RecordingError: the recording does not have that time, or no past to compare with.
    """
    start, end = sample_range(recording, None)
    where = f"recording {recording.path}"
    if not start <= at <= end:
        raise RecordingError(f"{where}: it is of {start:.0f} to {end:.0f}, and {at:.0f} is not in there")
    before = min(max(BEFORE, FEWEST_BEFORE * step), max(0.0, (at - start) / 2))
    first = math.ceil((at - before) / step) * step
    oldest = max(math.ceil(start / step) * step, first - PAST * step)
    if first - oldest < LEAST * step:
        raise RecordingError(
            f"{where}: there are only {at - start:.0f} s before {at:.0f}; name a time at least "
            f"{2 * LEAST * step:.0f} s after its start, so that it can be compared with what came before"
        )
    last = min(end, at + max(AFTER, FEWEST_AFTER * step))
    times = grid(oldest, max(first, last), step)
    return Around(times, int(np.searchsorted(times, first)))


def find_anomalies(source: MetricSource, around: Around, step: float, known: Iterable[Service] = ()) -> Anomalies:
    """Look at everything that a source has. `known`: services that are there anyway.

    Raises:
        SourceError: the source cannot answer.
    """
    found: list[Oddity] = []
    calls: dict[Service, dict[Service, None]] = {}
    for metric, series, counts in read_all_series(source, float(around.times[0]), float(around.times[-1]), step):
        if counts is None:
            found += oddities(metric, series, around)
        else:
            found += oddities(f"{metric}_count", counts, around)
            found += oddities(metric, means(series, counts), around, counter=False)
        for labels in series.labels:
            if pair := call(dict(labels)):
                calls.setdefault(pair[0], {})[pair[1]] = None
    return Anomalies(suspects(found, known), {client: tuple(servers) for client, servers in calls.items()})


def resolve_service(text: str, known: Iterable[Service], where: str) -> Service:
    """The service that is meant: by its whole name, else by its name alone, else written nearly so.

    Raises:
        RecordingError: none or several are.
    """
    listed = sorted(known)
    for same in (
        [who for who in listed if str(who) == text],
        [who for who in listed if who.name == text],
        [who for who in listed if _plain(who.name) == _plain(text.rpartition("/")[2])],
    ):
        if len(same) == 1:
            return same[0]
        if same:
            raise RecordingError(f"{where}: {text!r} may be {', '.join(map(str, same))}; name one with its namespace")
    near = difflib.get_close_matches(text, [str(who) for who in listed], 3, 0.4) or [str(who) for who in listed[:5]]
    hint = f"; there is {', '.join(near)}" if near else "; no series tells whose it is"
    raise RecordingError(f"{where}: no service {text!r}{hint}")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
