"""Spans turned into the standard metrics of the service graph and of each operation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from foreshock_dashboard.model.attempts import Fallback
from foreshock_dashboard.model.families import (
    CALLS,
    CLAMPED,
    CLIENT_SECONDS,
    DROPPED,
    DUPLICATE,
    DURATION,
    EARLY,
    FAILED,
    FALLBACKS,
    LATE,
    OVERFLOW,
    REQUESTS,
    RETRIES,
    SERVER_SECONDS,
    UNPAIRED,
)
from foreshock_dashboard.model.gen_ai import request_of
from foreshock_dashboard.model.histogram import LE, Exemplar
from foreshock_dashboard.model.llm_metrics import LlmMetrics
from foreshock_dashboard.model.page import text_of
from foreshock_dashboard.model.registry import OTHER, Family, Reading, Registry, Series
from foreshock_dashboard.model.samples import Labels, Sample, labels_of
from foreshock_dashboard.model.seen import Seen
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.service_graph import Increment, ServiceGraph, Unpaired
from foreshock_dashboard.model.span import OCCUPANCY, Attributes, Kind, Span, Status
from foreshock_dashboard.model.world import Edge

MAX_NAMES = 200
"""Span names that each service may have in metrics; further ones are counted together as `OTHER`."""
MAX_SERVICES = 10_000
"""Services whose span names are remembered."""
MAX_LENGTH = 200
"""Characters of a label's value; the rest is cut off."""
MAX_READY = 20_000
"""Operations, and edges, whose series are at hand."""
KEPT = ("connection_type", "span_kind", "status_code", "direction")
"""Labels with few values, which series without room keep."""

_KINDS = {
    "internal": "SPAN_KIND_INTERNAL",
    "server": "SPAN_KIND_SERVER",
    "client": "SPAN_KIND_CLIENT",
    "producer": "SPAN_KIND_PRODUCER",
    "consumer": "SPAN_KIND_CONSUMER",
}
_STATUSES = {"unset": "STATUS_CODE_UNSET", "ok": "STATUS_CODE_OK", "error": "STATUS_CODE_ERROR"}
OWN = (LATE, EARLY, DUPLICATE, CLAMPED, DROPPED, OVERFLOW)
"""What is told of the counting itself."""

_Operations = dict[tuple[str, Kind, Status], tuple[Series, Series]]


class _EdgeSeries:
    """The series of one edge. Those of a side's durations are made when there is one to count."""

    __slots__ = ("as_client", "as_server", "counts", "labels")

    def __init__(self, edge: Edge, registry: Registry, now: float) -> None:
        self.labels = between(edge.client, edge.server, connection_type=edge.connection)
        both = between(edge.client, edge.server)
        self.counts = tuple(
            registry.get(family, labels, now)
            for family, labels in ((REQUESTS, self.labels), (FAILED, self.labels), (RETRIES, both))
        )
        self.as_client: Series | None = None
        self.as_server: Series | None = None


