"""A metrics source with several clusters: names in labels get the cluster of their series, so that none are mixed."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.common.series_index import once, renamed
from foreshock_dashboard.model.query import LimitError, Matcher, Matrix, MetricSource, Query, SourceError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import CLUSTER_LABEL, CLUSTER_MARK, qualified, split_cluster
from foreshock_dashboard.sources.cluster_selection import Selection
from foreshock_dashboard.sources.shard import Shard

log = logging.getLogger(__name__)

DEFAULT_LABELS = ("k8s_cluster_name", "cluster")
"""OpenTelemetry's resource attribute k8s.cluster.name, and the common external label of a Prometheus. The attribute is
that of the workload, the label that of the scraper, which may be one central Collector for all clusters."""
DETECTION_METRICS = (
    "up",
    "target_info",
    "traces_span_metrics_calls_total",
    "traces_spanmetrics_calls_total",
    "traces_service_graph_request_total",
)
"""Metrics whose labels name the clusters. A `cluster` of others may be one of Redis or Elasticsearch."""
DETECTION_SECONDS, DETECTION_STEP_SECONDS = 60.0, 600.0
"""Time between two looks for further clusters, and between the instants of one look."""


class _Named(NamedTuple):
    """Labels of which any names something, the label of its namespace, and the side of a call that it is."""

    names: tuple[str, ...]
    namespace: str
    side: str = ""


_NAMED = (
    _Named(("service_name", "service"), "service_namespace"),
    _Named(("aggressor_name",), "aggressor_namespace"),
    _Named(("client",), "client_service_namespace", "client"),
    _Named(("server",), "server_service_namespace", "server"),
    _Named(("source_workload",), "source_workload_namespace", "source"),
    _Named(("destination_workload",), "destination_workload_namespace", "destination"),
    _Named(("destination_service_name",), "destination_service_namespace", "destination"),
)
_SIDES = (("client", "server"), ("source", "destination"))
_NAMESPACES = ("namespace", "exported_namespace", "k8s_namespace_name")
_PLACES = ("instance", "exported_instance", "host_name", "nodename", "Hostname", "node", "pool", *_NAMESPACES)
"""Labels that are qualified wherever they are; UUIDs of GPUs and pods are unique already."""
_QUALIFIED = frozenset((*_PLACES, *(each.namespace for each in _NAMED)))
_ADDRESSES = ("instance", "exported_instance")
"""They may be URLs."""
_LOCAL = _QUALIFIED.difference(_ADDRESSES)


class ClusterSource(MetricSource):
    """A source that passes all through as long as it has one cluster or none, and then qualifies names with clusters.

    Every series of an answer has the label `CLUSTER_LABEL`; the cluster of a series without one is "". Thread-safe.

    Args:
        source: where to read.
        labels: labels that may name the cluster; the first with a value counts. Without any, all is passed through.
        known: clusters that were found earlier.
        shard: its clusters alone are read, and calls to and from others; None for all. Names are then always qualified,
            so that they do not depend on the other clusters.

    shard: as given. clusters: all that are known. seen: those that the latest look found.
    """

    def __init__(
        self,
        source: MetricSource,
        labels: Sequence[str] = DEFAULT_LABELS,
        known: Collection[str] = (),
        shard: Shard | None = None,
    ) -> None:
        self._source, self._labels, self.shard = source, tuple(labels), shard
        self._looked_at = self._tried_at = -math.inf
        self._problem = LogOnChange(log, recovered="clusters can be looked for again")
        self.clusters = frozenset(known)
        self.seen: frozenset[str] = frozenset()

    @property
    def has_several(self) -> bool:
        """Whether names are qualified: two clusters were found, or this is a shard."""
        return len(self.clusters) > 1 or self.shard is not None

    @property
    def own(self) -> tuple[str, ...]:
        """The clusters of the shard, "" among them where it has the series without one."""
        return self.shard.clusters({*self.clusters, ""}) if self.shard else ()

    def is_own(self, cluster: str) -> bool:
        """Whether the shard has a cluster. Without a shard, all are."""
        return self.shard is None or self.shard.has(cluster)

    def look(self, now: float, back: float) -> bool:
        """Look for clusters in the last `back` seconds before `now` (Unix seconds), at most every `DETECTION_SECONDS`.

        Returns whether names are qualified from now on and were not before. Clusters are never forgotten: services
        must not change their names because one is down. What the source refuses is logged, and stops no evaluation.

        Raises:
            SourceError: a shard knows none of its clusters, and its first look is refused: it would read nothing.
        """
        if not self._labels or now - self._tried_at < DETECTION_SECONDS:
            return False
        self._tried_at, self.seen = now, frozenset()
        since = max(now - back, self._looked_at)
        step = min(DETECTION_STEP_SECONDS, max(1.0, now - since))
        queries = [Query(metric, by=self._labels, window=min(900.0, step)) for metric in DETECTION_METRICS]
        had_several, refused, seen = self.has_several, list[SourceError](), set[str]()
        for query in queries:
            try:
                found = self._source.fetch(query, since + step, now, step).labels
            except SourceError as error:
                refused.append(error)
                if query is queries[0] and not isinstance(error, LimitError):
                    self._check_known(error)
                    return False  # it answers nothing now
            else:
                seen |= {cluster for labels in found if (cluster := self._cluster(dict(labels)))}
        self.seen = frozenset(seen)
        self.clusters |= self.seen
        if refused:
            self._check_known(refused[0])
        self._looked_at = now  # after a limit, the next look reads less
        self._problem.update(f"clusters may be missing: {refused[0]}" if refused else "")
        return self.has_several and not had_several

    def _check_known(self, error: SourceError) -> None:
        """Raise the error of a shard's first look if it knows none of its clusters, and let it look again at once."""
        if self.shard and self._looked_at == -math.inf and not self.shard.clusters(self.clusters):
            self._tried_at = -math.inf
            raise error

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """See `MetricSource.fetch`."""
        return next(iter(self.fetch_all((query,), start, end, step)))

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """See `MetricSource.fetch_all`."""
        if not self.has_several:
            return map(_without_marks, self._source.fetch_all(queries, start, end, step))
        own = Selection(self._labels, self.own, self.clusters) if self.shard else None
        if own and not own.clusters:
            return iter([Matrix.empty(grid(start, end, step))] * len(queries))
        answers = self._source.fetch_all([self._sent(query, own) for query in queries], start, end, step)
        return (self._qualified(matrix, query) for matrix, query in zip(answers, queries, strict=True))

    def metric_names(self) -> frozenset[str]:
        """See `MetricSource.metric_names`."""
        return self._source.metric_names()

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """See `NamedMetricSource.names_between`."""
        names = getattr(self._source, "names_between", None)
        return names(start, end) if names else None

    def _sent(self, query: Query, own: Selection | None) -> Query:
        """The query by cluster as well, with matchers of the names that the source knows, limited to `own` clusters."""
        matchers = tuple(
            replace(each, value=split_cluster(each.value)[1]) if _is_qualified(each) else each
            for each in query.matchers
        )
        by = set(query.by or ())
        sides = next((pair for pair in _SIDES if by & {pair[1], f"{pair[1]}_workload"}), ())
        any_of = own.conditions(sides) if own else ()
        if query.by is None:
            return replace(query, matchers=matchers, any_of=any_of)
        of_sides = (f"{side}_{label}" for side in sides for label in self._labels)
        labels = tuple(dict.fromkeys((*query.by, *self._labels, *of_sides)))
        return replace(query, matchers=matchers, by=labels, any_of=any_of)

    def _cluster(self, labels: Mapping[str, str]) -> str:
        return _local_name(next(filter(None, (labels.get(label, "") for label in self._labels)), ""))

    def _qualified(self, matrix: Matrix, query: Query) -> Matrix:
        of_cluster = [each for each in query.matchers if _is_qualified(each)]
        naming = _Naming(query.by, self._labels, self.clusters)

        def name(labels: Labels) -> Labels | None:
            named = naming(labels)
            accepted = not of_cluster or all(each.accepts(dict(named).get(each.label, "")) for each in of_cluster)
            return named if accepted else None

        return renamed(matrix, name, (query.by, self.clusters, *of_cluster))


