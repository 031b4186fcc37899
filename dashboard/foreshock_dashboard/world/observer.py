"""Incremental reader of a metrics source on the epoch-aligned evaluation grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SizeError, SourceError, grid
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median_interval, nan_sum
from foreshock_dashboard.world.calls import GRAPH, SPANS, TEMPO
from foreshock_dashboard.world.row import Catalog, CatalogRow, Producer, Readings

HOUR_SECONDS = 3600.0
MAX_CHUNK_POINTS = 360
"""Grid points per request: an hour of evaluations, or a chart. After a restart there are hours to read, and the store
decodes the samples of a metric in a whole block, of up to hours, for each request."""
LARGER_AFTER_PIECES = 100
"""Pieces after which twice as many points may be requested again, once an answer was too large."""
FIRST_CHUNK_POINTS = 1
"""Grid points of the first request, before the number of series is known."""
PRODUCER_GRACE_SECONDS = 900.0
"""How long a producer may send nothing before another one is used. A restarted Collector must not rename services. A
piece ends then, so that one read of hours gives what as many evaluations gave."""
MAX_CHUNK_VALUES = 4_000_000
"""Values in all answers of one request; a large platform is read in smaller pieces."""
MAX_NAMES_AGE_SECONDS = 60.0
"""Longest use of a list of metric names, and so the longest delay of a new metric."""
RESOLUTIONS_SECONDS = ((1.0, 150.0), (10.0, 1500.0))
"""(resolution, lookback) of each attempt to measure the scrape interval; the second finds long intervals."""


def fold_start(now: float) -> float:
    """Unix seconds at which the fold of incidents begins: the last full hour at least two hours back."""
    return math.floor((now - 2 * HOUR_SECONDS) / HOUR_SECONDS) * HOUR_SECONDS


def align_down(now: float, step: float) -> float:
    """Largest multiple of `step` not after `now`."""
    return math.floor(now / step) * step


def fetch_catalog(
    source: MetricSource,
    catalog: Catalog,
    start: float,
    end: float,
    step: float,
    names: frozenset[str] | None = None,
    producers: Mapping[str, str] | None = None,
) -> tuple[Readings, Mapping[str, str]]:
    """Query every row of the catalog: all first forms at once, then the next forms of those without an answer.

    Args:
        names: metrics of the source; others are not queried. None where unknown.
        producers: the producer of each reading, where known.

    Returns:
        The answers by key, and the producer of each reading that several producers can give.

    Raises:
        SourceError: the source could not answer.
    """
    empty, fetched = Matrix.empty(grid(start, end, step)), dict[int, Matrix]()

    def fetch(forms: Sequence[Producer]) -> None:
        present = [form for form in forms if names is None or form.query.series_name in names]
        found = source.fetch_all([form.query for form in present], start, end, step)
        fetched.update((id(form), form.standard(matrix)) for form, matrix in zip(present, found, strict=True))

    chosen, answers = dict(producers or {}), dict.fromkeys(catalog, empty)
    untried: dict[str, tuple[Producer, ...]] = {}
    pending, also = list(catalog), [form for row in catalog.values() for form in row.also]
    while pending:
        for key in pending:
            row = catalog[key]
            if key not in untried and row.part_of not in pending:
                untried[key] = _ways(row, chosen.get(key), chosen.get(row.part_of))
        started = [key for key in pending if untried.get(key)]
        fetch([untried[key][0] for key in started] + also)
        also = []
        for key in started:
            way, *others = untried[key]
            answers[key] = fetched.get(id(way), empty)
            untried[key] = () if len(answers[key]) else tuple(others)
            row = catalog[key]
            if len(answers[key]) and not row.part_of and any(option.producer for option in row.ways):
                chosen[key] = way.producer
        pending = [key for key in pending if untried.get(key, True)]
    for key, row in catalog.items():
        for form in row.also:
            answers[key] = merged(answers[key], fetched.get(id(form), empty))
    return answers, chosen


def _ways(row: CatalogRow, producer: str | None, producer_of_whole: str | None) -> tuple[Producer, ...]:
    """Forms of a row to try: those of its producer, or of the producer of the reading that it is part of."""
    if producer is not None:
        # The maker of a service graph may add span metrics.
        allowed = {SPANS, TEMPO, GRAPH} if producer == GRAPH else {producer}
    elif producer_of_whole is not None:
        allowed = {"", producer_of_whole}
    else:
        return row.ways
    return tuple(way for way in row.ways if way.producer in allowed)


@runtime_checkable
class NamedMetricSource(Protocol):
    """A source that lists its metrics; worth it where each query costs a round trip."""

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """Names of the metrics with samples between two instants (Unix seconds); may include others.

        None where the source cannot list them, so that everything is queried.
        """
        ...


class MetricNameCache:
    """Cache of the wanted metrics that a source has.

    A list is used for as long as it has been stable, at most `MAX_NAMES_AGE_SECONDS`. So metrics that have just begun
    to arrive are seen at once.
    """

    def __init__(self, source: NamedMetricSource, wanted: frozenset[str]) -> None:
        self._source = source
        self._wanted = wanted
        self._names: frozenset[str] | None = None
        self._start = math.inf
        self._end = self._changed = -math.inf

    def between(self, start: float, end: float) -> frozenset[str] | None:
        """Wanted metrics with samples between two instants (Unix seconds)."""
        if start < self._start or end >= self._end + min(MAX_NAMES_AGE_SECONDS, self._end - self._changed):
            listed = self._source.names_between(start, end)
            names = None if listed is None else listed & self._wanted
            if names != self._names or self._start == math.inf:
                self._changed = end
            self._names, self._start, self._end = names, start, end
        return self._names


class Observer:
    """Reads the catalog: everything since the start of the fold at first, then only new grid points.

    A source that lists its metrics is not queried for others, since a platform has few of the catalog's producers.

    Args:
        source: where to read.
        catalog: rows to read, by key.
        step: seconds between grid points.
        reduce: applied to each piece of answers; sees every grid point once.
        keep: seconds of history.
        begin: maps the end of a read to the Unix seconds at which reading begins.
        max_chunk_values: values read at once.
    """

    def __init__(
        self,
        source: MetricSource,
        catalog: Catalog,
        step: float,
        reduce: Callable[[Readings], Readings],
        keep: float = 3 * HOUR_SECONDS,
        begin: Callable[[float], float] = fold_start,
        max_chunk_values: int = MAX_CHUNK_VALUES,
    ) -> None:
        self._source = source
        self._catalog = catalog
        self._step = step
        self._reduce = reduce
        self._keep = keep
        self._begin = begin
        self._max_chunk_values = max_chunk_values
        queries = [query for row in catalog.values() for query in row.queries]
        wanted = frozenset(query.series_name for query in queries)
        self._names = MetricNameCache(source, wanted) if isinstance(source, NamedMetricSource) else None
        self._back = max((query.window for query in queries), default=0.0)
        self._present: set[str] = set()
        self._readings: Readings = {}
        self._until = -math.inf
        self._points, self._max_points = FIRST_CHUNK_POINTS, MAX_CHUNK_POINTS
        self._pieces = 0
        self._any_read = False
        self._producers: dict[str, str] = {}
        self._last_answer: dict[str, float] = {}

    def _keep_producers(self, chosen: Mapping[str, str], answers: Readings, start: float, end: float) -> None:
        """Stay with the producer of a reading, also through a short silence."""
        for key, producer in chosen.items():
            self._last_answer[key] = float(self._answered(key, answers[key], start)[-1])
            if end - self._last_answer[key] <= PRODUCER_GRACE_SECONDS:
                self._producers[key] = producer
            else:
                self._producers.pop(key, None)
                del self._last_answer[key]

    def _answered(self, key: str, answer: Matrix, start: float) -> Floats:
        """Unix seconds at which the producer of a reading is known to have answered, ascending: never empty."""
        return np.append(self._last_answer.get(key, start), answer.times[~np.isnan(answer.values).all(axis=0)])

    def _producers_end(self, chosen: Mapping[str, str], answers: Readings, start: float, end: float) -> float:
        """First grid point at which a producer has sent nothing for longer than `PRODUCER_GRACE_SECONDS`, or `end`."""
        for key in chosen:
            answered = np.append(self._answered(key, answers[key], start), end)
            silent = answered[:-1][np.diff(answered) > PRODUCER_GRACE_SECONDS]
            if len(silent):
                end = min(end, align_down(float(silent[0]) + PRODUCER_GRACE_SECONDS, self._step) + self._step)
        return end

    def pieces(self, now: float) -> Iterator[Readings]:
        """New grid points up to `now`, in pieces. A piece counts as read once the next one is requested.

        Raises:
            SourceError: the source could not answer, not even with fewer points if the answer was too large; the next
                call continues there.
        """
        end = align_down(now, self._step)
        start = max(self._until + self._step, self._begin(end), end - self._keep)
        names = self._names.between(start - self._back, end) if self._names and start <= end else None
        while start <= end:
            until = min(end, start + (self._points - 1) * self._step)
            try:
                answers, chosen = fetch_catalog(
                    self._source, self._catalog, start, until, self._step, names, self._producers
                )
            except SourceError as error:
                self._points = max(1, self._points // 2)  # the request may have been too large
                if isinstance(error, SizeError) and until > start:
                    self._points = self._max_points = round((until - start) / self._step + 1) // 2
                    self._pieces = 0
                    continue
                raise
            if (silent := self._producers_end(chosen, answers, start, until)) < until:
                until = max(start, silent)
                answers = {key: shortened(answer, until + self._step / 2) for key, answer in answers.items()}
            self._keep_producers(chosen, answers, start, until)
            self._present |= {key for key, matrix in answers.items() if len(matrix)}
            self._any_read = True
            self._pieces += 1
            if self._pieces % LARGER_AFTER_PIECES == 0:
                self._max_points = min(MAX_CHUNK_POINTS, 2 * self._max_points)
            series = max(1, sum(map(len, answers.values())))
            self._points = max(1, min(self._max_points, self._max_chunk_values // series))
            fresh = [self._reduce(answers)]
            del answers
            yield fresh.pop()  # hold no reference to a piece while it is processed
            self._until = until
            start = until + self._step

    def read(self, now: float) -> Readings:
        """All readings up to the last grid point not after `now`; the same object while no point is new.

        Raises:
            SourceError: as `pieces`; earlier readings stay.
        """
        oldest = align_down(now, self._step) - self._keep
        for fresh in self.pieces(now):
            before = self._readings
            self._readings = {key: extend(before[key], new, oldest) for key, new in fresh.items()} if before else fresh
        return self._readings

    def missing(self) -> tuple[str, ...]:
        """Metrics that pages need and the source lacks, each with the feature lost: `gpu_info (GPUs)`."""
        return tuple(
            f"{row.ways[0].query.metric} ({row.lost})"
            for key, row in self._catalog.items()
            if row.shown and self._any_read and key not in self._present
        )


def scrape_interval(source: MetricSource, now: float, otherwise: float) -> float:
    """Seconds between two scrapes; `otherwise` where no target was scraped twice recently.

    Raises:
        SourceError: the source could not answer.
    """
    for step, back in RESOLUTIONS_SECONDS:
        window = step - 0.001  # a sample on a grid point lies in one window only, whichever end is open
        arrivals = source.fetch(Query("up", reduce="last", window=window), now - back, now, step)
        interval = median_interval(arrivals.times[~np.isnan(row)] for row in arrivals.values)
        if interval is not None:
            return interval
    return otherwise


def extend(old: Matrix, new: Matrix, since: float) -> Matrix:
    """Join two answers to the same query: the columns of `old` before `new` begins, then those of `new`.

    Columns before `since` (Unix seconds) are dropped; a series that only one of them has is NaN in the other's columns.
    """
    kept = (old.times < new.times[0]) & (old.times >= since)
    fresh = new.times >= since
    times = np.concatenate([old.times[kept], new.times[fresh]])
    left = int(kept.sum())
    labels = old.labels if old.labels == new.labels else tuple(sorted({*old.labels, *new.labels}))
    row = {series: i for i, series in enumerate(labels)}
    values = np.full((len(labels), len(times)), np.nan)
    values[[row[series] for series in old.labels], :left] = old.values[:, kept]
    values[[row[series] for series in new.labels], left:] = new.values[:, fresh]
    alive = ~np.isnan(values).all(axis=1)
    return Matrix(
        times, tuple(series for series, is_alive in zip(labels, alive, strict=True) if is_alive), values[alive]
    )


def shortened(matrix: Matrix, end: float) -> Matrix:
    """The columns of a result before `end` (Unix seconds)."""
    kept = matrix.times < end
    return Matrix.ordered(matrix.times[kept], matrix.labels, matrix.values[:, kept])


def merged(one: Matrix, other: Matrix) -> Matrix:
    """Series of two answers on one grid; samples of a series in both are added."""
    if not len(one) or not len(other):
        return one if len(one) else other
    rows = dict(zip(one.labels, one.values, strict=True))
    for labels, values in zip(other.labels, other.values, strict=True):
        rows[labels] = nan_sum(rows[labels], values) if labels in rows else values
    return Matrix.of(one.times, rows)
