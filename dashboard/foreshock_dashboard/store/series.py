"""The label index: every series known to this process has a small number."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.samples import Labels

Ids = NDArray[np.int32]


class SeriesIndex:
    """(metric, labels) ↔ number. Thread-safe; numbers are never reused while the process lives."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.labels: list[Labels] = []
        self.texts: list[str] = []
        self.metric_of: list[int] = []
        self._metrics: dict[str, int] = {}
        self._of_metric: list[list[int]] = []
        self._ids: dict[tuple[str, Labels], int] = {}
        self._by_text: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.labels)

    def intern(self, metric: str, labels: Labels) -> int:
        """The series' number, given now if it is new; -1 where the index is full."""
        known = self._ids.get((metric, labels))
        return known if known is not None else self._add(metric, labels)

    def intern_text(self, text: str) -> int:
        """The same for the text that `texts` holds."""
        known = self._by_text.get(text)
        if known is not None:
            return known
        metric, pairs = orjson.loads(text)
        return self.intern(metric, tuple((name, value) for name, value in pairs))

    def _add(self, metric: str, labels: Labels) -> int:
        with self._lock:
            known = self._ids.get((metric, labels))
            if known is not None:
                return known
            if len(self.labels) >= self.limit:
                return -1
            text = orjson.dumps([metric, labels]).decode()
            number = len(self.labels)
            self.labels.append(labels)
            self.texts.append(text)
            if metric not in self._metrics:
                self._of_metric.append([])
                self._metrics[metric] = len(self._of_metric) - 1
            self.metric_of.append(self._metrics[metric])
            self._of_metric[self._metrics[metric]].append(number)
            self._by_text[text] = number
            self._ids[metric, labels] = number
            return number

    def metric(self, name: str) -> int | None:
        """The metric's number, `None` where it has no series."""
        return self._metrics.get(name)

    def metric_names(self, numbers: Iterable[int]) -> frozenset[str]:
        """The names of metrics."""
        names = list(self._metrics)
        return frozenset(names[number] for number in numbers)

    def select(self, metric: str, matchers: Sequence[Matcher]) -> Ids:
        """The numbers of the metric's series that every matcher accepts, ascending."""
        number = self._metrics.get(metric)
        if number is None:
            return np.empty(0, dtype=np.int32)
        found = list(self._of_metric[number])
        for matcher in matchers:
            verdict: dict[str, bool] = {}
            kept = []
            for series in found:
                value = metric if matcher.label == "__name__" else _value(self.labels[series], matcher.label)
                accepted = verdict.get(value)
                if accepted is None:
                    accepted = verdict[value] = matcher.accepts(value)
                if accepted:
                    kept.append(series)
            found = kept
        return np.asarray(found, dtype=np.int32)


def _value(labels: Labels, name: str) -> str:
    for label, value in labels:
        if label == name:
            return value
    return ""
