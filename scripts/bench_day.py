"""How fast a hub answers over its own store with a day of 64 GPUs in it, while it goes on taking in.

  .venv/bin/python scripts/bench_day.py [--hours 24] [--gpus 64] [--seconds 60] [--spans 500]

The day is written by the real writer: exporters' own pages and the series of real spans, grown over time. The hub, its
targets and the spans that still come are real.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from bench import GPUS_PER_HOST, exporter, hub_process, load
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.ingest.pipeline import IngestPipeline
from foreshock_dashboard.model.samples import Labels, Sample, SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.sources.prometheus.scrape import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_dashboard.store import Store, StoreLimits
from send_spans import batch

STEP, BLOCK = 10.0, 30
"""Seconds between two scrapes, and scrapes that are written at once."""
TRACED = 12
"""Scrapes between two batches of spans that are kept as traces."""
CALLS = 8
"""Pairs of services that call each other during the day; those that still come are of more."""
COUNTERS = ("_total", "_bucket", "_count", "_sum")
NOISE = 0.05
BAR_MS = 150.0
"""Milliseconds that every p95 has to stay under."""
WARM_UP = 20.0


@dataclass(frozen=True)
class Grown:
    """The series of one target. rate: what counters gain a second, NaN for what is no counter."""

    target: str
    metrics: tuple[str, ...]
    labels: tuple[Labels, ...]
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    rate: np.ndarray[tuple[int], np.dtype[np.float64]]

    @classmethod
    def of(cls, target: str, before: Sequence[Sample], after: Sequence[Sample], seconds: float) -> Grown:
        """As two scrapes say."""
        first = {(sample.metric, sample.labels): sample.value for sample in before}
        gained = [sample.value - first.get((sample.metric, sample.labels), 0.0) for sample in after]
        counts = [sample.metric.endswith(COUNTERS) for sample in after]
        rate = np.where(counts, np.maximum(gained, 0.0) / seconds, np.nan)
        values = np.array([sample.value for sample in after])
        return cls(target, tuple(s.metric for s in after), tuple(s.labels for s in after), values, rate)

    def at(self, start: float, times: Sequence[float], chance: np.random.Generator) -> Iterator[SampleBatch]:
        """What it says at some times; counters begin with 0 at `start`."""
        scatter = 1 + NOISE * chance.standard_normal((len(times), len(self.values)))
        counted = self.rate * (np.array(times)[:, None] - start)
        told = np.where(np.isnan(self.rate), self.values * np.where(self.values > 1, scatter, 1.0), counted)
        for moment, values in zip(times, told.tolist(), strict=True):
            yield SampleBatch(moment, self.target, tuple(map(Sample, self.metrics, self.labels, values)))


def pages(targets: Sequence[str]) -> Iterator[Grown]:
    """What exporters say of themselves."""
    seen: list[dict[str, tuple[Sample, ...]]] = []
    for _ in range(2):
        now = {}
        for target in targets:
            scraped = ScrapeTarget(f"http://{target}/metrics", "foreshock-exporter")
            text = httpx.get(scraped.url, trust_env=False).text
            now[scraped.instance] = tuple(parse(text, scraped.target_labels))
        seen.append(now)
        time.sleep(0 if len(seen) > 1 else STEP)
    for instance, after in seen[1].items():
        yield Grown.of(instance, seen[0][instance], after, STEP)


def services(spans: Sequence[Span], now: float) -> Grown:
    """The series of so many spans in ten seconds, of some of their pairs of services."""
    ends: dict[str, list[str]] = {}
    for span in spans:
        ends.setdefault(span.trace_id, []).append(str(span.service))
    wanted = {tuple(each) for each in sorted({tuple(each) for each in ends.values()})[:CALLS]}
    intake = IngestPipeline(Nowhere(), Clock())
    intake.count([span for span in spans if tuple(ends[span.trace_id]) in wanted], now)
    return Grown.of("foreshock", (), intake.collect(now + 60.0).samples, STEP)


class Nowhere:
    """Keeps nothing."""

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Let go of them."""

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Let go of them."""


def write(folder: Path, grown: Sequence[Grown], end: float, hours: float) -> tuple[int, str]:
    """Write the day that ends at `end` (Unix seconds); how many samples it has, and a trace of it."""
    chance, noise, trace, written = random.Random(3), np.random.default_rng(3), "", 0  # noqa: S311 made up, no secret
    moment = [end - 3600 * hours]
    store = Store.open(folder, now=lambda: moment[0], limits=StoreLimits(block_seconds=600.0))
    start, steps = moment[0], round(3600 * hours / STEP)
    for block in range(0, steps, BLOCK):
        times = [start + STEP * step for step in range(block, min(block + BLOCK, steps))]
        rows = zip(*(each.at(start, times, noise) for each in grown), strict=True)
        store.append_samples([one for row in rows for one in row])
        for time_ in times[::TRACED]:
            found = decode(batch(chance, round(time_ * 1e9))).spans
            store.append_spans(found)
            trace = trace if time_ > end - 3600 and trace else found[0].trace_id
        moment[0] = times[-1]
        written += len(times) * sum(len(each.values) for each in grown)
        store.maintain()
    for _ in range(8):
        store.maintain()
    store.close()
    return written, trace


Ask = Callable[[httpx.Client], httpx.Response]


def addresses(gpu: str, trace: str) -> Mapping[str, Ask]:
    """What is asked for, by what it is called in the table."""
    tick = ("now", "topology", "services", "gpus", "contention", "pools", "warnings", "incidents", "headroom", "status")
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
    asked = (
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
    return {f"/api/{path}": _getting(f"/api/{path}") for path in asked} | {
        f"chart {name}, {path}{search}": _drawing(path, search, name) for path, search, name in charts
    }


def _getting(path: str) -> Ask:
    return lambda client: client.get(path)


def _drawing(path: str, search: str, name: str) -> Ask:
    """As Dash's own script asks for a figure; each time for another tick, as it does."""

    def ask(client: httpx.Client) -> httpx.Response:
        told = {"url.search": search, "url.pathname": path, "tick.data": time.time(), "browser.data": {}}
        inputs: list[Json] = [
            {"id": name.split(".")[0], "property": name.split(".")[1], "value": value} for name, value in told.items()
        ]
        body = {"output": f"{name}.figure", "outputs": {"id": name, "property": "figure"}, "inputs": inputs}
        return client.post("/_dash-update-component", json=body | {"changedPropIds": ["tick.data"], "state": []})

    return ask


