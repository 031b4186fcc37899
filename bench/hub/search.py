"""Latency of trace searches on a store of ten million spans, written through the store; `--spans` makes it smaller."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.hub.spans import BATCH_SPANS, PREPARED_BATCHES, batch, renew
from bench.support.figures import Figure, report
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.store import Store, StoreLimits

SPANS_PER_SECOND = 5000.0
"""In simulated time."""
MAX_SEARCH_MS, MAX_TRACE_MS = 500.0, 50.0
MAINTENANCE_BATCHES = 200
"""Batches between two runs of maintenance."""
QUICK_BATCHES = 128
"""One batch in this many is from a service whose spans are never among the longest."""


def quick(body: bytes) -> bytes:
    """Return the batch as from a service with a hundredth of the latency."""
    request = ExportTraceServiceRequest.FromString(body)
    for group in request.resource_spans:
        group.resource.attributes[0].value.string_value = "quick"
        for span in group.scope_spans[0].spans:
            span.start_time_unix_nano += (span.end_time_unix_nano - span.start_time_unix_nano) * 99 // 100
    return request.SerializeToString()


def fill(store: Store, spans: int, start: float) -> tuple[float, list[str]]:
    """Write spans from the time `start` on. Return the time reached and some trace ids."""
    chance = random.Random(3)  # noqa: S311 made-up calls, no secret
    ready = [batch(chance) for _ in range(PREPARED_BATCHES)]
    now, trace_ids = start, []
    for number in range(spans // BATCH_SPANS):
        now = start + number * BATCH_SPANS / SPANS_PER_SECOND
        body = renew(ready[number % PREPARED_BATCHES], chance, round(now * 1e9))
        batch_spans = decode(quick(body) if number % QUICK_BATCHES == 1 else body).spans
        store.append_spans(batch_spans)
        if number % MAINTENANCE_BATCHES == 0:
            trace_ids.append(batch_spans[0].trace_id)
            store.maintain()
    for _ in range(8):
        store.maintain()
    return now, trace_ids


def median_ms(work: Callable[[int], object], count: int = 9) -> float:
    """Median milliseconds of `work(i)`, without the first call, which verifies the files."""
    milliseconds = []
    for i in range(count + 1):
        started = time.perf_counter()
        work(i)
        milliseconds.append((time.perf_counter() - started) * 1000)
    return statistics.median(milliseconds[1:])


def queries(start: float, end: float) -> dict[str, TraceQuery]:
    """Return the measured queries by name."""
    service = Service("", "service-3")
    return {
        "the newest": TraceQuery(start, end),
        "the slowest": TraceQuery(start, end, order="slowest"),
        "the slowest of a service": TraceQuery(start, end, service=service, order="slowest"),
        "the slowest of a fast service": TraceQuery(start, end, service=Service("", "quick"), order="slowest"),
        "of a service and an operation": TraceQuery(start, end, service=service, operation="POST /v1/route-7"),
        "longer than 990 ms": TraceQuery(start, end, min_duration=0.99),
        "failed ones (there are none)": TraceQuery(start, end, status="error"),
        "of one user": TraceQuery(start, end, attributes={"user.id": "u-4711"}),
        "of a model and a route": TraceQuery(
            start, end, attributes={"gen_ai.request.model": "mixtral", "http.route": "/v1/route-3"}, order="slowest"
        ),
        "the slowest of a minute": TraceQuery(end - 60, end, order="slowest"),
    }


def _search(store: Store, query: TraceQuery, _: int) -> object:
    return store.search(query)


def main() -> int:
    """Fill a store, measure, print. Returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        start = time.time() - 3600
        store = Store.open(Path(folder) / "store", now=time.time, limits=StoreLimits(block_seconds=30.0))
        started = time.monotonic()
        end, trace_ids = fill(store, options.spans, start)
        stats = store.stats()
        print(
            f"{stats.spans:,} spans in {stats.blocks} blocks of {stats.block_bytes >> 20} MiB, written in "
            f"{time.monotonic() - started:.0f} s"
        )
        rows = {name: median_ms(partial(_search, store, query)) for name, query in queries(start, end).items()}
        trace = median_ms(lambda i: store.get(trace_ids[i * len(trace_ids) // 10]))
        store.close()
    for name, search_ms in rows.items():
        print(f"  search: {name:<32}{search_ms:>8.0f} ms")
    print(f"  a trace by its id               {trace:>16.0f} ms")
    return report(
        [
            Figure(
                name="Slowest trace search", value=max(rows.values()), unit="ms", goal=MAX_SEARCH_MS, is_latency=True
            ),
            Figure(name="A trace by its ID", value=trace, unit="ms", goal=MAX_TRACE_MS, is_latency=True),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
