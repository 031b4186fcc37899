"""Traces counted by when they began and how long they took: what a picture of all of them is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.model.types import Floats

SHORTEST, LONGEST = 1e-5, 1e4
"""Seconds between which traces are told apart unless somebody asks for others."""
PER_DECADE = 8
LEAST_ROWS = 24
MOST_LISTED = 1000
"""Traces that are counted of a source that only lists."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Equal stretches of time from `start` to `end` (Unix seconds), and of durations by their logarithm (seconds)."""

    start: float
    end: float
    columns: int
    shortest: float
    longest: float
    rows: int

    @classmethod
    def of(cls, query: TraceQuery, columns: int) -> Bins:
        """Those that show what a query asks for."""
        shortest = max(query.min_duration or SHORTEST, SHORTEST)
        longest = max(query.max_duration or LONGEST, shortest * 1.01)
        rows = max(LEAST_ROWS, round(PER_DECADE * float(np.log10(longest / shortest))))
        return cls(query.start, max(query.end, query.start + 1.0), columns, shortest, longest, rows)

    @property
    def times(self) -> Floats:
        """Edges, Unix seconds; one more than columns."""
        return np.linspace(self.start, self.end, self.columns + 1)

    @property
    def lengths(self) -> Floats:
        """Edges, seconds; one more than rows."""
        return np.geomspace(self.shortest, self.longest, self.rows + 1)


class Heat(NamedTuple):
    """counts: traces, shape (rows, columns). note: why some that match may be missing; "" where none is."""

    bins: Bins
    counts: Floats
    note: str = ""


@runtime_checkable
class HeatSource(Protocol):
    """A trace source that can count all that match."""

    def heat(self, query: TraceQuery, bins: Bins) -> Floats:
        """Traces that match and began in the bins, by their root span; shape (rows, columns).

        Raises:
            SourceError: the source cannot answer.
        """
        ...


def heat_of(source: TraceSource, query: TraceQuery, bins: Bins) -> Heat:
    """Of all traces that match, or of as many as the source lists.

    Raises:
        SourceError: the source cannot answer.
    """
    if isinstance(source, HeatSource):
        return Heat(bins, source.heat(query, bins))
    found = source.search(replace(query, order="newest", limit=MOST_LISTED))
    note = f"the {MOST_LISTED:,} newest of all that match" if len(found) >= MOST_LISTED else ""
    return Heat(bins, counted(found, bins), note)


def counted(found: Sequence[TraceSummary], bins: Bins) -> Floats:
    """Traces of a list in bins, those outside at their edges; shape (rows, columns)."""
    lengths = np.clip([item.duration for item in found], bins.shortest, bins.longest)
    starts = np.array([item.start for item in found])
    counts, _, _ = np.histogram2d(lengths, starts, bins=(bins.lengths, bins.times))
    return np.asarray(counts, dtype=np.float64)