def measure(url: str, asked: Mapping[str, Ask], seconds: float) -> dict[str, list[float]]:
    """Ask for all in turn, about once a second for each as an open page does; milliseconds of every answer."""
    took: dict[str, list[float]] = {name: [] for name in asked}
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        while time.monotonic() < deadline:
            for name, ask in asked.items():
                begun = time.perf_counter()
                answer = ask(client)
                took[name].append(1000 * (time.perf_counter() - begun))
                if answer.status_code != 200:
                    sys.exit(f"{name}: {answer.status_code} {answer.text[:300]}")
    return took


def main() -> int:
    """Write, serve, ask, print; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long is asked")
    parser.add_argument("--spans", type=int, default=500, help="spans per second that still come")
    options = parser.parse_args()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        targets = [opened.enter_context(exporter(i)) for i in range(options.gpus // GPUS_PER_HOST)]
        time.sleep(2 * STEP)
        end = time.time() // STEP * STEP
        spans = decode(batch(random.Random(2), round(end * 1e9))).spans  # noqa: S311 made up, no secret
        begun = time.monotonic()
        samples, trace = write(folder / "store", [*pages(targets), services(spans, end)], end, options.hours)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(
            f"{options.gpus} GPUs, {options.hours:g} h: {samples:,} samples in {size >> 20} MiB, written in "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
        hub = opened.enter_context(hub_process(targets, folder / "store"))
        opened.enter_context(load(hub.otlp, options.spans))
        time.sleep(WARM_UP)
        timings = measure(hub.url, addresses("bench-0/gpu-0", trace), options.seconds)
        print(f"resident at its peak: {hub.memory():.0f} MiB")
    missed = [name for name, values in timings.items() if float(np.percentile(values, 95)) > BAR_MS]
    width = max(map(len, timings))
    print(f"{'answer':<{width}}{'asked':>7}{'p50 ms':>9}{'p95 ms':>9}")
    for name, values in timings.items():
        p50, p95 = np.percentile(values, [50, 95])
        print(f"{name:<{width}}{len(values):>7}{p50:>9.1f}{p95:>9.1f}")
    print(f"MISSED: {'; '.join(missed)}" if missed else f"held: every p95 under {BAR_MS:.0f} ms")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
