"""Writes what Prometheus and the hub have of a time range as a recording of the product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreshock_dashboard.model.span import Span, TraceQuery, TraceSource
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.sources.prometheus.api import PrometheusSource

PIECE_SECONDS = 600.0
"""Length of a request to Prometheus."""
TRACE_SECONDS = 60.0
"""Time of which the newest trace is kept, the slowest, and the newest with an error."""
REDUNDANT = ("traces_span_metrics_duration_seconds_bucket", ("span_kind", "SPAN_KIND_CLIENT"))
"""Metric and label of series that say what the edges of the service graph say, a fifth of all samples."""
ABOUT_SCRAPES = "scrape_"
"""Metrics that Prometheus adds to each target besides `up`."""
Range = tuple[float, float]
"""Unix seconds of start and end."""


def record(
    metrics: PrometheusSource, traces: TraceSource, start: float, end: float, out: Path, meta: RecordingMeta,
    truth: dict[str, Any], left_out: Sequence[Range] = (),
) -> None:  # fmt: skip
    """Write a recording of a range (Unix seconds) with its ground truth, as if nothing was scraped in `left_out`.

    Raises:
        SourceError: Prometheus or the hub cannot answer.
        RecordingError: the folder exists, or cannot be written.
    """
    with RecordingWriter(out, meta) as writer:
        ranges = kept_ranges(start, end, left_out)
        names = (name for name in metrics.names_between(start, end) or () if not name.startswith(ABOUT_SCRAPES))
        for name in sorted(names):
            for begin, until in (piece for kept in ranges for piece in pieces(*kept, PIECE_SECONDS)):
                for labels, samples in metrics.samples(name, begin, until):
                    if name == REDUNDANT[0] and REDUNDANT[1] in labels:
                        continue
                    series = np.full(len(samples), writer.series(name, labels), np.int32)
                    writer.add(series, np.rint(samples[:, 0] * 1000).astype(np.int64), samples[:, 1])
        for kept in ranges:
            writer.add_spans([*sampled_spans(traces, *kept)])
        writer.add_ground_truth(truth)


def kept_ranges(start: float, end: float, left_out: Sequence[Range]) -> list[Range]:
    """The parts of a range that are not left out. `left_out` is in order of time."""
    kept = []
    for first, last in left_out:
        if start < min(first, end):
            kept.append((start, min(first, end)))
        start = max(start, last)
    return [*kept, (start, end)] if start < end else kept


def pieces(start: float, end: float, seconds: float) -> Iterator[Range]:
    """Ranges of at most some seconds."""
    for begin in np.arange(start, end, seconds).tolist():
        yield begin, min(end, begin + seconds)


def sampled_spans(traces: TraceSource, start: float, end: float) -> Iterator[Span]:
    """Spans of some traces of each minute, with and without errors: the metrics count all of them."""
    seen: set[str] = set()
    for begin, until in pieces(start, end, TRACE_SECONDS):
        for query in (
            TraceQuery(begin, until, limit=1),
            TraceQuery(begin, until, order="slowest", limit=1),
            TraceQuery(begin, until, status="error", limit=1),
        ):
            for trace in traces.search(query):
                if trace.trace_id not in seen:
                    seen.add(trace.trace_id)
                    yield from traces.get(trace.trace_id)
