"""Occupancy spans in a bounded queue, pushed in batches by the SDK's exporter."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from foreshock_exporter.gpu.occupancy import SPAN_NAME, Occupancy, attributes, span_id, trace_id
from foreshock_exporter.otlp.report import PushReport, RecordingSession

MAX_QUEUED_SPANS = 4096
"""Queue size; beyond it the oldest span is dropped and counted."""
MAX_BATCH_SPANS = 512
MAX_SKIPPED_FLUSHES = 32
"""Most flushes skipped after a failed one."""


class SpanPusher:
    """`add` is thread-safe and never blocks; `flush` and `close` are for one thread."""

    def __init__(self, url: str, resource: Resource, version: str, report: PushReport) -> None:
        self._session = RecordingSession()
        self._exporter = OTLPSpanExporter(url, session=self._session)
        self._resource = resource
        self._scope = InstrumentationScope("foreshock_exporter", version)
        self._report = report
        self._queue: deque[Occupancy] = deque()
        self._batch: list[Occupancy] = []
        self._lock = threading.Lock()
        self._dropped = 0
        self._skip_flushes = 0
        self._failures = 0
        self._closed = False

    def add(self, occupancies: Iterable[Occupancy]) -> None:
        """Queue intervals."""
        with self._lock:
            self._queue.extend(occupancies)
            while self._queue and len(self._queue) + len(self._batch) > MAX_QUEUED_SPANS:
                self._queue.popleft()
                self._dropped += 1

    def dropped(self) -> int:
        """Number of spans dropped by the queue limit."""
        with self._lock:
            return self._dropped

    def flush(self) -> None:
        """Push the queue. After failures, an increasing number of calls is skipped."""
        if self._closed:
            return
        if self._skip_flushes > 0:
            self._skip_flushes -= 1
            return
        while self._fill_batch():
            if not self._push():
                self._skip_flushes = min(MAX_SKIPPED_FLUSHES, 2**self._failures)
                self._failures = min(self._failures + 1, MAX_SKIPPED_FLUSHES)
                return
        self._failures = 0

    def close(self) -> None:
        """Close the connection; a push in flight ends as soon as possible, and no other starts."""
        if self._closed:
            return
        self._closed = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK left it without types

    def _fill_batch(self) -> bool:
        """Fill the batch, first with spans of a failed push. Return whether it has spans."""
        with self._lock:
            while self._queue and len(self._batch) < MAX_BATCH_SPANS:
                self._batch.append(self._queue.popleft())
        return bool(self._batch)

    def _push(self) -> bool:
        self._session.failure = None
        if self._exporter.export([self._span(occupancy) for occupancy in self._batch]) is SpanExportResult.SUCCESS:
            self._report.pushed("traces", len(self._batch))
            self._clear_batch()
            return True
        if self._closed:
            return False
        failure = self._session.last_failure()
        if failure.is_transient:
            self._report.failed("traces", 0, failure)
        else:
            self._report.failed("traces", len(self._batch), failure)
            self._clear_batch()
        return False

    def _clear_batch(self) -> None:
        with self._lock:
            self._batch = []

    def _span(self, occupancy: Occupancy) -> ReadableSpan:
        context = SpanContext(
            trace_id=trace_id(occupancy.uuid, occupancy.start),
            span_id=span_id(occupancy),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        return ReadableSpan(
            SPAN_NAME,
            context,
            resource=self._resource,
            kind=SpanKind.INTERNAL,
            attributes=attributes(occupancy),
            start_time=round(occupancy.start * 1e9),
            end_time=round(occupancy.end * 1e9),
            instrumentation_scope=self._scope,
        )
