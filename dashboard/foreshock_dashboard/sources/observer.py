"""Reads a metrics source on the epoch-aligned grid, step by step, keeping what it has read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from foreshock_dashboard.model.history import beside, extend
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, grid
from foreshock_dashboard.model.reading import Reading
from foreshock_dashboard.model.readings import Readings
from foreshock_dashboard.sources.names import Names, TellsNames

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
) -> Readings:
    """What a source tells for each reading: the first of its forms that has an answer, and what others have beside it.

    names: of all metrics that the source has; it is not asked for others. None where that is not known.

    Raises:
        SourceError: the source could not answer.
    """
    found: dict[str, Matrix] = {}
    places: dict[str, int | None] = {}
    for key, row in catalogue.items():
        asked = range(1 + len(row.forms))
        if row.part_of:
            place = places[row.part_of]
            asked = range(0) if place is None else range(place, place + 1)
        found[key], places[key] = _answer(source, row, asked, start, end, step, names)
    return found


def answer(source: MetricSource, row: Reading, start: float, end: float, step: float) -> Matrix:
    """The same of one reading that is part of no other.

    Raises:
        SourceError: the source could not answer.
    """
    return _answer(source, row, range(1 + len(row.forms)), start, end, step, None)[0]


def _answer(
    source: MetricSource,
    row: Reading,
    asked: range,
    start: float,
    end: float,
    step: float,
    names: frozenset[str] | None,
) -> tuple[Matrix, int | None]:
    """The answer to the first of some of a reading's forms that has one, and its place among them; the query is 0."""

    def fetched(query: Query) -> Matrix:
        if names is not None and _metric(query) not in names:
            return Matrix.empty(grid(start, end, step))
        return source.fetch(query, start, end, step)

    found, place = Matrix.empty(grid(start, end, step)), None
    for at in asked:
        found = row.forms[at - 1].standard(fetched(row.forms[at - 1].query)) if at else fetched(row.query)
        if len(found):
            place = at
            break
    for form in row.also:
        found = beside(found, form.standard(fetched(form.query)))
    return found, place


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
            told = answers(self._source, self._catalogue, start, until, self._step, names)
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
