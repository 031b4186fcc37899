"""Metric names of a source, so that absent metrics are not queried."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

MetricNames = frozenset[str] | None
"""Metric names; None where the source cannot list them, so that everything is queried."""

MAX_AGE_SECONDS = 60.0
"""Longest use of a list of names, and so the longest delay of a new metric."""


@runtime_checkable
class NamedMetricSource(Protocol):
    """A source that lists its metrics; worth it where each query costs a round trip."""

    def names_between(self, start: float, end: float) -> MetricNames:
        """Names of the metrics with samples between two instants (Unix seconds); may include others."""
        ...


class MetricNameCache:
    """Cache of the wanted metrics that a source has.

    A list is used for as long as it has been stable, at most `MAX_AGE_SECONDS`. So metrics that have just begun to
    arrive are seen at once.
    """

    def __init__(self, source: NamedMetricSource, wanted: frozenset[str]) -> None:
        self._source = source
        self._wanted = wanted
        self._names: MetricNames = None
        self._start = math.inf
        self._end = self._changed = -math.inf

    def between(self, start: float, end: float) -> MetricNames:
        """Wanted metrics with samples between two instants (Unix seconds)."""
        if start < self._start or end >= self._end + min(MAX_AGE_SECONDS, self._end - self._changed):
            listed = self._source.names_between(start, end)
            names = None if listed is None else listed & self._wanted
            if names != self._names or self._start == math.inf:
                self._changed = end
            self._names, self._start, self._end = names, start, end
        return self._names
