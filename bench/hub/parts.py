"""Cost of each part of the hub alone, on one core; part of `make bench`."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.support.send_spans import batch
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_dashboard.store import Store
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.script.mock import open_script

REPEAT = 15


def median(work: Callable[[int], object], count: int = REPEAT) -> float:
    """Median seconds of `work(i)`, for i from 0 on."""
    took = []
    for i in range(count):
        started = time.perf_counter()
        work(i)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def spans() -> list[tuple[str, float, str]]:
    """Microseconds per span of decoding, pairing, and storing."""
    rng, now = random.Random(2), time.time()  # noqa: S311 made-up calls, no secret
    payloads = [batch(rng, int(now * 1e9)) for _ in range(REPEAT)]
    decoded = [decode(payload).spans for payload in payloads]
    count = len(decoded[0])
    metrics = SpanMetrics()
    rows = [
        ("decode OTLP protobuf", median(lambda i: decode(payloads[i])) / count * 1e6, "µs/span"),
        ("pair and count", median(lambda i: metrics.add(decoded[i], now)) / count * 1e6, "µs/span"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store", now=lambda: now)
        rows.append(("keep, durably", median(lambda i: store.append_spans(decoded[i])) / count * 1e6, "µs/span"))
        store.close()
    return rows


def queries(series: int = 2000, steps: int = 180) -> list[tuple[str, float, str]]:
    """Milliseconds of a query over many series of the store, also with names qualified by two clusters."""
    start, end = 1_800_000_000.0, 1_800_000_000.0 + 10.0 * steps
    names = [
        labels_of({"uuid": f"GPU-{i}", "instance": f"host-{i // 8}", "cluster": ("eu", "us")[i % 2]})
        for i in range(series)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store", now=lambda: end)
        for i in range(steps):
            samples = tuple(Sample("gpu_busy_seconds_total", labels, float(i)) for labels in names)
            up = tuple(Sample("up", labels_of({"cluster": cluster}), 1.0) for cluster in ("eu", "us"))
            store.append_samples([SampleBatch(start + 10.0 * i, "bench", (*samples, *up))])
        query = Query("gpu_busy_seconds_total", by=("uuid", "instance"), reduce="rate")
        clusters = ClusterSource(store)
        clusters.look(end, end - start)
        assert clusters.has_several
        whole = median(lambda _: store.fetch(query, start, end, 10.0), 5)
        newest = median(lambda _: store.fetch(query, end, end, 10.0), 5)
        named = median(lambda _: clusters.fetch(query, end, end, 10.0), 5)
        store.close()
    return [
        (f"rate of {series} series, {steps} points", whole * 1000, "ms"),
        (f"rate of {series} series, the newest point", newest * 1000, "ms"),
        ("the same with clusters in the names", named * 1000, "ms"),
    ]


def exporter() -> list[tuple[str, float, str]]:
    """Milliseconds of sampling and rendering a mock host, and of parsing the result."""
    script = open_script("contended", time.time)
    mock = Exporter(script.driver, script.resolver, host_id="bench", host_name="bench", mock=True)
    mock.sample(time.time())
    page = mock.render().decode()

    def sample_and_render(i: int) -> None:
        mock.sample(time.time() + 60 + i)
        mock.render()

    return [
        ("exporter: sample 4 GPUs", median(lambda i: mock.sample(time.time() + i)) * 1000, "ms"),
        ("exporter: sample and render", median(sample_and_render) * 1000, "ms"),
        ("scrape: read that page", median(lambda _: parse(page, {"job": "j", "instance": "i"})) * 1000, "ms"),
    ]


def parts() -> list[tuple[str, float, str]]:
    """All rows: name, value, unit."""
    return [*spans(), *queries(), *exporter()]


if __name__ == "__main__":
    for name, value, unit in parts():
        print(f"{name:<40}{value:>9.2f} {unit}")
