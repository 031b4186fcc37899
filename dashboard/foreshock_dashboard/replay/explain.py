"""Root-cause ranking for one service at one time, from any metrics of a source."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from foreshock_dashboard.analysis.incidents.change_cause import recent_changes, with_changes
from foreshock_dashboard.analysis.root_cause.deviation import (
    AnalysisWindow,
    Deviations,
    excursion_start,
    window_around,
)
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.parameters import AFTER, MAX_WEAK_CANDIDATES, MIN_BASELINE_POINTS
from foreshock_dashboard.analysis.root_cause.rank import explained_further
from foreshock_dashboard.analysis.root_cause.rank_signals import Ranking, SignalRanker
from foreshock_dashboard.analysis.root_cause.signal_rows import Entity, SignalRow, signal_rows
from foreshock_dashboard.common.did_you_mean import MIN_SIMILARITY
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.explanation import (
    SIGNAL_KINDS,
    Explanation,
    MissingSignal,
    Period,
    SignalCount,
    SignalKind,
)
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.query import Matrix, MetricSource, NoDataError, Query, grid
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.replay.earlier_windows import was_less_anomalous
from foreshock_dashboard.replay.replay import DEFAULTS, ReplayTiming, readers, sample_range
from foreshock_dashboard.replay.retrospective import retrospective
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.world.all_series import read_all_series
from foreshock_dashboard.world.builder import build_world, catalog
from foreshock_dashboard.world.changes import readings as change_readings
from foreshock_dashboard.world.row import RateWindows

INFERENCE_METRICS = frozenset(
    query.series_name
    for name in ("busy", "running", "waiting")
    for query in catalog(DEFAULTS.window, DEFAULTS.window)[name].queries
)
"""Metrics of GPU tenants and model servers."""

CHANGE_METRICS = frozenset(
    query.series_name
    for row in change_readings(RateWindows(DEFAULTS.window, DEFAULTS.window)).values()
    for query in row.queries
)
"""Metrics of versions, images, and settings, and of reported changes."""
MAX_NAMED_SERVICES = 5
"""Services that an error about an unknown one lists."""


class SelectedMetrics(MetricSource):
    """Some of the metrics of a source."""

    def __init__(self, source: MetricSource, selected: Callable[[str], bool]) -> None:
        self._source, self._selected = source, selected

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return frozenset(filter(self._selected, self._source.metric_names()))

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        if self._selected(query.series_name):
            return self._source.fetch(query, start, end, step)
        return Matrix.empty(grid(start, end, step))


class SourceExtent(NamedTuple):
    """What a source holds: samples from `start` to `end` (Unix seconds). name: of the source, for messages."""

    name: str
    start: float
    end: float


def explain_recording(recording: Recording, service: str | None, at: float, cluster: str = "") -> Explanation:
    """As `explain`, of a recording. Raises RecordingError: it lacks the cluster, service, time, or baseline."""
    extent = SourceExtent(f"recording {recording.path}", *sample_range(recording, None))
    timing = ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
    source = ClusterSource(RecordedMetrics(recording))
    source.look(extent.end, extent.end - extent.start)
    if cluster and not (source.has_several and cluster in source.clusters):
        known = ", ".join(sorted(source.clusters)) if source.has_several else "one cluster or none"
        raise RecordingError(f"{extent.name}: unknown cluster {cluster!r}. It has {known}.")
    return explain(source, extent, timing, service, at, cluster)


def explain(
    source: MetricSource, extent: SourceExtent, timing: ReplayTiming, service: str | None, at: float, cluster: str = ""
) -> Explanation:
    """Rank the root causes of a service's anomaly around `at` (Unix seconds); without a service, of any service's.

    cluster: that of the service; without a service, that of the causes. The cause of a service may be in another one.

    Raises:
        NoDataError: the source lacks the service, that time, or a baseline before it.
        SourceError: the source cannot answer.
    """
    compared = compare(source, extent, timing, service, at, cluster)
    ranking, signals = compared.ranking(), counted(compared.ranker.graph.found)
    missing = [MissingSignal(kind) for kind in SIGNAL_KINDS if kind not in {*(row.kind for row in signals), "other"}]
    if source.metric_names().isdisjoint(CHANGE_METRICS):
        missing.append(MissingSignal("changes"))
    baseline, analyzed = _compared_times(compared.window)
    ranked, shown = ranking.candidates, recent_changes(compared.changes, *analyzed)
    if cluster and compared.target is None:
        ranked = normalized(item for item in ranked if item.service.cluster == cluster)
        shown = tuple(change for change in shown if _may_be_in(change, cluster))
    strong, weak = (ranked, ()) if ranking.passed else ((), ranked[:MAX_WEAK_CANDIDATES])
    return Explanation(compared.target, at, strong, weak, signals, tuple(missing), baseline, analyzed, shown)


def normalized(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates with their shares of the suspicion of them all."""
    kept = tuple(candidates)
    total = sum(item.score for item in kept) or 1.0
    return tuple(item._replace(score=item.score / total) for item in kept)


def _may_be_in(change: Change, cluster: str) -> bool:
    return (change.service.cluster if change.service else split_cluster(change.host)[0]) in ("", cluster)


class Comparison(NamedTuple):
    """What is ranked: all signals around a time beside their baselines, and the graphs of an inference platform."""

    window: AnalysisWindow
    rows: Sequence[SignalRow]
    ranker: SignalRanker
    target: Service | None
    services: frozenset[Service]
    world: World | None

    @property
    def changes(self) -> Sequence[Change]:
        """All changes in the compared times."""
        return self.world.changes if self.world else ()

    def ranking(self) -> Ranking:
        """The suspected causes by the signals and the changes."""
        found = self.ranker.ranking(self.target)
        passed = found.passed or was_less_anomalous(self.rows, self.window, self.target, found.strength)
        walks = _inference_walks(self.world, self.rows, self.window, found)
        found = explained_further(walks, found._replace(passed=passed))
        _, analyzed = _compared_times(self.window)
        return found._replace(candidates=with_changes(found.candidates, self.changes, self.services, *analyzed))


