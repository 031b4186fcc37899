"""The series index of the head: every series in use has a small integer, its ref."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.samples import Labels

SeriesRefs = NDArray[np.int32]
MAX_REF = (1 << 31) - 1


class SeriesIndex:
    """Maps (metric, labels) to refs and back. Thread-safe; a ref is never reused.

    At most `limit` series have a ref at a time. Refs from `intern` are valid inside `pinned` only, unless the head has
    samples of the series.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.labels: dict[int, Labels] = {}
        self.metric_refs: dict[int, int] = {}
        self._metrics: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._by_metric: dict[int, dict[Labels, int]] = {}
        """The refs of a metric, ascending."""
        self._by_text: dict[str, int] = {}
        """While the WAL is replayed: texts of all series would take as much memory as the rest."""
        self._next_ref = self._next_metric = 0
        self._epoch = 0
        self._last_used: dict[int, int] = {}
        """By ref: the epoch of its last `intern`."""
        self._pins: Counter[int] = Counter()
        """Number of running appends by the epoch of their begin."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.labels)

    # --- adding series

    def intern(self, series: Iterable[tuple[str, Labels]]) -> list[int]:
        """Return the ref of each (metric, labels), new ones included; -1 if the index is full."""
        result: list[int] = []
        with self._lock:
            self._by_text.clear()
            for name, of_metric in groupby(series, itemgetter(0)):
                known = self._by_metric.get(self._metrics.get(name, -1), {})
                for _, labels in of_metric:
                    ref = known.get(labels)
                    result.append(self._add(name, labels) if ref is None else ref)
            self._mark_used(result)
        return result

    def intern_texts(self, texts: Iterable[str]) -> list[int]:
        """As `intern`, for texts of series. Raises ValueError if one is malformed."""
        pairs: dict[tuple[str, str], tuple[str, str]] = {}
        result: list[int] = []
        with self._lock:
            for text in texts:
                ref = self._by_text.get(text)
                if ref is None:
                    ref = self._by_text[text] = self._add(*parse_series(text, pairs))
                result.append(ref)
            self._mark_used(result)
        return result

    def _mark_used(self, refs: list[int]) -> None:
        self._last_used.update(dict.fromkeys(refs, self._epoch))
        self._last_used.pop(-1, None)

    def own_labels(self, metric: str, labels: Labels) -> Labels:
        """Return the index's own object for the labels of a series; the argument if the series has no ref."""
        with self._lock:
            ref = self._by_metric.get(self._metrics.get(metric, -1), {}).get(labels)
            return labels if ref is None else self.labels[ref]

    def refused(self, series: Iterable[tuple[str, Labels]]) -> frozenset[tuple[str, Labels]]:
        """Return those without a ref if the index is full; none while it has room."""
        with self._lock:
            if len(self.labels) < self.limit:
                return frozenset()
            nothing: dict[Labels, int] = {}
            return frozenset(
                (name, labels)
                for name, labels in series
                if labels not in self._by_metric.get(self._metrics.get(name, -1), nothing)
            )

    def text(self, ref: int) -> str:
        """Return the text of a series: the JSON list [metric, labels], without line feeds."""
        return orjson.dumps([self._names[self.metric_refs[ref]], self.labels[ref]]).decode()

    def _add(self, name: str, labels: Labels) -> int:
        metric = self._metrics.get(name)
        existing = None if metric is None else self._by_metric[metric].get(labels)
        if existing is not None:  # twice in one request, or from another spelling of the text
            return existing
        if len(self.labels) >= self.limit or self._next_ref >= MAX_REF:
            return -1
        ref, self._next_ref = self._next_ref, self._next_ref + 1
        if metric is None:
            metric, self._next_metric = self._next_metric, self._next_metric + 1
            self._metrics[name], self._names[metric], self._by_metric[metric] = metric, name, {}
        self.labels[ref], self.metric_refs[ref] = labels, metric
        self._by_metric[metric][labels] = ref
        self._last_used[ref] = self._epoch
        return ref

    # --- removing series

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Keep every series interned inside the block until its end."""
        with self._lock:
            epoch = self._epoch
            self._pins[epoch] += 1
        try:
            yield
        finally:
            with self._lock:
                self._pins[epoch] -= 1
                if not self._pins[epoch]:
                    del self._pins[epoch]

    def next_epoch(self) -> int:
        """Begin a new epoch. Return the earliest epoch that a running or later append may belong to."""
        with self._lock:
            self._epoch += 1
            return min(self._pins, default=self._epoch)

    def collect(self, live: Set[int], epoch: int) -> None:
        """Remove every series that is not in `live` and was not interned since `epoch`.

        `epoch` comes from `next_epoch`; `live` is computed after that call.
        """
        with self._lock:
            self._by_text.clear()
            for ref in [ref for ref, used in self._last_used.items() if used < epoch and ref not in live]:
                self._remove(ref)

    def _remove(self, ref: int) -> None:
        del self._last_used[ref]
        labels, metric = self.labels.pop(ref), self.metric_refs.pop(ref)
        del self._by_metric[metric][labels]
        if not self._by_metric[metric]:
            del self._by_metric[metric], self._metrics[self._names.pop(metric)]

    # --- lookups

    def metric_ref(self, name: str) -> int | None:
        """Return the ref of a metric; None if it has no series."""
        return self._metrics.get(name)

    def metric_names(self, metric_refs: Iterable[int]) -> frozenset[str]:
        """Return the names of those metrics that have series."""
        with self._lock:
            return frozenset(self._names[ref] for ref in metric_refs if ref in self._names)

    def select(self, metric: str, matchers: Sequence[Matcher]) -> tuple[SeriesRefs, list[Labels]]:
        """Return refs and labels of the metric's series that every matcher accepts, by ascending ref."""
        with self._lock:
            metric_ref = self._metrics.get(metric)
            series = [] if metric_ref is None else [(ref, own) for own, ref in self._by_metric[metric_ref].items()]
        return matching_series(series, metric, matchers)