class _Part(NamedTuple):
    """A label of a result: name, position in the labels of the series (None if it has none), and whose cluster its
    value gets (a side, "" for that of the series, None for none)."""

    name: str
    position: int | None
    cluster_of: str | None


class _Naming:
    """Names the series of one answer; equal labels of them are one object, so that comparing them is fast."""

    def __init__(self, by: tuple[str, ...] | None, labels: tuple[str, ...], clusters: frozenset[str]) -> None:
        self._kept = None if by is None else frozenset((*by, "le"))
        self._labels, self._clusters = labels, clusters
        self._plans: dict[tuple[str, ...], tuple[tuple[_Part, ...], dict[str, tuple[int, ...]]]] = {}
        self._pairs: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._equal: dict[tuple[str, str], tuple[str, str]] = {}

    def __call__(self, labels: Labels) -> Labels:
        """The labels of a series with qualified names."""
        names = tuple([name for name, _ in labels])
        if (plan := self._plans.get(names)) is None:
            plan = self._plans[names] = self._plan(names)
        parts, positions = plan
        clusters = {"": self._cluster(labels, positions[""])}
        for side in positions:
            if side:
                found = self._cluster(labels, positions[side])
                clusters[side] = found if found in self._clusters else clusters[""]
        made = []
        for name, position, cluster_of in parts:
            if cluster_of is None and position is not None:
                made.append(self._equal.setdefault(labels[position], labels[position]))
                continue
            value = "" if position is None else labels[position][1]
            if CLUSTER_MARK in value and name not in _ADDRESSES:
                value = _local_name(value)
            key = name, clusters[cluster_of or ""], value
            if (pair := self._pairs.get(key)) is None:
                pair = self._pairs[key] = (name, key[1] if name == CLUSTER_LABEL else qualified(key[1], value))
            if pair[1]:
                made.append(pair)
        return tuple(made)

    def _plan(self, names: tuple[str, ...]) -> tuple[tuple[_Part, ...], dict[str, tuple[int, ...]]]:
        """The labels of results of series with these labels in order, and where the cluster of each side is.

        A side counts only if it is a known cluster: Istio's default is "Kubernetes" in every cluster.
        """
        at = {name: position for position, name in enumerate(names)}
        parts = {
            name: _Part(name, position, "" if name in _PLACES else None)
            for name, position in at.items()
            if self._kept is None or name in self._kept
        }
        for named, namespace, side in _NAMED:
            if any(name in parts for name in named):
                position = parts[namespace].position if namespace in parts else None
                parts[namespace] = _Part(namespace, position, side)
        if not any(name in parts for name in _NAMESPACES):
            parts["namespace"] = _Part("namespace", None, "")
        parts[CLUSTER_LABEL] = _Part(CLUSTER_LABEL, None, "")
        sides = {"", *(part.cluster_of for part in parts.values() if part.cluster_of)}
        prefixes = {side: f"{side}_" if side else "" for side in sides}
        positions = {
            side: tuple(at[key] for label in self._labels if (key := f"{prefix}{label}") in at)
            for side, prefix in prefixes.items()
        }
        return tuple(parts[name] for name in sorted(parts)), positions

    @staticmethod
    def _cluster(labels: Labels, positions: tuple[int, ...]) -> str:
        return _local_name(next((labels[position][1] for position in positions if labels[position][1]), ""))


def _local_name(value: str) -> str:
    """A name without the mark of clusters, which only the hub writes: a sender must not make up a cluster."""
    return re.sub("/{2,}", "/", value)


def _without_marks(matrix: Matrix) -> Matrix:
    """The answer of a source with one cluster or none."""
    return renamed(matrix, _without_mark, _without_mark) if once(matrix.labels, _any_marked) else matrix


def _any_marked(series: tuple[Labels, ...]) -> bool:
    return any(CLUSTER_MARK in value and name in _LOCAL for labels in series for name, value in labels)


def _without_mark(labels: Labels) -> Labels:
    return tuple((name, _local_name(value) if name in _LOCAL else value) for name, value in labels)


def _is_qualified(matcher: Matcher) -> bool:
    return matcher.op == "=" and matcher.label in _QUALIFIED and bool(split_cluster(matcher.value)[0])