def compare(
    source: MetricSource, extent: SourceExtent, timing: ReplayTiming, service: str | None, at: float, cluster: str = ""
) -> Comparison:
    """The signals around `at` (Unix seconds), in view of a service, of a cluster if one is given, or of all.

    Raises:
        NoDataError: the source lacks the service, that time, or a baseline before it.
        SourceError: the source cannot answer.
    """
    window = analysis_window(extent, at, timing.step)
    series = read_all_series(source, float(window.times[0]), float(window.times[-1]), window.step)
    rows = signal_rows(series, window.baseline_end, window.step)
    ranker = SignalRanker(rows, window)
    services = ranker.graph.services
    known = [item for item in services if cluster in ("", item.cluster)]
    target = None if service is None else resolve_service(service, known, extent.name)
    if target is None and cluster:  # what is worse in another one must not hide it, nor lend it confidence
        rows = [row for row in rows if _is_in(row.entity, cluster)]
        ranker = SignalRanker(rows, window)
    world = _world(source, window, timing)
    return Comparison(window, rows, ranker, target, frozenset(services), world)


def _is_in(entity: Entity, cluster: str) -> bool:
    """Whether a service, or both sides of a call, are in a cluster."""
    return all(item.cluster == cluster for item in ((entity,) if isinstance(entity, Service) else entity))


def _compared_times(window: AnalysisWindow) -> tuple[Period, Period]:
    """The baseline, and the time that is compared with it."""
    times = window.times
    return (
        Period(float(times[0]), float(times[window.baseline_end - 1])),
        Period(float(times[window.first]), float(times[-1])),
    )


def _world(source: MetricSource, window: AnalysisWindow, timing: ReplayTiming) -> World | None:
    """The World of an inference platform; of other platforms one of their changes, None without."""
    names = source.metric_names()
    if names.isdisjoint(INFERENCE_METRICS):
        if names.isdisjoint(CHANGE_METRICS):
            return None
        source = SelectedMetrics(source, lambda metric: metric in CHANGE_METRICS)
    begin, end = float(window.times[0]), float(window.times[-1])
    observer, seasons = readers(source, timing, begin)
    seasons.load(begin, end)
    return seasons.attach(build_world(observer.read(end), timing.step))


def _inference_walks(
    world: World | None, rows: Sequence[SignalRow], window: AnalysisWindow, found: Ranking
) -> tuple[GraphWalk, ...]:
    """Graphs of an inference platform when the excess of the first candidate began; none of other platforms.

    Contention for GPUs, batching, and load follow laws of their own, which the signals of services do not show. A
    saturated service answers fewer requests than it is sent, so later evaluations no longer show that these grew.
    """
    if world is None:
        return ()
    if not world.tenants and not (world.model_servers and world.model_servers.services):
        return ()
    at = excursion_start(rows, window, found.candidates[0].service) if found.candidates else window.at
    return retrospective(world, at, float(window.times[window.first]) - (window.at - at))


def counted(found: Deviations) -> tuple[SignalCount, ...]:
    """Number of signals of each kind, and of their services."""
    series: dict[SignalKind, int] = {}
    services: dict[SignalKind, set[object]] = {}
    for row in found.rows:
        kind: SignalKind = row.kind if isinstance(row.entity, Service) else "calls"
        series[kind] = series.get(kind, 0) + 1
        services.setdefault(kind, set()).update([row.entity] if isinstance(row.entity, Service) else row.entity)
    return tuple(SignalCount(kind, series[kind], len(services[kind])) for kind in SIGNAL_KINDS if kind in series)


def analysis_window(extent: SourceExtent, at: float, step: float) -> AnalysisWindow:
    """The grid points of the baseline and of the analyzed time.

    Raises:
        NoDataError: the source lacks that time, or a baseline before it.
    """
    place, start, end = extent
    at = end if end < at <= end + AFTER.at(step) else at
    if not start <= at <= end:
        raise NoDataError(
            f"{place}: no data at {utc_timestamp(at)}. "
            f"Choose a time from {utc_timestamp(start)} to {utc_timestamp(end)}."
        )
    window = window_around(start, end, at, step)
    if window is None:
        raise NoDataError(
            f"{place}: {at - start:.0f} s of data before {utc_timestamp(at)} are too few for a baseline. Choose a time "
            f"at least {2 * MIN_BASELINE_POINTS * step:.0f} s after {utc_timestamp(start)}."
        )
    return window


def resolve_service(text: str, known: Iterable[Service], place: str) -> Service:
    """The service that a text names: with its namespace, else by its name alone, else up to case and separators.

    Raises:
        NoDataError: no service or several services match.
    """
    listed = sorted(known)
    for matches in (
        [item for item in listed if str(item) == text],
        [item for item in listed if str(item.local) == text],
        [item for item in listed if item.name == text],
        [item for item in listed if _plain(item.name) == _plain(text.rpartition("/")[2])],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NoDataError(f"{place}: {text!r} is ambiguous. Use one of {', '.join(map(str, matches))}.")
    names = list(map(str, listed))
    near = difflib.get_close_matches(text, names, 3, MIN_SIMILARITY)
    hint = f" Did you mean {', '.join(near)}?" if near else f" Services: {', '.join(names[:MAX_NAMED_SERVICES])}."
    hint = hint if names else " No series has the labels of a service."
    raise NoDataError(f"{place}: no service {text!r}.{hint}")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
