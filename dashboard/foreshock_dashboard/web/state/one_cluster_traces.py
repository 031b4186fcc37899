"""The traces that a hub shows of one cluster of several."""

from __future__ import annotations

from dataclasses import replace

from foreshock_dashboard.model.query import Partial, note_of, total_of
from foreshock_dashboard.model.span import (
    CLUSTER_ATTRIBUTE,
    Span,
    TraceQuery,
    TraceSource,
    TraceSummary,
    UnsearchableError,
)
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.words.traces import TRACE_TEXTS


class OneClusterTraces(TraceSource):
    """The traces of one cluster in lists; a trace is found by its ID wherever it is. Thread-safe.

    source: names services with their clusters, as `ClusterTraces` does.
    """

    def __init__(self, source: TraceSource, cluster: str) -> None:
        self._source, self._cluster = source, cluster

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """See `TraceSource.search`: traces of a service of the cluster, or those with spans of the cluster.

        Where no span has the attribute, or none can be searched for, they are those of all clusters, with a note.
        """
        if query.service is not None:
            service = query.service.in_cluster(self._cluster)
            return self._source.search(replace(query, service=service)) if service.cluster == self._cluster else ()
        wanted = query.attributes.get(CLUSTER_ATTRIBUTE, self._cluster)
        if wanted != self._cluster:
            return ()
        cluster = {CLUSTER_ATTRIBUTE: wanted}
        why = filled_text(TRACE_TEXTS["unsearchable"], attribute=CLUSTER_ATTRIBUTE)
        try:
            found = self._source.search(replace(query, attributes={**query.attributes, **cluster}))
            if found or self._source.search(TraceQuery(query.start, query.end, attributes=cluster)):
                return found
            why = f"{CLUSTER_ATTRIBUTE}={wanted} not found"
        except UnsearchableError:
            if query.attributes:
                raise
        if not (anywhere := self._source.search(query)):
            return anywhere
        note = f"traces of all clusters: {why}"
        return Partial(anywhere, "; ".join(filter(None, (note_of(anywhere), note))), total_of(anywhere))

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """See `TraceSource.get`."""
        return self._source.get(trace_id)
