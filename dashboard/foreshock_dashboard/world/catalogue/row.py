"""One row of what is read from a metrics source, in every form that producers give it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.query import MAX_LAST_WINDOW, Matcher, Matrix, Query
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import nan_sum

GPU = ("job", "instance", "uuid")
TARGET = ("job", "instance")
SERVICE = ("service_name", "service_namespace")
PODS = ("pod", "k8s_pod_name")
"""Which of several servers on one page, as Prometheus and OpenTelemetry name it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How another producer tells the same: its query, its names of labels, its unit.

    `labels` maps the producer's label names to the standard ones; `le_scale` turns its bucket bounds into seconds,
    `scale` its values into the standard unit. `named` gives the standard labels where the producer has no such labels
    under another name, or None for what is not meant; what has the same ones is added. `producer`: who tells it, ""
    where that is no matter of choice.
    """

    query: Query
    labels: Mapping[str, str] = field(default_factory=dict)
    le_scale: float = 1.0
    scale: float = 1.0
    named: Callable[[Mapping[str, str]], Mapping[str, str] | None] | None = None
    producer: str = ""

    def standard(self, matrix: Matrix) -> Matrix:
        """The answer with standard labels and units. What is infinite is no measurement."""
        rows: dict[Labels, Floats] = {}
        infinite = np.isinf(matrix.values)
        told = np.where(infinite, np.nan, matrix.values) if infinite.any() else matrix.values
        for labels, values in zip(matrix.labels, told, strict=True):
            pairs = self._renamed(labels)
            if pairs is not None:
                key, scaled = labels_of(pairs), values * self.scale
                rows[key] = nan_sum(rows[key], scaled) if key in rows else scaled
        return Matrix.of(matrix.times, rows)

    def _renamed(self, labels: Labels) -> Mapping[str, str] | None:
        pairs = {self.labels.get(name, name): value for name, value in labels}
        if "le" in pairs and self.le_scale != 1.0:
            pairs["le"] = repr(float(pairs["le"]) * self.le_scale)
        if self.named is None:
            return pairs
        named = self.named(pairs)
        return named if named is None or "le" not in pairs else {**named, "le": pairs["le"]}


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of the table. `lost`: what there is not without it; `shown`: the pages say so, for it should be there.

    `forms` are asked in turn where the query has no answer. `also` are other producers of the same kind of thing, or
    other metrics that count towards it: their series come beside those. `producer` is the query's; of what is `part_of`
    another reading (its key), only what has no producer is asked for, and that of the producer who told the other one.
    """

    query: Query
    lost: str
    forms: tuple[Form, ...] = ()
    also: tuple[Form, ...] = ()
    shown: bool = False
    producer: str = ""
    part_of: str = ""

    @property
    def ways(self) -> tuple[Form, ...]:
        """The query and the forms, in the order in which they are asked."""
        return (Form(self.query, producer=self.producer), *self.forms)


def quick_window(interval: float) -> float:
    """Seconds that hold two or three scrapes `interval` seconds apart, off multiples of it, and half a minute or so."""
    return max(29.0, 2.9 * interval)


@dataclass(frozen=True, slots=True)
class Windows:
    """How far queries look back, in seconds: `rates`, and `quick` for what changes at once when a neighbour moves."""

    rates: float
    quick: float

    def last(self, metric: str, by: tuple[str, ...] | None, *matchers: Matcher) -> Query:
        """The newest value."""
        return Query(metric, matchers, by, "last", min(self.rates, MAX_LAST_WINDOW))

    def rate(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Per second."""
        return Query(metric, matchers, by, "rate", self.rates)

    def quick_rate(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Per second, over two or three scrapes."""
        return Query(metric, matchers, by, "rate", self.quick)

    def buckets(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Observations per bucket."""
        return Query(metric, matchers, by, "buckets", self.rates)
