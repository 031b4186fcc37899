"""Writes what Prometheus and the hub have of a time range as a recording of the product."""

from __future__ import annotations

from collections.abc import Iterator
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
"""Time of which `TRACES` newest traces are kept, and as many with errors."""
TRACES = 2


def record(
    metrics: PrometheusSource, traces: TraceSource, start: float, end: float, out: Path, meta: RecordingMeta,
    truth: dict[str, Any],
) -> None:  # fmt: skip
    """Write a recording of a range (Unix seconds) with its ground truth.

    Raises:
        SourceError: Prometheus or the hub cannot answer.
        RecordingError: the folder exists, or cannot be written.
    """
    with RecordingWriter(out, meta) as writer:
        for name in sorted(metrics.names_between(start, end) or ()):
            for begin in np.arange(start, end, PIECE_SECONDS).tolist():
                for labels, samples in metrics.samples(name, begin, min(end, begin + PIECE_SECONDS)):
                    series = np.full(len(samples), writer.series(name, labels), np.int32)
                    writer.add(series, np.rint(samples[:, 0] * 1000).astype(np.int64), samples[:, 1])
        writer.add_spans([*sampled_spans(traces, start, end)])
        writer.add_ground_truth(truth)


def sampled_spans(traces: TraceSource, start: float, end: float) -> Iterator[Span]:
    """Spans of some traces of each minute, with and without errors: the metrics count all of them."""
    seen: set[str] = set()
    for begin in np.arange(start, end, TRACE_SECONDS).tolist():
        until = min(end, begin + TRACE_SECONDS)
        for query in (
            TraceQuery(begin, until, limit=TRACES),
            TraceQuery(begin, until, status="error", limit=TRACES),
        ):
            for trace in traces.search(query):
                if trace.trace_id not in seen:
                    seen.add(trace.trace_id)
                    yield from traces.get(trace.trace_id)