def matching_series(
    series: list[tuple[int, Labels]], metric: str, matchers: Sequence[Matcher]
) -> tuple[SeriesRefs, list[Labels]]:
    """Return refs and labels of those series of a metric that every matcher accepts, in their order."""
    for matcher in matchers:
        verdicts: dict[str, bool] = {}
        remaining = []
        for ref, labels in series:
            value = metric if matcher.label == "__name__" else _value(labels, matcher.label)
            accepted = verdicts.get(value)
            if accepted is None:
                accepted = verdicts[value] = matcher.accepts(value)
            if accepted:
                remaining.append((ref, labels))
        series = remaining
    return np.array([ref for ref, _ in series], dtype=np.int32), [labels for _, labels in series]


def series_text_prefix(metric: str) -> str:
    """Return the prefix of the texts of a metric's series; no other text has it."""
    return orjson.dumps([metric]).decode()[:-1] + ","


def parse_series(text: str, shared_pairs: dict[tuple[str, str], tuple[str, str]]) -> tuple[str, Labels]:
    """Return metric and labels of a series text. Equal label pairs become one object, kept in `shared_pairs`."""
    metric, pairs = orjson.loads(text)
    return sys.intern(metric), tuple(shared_pairs.setdefault(pair, pair) for pair in map(tuple, pairs))


def _value(labels: Labels, name: str) -> str:
    for label, value in labels:
        if label == name:
            return value
    return ""


def positions(ascending: SeriesRefs, refs: SeriesRefs) -> NDArray[np.int64]:
    """Return the position of each ref in `ascending`; -1 if it is not there."""
    if not len(ascending):
        return np.full(len(refs), -1, dtype=np.int64)
    nearest = np.minimum(np.searchsorted(ascending, refs), len(ascending) - 1)
    return np.where(ascending[nearest] == refs, nearest, -1)
