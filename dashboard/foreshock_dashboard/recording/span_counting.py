"""Service graph and span metrics of past spans: the samples that a live hub would have stored at each scrape."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.span_metrics import PATIENCE_SECONDS, TTL_SECONDS, SpanMetrics
from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch
from foreshock_dashboard.model.span import Span

FAMILY_GROUPS = (
    tuple(family.name for family in (names.REQUESTS, names.FAILED, names.CLIENT_SECONDS, names.SERVER_SECONDS)),
    tuple(family.name for family in (names.CALLS, names.DURATION)),
)
"""Families that one connector of the Collector makes. Both groups are of a hub, or of Tempo."""
GAP_SCRAPES = 3
"""Scrapes without any span after which spans are missing, rather than zero. Absent is not zero."""
GAP_SECONDS = 30.0
"""Least length of such a gap."""
PIECE_SECONDS = 5.0
"""Spans that ended within this time arrive together, as from the batch processor of an SDK (OpenTelemetry: 5 s)."""
SETTLED_SECONDS = PATIENCE_SECONDS + 2 * TTL_SECONDS
"""Time after which no call is pending: it waits for its server side, and then for the outcome of its retries."""


def already_counted(metrics: Collection[str]) -> tuple[str, ...] | None:
    """Names with which the recorded `metrics` that count spans begin; None if nothing is left to count.

    Those are of all spans, and the recorded spans may be a sample of them.
    """
    groups = [group for group in FAMILY_GROUPS if any(metric.startswith(group) for metric in metrics)]
    if len(groups) == len(FAMILY_GROUPS):
        return None
    single = (family.name for family in (names.EXCEPTIONS, names.RESPONSES, names.VERSIONS) if family.name in metrics)
    return (*(name for group in groups for name in group), *single)


def count_spans(
    batches: Iterable[Sequence[Span]], interval: float, target: str = "foreshock", without: tuple[str, ...] = ()
) -> Iterator[SampleBatch]:
    """Yield the scrapes of a hub that received these spans when they ended, at multiples of `interval` seconds.

    A time in which no span ends anywhere is a gap: it begins with staleness markers and holds no scrapes. Calls that
    are pending then, such as those of a dead server, are counted at its start, as they stood when it ended.

    batches: spans in the order of their ends. without: names with which left-out metrics begin.
    """
    metrics, written = SpanMetrics(), frozenset[tuple[str, Labels]]()
    due = -math.inf

    def scrape(now: float, decided: float) -> SampleBatch:
        nonlocal written
        samples = tuple(sample for sample in metrics.collect(decided) if not sample.metric.startswith(without))
        current = frozenset((sample.metric, sample.labels) for sample in samples)
        ended, written = sorted(written - current), current
        return SampleBatch(now, target, samples + tuple(Sample(metric, labels, STALE) for metric, labels in ended))

    def last_scrapes(decided: float, until: float) -> Iterator[SampleBatch]:
        """Scrape once, then decide the pending calls and scrape until nothing changes.

        A new series is 0 at first, so its value takes one more scrape.
        """
        nonlocal due
        batch = scrape(due, due)
        shown: tuple[Sample, ...] = ()
        while batch.samples != shown:
            yield batch
            due += interval
            if due >= until:
                break
            shown, batch = batch.samples, scrape(due, decided)

    for piece in _pieces(batches, min(PIECE_SECONDS, interval)):
        first, last = piece[0].end_ns / 1e9, piece[-1].end_ns / 1e9
        begin = math.floor(first / interval) * interval
        if first - due > max(GAP_SCRAPES * interval, GAP_SECONDS):
            if due > -math.inf:
                yield from last_scrapes(min(first, due + SETTLED_SECONDS), begin - interval)
                stale = tuple(Sample(metric, labels, STALE) for metric, labels in sorted(written))
                yield SampleBatch(due, target, stale)
                written = frozenset()
            due = begin
        while due < last:
            yield scrape(due, due)
            due += interval
        metrics.add(piece, last)
    if due > -math.inf:
        yield from last_scrapes(due + SETTLED_SECONDS, math.inf)


def _pieces(batches: Iterable[Sequence[Span]], seconds: float) -> Iterator[list[Span]]:
    """Spans by the grid cell of `seconds` in which they ended."""
    piece: list[Span] = []
    cell = 0
    for batch in batches:
        for span in batch:
            own = span.end_ns // round(seconds * 1e9)
            if piece and own != cell:
                yield piece
                piece = []
            cell = own
            piece.append(span)
    if piece:
        yield piece
