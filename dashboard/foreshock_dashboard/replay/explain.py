"""Root-cause ranking for one service at one time, from any metrics of a recording."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.incidents.retrospective import retrospective
from foreshock_dashboard.analysis.root_cause.anomaly_ranking import GenericAnomalies, group_by_service
from foreshock_dashboard.analysis.root_cause.metric_anomalies import (
    MIN_BASELINE_POINTS,
    AnalysisWindow,
    MetricAnomaly,
    call_of,
    histogram_means,
    metric_anomalies,
)
from foreshock_dashboard.analysis.root_cause.rank import rank_causes_over_time
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.query import MetricSource, NoDataError, grid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.incident_text import utc_timestamp
from foreshock_dashboard.replay.replay import DEFAULTS, ReplayTiming, readers, sample_range
from foreshock_dashboard.world.all_series import read_all_series
from foreshock_dashboard.world.builder import build_world

BEFORE_SECONDS, AFTER_SECONDS = 300.0, 600.0
"""Analyzed time before and after the given one, which may be that of the cause or of the effect."""
MIN_POINTS_BEFORE, MIN_POINTS_AFTER = 3, 5
"""Least number of analyzed points, for sparse samples."""
BASELINE_POINTS = 720
"""Points of the baseline: two hours at the default step."""


MAX_WEAK_CANDIDATES = 5


class SourceExtent(NamedTuple):
    """What a source holds: samples from `start` to `end` (Unix seconds). name: of the source, for messages."""

    name: str
    start: float
    end: float


def explain_recording(recording: Recording, service: str | None, at: float) -> Explanation:
    """Rank the root causes of a service's anomaly around `at` (Unix seconds); without a service, of any service's.

    Raises:
        RecordingError: the recording lacks the service, that time, or a baseline before it.
    """
    extent = SourceExtent(f"recording {recording.path}", *sample_range(recording, None))
    timing = ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
    return explain(RecordedMetrics(recording), extent, timing, service, at)


def explain(
    source: MetricSource, extent: SourceExtent, timing: ReplayTiming, service: str | None, at: float
) -> Explanation:
    """Rank the root causes of a service's anomaly around `at` (Unix seconds); without a service, of any service's.

    Raises:
        NoDataError: the source lacks the service, that time, or a baseline before it.
        SourceError: the source cannot answer.
    """
    window = analysis_window(extent, at, timing.step)
    world = load_world(source, window, timing)
    anomalies = find_anomalies(source, window, timing.step, world.services)
    strengths = {item.service: item.strength for item in anomalies.by_service.values()}
    ranked = sorted(strengths, key=lambda item: (-strengths[item], item))
    weak = tuple(Candidate(item, 1.0, anomalies.by_service[item].reasons) for item in ranked[:MAX_WEAK_CANDIDATES])
    if service is None:
        return Explanation(None, at, weak)
    target = resolve_service(service, {*anomalies.by_service, *world.services}, extent.name)
    walks = retrospective(world, at, float(window.times[window.first]))
    candidates = rank_causes_over_time(walks, target, anomalies)
    return Explanation(target, at, candidates, () if candidates else weak)


def load_world(source: MetricSource, window: AnalysisWindow, timing: ReplayTiming) -> World:
    """The World of the analyzed time and its baseline, from the metrics that the hub reads.

    Raises:
        SourceError: the source cannot answer.
    """
    begin, end = float(window.times[0]), float(window.times[-1])
    observer, seasons = readers(source, timing, begin)
    seasons.load(begin, end)
    return seasons.attach(build_world(observer.read(end), timing.step))


def analysis_window(extent: SourceExtent, at: float, step: float) -> AnalysisWindow:
    """The grid points of the baseline and of the analyzed time.

    Raises:
        NoDataError: the source lacks that time, or a baseline before it.
    """
    place, start, end = extent
    if not start <= at <= end:
        raise NoDataError(
            f"{place}: no data at {utc_timestamp(at)}. Choose one from {utc_timestamp(start)} to {utc_timestamp(end)}."
        )
    before = min(max(BEFORE_SECONDS, MIN_POINTS_BEFORE * step), max(0.0, (at - start) / 2))
    first = math.ceil((at - before) / step) * step
    oldest = max(math.ceil(start / step) * step, first - BASELINE_POINTS * step)
    if first - oldest < MIN_BASELINE_POINTS * step:
        raise NoDataError(
            f"{place}: {at - start:.0f} s of data before {utc_timestamp(at)} are too few for a baseline. Choose a time "
            f"at least {2 * MIN_BASELINE_POINTS * step:.0f} s after {utc_timestamp(start)}."
        )
    last = min(end, at + max(AFTER_SECONDS, MIN_POINTS_AFTER * step))
    times = grid(oldest, max(first, last), step)
    return AnalysisWindow(times, int(np.searchsorted(times, first)))


def find_anomalies(
    source: MetricSource, window: AnalysisWindow, step: float, known: Iterable[Service] = ()
) -> GenericAnomalies:
    """Anomalies of all metrics of a source. known: services besides those of its metrics.

    Raises:
        SourceError: the source cannot answer.
    """
    anomalies: list[MetricAnomaly] = []
    calls: dict[Service, dict[Service, None]] = {}
    for metric, series, counts in read_all_series(source, float(window.times[0]), float(window.times[-1]), step):
        if counts is None:
            anomalies += metric_anomalies(metric, series, window)
        else:
            anomalies += metric_anomalies(f"{metric}_count", counts, window)
            anomalies += metric_anomalies(metric, histogram_means(series, counts), window, counter=False)
        for labels in series.labels:
            if call := call_of(dict(labels)):
                calls.setdefault(call[0], {})[call[1]] = None
    callees = {client: tuple(servers) for client, servers in calls.items()}
    return GenericAnomalies(group_by_service(anomalies, known), callees, step)


def resolve_service(text: str, known: Iterable[Service], place: str) -> Service:
    """The service that a text names: with its namespace, else by its name alone, else up to case and separators.

    Raises:
        NoDataError: no service or several services match.
    """
    listed = sorted(known)
    for matches in (
        [item for item in listed if str(item) == text],
        [item for item in listed if item.name == text],
        [item for item in listed if _plain(item.name) == _plain(text.rpartition("/")[2])],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NoDataError(f"{place}: {text!r} is ambiguous. Use one of {', '.join(map(str, matches))}.")
    near = difflib.get_close_matches(text, map(str, listed), 3, 0.4) or list(map(str, listed[:5]))
    hint = f" Did you mean {', '.join(near)}?" if near else " No series has the labels of a service."
    raise NoDataError(f"{place}: no service {text!r}.{hint}")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
