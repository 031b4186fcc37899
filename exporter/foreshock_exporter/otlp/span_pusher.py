"""Occupancy spans on their way: waiting in a bounded queue, pushed in batches through the SDK's exporter."""

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
from foreshock_exporter.otlp.report import PushReport
from foreshock_exporter.otlp.session import RecordingSession

MAX_QUEUED_SPANS = 4096
"""Spans that wait at most; beyond, the oldest is dropped and counted."""
MAX_BATCH_SPANS = 512
MAX_SKIPPED_FLUSHES = 32
"""Flushes that are left out at most after one that failed."""


class SpanPusher:
    """`add` from any thread, never waiting; `flush` and `close` from one."""

    def __init__(self, url: str, resource: Resource, version: str, report: PushReport) -> None:
        self._wire = RecordingSession()
        self._exporter = OTLPSpanExporter(url, session=self._wire)
        self._resource = resource
        self._scope = InstrumentationScope("foreshock_exporter", version)
        self._report = report
        self._waiting: deque[Occupancy] = deque()
        self._batch: list[Occupancy] = []
        self._lock = threading.Lock()
        self._dropped = 0
        self._pause = 0
        self._failures = 0
        self._closed = False

    def add(self, occupancies: Iterable[Occupancy]) -> None:
        """Queue intervals."""
        with self._lock:
            self._waiting.extend(occupancies)
            while self._waiting and len(self._waiting) + len(self._batch) > MAX_QUEUED_SPANS:
                self._waiting.popleft()
                self._dropped += 1

    def dropped(self) -> int:
        """Spans dropped because too many waited."""
        with self._lock:
            return self._dropped

    def flush(self) -> None:
        """Push what waits; after a failure not again until a growing number of calls has passed."""
        if self._closed:
            return
        if self._pause > 0:
            self._pause -= 1
            return
        while self._next():
            if not self._push():
                self._pause = min(MAX_SKIPPED_FLUSHES, 2**self._failures)
                self._failures = min(self._failures + 1, MAX_SKIPPED_FLUSHES)
                return
        self._failures = 0

    def close(self) -> None:
        """Let go of the connection; a push in flight gives up as soon as it can, and none begins any more."""
        if self._closed:
            return
        self._closed = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK left it without types

    def _next(self) -> bool:
        """Whether there is a batch: the one that could not be pushed last time, or else a new one."""
        with self._lock:
            while self._waiting and len(self._batch) < MAX_BATCH_SPANS:
                self._batch.append(self._waiting.popleft())
        return bool(self._batch)

    def _push(self) -> bool:
        self._wire.trouble = None
        if self._exporter.export([self._span(each) for each in self._batch]) is SpanExportResult.SUCCESS:
            self._report.pushed("traces", len(self._batch))
            self._done()
            return True
        if self._closed:
            return False
        trouble = self._wire.take()
        if trouble.passing:
            self._report.failed("traces", 0, trouble)
        else:
            self._report.failed("traces", len(self._batch), trouble)
            self._done()
        return False

    def _done(self) -> None:
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
