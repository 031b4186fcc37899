"""Rows of the query catalog: the queries behind one reading of the World, in the form of each producer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.common.series_index import renamed
from foreshock_dashboard.model.query import MAX_LAST_WINDOW_SECONDS, Matcher, Matrix, Query
from foreshock_dashboard.model.samples import Labels, labels_of

GPU_LABELS = ("job", "instance", "uuid")
TARGET_LABELS = ("job", "instance")
SERVICE_LABELS = ("service_name", "service_namespace")
POD_LABELS = ("pod", "k8s_pod_name")
"""Labels that distinguish the servers of one target, as Prometheus and OpenTelemetry name them."""
POD_NAMESPACE_LABELS = ("k8s_namespace_name", "exported_namespace", "namespace")

LabelMap = Mapping[str, str]
Readings = Mapping[str, Matrix]
"""Answer of every key of the catalog, all on one grid."""


@dataclass(frozen=True, slots=True)
class Producer:
    """Form in which a producer reports a reading.

    Attributes:
        query: the producer's query.
        labels: the producer's label names to the standard names.
        le_scale: factor from its bucket bounds to seconds.
        scale: factor from its values to the standard unit.
        relabel: computes the standard labels where renaming is not enough; None drops the series. Series that end up
            with equal labels are summed.
        producer: name of the producer, "" where only one exists.
    """

    query: Query
    labels: LabelMap = field(default_factory=dict)
    le_scale: float = 1.0
    scale: float = 1.0
    relabel: Callable[[LabelMap], LabelMap | None] | None = None
    producer: str = ""

    def standard(self, matrix: Matrix) -> Matrix:
        """Answer with standard labels and units; infinite values become NaN."""
        values = matrix.values if self.scale == 1.0 else matrix.values * self.scale
        infinite, has_standard_labels = np.isinf(values), not self.labels and not self.relabel and self.le_scale == 1.0
        if has_standard_labels and self.scale == 1.0 and not infinite.any():
            return matrix
        finite = Matrix(matrix.times, matrix.labels, np.where(infinite, np.nan, values))
        return renamed(finite, self._renamed, (*self.labels.items(), self.le_scale, self.relabel))

    def _renamed(self, labels: Labels) -> Labels | None:
        """Standard labels, of the pairs of `labels` where they are equal: new ones of all series take many MiB."""
        pairs = {self.labels.get(name, name): value for name, value in labels}
        if "le" in pairs and self.le_scale != 1.0:
            pairs["le"] = repr(float(pairs["le"]) * self.le_scale)
        if self.relabel is not None:
            relabeled = self.relabel(pairs)
            if relabeled is None:
                return None
            pairs = {**relabeled, "le": pairs["le"]} if "le" in pairs else {**relabeled}
        renamed, own = labels_of(pairs), dict(zip(labels, labels, strict=True))
        return labels if renamed == labels else tuple(own.get(pair, pair) for pair in renamed)


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One row of the catalog; `row` builds it.

    Attributes:
        lost: feature that is missing without this reading.
        ways: forms of the reading, in order of preference; the first with an answer is used.
        also: further producers or metrics; their series are merged with the answer.
        shown: whether pages report the reading as missing.
        part_of: key of another reading; only forms of that reading's producer are queried.
    """

    lost: str
    ways: tuple[Producer, ...]
    also: tuple[Producer, ...] = ()
    shown: bool = False
    part_of: str = ""

    @property
    def queries(self) -> tuple[Query, ...]:
        """Queries of all forms."""
        return tuple(form.query for form in (*self.ways, *self.also))


Catalog = Mapping[str, CatalogRow]


def row(
    lost: str,
    *ways: Query | Producer,
    also: tuple[Query | Producer, ...] = (),
    shown: bool = False,
    part_of: str = "",
) -> CatalogRow:
    """A catalog row; a query stands for a form with standard labels and units."""
    first, more = (
        tuple(form if isinstance(form, Producer) else Producer(form) for form in forms) for forms in (ways, also)
    )
    return CatalogRow(lost, first, more, shown, part_of)


def quick_window(interval: float) -> float:
    """Rate window in seconds that holds two or three scrapes `interval` seconds apart, about half a minute."""
    return max(29.0, 2.9 * interval)


@dataclass(frozen=True, slots=True)
class RateWindows:
    """Rate windows in seconds: `rates`, and `quick` for readings that react at once to a neighbor."""

    rates: float
    quick: float

    def last(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Query of the newest value."""
        return Query(metric, matchers, by, "last", min(self.rates, MAX_LAST_WINDOW_SECONDS))

    def rate(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Query of the rate per second."""
        return Query(metric, matchers, by, "rate", self.rates)

    def quick_rate(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Query of the rate per second over the quick window."""
        return Query(metric, matchers, by, "rate", self.quick)

    def buckets(self, metric: str, by: tuple[str, ...], *matchers: Matcher) -> Query:
        """Query of observations per bucket."""
        return Query(metric, matchers, by, "buckets", self.rates)
