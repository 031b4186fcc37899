"""Answers of `explain` and of baseline rankings to questions about labeled recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from foreshock_dashboard.analysis.root_cause.series_owner import owner
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.registry import Family
from foreshock_dashboard.model.query import Matrix, MetricSource, NoDataError, Query
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.explain import SelectedMetrics, SourceExtent, explain
from foreshock_dashboard.replay.replay import DEFAULTS, ReplayTiming, sample_range
from foreshock_evaluation.explanations.incident import FAULT_FREE, Incident, read_incident
from foreshock_evaluation.explanations.questions import Asker, Question, fault_questions, quiet_questions
from foreshock_evaluation.explanations.rankers import ANOMALOUS_SCORE, RANKERS, MetricScores, metric_scores
from foreshock_evaluation.scores.ranking import Scores, hit_probability

SignalSet = Literal["traces", "metrics", "both"]
SIGNAL_SETS: tuple[SignalSet, ...] = get_args(SignalSet)
RANKS = (1, 3, 5)
OURS, OURS_WITH_WEAK = "explain", "explain with weak candidates"
METHODS = (OURS, OURS_WITH_WEAK, *RANKERS)
_SERVICE_LABELS = frozenset(("service_name", "pod"))
_OF_SPANS = tuple(family.name for family in vars(names).values() if isinstance(family, Family))
"""Names of the metrics counted from spans; those of histograms have suffixes."""


class Task(NamedTuple):
    """A recording to ask about.

    offsets: seconds after the fault was noticed. live: hide data after each question. separate: ask with traces and
    metrics alone as well if the recording has both.
    """

    path: Path
    offsets: tuple[float, ...]
    askers: tuple[Asker, ...]
    live: bool
    separate: bool


class Answer(NamedTuple):
    """An answer of one method.

    offset: None where no root cause is to be found. hits: probability that a right service is among the first 1, 3, 5.
    named: services in order, for the report. problem: why there is no answer. above_low: whether a
    candidate has medium or high confidence.
    """

    recording: str
    topology: str
    kind: str
    signals: SignalSet
    asker: Asker
    offset: float | None
    method: str
    hits: tuple[float, ...]
    empty: bool
    named: tuple[str, ...] = ()
    problem: str = ""
    above_low: bool = False


class CachedSource(MetricSource):
    """A source that is read once: several questions are about one time."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self._read: dict[tuple[Query, float, float, float], Matrix] = {}

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return self._source.metric_names()

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        key = query, start, end, step
        if key not in self._read:
            self._read[key] = self._source.fetch(query, start, end, step)
        return self._read[key]


def signal_sets(source: MetricSource, *, separate: bool) -> Iterator[tuple[SignalSet, MetricSource]]:
    """The signals that a source has, and the source. separate: traces and metrics alone as well if it has both."""
    of_spans = {metric: metric.startswith(_OF_SPANS) for metric in source.metric_names()}
    kinds = {*of_spans.values()}
    yield "both" if len(kinds) > 1 else "traces" if kinds == {True} else "metrics", source
    if separate and len(kinds) > 1:
        yield "traces", SelectedMetrics(source, lambda metric: of_spans.get(metric, False))
        yield "metrics", SelectedMetrics(source, lambda metric: not of_spans.get(metric, True))


def score(task: Task) -> list[Answer]:
    """Ask all questions about a recording.

    Raises:
        SourceError: the recording cannot be read.
    """
    incident = read_incident(task.path)
    answers: list[Answer] = []
    with closing(Recording(task.path)) as recording:
        start, end = sample_range(recording, None)
        timing = ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
        questions = [
            *fault_questions(incident, end, task.offsets, task.askers, task.live),
            *quiet_questions(incident, start, end, services_of(recording), task.askers, task.live),
        ]
        for signals, source in signal_sets(RecordedMetrics(recording), separate=task.separate):
            source = CachedSource(source)
            scored: dict[tuple[float, float], MetricScores] = {}
            for question in questions:
                extent = SourceExtent(str(task.path), start, question.end)
                answers += _ours(source, extent, timing, incident, question, signals)
                window = (question.at, question.end)
                if window not in scored:
                    scored[window] = metric_scores(source, question.at, start, question.end, timing.step)
                answers += _baselines(scored[window], incident, question, signals)
    return answers


def services_of(recording: Recording) -> list[Service]:
    """The services that spans or pods of a recording name."""
    named = ((series.metric, dict(series.labels)) for series in recording.series)
    return sorted({owner(metric, labels) for metric, labels in named if not _SERVICE_LABELS.isdisjoint(labels)})


def _ours(
    source: MetricSource,
    extent: SourceExtent,
    timing: ReplayTiming,
    incident: Incident,
    question: Question,
    signals: SignalSet,
) -> Iterable[Answer]:
    asked = None if question.service is None else str(question.service)
    problem = ""
    above_low = False
    strong: Sequence[Service] = ()
    weak: Sequence[Service] = ()
    try:
        answer = explain(source, extent, timing, asked, question.at)
    except NoDataError as error:
        problem = str(error)
    else:
        strong, weak = ([item.service for item in part] for part in (answer.candidates, answer.weak_candidates))
        above_low = any(item.confidence != "low" for item in answer.candidates)
    for method, ranked in ((OURS, strong), (OURS_WITH_WEAK, [*strong, *weak])):
        ranks = [rank for rank, service in enumerate(ranked, 1) if incident.is_root_cause(service)]
        hits = tuple(float(any(rank <= k for rank in ranks)) for k in RANKS)
        found = _answer(incident, question, signals, method, hits, [*map(str, ranked)], problem)
        yield found._replace(above_low=above_low)


def _baselines(scores: MetricScores, incident: Incident, question: Question, signals: SignalSet) -> Iterable[Answer]:
    anomalous = max(scores.robust.values(), default=0.0) >= ANOMALOUS_SCORE
    for method, ranker in RANKERS.items():
        ranked: Scores = ranker(scores, question.service) if anomalous else {}
        right = frozenset(service for service in ranked if incident.is_root_cause(service))
        hits = tuple(hit_probability(ranked, right, k) for k in RANKS)
        order = sorted(ranked, key=lambda service: -ranked[service])
        yield _answer(incident, question, signals, method, hits, [*map(str, order)], "")


def _answer(
    incident: Incident,
    question: Question,
    signals: SignalSet,
    method: str,
    hits: tuple[float, ...],
    named: Sequence[str],
    problem: str,
) -> Answer:
    is_quiet = question.offset is None or not incident.is_fault
    return Answer(
        recording=incident.name,
        topology=incident.topology,
        kind=FAULT_FREE if question.offset is None else incident.kind,
        signals=signals,
        asker=question.asker,
        offset=None if is_quiet else question.offset,
        method=method,
        hits=hits,
        empty=not named,
        named=tuple(named[: RANKS[-1]]),
        problem=problem,
    )
