"""`Query` → `Matrix`: all that anything asks of a metrics source."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats

Reduce = Literal["last", "rate", "increase", "buckets"]
MatchOp = Literal["=", "!=", "=~", "!~"]

MAX_LAST_WINDOW = 300.0
"""Seconds. Prometheus looks back five minutes for an instant value; `last` promises no more than it can give."""
MAX_POINTS = 11_000
"""Points per series in one answer, as in Prometheus (web/api/v1/api.go)."""

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class SourceError(Exception):
    """A metrics or trace source cannot answer. The message names the source and the remedy."""


class NothingKnownError(SourceError):
    """The source answers, and holds nothing of what is asked for; asking again will not change that."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label condition. Regular expressions are anchored on both ends, as in PromQL; RE2's and Python's common part.

    Raises:
        ValueError: the label name, the operator or the regular expression is malformed.
    """

    label: str
    op: MatchOp
    value: str

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.label):
            raise ValueError(f"matcher: {self.label!r} is not a label name")
        if self.op not in ("=", "!=", "=~", "!~"):
            raise ValueError(f"matcher: {self.op!r} is not one of = != =~ !~")
        if self.op in ("=~", "!~"):
            try:
                re.compile(self.value)
            except re.error as error:
                raise ValueError(f"matcher: {self.value!r} is not a regular expression: {error}") from error

    def accepts(self, value: str) -> bool:
        """Whether a label with this value (empty where the label is absent) satisfies the condition."""
        match self.op:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "=~":
                return re.fullmatch(self.value, value) is not None
            case "!~":
                return re.fullmatch(self.value, value) is None


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    metric: the series' name; for `buckets` the histogram's name without `_bucket`.
    by: labels to keep; series are summed by them after `reduce`. `None` keeps each series apart.
    reduce, over the half-open window (t - window, t] that ends at each step:
        last      the latest sample; absent once the series has been marked stale (window at most 300 s)
        rate      per-second increase of a counter, resets handled, extrapolated as Prometheus does
        increase  the same, times the window
        buckets   `increase` of every `<metric>_bucket`; `le` is always kept beside `by`
    window: seconds. Keep it off multiples of the scrape interval: Prometheus 2 closes it on the left, 3 opens it.

    Raises:
        ValueError: the metric's or a label's name is malformed, or the window is out of range.
    """

    metric: str
    matchers: tuple[Matcher, ...] = ()
    by: tuple[str, ...] | None = None
    reduce: Reduce = "last"
    window: float = 59.0

    def __post_init__(self) -> None:
        if not _METRIC.fullmatch(self.metric):
            raise ValueError(f"query: {self.metric!r} is not a metric name")
        if self.by is not None and (bad := [label for label in self.by if not _LABEL.fullmatch(label)]):
            raise ValueError(f"query: {bad[0]!r} is not a label name")
        if self.reduce not in ("last", "rate", "increase", "buckets"):
            raise ValueError(f"query: {self.reduce!r} is not one of last, rate, increase, buckets")
        if not 0 < self.window <= 86_400:
            raise ValueError(f"query: a window of {self.window} s is not in (0, 86400]")
        if self.reduce == "last" and self.window > MAX_LAST_WINDOW:
            raise ValueError(f"query: 'last' looks back {MAX_LAST_WINDOW:.0f} s at most, not {self.window} s")


def grid(start: float, end: float, step: float) -> Floats:
    """The times start, start + step, … up to and including end, in Unix seconds.

    Raises:
        ValueError: the step is not positive, end lies before start, or the grid has more than `MAX_POINTS` points.
    """
    if not step > 0:
        raise ValueError(f"step must be positive, not {step}")
    if end < start:
        raise ValueError(f"end {end} lies before start {start}")
    points = int(np.floor((end - start) / step + 1e-9)) + 1
    if points > MAX_POINTS:
        raise ValueError(f"{points} points in one query, at most {MAX_POINTS}: use a longer step or a shorter range")
    return start + step * np.arange(points, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Matrix:
    """An answer: `values` has shape (series, times), float64, NaN where there is no sample.

    `labels[i]` are those of row i (without `__name__`); rows are sorted by labels and none of them is all NaN.
    """

    times: Floats
    labels: tuple[Labels, ...]
    values: Floats = field(repr=False)

    @classmethod
    def empty(cls, times: Floats) -> Matrix:
        """The answer that has no series."""
        return cls(times, (), np.empty((0, len(times))))

    @classmethod
    def of(cls, times: Floats, rows: dict[Labels, Floats]) -> Matrix:
        """Sort the rows and drop those that are all NaN."""
        if not rows:
            return cls.empty(times)
        labels, values = [*rows], np.stack([*rows.values()])
        told = np.flatnonzero(~np.isnan(values).all(axis=1))
        kept = sorted(told.tolist(), key=labels.__getitem__)
        return cls(times, tuple(labels[row] for row in kept), values[kept])

    def __len__(self) -> int:
        return len(self.labels)


class MetricSource(Protocol):
    """A place that answers queries: the embedded store, or any Prometheus-compatible API."""

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """Evaluate the query at start, start + step, … ≤ end (Unix seconds).

        Raises:
            SourceError: the source cannot answer.
            ValueError: the range is malformed or too large.
        """
        ...

    def metric_names(self) -> frozenset[str]:
        """The names that have samples, so that what is missing can be named.

        Raises:
            SourceError: the source cannot answer.
        """
        ...
