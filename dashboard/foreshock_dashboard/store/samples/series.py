"""The label index: every series that is in use has a small number."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.samples import Labels

Ids = NDArray[np.int32]
LAST = (1 << 31) - 1


class SeriesIndex:
    """(metric, labels) ↔ number. Thread-safe; a number is never used twice, also after its series was let go.

    At most `limit` series have one at a time. Whoever uses the numbers that `intern` gives does so inside `holding`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.labels: dict[int, Labels] = {}
        self.texts: dict[int, str] = {}
        self.metric_of: dict[int, int] = {}
        self._metrics: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._of_metric: dict[int, dict[int, Labels]] = {}
        self._ids: dict[tuple[str, Labels], int] = {}
        self._by_text: dict[str, int] = {}
        self._next = self._next_metric = 0
        self._turn = 0
        self._used: dict[int, int] = {}
        self._holders: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.labels)

    # --- giving numbers

    def intern(self, series: Iterable[tuple[str, Labels]]) -> list[int]:
        """The number of each series, given now where it is new; -1 where the index is full."""
        asked = list(series)
        with self._lock:
            known = map(self._ids.get, asked)
            numbers = [self._add(*one) if number is None else number for one, number in zip(asked, known, strict=True)]
            self._use(numbers)
        return numbers

    def intern_texts(self, texts: Iterable[str]) -> list[int]:
        """The same for what `texts` holds.

        Raises:
            ValueError: one is no such text.
        """
        asked = list(texts)
        with self._lock:
            known = map(self._by_text.get, asked)
            pairs: dict[tuple[str, str], tuple[str, str]] = {}
            numbers = [
                self._add(*parse(text, pairs)) if number is None else number
                for text, number in zip(asked, known, strict=True)
            ]
            self._use(numbers)
        return numbers

    def _use(self, numbers: Iterable[int]) -> None:
        self._used.update(dict.fromkeys(numbers, self._turn))
        self._used.pop(-1, None)

    def known(self, text: str) -> tuple[str, Labels] | None:
        """This text and the labels of its series, as they are here already; None where it has no number."""
        with self._lock:
            number = self._by_text.get(text)
            return None if number is None else (self.texts[number], self.labels[number])

    def _add(self, name: str, labels: Labels) -> int:
        known = self._ids.get((name, labels))  # twice in one request, or written otherwise
        if known is not None:
            return known
        if len(self.labels) >= self.limit or self._next >= LAST:
            return -1
        number, self._next = self._next, self._next + 1
        metric = self._metrics.get(name)
        if metric is None:
            metric, self._next_metric = self._next_metric, self._next_metric + 1
            self._metrics[name], self._names[metric], self._of_metric[metric] = metric, name, {}
        text = orjson.dumps([name, labels]).decode()
        self.labels[number], self.texts[number], self.metric_of[number] = labels, text, metric
        self._of_metric[metric][number] = labels
        self._by_text[text] = self._ids[name, labels] = number
        self._used[number] = self._turn
        return number

    # --- letting go

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Whatever is interned inside is known until the end at least."""
        with self._lock:
            turn = self._turn
            self._holders[turn] += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders[turn] -= 1
                if not self._holders[turn]:
                    del self._holders[turn]

    def turn(self) -> int:
        """Begin a new turn; gives the first one that somebody who interns now or later may belong to."""
        with self._lock:
            self._turn += 1
            return min(self._holders, default=self._turn)

    def keep(self, live: Set[int], since: int) -> None:
        """Let go of every series that is not in `live`, found after `turn` gave `since`, nor interned since then."""
        with self._lock:
            for number in [number for number, used in self._used.items() if used < since and number not in live]:
                self._remove(number)

    def _remove(self, number: int) -> None:
        del self._used[number]
        labels, metric = self.labels.pop(number), self.metric_of.pop(number)
        del self._by_text[self.texts.pop(number)]
        del self._ids[self._names[metric], labels]
        del self._of_metric[metric][number]
        if not self._of_metric[metric]:
            del self._of_metric[metric], self._metrics[self._names.pop(metric)]

    # --- finding

    def metric(self, name: str) -> int | None:
        """The metric's number, `None` where it has no series."""
        return self._metrics.get(name)

    def metric_names(self, numbers: Iterable[int]) -> frozenset[str]:
        """The names of metrics, as far as they have series."""
        with self._lock:
            return frozenset(self._names[number] for number in numbers if number in self._names)

    def select(self, metric: str, matchers: Sequence[Matcher]) -> tuple[Ids, list[Labels]]:
        """The metric's series that every matcher accepts, by ascending number."""
        with self._lock:
            number = self._metrics.get(metric)
            found = [] if number is None else list(self._of_metric[number].items())
        return chosen(found, metric, matchers)


def chosen(found: list[tuple[int, Labels]], metric: str, matchers: Sequence[Matcher]) -> tuple[Ids, list[Labels]]:
    """Those of a metric's series, by number and labels, that every matcher accepts."""
    for matcher in matchers:
        verdict: dict[str, bool] = {}
        kept = []
        for series, labels in found:
            value = metric if matcher.label == "__name__" else _value(labels, matcher.label)
            accepted = verdict.get(value)
            if accepted is None:
                accepted = verdict[value] = matcher.accepts(value)
            if accepted:
                kept.append((series, labels))
        found = kept
    return np.array([series for series, _ in found], dtype=np.int32), [labels for _, labels in found]


def text_prefix(metric: str) -> str:
    """What the texts of a metric's series, and no others, begin with."""
    return orjson.dumps([metric]).decode()[:-1] + ","


def parse(text: str, shared: dict[tuple[str, str], tuple[str, str]]) -> tuple[str, Labels]:
    """Metric and labels of a text; pairs that many series have are there once, which is most of what they take."""
    metric, pairs = orjson.loads(text)
    return sys.intern(metric), tuple(shared.setdefault(pair, pair) for pair in map(tuple, pairs))


def _value(labels: Labels, name: str) -> str:
    for label, value in labels:
        if label == name:
            return value
    return ""


def positions(found: Ids, numbers: Ids) -> NDArray[np.int64]:
    """Where each number is in `found`, which ascends; -1 where it is not."""
    if not len(found):
        return np.full(len(numbers), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(found, numbers), len(found) - 1)
    return np.where(found[at] == numbers, at, -1)
