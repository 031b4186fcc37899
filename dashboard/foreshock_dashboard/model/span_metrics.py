"""Spans turned into the standard metrics of the service graph and of each operation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from foreshock_dashboard.model.edge_series import EdgeSeries
from foreshock_dashboard.model.families import (
    CLAMPED,
    DROPPED,
    DUPLICATE,
    EARLY,
    FALLBACKS,
    LATE,
    OVERFLOW,
    UNCOUNTED,
    UNPAIRED,
)
from foreshock_dashboard.model.gen_ai import MEASURED, request_of
from foreshock_dashboard.model.histogram import LE, Exemplar
from foreshock_dashboard.model.llm_metrics import LlmMetrics
from foreshock_dashboard.model.operation_series import OperationSeries
from foreshock_dashboard.model.otlp import SpanBatch
from foreshock_dashboard.model.page import text_of
from foreshock_dashboard.model.registry import OTHER, Family, Reading, Registry, Use
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.seen import Seen
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.service_graph import ServiceGraph
from foreshock_dashboard.model.span import (
    EXPORTER,
    OCCUPANCY,
    Attributes,
    Kind,
    Span,
    Status,
    outlines_of,
    service_of,
)
from foreshock_dashboard.model.span_labels import KEPT, MAX_LENGTH, of_fallback, of_half, of_operation
from foreshock_dashboard.model.world import Edge

MAX_SERIES = 100_000
"""Series made of spans, of which an operation takes 34 for each status, and an edge up to 69."""
MAX_NAMES = 200
"""Span names that each service may have in metrics; further ones are counted together as `OTHER`."""
MAX_SERVICES = 10_000
"""Services whose span names are remembered."""
MAX_READY = 20_000
"""Operations, and edges, whose series are at hand."""
OWN = (LATE, EARLY, DUPLICATE, CLAMPED, DROPPED, UNCOUNTED, OVERFLOW)
"""What is told of the counting itself."""

_Operations = dict[tuple[str, Kind, Status], OperationSeries]


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
        max_series: int = MAX_SERIES,
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
        self._edges: dict[Edge, EdgeSeries] = {}
        self._ready = 0

    def add(self, spans: Sequence[Span], now: float) -> None:
        """Count spans that arrived at `now` (Unix seconds)."""
        earliest, latest = (now - self._slack) * 1e9, (now + self._slack) * 1e9
        resource: Attributes | None = None
        service = Service("", "")
        operations: _Operations = {}
        new, look = self._seen.add, self._graph.look
        outlines = spans.outlines if isinstance(spans, SpanBatch) else outlines_of(spans)
        for key, above, name, kind, start, end, status, clamped, its_resource, attributes, links in outlines.rows():
            if its_resource is not resource:
                resource, service = its_resource, service_of(its_resource)
                operations = self._operations.setdefault(service, {})
            if name == OCCUPANCY and its_resource.get("service.name") == EXPORTER:
                continue
            request = None if MEASURED.isdisjoint(attributes) else request_of(attributes)
            if kind != "internal" or request is not None:
                if not earliest <= end <= latest:
                    self._note(LATE if end < earliest else EARLY)
                    continue
                if not new(key, kind, end):
                    self._note(DUPLICATE)
                    continue
                if clamped:
                    self._note(CLAMPED)
                if request is not None:
                    self._llm.add(key, above, service, request, now)
                if kind != "internal":
                    known = operations.get((name, kind, status))
                    if known is None:
                        known = self._operation(service, name, kind, status, operations, now)
                    known.count((end - start) / 1e9, key, now)
            look(service, key, above, name, kind, start, end, status, attributes, links, now)
        self._settle(now)

    def collect(self, now: float) -> tuple[Sample, ...]:
        """All series as they stand at `now`; those that ended are left out."""
        return tuple(sample for reading in self._read("collect", now, 0.0) for sample in reading.samples)

    def text(self, now: float, *, openmetrics: bool = False) -> str:
        """The same in the Prometheus text format 0.0.4, or OpenMetrics with exemplars and without its last line."""
        return text_of(self._read("text", now, self._zero_for), openmetrics=openmetrics)

    @property
    def use(self) -> Use:
        """How many series there are of how many there may be, and whether some are counted as `OTHER`."""
        return self._registry.use

    def examples(self, metric: str, labels: Mapping[str, str]) -> dict[str, Exemplar]:
        """The newest span of each bucket (by its `le`) of a histogram's series that have these labels."""
        wanted = labels.items()
        found: dict[str, Exemplar] = {}
        for series in self._registry.all():
            if series.family.name != metric or not wanted <= dict(series.labels).items():
                continue
            for le, exemplar in zip(LE, series.exemplars(), strict=False):  # a counter has none
                if exemplar is not None and (le not in found or found[le].time < exemplar.time):
                    found[le] = exemplar
        return found

    def _operation(
        self, service: Service, name: str, kind: Kind, status: Status, operations: _Operations, now: float
    ) -> OperationSeries:
        shown = self._name(service, name[:MAX_LENGTH])
        found = OperationSeries(of_operation(service, shown, kind, status), self._registry, now)
        if shown == name and not found.other:
            self._make_room()
            operations[name, kind, status] = found
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
        known = self._edges.get
        for increment in found.increments:
            (known(increment.edge) or self._edge(increment.edge, now)).add(increment, now)
        for alone in found.unpaired:
            self._registry.get(UNPAIRED, of_half(alone), now).add(1.0, now)
        for fallback in found.fallbacks:
            self._registry.get(FALLBACKS, of_fallback(fallback), now).add(1.0, now)
        self._registry.settle(now)
        self._counters[DROPPED].add(found.dropped, now)
        self._counters[OVERFLOW].add(self._registry.take_overflow(), now)

    def _edge(self, edge: Edge, now: float) -> EdgeSeries:
        found = EdgeSeries(edge, self._registry, now)
        if not found.other:
            self._make_room()
            self._edges[edge] = found
        return found

    def missed(self, spans: int) -> None:
        """Take note of spans that could not be counted."""
        self._counters[UNCOUNTED].value += spans

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
