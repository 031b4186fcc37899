"""Traces of several clusters: services are named as those of the metrics are."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from foreshock_dashboard.model.query import Partial, note_of, total_of
from foreshock_dashboard.model.service import CLUSTER_MARK, qualified
from foreshock_dashboard.model.span import (
    CLUSTER_ATTRIBUTE,
    Span,
    TraceQuery,
    TraceSource,
    TraceSummary,
    UnsearchableError,
)
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_exporter.gpu import occupancy


class ClusterTraces(TraceSource):
    """A source of traces that passes all through as long as the metrics have one cluster or none. Thread-safe.

    clusters: the metrics.
    """

    def __init__(self, source: TraceSource, clusters: ClusterSource) -> None:
        self._source, self._clusters = source, clusters

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """See `TraceSource.search`. Where no span has the attribute, the traces are of any cluster."""
        if query.service is None or not query.service.cluster:
            return self._source.search(query)
        local = replace(query, service=query.service.local)
        with suppress(UnsearchableError):
            cluster = {CLUSTER_ATTRIBUTE: query.service.cluster}
            found = self._source.search(replace(local, attributes={**query.attributes, **cluster}))
            any_in_cluster = TraceQuery(query.start, query.end, local.service, query.any_namespace, attributes=cluster)
            if found or self._source.search(any_in_cluster):
                return found
        if not (anywhere := self._source.search(local)):
            return anywhere
        note = f"{CLUSTER_ATTRIBUTE}={query.service.cluster} not found: traces of {local.service} in any cluster"
        return Partial(anywhere, "; ".join(filter(None, (note_of(anywhere), note))), total_of(anywhere))

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """See `TraceSource.get`. The namespace of a service has its cluster, as in the metrics."""
        spans = self._source.get(trace_id)
        if not self._clusters.has_several:
            return spans
        return Partial(map(_in_cluster, spans), note_of(spans), total_of(spans))


def _in_cluster(span: Span) -> Span:
    cluster = span.resource.get(CLUSTER_ATTRIBUTE)
    if not isinstance(cluster, str) or not cluster:
        return span
    cluster = cluster.replace(CLUSTER_MARK, "/")
    namespace = str(span.resource.get("service.namespace") or "")
    named = replace(span, resource={**span.resource, "service.namespace": qualified(cluster, namespace)})
    if not span.occupancy:
        return named
    namespace = str(span.attributes.get(occupancy.OCCUPANT_NAMESPACE) or "")
    return replace(named, attributes={**span.attributes, occupancy.OCCUPANT_NAMESPACE: qualified(cluster, namespace)})