class SpanMetrics:
    """Counts spans, and pairs them within `ttl` seconds. Not for several threads at once.

    patience: seconds for which a call waits whose answer is likely to come later (see `ServiceGraph`).
    slack: seconds. A span that ended longer ago, or ends later than that from now, counts as late
        (`foreshock_spans_late_total`) or early and nowhere else, so that it cannot distort what is current. Within it,
        a span that comes again is not counted again.
    max_items, max_series: how many span ids may wait for their other half, and how many series there may be.
    stale_after: seconds after which a series that nothing was added to ends.

    zero_for: seconds for which `text` shows a new series as 0.

    A new series is shown as 0 by the first `collect`, and with its value from the next one on, so that `rate` sees its
    first increment. `text` cannot tell its readers apart: it shows 0 until `zero_for` seconds after it first showed the
    series, so that everybody who reads at least that often has seen the 0.
    """

    def __init__(
        self,
        *,
        ttl: float = 10.0,
        patience: float = 120.0,
        slack: float = 30.0,
        max_items: int = 200_000,
        max_series: int = 100_000,
        stale_after: float = 900.0,
        zero_for: float = 60.0,
    ) -> None:
        self._slack = slack
        self._zero_for = zero_for
        self._graph = ServiceGraph(ttl, max_items, patience)
        self._registry = Registry(max_series, stale_after, KEPT)
        self._llm = LlmMetrics(self._registry)
        self._seen = Seen(slack)
        self._names: dict[Service, set[str]] = {}
        own = Registry(len(OWN), math.inf)
        self._own = own
        self._counters = {family: own.get(family, (), 0.0) for family in OWN}
        self._ended = 0
        self._operations: dict[Service, _Operations] = {}
        self._edges: dict[Edge, _EdgeSeries] = {}
        self._ready = 0

    def add(self, spans: Sequence[Span], now: float) -> None:
        """Count spans that arrived at `now` (Unix seconds)."""
        earliest, latest = (now - self._slack) * 1e9, (now + self._slack) * 1e9
        resource: Attributes | None = None
        service = Service("", "")
        operations: _Operations = {}
        new, pair = self._seen.add, self._graph.add
        for span in spans:
            if span.name == OCCUPANCY and span.occupancy:
                continue
            if span.resource is not resource:
                resource, service = span.resource, span.service
                operations = self._operations.setdefault(service, {})
            kind = span.kind
            request = request_of(span)
            if kind == "internal" and request is None:
                pair(span, service, now)
                continue
            end = span.end_ns
            if not earliest <= end <= latest:
                self._note(LATE if end < earliest else EARLY)
                continue
            if not new(span):
                self._note(DUPLICATE)
                continue
            if span.clamped:
                self._note(CLAMPED)
            if request is not None:
                self._llm.add(span, service, request, now)
            if kind != "internal":
                known = operations.get((span.name, kind, span.status))
                calls, seconds = known or self._operation(span, service, operations, now)
                calls.add(1.0, now)
                seconds.observe((end - span.start_ns) / 1e9, (span.trace_id, span.span_id), now)
            pair(span, service, now)
        self._settle(now)

    def collect(self, now: float) -> tuple[Sample, ...]:
        """All series as they stand at `now`; those that ended are left out."""
        return tuple(sample for reading in self._read("collect", now, 0.0) for sample in reading.samples)

    def text(self, now: float, *, openmetrics: bool = False) -> str:
        """The same in the Prometheus text format 0.0.4, or OpenMetrics with exemplars and without its last line."""
        return text_of(self._read("text", now, self._zero_for), openmetrics=openmetrics)

    def examples(self, metric: str, labels: Mapping[str, str]) -> dict[str, Exemplar]:
        """The newest span of each bucket (by its `le`) of a histogram's series that have these labels."""
        wanted = labels.items()
        found: dict[str, Exemplar] = {}
        for series in self._registry.all():
            if series.family.name != metric or series.histogram is None or not wanted <= dict(series.labels).items():
                continue
            for le, exemplar in zip(LE, series.histogram.exemplars(), strict=True):
                if exemplar is not None and (le not in found or found[le].time < exemplar.time):
                    found[le] = exemplar
        return found

    def _operation(self, span: Span, service: Service, operations: _Operations, now: float) -> tuple[Series, Series]:
        name = self._name(service, span.name[:MAX_LENGTH])
        labels = of_operation(service, name, span.kind, span.status)
        found = self._registry.get(CALLS, labels, now), self._registry.get(DURATION, labels, now)
        if name == span.name and not any(series.other for series in found):
            self._make_room()
            operations[name, span.kind, span.status] = found
        return found

    def _name(self, service: Service, name: str) -> str:
        if service not in self._names and len(self._names) >= MAX_SERVICES:
            self._names.clear()
        names = self._names.setdefault(service, set())
        if name not in names:
            if len(names) >= MAX_NAMES:
                return OTHER
            names.add(name)
        return name

    def _make_room(self) -> None:
        """Forget which series are at hand, where they are too many."""
        self._ready += 1
        if self._ready > MAX_READY:
            self._forget()

    def _forget(self) -> None:
        for operations in self._operations.values():
            operations.clear()
        self._operations.clear()
        self._edges.clear()
        self._ready = 0

    def _settle(self, now: float) -> None:
        self._graph.expire(now)
        found = self._graph.take()
        for increment in found.increments:
            self._edge(increment, now)
        for alone in found.unpaired:
            self._registry.get(UNPAIRED, _of_half(alone), now).add(1.0, now)
        for fallback in found.fallbacks:
            self._registry.get(FALLBACKS, of_fallback(fallback), now).add(1.0, now)
        self._counters[DROPPED].add(found.dropped, now)
        self._counters[OVERFLOW].add(self._registry.take_overflow(), now)

    def _edge(self, increment: Increment, now: float) -> None:
        edge, requests, failed, retries, client_seconds, server_seconds, client_span, server_span = increment
        known = self._edges.get(edge)
        if known is None:
            known = _EdgeSeries(edge, self._registry, now)
            if not any(series.other for series in known.counts):
                self._make_room()
                self._edges[edge] = known
        counts = known.counts
        counts[0].add(requests, now)
        counts[1].add(failed, now)
        counts[2].add(retries, now)
        if client_seconds is not None:
            series = known.as_client or self._registry.get(CLIENT_SECONDS, known.labels, now)
            series.observe(client_seconds, client_span, now)
            known.as_client = None if series.other else series
        if server_seconds is not None:
            series = known.as_server or self._registry.get(SERVER_SECONDS, known.labels, now)
            series.observe(server_seconds, server_span, now)
            known.as_server = None if series.other else series

    def _note(self, family: Family) -> None:
        self._counters[family].value += 1.0

    def _read(self, reader: str, now: float, zero_for: float) -> Iterator[Reading]:
        self._settle(now)
        self._seen.forget(now)
        self._registry.expire(now)
        if self._ended != self._registry.ended:
            self._ended = self._registry.ended
            self._forget()
        yield from self._registry.read(reader, now, zero_for)
        yield from self._own.read(reader, now, zero_for)


def _of_half(alone: Unpaired) -> Labels:
    return _labels(
        service_name=alone.service.name, service_namespace=alone.service.namespace, span_kind=_KINDS[alone.kind]
    )


def of_operation(service: Service, name: str, kind: Kind, status: Status) -> Labels:
    """The labels of an operation's series."""
    return _labels(
        service_name=service.name,
        service_namespace=service.namespace,
        span_name=name,
        span_kind=_KINDS[kind],
        status_code=_STATUSES[status],
    )


def between(client: Service, server: Service, **more: str) -> Labels:
    """The labels of an edge's series."""
    return _labels(
        client=client.name,
        client_service_namespace=client.namespace,
        server=server.name,
        server_service_namespace=server.namespace,
        **more,
    )


def of_fallback(found: Fallback) -> Labels:
    """The labels of a fallback's series."""
    return between(
        found.client,
        found.server,
        fallback=found.fallback.name,
        fallback_service_namespace=found.fallback.namespace,
        gen_ai_request_model=found.model,
        fallback_gen_ai_request_model=found.fallback_model,
    )


def _labels(**pairs: str) -> Labels:
    return labels_of({name: value[:MAX_LENGTH] for name, value in pairs.items()})
