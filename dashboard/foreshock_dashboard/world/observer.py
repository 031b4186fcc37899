"""Reads a metrics source on the epoch-aligned grid, step by step, keeping what it has read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError, grid
from foreshock_dashboard.world.catalogue.calls import GRAPH, SPANS, TEMPO
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.catalogue.row import Form, Reading
from foreshock_dashboard.world.history import beside, extend
from foreshock_dashboard.world.metric_names import Names, TellsNames

HOUR = 3600.0


def fold_start(now: float) -> float:
    """The last full hour at least two hours back, in Unix seconds: where the fold of incidents begins."""
    return math.floor((now - 2 * HOUR) / HOUR) * HOUR


def aligned(now: float, step: float) -> float:
    """The last multiple of `step` since the epoch that is not after `now`."""
    return math.floor(now / step) * step


def answers(
    source: MetricSource,
    catalogue: Mapping[str, Reading],
    start: float,
    end: float,
    step: float,
    names: frozenset[str] | None = None,
    producers: Mapping[str, str] | None = None,
) -> tuple[Readings, Mapping[str, str]]:
    """What a source tells for each reading, and whose form that was in, of those that several producers may tell.

    names: of all metrics that the source has; it is not asked for others. None where that is not known.
    producers: of readings that are known to be told by one of them.

    Raises:
        SourceError: the source could not answer.
    """
    found: dict[str, Matrix] = {}
    chosen = dict(producers or {})
    for key, row in catalogue.items():
        ways = row.ways
        if key in chosen:
            ways = tuple(way for way in ways if way.producer in _kept(chosen[key]))
        elif row.part_of in chosen:
            ways = tuple(way for way in ways if way.producer in ("", chosen[row.part_of]))
        found[key], told = _answer(source, ways, row.also, start, end, step, names)
        if told is not None and not row.part_of and any(way.producer for way in row.ways):
            chosen[key] = told.producer
    return found, chosen


def _kept(producer: str) -> tuple[str, ...]:
    """Who may tell what this one told before: whoever made a service graph may come to count spans as well."""
    return (SPANS, TEMPO, GRAPH) if producer == GRAPH else (producer,)


def answer(source: MetricSource, row: Reading, start: float, end: float, step: float) -> Matrix:
    """What a source tells for one reading, by whoever tells it.

    Raises:
        SourceError: the source could not answer.
    """
    return _answer(source, row.ways, row.also, start, end, step, None)[0]


def _answer(
    source: MetricSource,
    ways: Sequence[Form],
    also: Sequence[Form],
    start: float,
    end: float,
    step: float,
    names: frozenset[str] | None,
) -> tuple[Matrix, Form | None]:
    """The first of some ways that has an answer, with what others have beside it; and which way it was."""

    def told(form: Form) -> Matrix:
        if names is not None and _metric(form.query) not in names:
            return Matrix.empty(grid(start, end, step))
        return form.standard(source.fetch(form.query, start, end, step))

    found, by = Matrix.empty(grid(start, end, step)), None
    for way in ways:
        found = told(way)
        if len(found):
            by = way
            break
    for form in also:
        found = beside(found, told(form))
    return found, by


def _metric(query: Query) -> str:
    """The metric that a query asks for."""
    return f"{query.metric}_bucket" if query.reduce == "buckets" else query.metric


def _queries(catalogue: Mapping[str, Reading]) -> list[Query]:
    """All that a source may be asked for."""
    rows = catalogue.values()
    return [query for row in rows for query in (row.query, *(form.query for form in (*row.forms, *row.also)))]


CHUNK = 120
"""Grid points read at once. After a restart there are hours to read; no source has to answer for all of them in one."""
CAREFUL = 12
"""Grid points read at once before it is known how many series there are."""
SILENT = 900.0
"""Seconds for which who tells of services may be silent until somebody else is asked: a Collector that is restarted is
not to make other services of them."""
VALUES = 4_000_000
"""Values that the answers of one piece may have together: a large platform is read in smaller pieces."""


class Observer:
    """Reads the catalogue from a source: everything since the start of the fold at first, then only what is new.

    `condense` makes of each piece what is kept of it; it sees every grid point once. `keep` in seconds bounds how far
    back the readings go. `begin` gives, for the time that is read up to, where reading begins. A source that tells
    which metrics it has is asked for no others: of the catalogue's producers a platform has a few.
    """

    def __init__(
        self,
        source: MetricSource,
        catalogue: Mapping[str, Reading],
        step: float,
        condense: Callable[[Readings], Readings],
        keep: float = 3 * HOUR,
        begin: Callable[[float], float] = fold_start,
    ) -> None:
        self._source = source
        self._catalogue = catalogue
        self._step = step
        self._condense = condense
        self._keep = keep
        self._begin = begin
        queries = _queries(catalogue)
        wanted = frozenset(map(_metric, queries))
        self._names = Names(source, wanted) if isinstance(source, TellsNames) else None
        self._back = max((query.window for query in queries), default=0.0)
        self._found: set[str] = set()
        self._readings: Readings = {}
        self._until = -math.inf
        self._points = CAREFUL
        self._asked = False
        self._producers: dict[str, str] = {}
        self._told: dict[str, float] = {}

    def _hold(self, chosen: Mapping[str, str], told: Readings, start: float, end: float) -> None:
        """Keep to the producer who told a reading, also while it is silent for a while."""
        for key, producer in chosen.items():
            if len(told[key]):
                self._told[key] = end
            if end - self._told.setdefault(key, start) <= SILENT:
                self._producers[key] = producer
            else:
                self._producers.pop(key, None)
                del self._told[key]

    def pieces(self, now: float) -> Iterator[Readings]:
        """What is new up to the last grid point not after `now`, in pieces; what is not taken is read again.

        Raises:
            SourceError: the source could not answer; the next call goes on there.
        """
        end = aligned(now, self._step)
        start = max(self._until + self._step, self._begin(end), end - self._keep)
        names = self._names.between(start - self._back, end) if self._names and start <= end else None
        while start <= end:
            until = min(end, start + (self._points - 1) * self._step)
            try:
                told, chosen = answers(self._source, self._catalogue, start, until, self._step, names, self._producers)
            except SourceError:
                self._points = max(1, self._points // 2)  # it may have been too much to answer
                raise
            self._hold(chosen, told, start, until)
            self._found |= {key for key, matrix in told.items() if len(matrix)}
            self._asked = True
            self._points = max(1, min(CHUNK, VALUES // max(1, sum(map(len, told.values())))))
            fresh = [self._condense(told)]
            del told
            yield fresh.pop()  # nothing of a piece is held here while it is judged
            self._until = until
            start = until + self._step

    def read(self, now: float) -> Readings:
        """All readings up to the last grid point not after `now`; the same object again where no point is new.

        Raises:
            SourceError: as `pieces`; what was read before is kept.
        """
        oldest = aligned(now, self._step) - self._keep
        for fresh in self.pieces(now):
            kept = self._readings
            self._readings = {key: extend(kept[key], new, oldest) for key, new in fresh.items()} if kept else fresh
        return self._readings

    def missing(self) -> tuple[str, ...]:
        """The metrics that pages need and no piece had, with what is lost: `gpu_info (GPUs)`."""
        return tuple(
            f"{row.query.metric} ({row.lost})"
            for key, row in self._catalogue.items()
            if row.shown and self._asked and key not in self._found
        )
