"""Spans turned into the standard metrics of the service graph and of each operation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress
from operator import and_, not_

from foreshock_dashboard.ingest.otlp import SpanBatch
from foreshock_dashboard.ingest.otlp.gen_ai import MEASURED, request_of
from foreshock_dashboard.ingest.service_graph.pairing import ServiceGraph
from foreshock_dashboard.ingest.span_metrics.dedup import Seen
from foreshock_dashboard.ingest.span_metrics.edges import Edges
from foreshock_dashboard.ingest.span_metrics.exposition import text_of
from foreshock_dashboard.ingest.span_metrics.histogram import LE, Exemplar
from foreshock_dashboard.ingest.span_metrics.labels import KEPT, of_fallback, of_half
from foreshock_dashboard.ingest.span_metrics.llm import LlmMetrics
from foreshock_dashboard.ingest.span_metrics.names import (
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
from foreshock_dashboard.ingest.span_metrics.operations import Operations
from foreshock_dashboard.ingest.span_metrics.registry import Family, Reading, Registry, Use
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.span import (
    OCCUPANCY,
    Outline,
    Outlines,
    Span,
    outlines_of,
)

MAX_SERIES = 100_000
"""Series made of spans, of which an operation takes 34 for each status, and an edge up to 69."""
OWN = (LATE, EARLY, DUPLICATE, CLAMPED, DROPPED, UNCOUNTED, OVERFLOW)
"""What is told of the counting itself."""


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
        own = Registry(len(OWN), math.inf)
        self._own = own
        self._counters = {family: own.get(family, (), 0.0) for family in OWN}
        self._ended = 0
        self._operations = Operations(self._registry)
        self._edges = Edges(self._registry)

    def add(self, spans: Sequence[Span], now: float) -> None:
        """Count spans that arrived at `now` (Unix seconds)."""
        outlines = spans.outlines if isinstance(spans, SpanBatch) else outlines_of(spans)
        requests = {
            row: request
            for row, found in enumerate(outlines.attributes)
            if found and not MEASURED.isdisjoint(found) and (request := request_of(found)) is not None
        }
        fresh = self._fresh(outlines, requests, now)
        for row, request in requests.items():
            if fresh[row]:
                self._llm.add(outlines.key[row], outlines.above[row], outlines.service[row], request, now)
        if not all(fresh):
            outlines = Outlines._make([*compress(column, fresh)] for column in outlines)
        self._operations.count(outlines, now)
        self._graph.add_batch(outlines, now)
        self._settle(now)

    def _fresh(self, outlines: Outlines, requests: Collection[int], now: float) -> list[bool]:
        """Which spans to count, and to pair; of the others it is noted why not. INTERNAL ones without a request are
        paired whenever they come."""
        fresh = [True] * len(outlines.key)
        if OCCUPANCY in outlines.name:
            fresh = [not Outline._make(row).occupancy for row in outlines.rows()]
        earliest, latest = (now - self._slack) * 1e9, (now + self._slack) * 1e9
        keys, kinds, ends = outlines.key, outlines.kind, outlines.end_ns
        watched = [kind != "internal" for kind in kinds]
        for row in requests:
            watched[row] = True
        if not earliest <= min(ends, default=earliest) <= max(ends, default=latest) <= latest:
            for row in compress(range(len(keys)), watched):
                if fresh[row] and not earliest <= ends[row] <= latest:
                    self._note(LATE if ends[row] < earliest else EARLY)
                    fresh[row] = False
        if not all(fresh):
            watched = [*map(and_, watched, fresh)]
        new = self._seen.add([*compress(keys, watched)], [*compress(kinds, watched)], [*compress(ends, watched)])
        if not all(new):
            for row in compress(compress(range(len(keys)), watched), map(not_, new)):
                self._note(DUPLICATE)
                fresh[row] = False
        if True in outlines.clamped:
            self._note(CLAMPED, sum(compress(outlines.clamped, fresh)))
        return fresh

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

    @property
    def counts(self) -> Mapping[str, float]:
        """What was not counted, or not as it came, since the start, by metric."""
        return {family.name: series.value for family, series in self._counters.items()}

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

    def _settle(self, now: float) -> None:
        self._graph.expire(now)
        found = self._graph.take()
        self._edges.count(found.increments, now)
        for alone in found.unpaired:
            self._registry.get(UNPAIRED, of_half(alone), now).add(1.0, now)
        for fallback in found.fallbacks:
            self._registry.get(FALLBACKS, of_fallback(fallback), now).add(1.0, now)
        self._registry.settle(now)
        self._counters[DROPPED].add(found.dropped, now)
        self._counters[OVERFLOW].add(self._registry.take_overflow(), now)

    def missed(self, spans: int) -> None:
        """Take note of spans that could not be counted."""
        self._counters[UNCOUNTED].value += spans

    def _note(self, family: Family, spans: int = 1) -> None:
        self._counters[family].value += spans

    def _read(self, reader: str, now: float, zero_for: float) -> Iterator[Reading]:
        self._settle(now)
        self._seen.forget(now)
        self._registry.expire(now)
        if self._ended != self._registry.ended:
            self._ended = self._registry.ended
            self._operations.forget()
            self._edges.forget()
        yield from self._registry.read(reader, now, zero_for)
        yield from self._own.read(reader, now, zero_for)
