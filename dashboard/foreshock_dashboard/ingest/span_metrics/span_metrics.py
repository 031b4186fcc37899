"""Metrics derived from spans: the service graph, and calls and durations per operation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress, repeat
from operator import and_, not_

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp.batch import SpanBatch
from foreshock_dashboard.ingest.otlp.gen_ai import MEASURED, llm_request
from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.ingest.service_graph.call_sides import HTTP_CODES
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.addresses import AddressCounter
from foreshock_dashboard.ingest.span_metrics.counters import (
    EdgeCounter,
    LlmCounter,
    OperationCounter,
    OutcomeCounter,
    VersionCounter,
)
from foreshock_dashboard.ingest.span_metrics.exposition import render_series
from foreshock_dashboard.ingest.span_metrics.registry import Family, Registry, SeriesNames, SeriesSamples, SeriesUsage
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.span import (
    OCCUPANCY_NAME,
    AttributeValue,
    Kind,
    Outline,
    Outlines,
    Span,
    SpanKey,
    in_clusters,
    outlines_of,
)
from foreshock_dashboard.model.types import Bools

MAX_SEEN_SPANS = 2_000_000
"""Spans remembered to recognize duplicates, 8 bytes each."""
MAX_PENDING_SPANS = 200_000
"""Span ids that wait for the other side of a call, up to 700 bytes each."""
MAX_SERIES = 100_000
"""Series derived from spans. An operation takes 34 per status and one for its errors, an edge up to 69."""
TTL_SECONDS = 10.0
PATIENCE_SECONDS = 120.0
"""Times that a call waits for its server side, and that it may wait longer (see `ServiceGraph`)."""
_SLOT_NS = 10_000_000_000


class SpanMetrics:
    """Counts spans, and pairs those that arrive within `ttl` seconds of each other. Not thread-safe.

    patience: seconds that a call stays pending if its server side is likely to arrive late (see `ServiceGraph`).
    slack: seconds. A span that ended earlier than that before now is late (`foreshock_spans_late_total`), and one that
        ends later than that after now is early. Neither is counted elsewhere, so that current values stay right.
        Duplicates within the slack are not counted.
    max_items: limit of pending span ids. max_series: limit of series.
    stale_after: seconds without an update after which a series expires.
    zero_for: seconds for which `text` shows a new series as 0.

    The first `collect` shows a new series as 0, and the next one its value, so that `rate` sees the first increment.
    `text` cannot distinguish its readers. It shows 0 for `zero_for` seconds, so that every scraper with a shorter
    interval sees the 0.
    """

    def __init__(
        self,
        *,
        ttl: float = TTL_SECONDS,
        patience: float = PATIENCE_SECONDS,
        slack: float = 30.0,
        max_items: int = MAX_PENDING_SPANS,
        max_series: int = MAX_SERIES,
        stale_after: float = 900.0,
        zero_for: float = 60.0,
    ) -> None:
        self._slack = slack
        self._zero_for = zero_for
        self._graph = ServiceGraph(ttl, max_items, patience)
        self._registry = Registry(max_series, stale_after, names.BOUNDED_LABELS)
        self._llm = LlmCounter(self._registry)
        self._seen = _SeenSpans(slack)
        self._accounting = Registry(len(names.ACCOUNTING_FAMILIES), math.inf)
        self._counters = {family: self._accounting.get(family, (), 0.0) for family in names.ACCOUNTING_FAMILIES}
        self._expired = 0
        self._operations = OperationCounter(self._registry)
        self._outcomes = OutcomeCounter(self._registry)
        self._versions = VersionCounter(self._registry)
        self._edges = EdgeCounter(self._registry)
        self._addresses = AddressCounter(self._registry)

    def add(self, spans: Sequence[Span], now: float) -> None:
        """Count spans that arrived at `now` (Unix seconds)."""
        outlines = in_clusters(spans.outlines if isinstance(spans, SpanBatch) else outlines_of(spans))
        requests = {
            row: request
            for row, attributes in enumerate(outlines.attributes)
            if attributes and not MEASURED.isdisjoint(attributes) and (request := llm_request(attributes)) is not None
        }
        accepted = self._accepted(outlines, requests, now)
        for row, request in requests.items():
            if accepted[row]:
                self._llm.add(outlines.key[row], outlines.parent_key[row], outlines.service[row], request, now)
        codes = _status_codes(spans, outlines)
        if not all(accepted):
            codes = compress(codes, accepted)
            outlines = Outlines._make([*compress(column, accepted)] for column in outlines)
        self._addresses.count_spans(spans, [*compress(range(len(accepted)), accepted)], outlines, now)
        self._operations.count(outlines, now)
        self._versions.count(outlines, now)
        self._outcomes.count_exceptions(outlines, now)
        self._outcomes.count_responses(outlines, codes, now)
        self._graph.add_batch(outlines, now)
        self._flush(now)

    def _accepted(self, outlines: Outlines, requests: Collection[int], now: float) -> list[bool]:
        """Return which spans to count and pair; late, early and duplicate ones are counted as such.

        INTERNAL spans are always accepted, except those with a model request or an exception, which count as such.
        `requests` are the rows of model requests.
        """
        accepted = [True] * len(outlines.key)
        if OCCUPANCY_NAME in outlines.name:
            accepted = [not Outline._make(row).occupancy for row in outlines.rows()]
        earliest, latest = (now - self._slack) * 1e9, (now + self._slack) * 1e9
        keys, kinds, ends = outlines.key, outlines.kind, outlines.end_ns
        checked = [kind != "internal" or bool(types) for kind, types in zip(kinds, outlines.exceptions, strict=True)]
        for row in requests:
            checked[row] = True
        if not earliest <= min(ends, default=earliest) <= max(ends, default=latest) <= latest:
            for row in compress(range(len(keys)), checked):
                if accepted[row] and not earliest <= ends[row] <= latest:
                    self._increment(names.LATE if ends[row] < earliest else names.EARLY)
                    accepted[row] = False
        if not all(accepted):
            checked = [*map(and_, checked, accepted)]
        new = self._seen.add([*compress(keys, checked)], [*compress(kinds, checked)], [*compress(ends, checked)])
        if not all(new):
            for row in compress(compress(range(len(keys)), checked), map(not_, new)):
                self._increment(names.DUPLICATE)
                accepted[row] = False
        if True in outlines.clamped:
            self._increment(names.CLAMPED, sum(compress(outlines.clamped, accepted)))
        return accepted

    def collect(self, now: float) -> tuple[Sample, ...]:
        """Return the samples of all series that have not expired."""
        return tuple(sample for series in self._read("collect", now, 0.0) for sample in series.samples)

    def names(self) -> SeriesNames:
        """Return metric names and labels of the samples that `collect` returned last, by series."""
        return {
            (series.family.name, series.labels): series.names
            for registry in (self._registry, self._accounting)
            for series in registry.all()
        }

    def text(self, now: float, *, openmetrics: bool = False) -> str:
        """Return all series in the text format, or in OpenMetrics with exemplars and without `# EOF`."""
        return render_series(self._read("text", now, self._zero_for), openmetrics=openmetrics)

    @property
    def usage(self) -> SeriesUsage:
        """How much of the series limit is used."""
        return self._registry.usage

    @property
    def counts(self) -> Mapping[str, float]:
        """Values of the accounting counters by metric name."""
        return {family.name: series.value for family, series in self._counters.items()}

    def _flush(self, now: float) -> None:
        self._graph.expire(now)
        update = self._graph.take()
        self._edges.count(update.increments, now)
        self._addresses.count_calls(update.answered, now)
        for span in update.unpaired:
            self._registry.get(names.UNPAIRED, names.unpaired_labels(span), now).add(1.0, now)
        for fallback in update.fallbacks:
            self._registry.get(names.FALLBACKS, names.fallback_labels(fallback), now).add(1.0, now)
        self._registry.histograms.flush(now)
        self._counters[names.DROPPED].add(update.dropped, now)
        self._counters[names.OVERFLOW].add(self._registry.take_overflow(), now)

    def add_uncounted(self, spans: int) -> None:
        """Count spans that could not be counted because of an error."""
        self._increment(names.UNCOUNTED, spans)

    def _increment(self, family: Family, spans: int = 1) -> None:
        self._counters[family].value += spans

    def _read(self, reader: str, now: float, zero_for: float) -> Iterator[SeriesSamples]:
        self._flush(now)
        self._seen.expire(now)
        self._registry.expire(now)
        if self._expired != self._registry.expired:
            self._expired = self._registry.expired
            self._operations.cache.clear()
            self._edges.cache.clear()
        yield from self._registry.read(reader, now, zero_for)
        yield from self._accounting.read(reader, now, zero_for)


def _status_codes(spans: Sequence[Span], outlines: Outlines) -> Iterable[AttributeValue]:
    """HTTP status code of each span, None without one; received batches hold it in columns."""
    current, old = HTTP_CODES
    if not isinstance(spans, SpanBatch):
        return (attributes.get(current) or attributes.get(old) for attributes in outlines.attributes)
    columns, texts = spans.search_columns.columns, spans.search_columns.texts
    found = [columns[key] for key in HTTP_CODES if key in columns]
    if not found:
        return repeat(None, len(spans))
    return map(texts.__getitem__, np.where(found[0], found[0], found[-1]).tolist())


class _SeenSpans:
    """Counted spans, until a duplicate would be late anyway; at most `limit`.

    A duplicate has the same end, so it is looked up only among the spans that ended in the same 10 s. Each span is a
    64-bit hash with a secret key: of 10^9 spans, about one is mistaken for a duplicate. The hashes are sorted runs, of
    which each is at least twice as long as the next one: a set of them would take ten times the memory.
    """

    def __init__(self, slack: float, limit: int = MAX_SEEN_SPANS) -> None:
        self._slack = slack
        self._limit = limit
        self._size = 0
        self._slots: dict[int, list[NDArray[np.int64]]] = {}

    def add(self, spans: Sequence[SpanKey], kinds: Sequence[Kind], ends: Sequence[int]) -> list[bool]:
        """Add spans by id, kind and end (ns); return for each whether it is new."""
        if not spans:
            return []
        hashes = np.fromiter(map(hash, zip(spans, kinds, strict=True)), np.int64, len(spans))
        slots = np.array(ends, np.int64) // _SLOT_NS
        new = np.zeros(len(spans), np.bool_)
        for slot in np.unique(slots).tolist():
            rows = np.flatnonzero(slots == slot)
            new[rows] = self._add(hashes[rows], slot)
        return new.tolist()

    def _add(self, hashes: NDArray[np.int64], slot: int) -> Bools:
        runs = self._slots.setdefault(slot, [])
        distinct, first = np.unique(hashes, return_index=True)
        for run in runs:
            places = np.minimum(np.searchsorted(run, distinct), len(run) - 1)
            is_new = run[places] != distinct
            distinct, first = distinct[is_new], first[is_new]
        if len(distinct):
            runs.append(distinct)
        while len(runs) > 1 and len(runs[-2]) < 2 * len(runs[-1]):
            runs[-2:] = [np.sort(np.concatenate(runs[-2:]), kind="stable")]  # which merges sorted runs
        self._size += len(distinct)
        while self._size > self._limit:
            self._drop(min(self._slots))
        is_new = np.zeros(len(hashes), np.bool_)
        is_new[first] = True
        return is_new

    def expire(self, now: float) -> None:
        """Drop the slots of spans that would be late now."""
        earliest_ns = (now - self._slack) * 1e9
        for slot in [slot for slot in self._slots if (slot + 1) * _SLOT_NS < earliest_ns]:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._size -= sum(map(len, self._slots.pop(slot)))
