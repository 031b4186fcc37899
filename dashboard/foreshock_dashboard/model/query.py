"""Queries of a metrics source, and their results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats

Reduce = Literal["last", "rate", "increase", "buckets"]
MatchOp = Literal["=", "!=", "=~", "!~"]

MAX_LAST_WINDOW_SECONDS = 900.0
"""Longest window of `last`. A Prometheus server looks back five minutes for an instant value unless configured."""
MAX_POINTS = 11_000
"""Limit of points per series in one result, as in Prometheus (web/api/v1/api.go)."""

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def promql_string(text: str) -> str:
    """A PromQL string literal, in double quotes.

    JSON's escapes are a subset of PromQL's, and include all control characters below U+0020.
    """
    return json.dumps(text, ensure_ascii=False)


class SourceError(Exception):
    """A metrics or trace source cannot answer. The message names the source and the remedy.

    `is_transient`: the source is overloaded or broken, so that the request itself may be fine. `retry_after`: seconds
    for which it asked to be left alone.
    """

    is_transient: bool = False
    retry_after: float = 0.0


class LimitError(SourceError):
    """The answer would exceed a limit of the source in size or time; a shorter range may not."""


class SizeError(LimitError):
    """The answer would exceed a limit in size, however busy the source is: that of a shorter range may not."""


class NoDataError(SourceError):
    """The source has no data for the query, now or later; a retry is useless."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label condition. Regular expressions are anchored as in PromQL, in the syntax that RE2 and Python share.

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
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"matcher: {self.value!r} is not a regular expression: {error}") from error

    def accepts(self, value: str) -> bool:
        """Whether a label value meets the condition; "" stands for an absent label."""
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
    """A query of one metric.

    metric: name of the series; for `buckets`, of the histogram without `_bucket`.
    by: labels by which series are summed after `reduce`; `None` does not aggregate.
    reduce, over the half-open window (t - window, t] that ends at each step:
        last      the latest sample; absent once the series is stale (window up to 900 s)
        rate      per-second increase of a counter, resets handled, extrapolated as Prometheus does
        increase  the same, times the window
        buckets   `increase` of every `<metric>_bucket`; grouped by `le` and `by`
    window: seconds. Keep it off multiples of the scrape interval: Prometheus 2 closes it on the left, 3 opens it.
    any_of: further conditions, all of at least one of which hold; () for none. Only a Prometheus knows them.

    Raises:
        ValueError: the metric's or a label's name is malformed, or the window is out of range.
    """

    metric: str
    matchers: tuple[Matcher, ...] = ()
    by: tuple[str, ...] | None = None
    reduce: Reduce = "last"
    window: float = 59.0
    any_of: tuple[tuple[Matcher, ...], ...] = ()

    def __post_init__(self) -> None:
        if not _METRIC.fullmatch(self.metric):
            raise ValueError(f"query: {self.metric!r} is not a metric name")
        if self.by is not None and (bad := [label for label in self.by if not _LABEL.fullmatch(label)]):
            raise ValueError(f"query: {bad[0]!r} is not a label name")
        if self.reduce not in ("last", "rate", "increase", "buckets"):
            raise ValueError(f"query: {self.reduce!r} is not one of last, rate, increase, buckets")
        if not 0 < self.window <= 86_400:
            raise ValueError(f"query: a window of {self.window} s is not in (0, 86400]")
        if self.reduce == "last" and self.window > MAX_LAST_WINDOW_SECONDS:
            raise ValueError(f"query: 'last' looks back {MAX_LAST_WINDOW_SECONDS:.0f} s at most, not {self.window} s")

    @property
    def series_name(self) -> str:
        """Name of the series that are read."""
        return f"{self.metric}_bucket" if self.reduce == "buckets" else self.metric


def grid(start: float, end: float, step: float) -> Floats:
    """Times start, start + step, … ≤ end, in Unix seconds, shape (times,).

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
    """The result of a query.

    values: shape (series, times), NaN for a missing sample; no row is all NaN. labels: of each row, without `__name__`,
    in ascending order.
    """

    times: Floats
    labels: tuple[Labels, ...]
    values: Floats = field(repr=False)

    @classmethod
    def empty(cls, times: Floats) -> Matrix:
        """A result without series."""
        return cls(times, (), np.empty((0, len(times))))

    @classmethod
    def of(cls, times: Floats, rows: dict[Labels, Floats]) -> Matrix:
        """A result of the rows in order of their labels, without rows that are all NaN."""
        if not rows:
            return cls.empty(times)
        return cls.ordered(times, [*rows], np.stack([*rows.values()]))

    @classmethod
    def ordered(cls, times: Floats, labels: Sequence[Labels], values: Floats) -> Matrix:
        """A result of distinct rows in order of their labels, without rows that are all NaN."""
        non_empty = np.flatnonzero(~np.isnan(values).all(axis=1))
        order = sorted(non_empty.tolist(), key=labels.__getitem__)
        return cls(times, tuple(labels[row] for row in order), values[order])

    def __len__(self) -> int:
        return len(self.labels)


class MetricSeries(NamedTuple):
    """All series of one metric; `counts` and `buckets` belong to the sums of a histogram or summary."""

    metric: str
    values: Matrix
    counts: Matrix | None = None
    buckets: Matrix | None = None


class MetricSource(Protocol):
    """A source of metrics: the embedded store, or a Prometheus-compatible API. Sources inherit from it."""

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """Evaluate the query at start, start + step, … ≤ end (Unix seconds).

        Raises:
            SourceError: the source cannot answer.
            ValueError: the range is malformed or too large.
        """

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """Evaluate several queries over the same times, in order; one by one unless the source shares work.

        Raises:
            SourceError, ValueError: as `fetch`, while iterating.
        """
        return (self.fetch(query, start, end, step) for query in queries)

    def metric_names(self) -> frozenset[str]:
        """Names of the metrics that have samples.

        Raises:
            SourceError: the source cannot answer.
        """


T = TypeVar("T")


class Partial(tuple[T, ...]):
    """A tuple with a `note` on why items may be missing, "" for a complete answer.

    `total` counts all items, also those not in the tuple.
    """

    note: str
    total: int

    def __new__(cls, items: Iterable[T] = (), note: str = "", total: int | None = None) -> Partial[T]:
        """Items in order; `total` defaults to their number."""
        partial = super().__new__(cls, tuple(items))
        partial.note = note
        partial.total = len(partial) if total is None else total
        return partial


def note_of(items: object) -> str:
    """Why an answer may be incomplete; "" for a complete one."""
    return items.note if isinstance(items, Partial) else ""


def total_of(items: Sequence[object]) -> int:
    """Number of items, also those that an answer lacks."""
    return items.total if isinstance(items, Partial) else len(items)
