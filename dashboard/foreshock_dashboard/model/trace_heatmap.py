"""Heatmaps: numbers of traces by start time and duration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.model.types import Floats

MIN_DURATION_SECONDS, MAX_DURATION_SECONDS = 1e-5, 1e4
"""Range of the duration axis if the query does not limit durations."""
ROWS_PER_DECADE = 8
MIN_ROWS = 24
MAX_LISTED_TRACES = 1000
"""Traces that are counted if the source can only list them."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Linear bins of start times (Unix seconds) in columns, logarithmic bins of durations (seconds) in rows."""

    start: float
    end: float
    columns: int
    shortest: float
    longest: float
    rows: int

    @classmethod
    def of(cls, query: TraceQuery, columns: int) -> Bins:
        """Bins for the times and durations of a query."""
        shortest = max(query.min_duration or MIN_DURATION_SECONDS, MIN_DURATION_SECONDS)
        longest = max(query.max_duration or MAX_DURATION_SECONDS, shortest * 1.01)
        rows = max(MIN_ROWS, round(ROWS_PER_DECADE * float(np.log10(longest / shortest))))
        return cls(query.start, max(query.end, query.start + 1.0), columns, shortest, longest, rows)

    @property
    def times(self) -> Floats:
        """Edges of the columns in Unix seconds, shape (columns + 1,)."""
        return np.linspace(self.start, self.end, self.columns + 1)

    @property
    def lengths(self) -> Floats:
        """Edges of the rows in seconds, shape (rows + 1,)."""
        return np.geomspace(self.shortest, self.longest, self.rows + 1)


class Heatmap(NamedTuple):
    """counts: number of traces, shape (rows, columns). note: why matching traces may be missing, "" if complete."""

    bins: Bins
    counts: Floats
    note: str = ""


@runtime_checkable
class HeatmapSource(Protocol):
    """A trace source that can count all matching traces."""

    def heat(self, query: TraceQuery, bins: Bins) -> Floats:
        """Number of matching traces per bin, by their root span; shape (rows, columns).

        Raises:
            SourceError: the source cannot answer.
        """


def heatmap(source: TraceSource, query: TraceQuery, bins: Bins) -> Heatmap:
    """The heatmap of all matching traces, or of the newest if the source can only list them.

    Raises:
        SourceError: the source cannot answer.
    """
    if isinstance(source, HeatmapSource):
        return Heatmap(bins, source.heat(query, bins))
    traces = source.search(replace(query, order="newest", limit=MAX_LISTED_TRACES))
    note = f"Cells: newest {MAX_LISTED_TRACES:,} traces only" if len(traces) >= MAX_LISTED_TRACES else ""
    return Heatmap(bins, count_traces(traces, bins), note)


def count_traces(traces: Sequence[TraceSummary], bins: Bins) -> Floats:
    """Number of listed traces per bin, shape (rows, columns); durations out of range count in the outer rows."""
    durations = np.clip([trace.duration for trace in traces], bins.shortest, bins.longest)
    starts = np.array([trace.start for trace in traces])
    counts, _, _ = np.histogram2d(durations, starts, bins=(bins.lengths, bins.times))
    return np.asarray(counts, dtype=np.float64)
