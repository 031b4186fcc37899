"""One row of what is read from a metrics source, in every form that producers give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foreshock_dashboard.model.query import MAX_LAST_WINDOW, Matcher, Matrix, Query
from foreshock_dashboard.model.samples import Labels, labels_of

GPU = ("job", "instance", "uuid")
TARGET = ("job", "instance")
SERVICE = ("service_name", "service_namespace")
PODS = ("pod", "k8s_pod_name")
"""Which of several servers on one page, as Prometheus and OpenTelemetry name it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How another producer tells the same: its query, its names of labels, its unit.

    `labels` maps the producer's label names to the standard ones; `le_scale` turns its bucket bounds into seconds,
    `scale` its values into the standard unit. `by_job`: a service is known by its job, `namespace/name` or just `name`
    (OpenTelemetry's "Prometheus and OpenMetrics Compatibility").
    """

    query: Query
    labels: Mapping[str, str]
    le_scale: float = 1.0
    scale: float = 1.0
    by_job: bool = False

    def standard(self, matrix: Matrix) -> Matrix:
        """The answer with standard labels and units."""

        def renamed(labels: Labels) -> Labels:
            pairs = {self.labels.get(name, name): value for name, value in labels}
            if "le" in pairs and self.le_scale != 1.0:
                pairs["le"] = repr(float(pairs["le"]) * self.le_scale)
            if self.by_job:
                namespace, _, name = pairs.pop("job", "").rpartition("/")
                pairs |= {"service_name": name, "service_namespace": namespace}
            return labels_of(pairs)

        rows = zip(matrix.labels, matrix.values, strict=True)
        return Matrix.of(matrix.times, {renamed(labels): values * self.scale for labels, values in rows})


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of the table. `lost`: what there is not without it; `shown`: the pages say so, for it should be there.

    `forms` are asked in turn where the query has no answer; of what is `part_of` another reading (its key), only the
    form in which that one was answered. `also` are other producers of the same kind of thing, or other metrics that
    count towards it: their series come beside those.
    """

    query: Query
    lost: str
    forms: tuple[Form, ...] = ()
    also: tuple[Form, ...] = ()
    shown: bool = False
    part_of: str = ""


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
