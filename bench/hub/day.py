"""Latency of a hub's answers over a store with a day of 64 GPUs, while it ingests further data.

  .venv/bin/python -m bench.hub.day [--hours 24] [--gpus 64] [--seconds 60] [--spans 500]

The day is written through the store: exporters' own metrics and the series of real spans, extrapolated over time. The
hub, its targets and the further spans are real.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from bench.support.figures import Figure, report
from bench.support.process import Request, hub_process, measure
from bench.support.send_spans import batch
from bench.support.sources import GPUS_PER_HOST, exporter, load
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.ingest.pipeline import IngestPipeline
from foreshock_dashboard.model.samples import Labels, Sample, SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_dashboard.store import Store, StoreLimits

STEP_SECONDS = 10.0
"""Scrape interval."""
APPEND_SCRAPES = 30
"""Scrapes of one append."""
SPAN_BATCH_SCRAPES = 12
"""Scrapes between two batches of spans."""
EDGES = 8
"""Pairs of services with calls during the day; further spans have more."""
COUNTERS = ("_total", "_bucket", "_count", "_sum")
NOISE = 0.05
MAX_P95_MS, MAX_MIB = 100.0, 512.0
WARM_UP_SECONDS = 20.0


@dataclass(frozen=True)
class ExtrapolatedSeries:
    """The series of one target. `rate`: increase of counters per second; NaN for other series.

    `noise`: relative standard deviation of other series; 0 for settings, which would be changes otherwise.
    """

    target: str
    metrics: tuple[str, ...]
    labels: tuple[Labels, ...]
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    rate: np.ndarray[tuple[int], np.dtype[np.float64]]
    noise: np.ndarray[tuple[int], np.dtype[np.float64]]

    @classmethod
    def of(cls, target: str, before: Sequence[Sample], after: Sequence[Sample], seconds: float) -> ExtrapolatedSeries:
        """Derive rates from two scrapes."""
        first = {(sample.metric, sample.labels): sample.value for sample in before}
        increases = [sample.value - first.get((sample.metric, sample.labels), 0.0) for sample in after]
        counts = [sample.metric.endswith(COUNTERS) for sample in after]
        rate = np.where(counts, np.maximum(increases, 0.0) / seconds, np.nan)
        values = np.array([sample.value for sample in after])
        noise = np.where((np.array(increases) != 0) & (values > 1), NOISE, 0.0)
        return cls(target, tuple(s.metric for s in after), tuple(s.labels for s in after), values, rate, noise)

    def at(self, start: float, times: Sequence[float], chance: np.random.Generator) -> Iterator[SampleBatch]:
        """Yield scrapes at the given times; counters are 0 at `start`."""
        scatter = 1 + self.noise * chance.standard_normal((len(times), len(self.values)))
        counters = self.rate * (np.array(times)[:, None] - start)
        rows = np.where(np.isnan(self.rate), self.values * scatter, counters)
        for moment, values in zip(times, rows.tolist(), strict=True):
            yield SampleBatch(moment, self.target, tuple(map(Sample, self.metrics, self.labels, values)))


def exporter_series(targets: Sequence[str]) -> Iterator[ExtrapolatedSeries]:
    """Yield the series of running exporters."""
    scrapes: list[dict[str, tuple[Sample, ...]]] = []
    for _ in range(2):
        now = {}
        for target in targets:
            scraped = ScrapeTarget(f"http://{target}/metrics", "foreshock-exporter")
            text = httpx.get(scraped.url, trust_env=False).text
            now[scraped.instance] = tuple(parse(text, scraped.target_labels))
        scrapes.append(now)
        time.sleep(0 if len(scrapes) > 1 else STEP_SECONDS)
    for instance, after in scrapes[1].items():
        yield ExtrapolatedSeries.of(instance, scrapes[0][instance], after, STEP_SECONDS)


def span_series(spans: Sequence[Span], now: float) -> ExtrapolatedSeries:
    """Return the series of these spans per scrape interval, for `EDGES` pairs of services."""
    ends: dict[str, list[str]] = {}
    for span in spans:
        ends.setdefault(span.trace_id, []).append(str(span.service))
    edges = set(sorted({tuple(services) for services in ends.values()})[:EDGES])
    pipeline = IngestPipeline(NullStore(), Clock())
    pipeline.count([span for span in spans if tuple(ends[span.trace_id]) in edges], now)
    return ExtrapolatedSeries.of("foreshock", (), pipeline.collect(now + 60.0).samples, STEP_SECONDS)


class NullStore:
    """Discards all data."""

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Discard the batches."""

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Discard the batches."""


def write(folder: Path, series: Sequence[ExtrapolatedSeries], end: float, hours: float) -> tuple[int, str]:
    """Write the time up to `end` (Unix seconds). Return the number of samples and a trace id."""
    chance, noise, trace, written = random.Random(3), np.random.default_rng(3), "", 0  # noqa: S311 made up, no secret
    moment = [end - 3600 * hours]
    store = Store.open(folder, now=lambda: moment[0], limits=StoreLimits(block_seconds=600.0))
    start, steps = moment[0], round(3600 * hours / STEP_SECONDS)
    for first in range(0, steps, APPEND_SCRAPES):
        times = [start + STEP_SECONDS * step for step in range(first, min(first + APPEND_SCRAPES, steps))]
        rows = zip(*(one.at(start, times, noise) for one in series), strict=True)
        store.append_samples([one for row in rows for one in row])
        for time_ in times[::SPAN_BATCH_SCRAPES]:
            spans = decode(batch(chance, round(time_ * 1e9))).spans
            store.append_spans(spans)
            trace = trace if time_ > end - 3600 and trace else spans[0].trace_id
        moment[0] = times[-1]
        written += len(times) * sum(len(one.values) for one in series)
        store.maintain()
    for _ in range(8):
        store.maintain()
    store.close()
    return written, trace


def addresses(gpu: str, trace: str) -> Mapping[str, Request]:
    """Return the measured requests by name."""
    tick = ("now", "topology", "services", "gpus", "contention", "pools", "incidents", "headroom", "status")
    pages_ = ("contention", "cascade", "cascade?from=now-6h", f"fleet?metric=nvlink&gpu={gpu}", "services", "status")
    traces = (
        "traces?order=slowest",
        "traces?order=slowest&start=now-24h",
        "traces?start=now-24h&attribute=gen_ai.request.model=llama-70b&service=service-3",
        f"traces/{trace}",
        "csv/gpus",
        "csv/traces?start=now-24h",
    )
    past = ("now?at=now-2h", "now?at=now-12h", "pages/cascade?at=now-12h&from=now-13h")
    paths = (
        *tick,
        "health/service-1",
        *(f"pages/{page}" for page in pages_),
        "pages/services/service-1",
        *traces,
        *past,
    )
    charts = (
        ("/traces", "?from=now-24h", "heat"),
        ("/traces", "?from=now-24h", "trace-durations"),
        ("/fleet", f"?gpu={gpu}&from=now-24h", "gpu-use"),
    )
    return {f"/api/{path}": _api_request(f"/api/{path}") for path in paths} | {
        f"chart {name}, {path}{search}": _chart_request(path, search, name) for path, search, name in charts
    }


def _api_request(path: str) -> Request:
    return lambda client: client.get(path)


def _chart_request(path: str, search: str, name: str) -> Request:
    """Return a request for a figure as Dash's own script makes it, for a new tick each time."""

    def request(client: httpx.Client) -> httpx.Response:
        values = {"url.search": search, "url.pathname": path, "tick.data": time.time(), "browser.data": {}}
        inputs: list[Json] = [
            {"id": name.split(".")[0], "property": name.split(".")[1], "value": value} for name, value in values.items()
        ]
        body = {"output": f"{name}.figure", "outputs": {"id": name, "property": "figure"}, "inputs": inputs}
        return client.post("/_dash-update-component", json=body | {"changedPropIds": ["tick.data"], "state": []})

    return request


