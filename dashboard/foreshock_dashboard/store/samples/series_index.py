"""The series index of the head: every series in use has a small integer, its ref."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, repeat
from operator import itemgetter

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.samples import TARGET_METRICS, Labels

SeriesRefs = NDArray[np.int32]
_REF_BITS = 31
MAX_REF = (1 << _REF_BITS) - 1
MAX_TARGET_SERIES = 15_000
"""Series of the scraper itself that are added even to a full index, so that each of 5,000 targets shows its state."""


class SeriesIndex:
    """Maps (metric, labels) to refs. Thread-safe; a ref is never reused.

    At most `limit` series have a ref at a time, and beyond it up to `MAX_TARGET_SERIES` of the scraper itself. Refs
    from `intern` are valid inside `pinned` only, unless the head has samples of the series.

    A series takes one entry of a dict: 80 bytes beside its labels, which the scraper has as well.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._metrics: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._by_metric: dict[str, dict[Labels, int]] = {}
        """By metric and labels, by ascending ref: the epoch of the last `intern` above `_REF_BITS`, and the ref."""
        self._by_text: dict[str, tuple[int, int]] = {}
        """While the WAL is replayed: refs of series and metric by the texts of series. Kept, the texts would take as
        much memory as the rest."""
        self._next_ref = self._next_metric = self._count = 0
        self._epoch = 0
        self._pins: Counter[int] = Counter()
        """Number of running appends by the epoch of their begin."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    # --- adding series

    def intern(
        self, series: Iterable[tuple[str, Labels]], is_own: Iterable[bool] = repeat(False)
    ) -> tuple[list[int], list[int]]:
        """Return the ref of each (metric, labels), new ones included, and of its metric; -1 if the index is full.

        is_own: whether a series is one of the scraper itself.
        """
        refs: list[int] = []
        metrics: list[int] = []
        with self._lock:
            self._by_text.clear()
            current = self._epoch << _REF_BITS
            own = iter(is_own)
            for name, of_metric in groupby(series, itemgetter(0)):
                known = self._by_metric.get(name, {})
                for (_, labels), of_scraper in zip(of_metric, own, strict=False):
                    entry = known.get(labels)
                    if entry is None:
                        refs.append(self._add(name, labels, is_own=of_scraper))
                        continue
                    refs.append(ref := entry & MAX_REF)
                    if entry < current:
                        known[labels] = current | ref
                metrics += [self._metrics.get(name, -1)] * (len(refs) - len(metrics))
        return refs, metrics

    def intern_texts(self, texts: Iterable[str]) -> tuple[list[int], list[int]]:
        """As `intern`, for texts of series. Raises ValueError if one is malformed."""
        pairs: dict[tuple[str, str], tuple[str, str]] = {}
        found: list[tuple[int, int]] = []
        with self._lock:
            for text in texts:
                both = self._by_text.get(text)
                if both is None:
                    name, labels = parse_series(text, pairs)
                    ref = self._add(name, labels, is_own=name in TARGET_METRICS)  # the WAL does not say
                    both = self._by_text[text] = ref, self._metrics.get(name, -1)
                found.append(both)
        return [ref for ref, _ in found], [metric for _, metric in found]

    def own_labels(self, metric: str) -> dict[Labels, Labels]:
        """Return the index's own object for the labels of each series of a metric."""
        with self._lock:
            return {labels: labels for labels in self._by_metric.get(metric, ())}

    def refused(self, series: Iterable[tuple[str, Labels]]) -> frozenset[tuple[str, Labels]]:
        """Return those without a ref if the index is full; none while it has room."""
        with self._lock:
            if self._has_room(is_own=False):
                return frozenset()
            nothing: dict[Labels, int] = {}
            return frozenset(
                (name, labels) for name, labels in series if labels not in self._by_metric.get(name, nothing)
            )

    def _has_room(self, *, is_own: bool) -> bool:
        """Whether another series may be added. is_own: whether it is one of the scraper itself."""
        return self._count < self.limit + (MAX_TARGET_SERIES if is_own else 0)

    def _add(self, name: str, labels: Labels, *, is_own: bool) -> int:
        known = self._by_metric.get(name)
        entry = None if known is None else known.get(labels)
        if entry is not None:  # twice in one request, or from another spelling of the text
            ref = entry & MAX_REF
        elif not self._has_room(is_own=is_own) or self._next_ref >= MAX_REF:
            return -1
        else:
            ref, self._next_ref, self._count = self._next_ref, self._next_ref + 1, self._count + 1
        if known is None:
            self._metrics[name], self._names[self._next_metric] = self._next_metric, name
            self._next_metric += 1
            known = self._by_metric[name] = {}
        known[labels] = self._epoch << _REF_BITS | ref
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
            self._by_text.clear()
            return min(self._pins, default=self._epoch)

    def collect(self, live: SeriesRefs, epoch: int) -> None:
        """Remove every series that is not in `live` (ascending) and was not interned since `epoch`.

        `epoch` comes from `next_epoch`; `live` is computed after that call.
        """
        with self._lock:
            self._by_text.clear()
            for name, known in [*self._by_metric.items()]:
                entries = np.fromiter(known.values(), np.int64, len(known))
                unused = (entries >> _REF_BITS < epoch) & (positions(live, entries & MAX_REF) < 0)
                labels = [*known] if unused.any() else []
                for place in np.flatnonzero(unused).tolist():
                    del known[labels[place]]
                self._count -= int(np.count_nonzero(unused))
                if not known:
                    del self._by_metric[name], self._names[self._metrics.pop(name)]

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
            series = [(entry & MAX_REF, own) for own, entry in self._by_metric.get(metric, {}).items()]
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


def series_text(metric: str, labels: Labels) -> str:
    """Return the text of a series: the JSON list [metric, labels], without line feeds."""
    return orjson.dumps([metric, labels]).decode()


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


def positions(ascending: NDArray[np.integer], refs: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the position of each ref in `ascending`; -1 if it is not there."""
    if not len(ascending):
        return np.full(len(refs), -1, dtype=np.int64)
    nearest = np.minimum(np.searchsorted(ascending, refs), len(ascending) - 1)
    return np.where(ascending[nearest] == refs, nearest, -1)