def main() -> int:
    """Write, serve, measure, print. Returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the measurement")
    parser.add_argument("--spans", type=int, default=500, help="further spans per second")
    options = parser.parse_args()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        targets = [opened.enter_context(exporter(i)) for i in range(options.gpus // GPUS_PER_HOST)]
        time.sleep(2 * STEP_SECONDS)
        end = time.time() // STEP_SECONDS * STEP_SECONDS
        spans = decode(batch(random.Random(2), round(end * 1e9))).spans  # noqa: S311 made up, no secret
        started = time.monotonic()
        samples, trace = write(
            folder / "store", [*exporter_series(targets), span_series(spans, end)], end, options.hours
        )
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(
            f"{options.gpus} GPUs, {options.hours:g} h: {samples:,} samples in {size >> 20} MiB, written in "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        hub = opened.enter_context(hub_process(folder / "store", targets))
        opened.enter_context(load(hub.endpoints[1], options.spans))
        time.sleep(WARM_UP_SECONDS)
        timings = measure(hub.url, addresses("bench-0/gpu-0", trace), options.seconds)
        peak = hub.memory_mib("VmHWM")
    width = max(map(len, timings))
    print(f"{'answer':<{width}}{'count':>7}{'p50 ms':>9}{'p95 ms':>9}")
    for name, values in timings.items():
        p50, p95 = np.percentile(values, [50, 95])
        print(f"{name:<{width}}{len(values):>7}{p50:>9.1f}{p95:>9.1f}")
    worst = max(float(np.percentile(values, 95)) for values in timings.values())
    return report(
        [
            Figure(name="p95 of the slowest response", value=worst, unit="ms", goal=MAX_P95_MS, is_latency=True),
            Figure(name="Peak memory", value=peak, unit="MiB", goal=MAX_MIB),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
