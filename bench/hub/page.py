"""Cost of the pages over a large platform: server CPU per viewer, bytes, the first paint, and drawing the GPU grid.

  .venv/bin/python -m bench.hub.page [--gpus 10000] [--services 300] [--viewers 20] [--seconds 30] [--no-browser]

The hub is a synthetic World that changes every ten seconds; the server, the pages and the browser are real.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from bench.support.platform import STEP, Platform, Size
from bench.support.process import MeasuredProcess
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import Matrix, MetricSource, Query
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World, slice_world
from foreshock_dashboard.store import Journal
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.server import WebServer
from foreshock_dashboard.world.builder import WorldBuilder

MAX_CPU_MS, MAX_KB, MAX_PAINT_SECONDS, MAX_DRAW_MS, MAX_P95_MS = 2.0, 25.0, 1.5, 60.0, 150.0
"""Limits: CPU per viewer and refresh, compressed size of a refresh, time to the first useful paint, time of drawing the
grid, and p95 of any answer."""
POINTS, BLOCK = 198, 6
POOLS = ("chat", "embed", "train", "batch")
FEEDS = (
    *("/api/now", "/api/pages/contention", "/api/pages/cascade", "/api/pages/fleet"),
    "/api/pages/fleet?metric=power&sort=-power&q=h-1",
)
WHOLE = ("/api/topology", "/api/services", "/api/gpus", "/api/contention", "/api/pools", "/api/csv/gpus")
"""Whole lists of the platform, without a limit: bench.py has one for 64 GPUs."""
PAINTED = {"/": "#headline", "/contention": "#who table", "/cascade": "#map svg", "/fleet": "#grid-plot[data-drawn]"}
"""Selector of the element that makes a page useful, by path."""
PAINT_SCRIPT = """(() => {
    const check = () => {
        const element = document.querySelector(SELECTOR);
        const ready = element && !element.textContent.startsWith("Loading");
        requestAnimationFrame(ready ? () => { document.documentElement.dataset.painted = performance.now(); } : check);
    };
    check();
})()"""
"""Marks the first frame with the element; a check from outside would be later."""
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
MOMENTS = 3
"""Worlds that take turns; made in advance, so that they are not measured."""
ROLLED = ("utilization", "contended", "memory_used", "power", "temperature", "busy", "gpu_wait", "gpu_wait_by")


def platform(gpus: int, services: int) -> World:
    """A World with the history that a hub keeps."""
    source, builder = Platform(Size(gpus, services, 4 * services)), WorldBuilder(STEP, POINTS * STEP, np.float32)
    for tick in range(0, POINTS, BLOCK):
        world = builder.add(source.past(tick, BLOCK))
    hosts = {gpu.host: i for i, gpu in enumerate(dict.fromkeys(world.gpus))}
    pool = tuple(POOLS[hosts[gpu.host] * len(POOLS) // (len(hosts) + 1) % len(POOLS)] for gpu in world.gpus)
    unit = {"memory_total": 2.0, "power": 1000.0}
    scaled = {name: (getattr(world, name) * factor).astype(np.float32) for name, factor in unit.items()}
    return replace(world, pool=pool, simulated=True, **scaled)


class Stage:
    """A hub without traces; `tick` changes its World. Implements `HubView`."""

    def __init__(self, world: World) -> None:
        self._world, self._seq = world, 0
        self._moments = [
            {name: np.roll(getattr(world, name), shift, axis=1) for name in ROLLED} for shift in range(MOMENTS)
        ]
        self.traces = self.metrics = EmptySource()
        self.journal = Journal(None, now=self.now)
        self.capacity = CapacityForecast()
        self.cost, self.prices = CostLedger(), NO_PRICES
        self.tick()

    def tick(self) -> None:
        """Change to the values of another moment."""
        self._seq += 1
        moment = self._moments[self._seq % MOMENTS]
        self.snapshot = Snapshot(self._seq, replace(self._world, **moment), (), Learning(1980.0, 1800.0))

    def at(self, time: float) -> Snapshot:
        """The current snapshot."""
        del time
        return self.snapshot

    def over(self, start: float, end: float) -> World | None:
        """The World between two times."""
        return slice_world(self._world, start, end)

    def silenced_until(self) -> Mapping[str, float]:
        """Nothing: there is no Alertmanager."""
        return {}

    def now(self) -> float:
        """The World's time."""
        return self._world.time + 3.0

    def status(self) -> Json:
        """Empty."""
        return {}

    @property
    def cluster(self) -> str:
        """All."""
        return ""

    def explain(self, service: str | None, at: float, cluster: str = "") -> Explanation:
        """No candidates."""
        del cluster
        return Explanation(Service.parse(service) if service else None, at, ())

    def ownership(self, service: Service) -> Ownership:
        """Unknown."""
        del service
        return Ownership()

    def ready(self) -> tuple[bool, str]:
        """Always ready."""
        return True, ""

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """Empty."""
        del openmetrics
        return ""


class EmptySource(MetricSource):
    """A source without metrics and traces."""

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """No series."""
        del query
        return Matrix.empty(np.arange(start, end + step / 2, step))

    def metric_names(self) -> frozenset[str]:
        """No names."""
        return frozenset()

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """No traces."""
        del query
        return ()

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """No spans."""
        del trace_id
        return ()


def serve(gpus: int, services: int) -> None:
    """Print the address when the World is ready; then change it until standard input closes."""
    stage = Stage(platform(gpus, services))
    server = WebServer(create_app(stage, version="bench"), "127.0.0.1", 0)
    server.start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    threading.Thread(target=_tick_forever, args=(stage,), daemon=True).start()
    sys.stdin.read()
    server.close()


def _tick_forever(stage: Stage) -> None:
    while True:
        time.sleep(STEP)
        stage.tick()


@contextmanager
def served(gpus: int, services: int) -> Iterator[tuple[str, MeasuredProcess]]:
    """Run a server over a platform of a size; gives its URL and process."""
    command = [sys.executable, "-m", "bench.hub.page", "--serve", "--gpus", str(gpus), "--services", str(services)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdin
    try:
        yield process.stdout.readline().strip(), MeasuredProcess(pid=process.pid)
    finally:
        process.stdin.close()
        process.wait(30)


def refresh_cost(url: str, server: MeasuredProcess, path: str, viewers: int, seconds: float) -> tuple[float, float]:
    """CPU milliseconds per refresh, and kB of the largest answer as sent, for a number of open pages."""
    clients = [httpx.Client(base_url=url, trust_env=False, timeout=30) for _ in range(viewers)]
    tags, sizes, requests = [""] * viewers, [0], 0
    for client in clients:
        client.get("/healthz")
    started, cpu = time.monotonic(), server.cpu_seconds()
    while time.monotonic() < started + seconds:
        due = time.monotonic() + 1.0
        for i, client in enumerate(clients):
            with client.stream("GET", path, headers={"If-None-Match": tags[i], "Accept-Encoding": "gzip"}) as answer:
                body = sum(map(len, answer.iter_raw()))
            requests += 1
            if answer.status_code == 200:
                tags[i] = answer.headers["ETag"]
                sizes.append(body)
        time.sleep(max(0.0, due - time.monotonic()))
    cpu = server.cpu_seconds() - cpu
    for client in clients:
        client.close()
    return 1000 * cpu / requests, max(sizes) / 1000


def answer_p95_ms(url: str, path: str, times: int = 40) -> float:
    """p95 of the time to the whole answer."""
    took = []
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for _ in range(times):
            started = time.perf_counter()
            client.get(path).raise_for_status()
            took.append(1000 * (time.perf_counter() - started))
    return float(np.percentile(took, 95))


def first_paint_seconds(browser: Browser, url: str, path: str, times: int = 3) -> float:
    """Median time from the first request of a page to its first useful paint."""
    took = []
    for _ in range(times):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.add_init_script(PAINT_SCRIPT.replace("SELECTOR", json.dumps(PAINTED[path])))
        page.goto(f"{url}{path}", wait_until="commit")
        page.wait_for_selector("[data-painted]", state="attached")
        took.append(float(page.locator("html").get_attribute("data-painted") or "nan") / 1000)
        page.context.close()
    return statistics.median(took)


def draw_ms(browser: Browser, url: str) -> Sequence[float]:
    """Milliseconds of drawing the grid with new values, until the next frame can begin."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{url}/fleet")
    page.wait_for_selector("#grid-plot .main-svg", state="attached")
    page.wait_for_timeout(1500)
    script = """async () => {
        const { redraw } = await import("#web/shell/feed.js");
        const { gpuGrid } = await import("#web/assets/gpu_grid/gpu_grid.js");
        const took = [];
        for (let i = 0; i < 15; i += 1) {
            await new Promise((done) => requestAnimationFrame(done));
            redraw();
            await new Promise((done) => setTimeout(done, 150));
            took.push(gpuGrid.drawMs);
        }
        return took;
    }"""
    took: list[float] = page.evaluate(script)
    page.context.close()
    return took


def main() -> int:
    """Print the tables; returns 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the measurement per page")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.gpus, options.services)
        return 0
    missed: list[str] = []

    def row(name: str, value: float, limit: float, unit: str) -> None:
        text = f"(bar {limit:g})" if math.isfinite(limit) else ""
        print(f"{name:<66}{value:>9.2f} {unit:<4} {text}".rstrip(), flush=True)
        if value > limit:
            missed.append(name)

    with served(options.gpus, options.services) as (url, server):
        print(f"{options.gpus} GPUs, {options.services} services, {options.viewers} viewers, a tick every {STEP:.0f} s")
        for path in FEEDS:
            cpu, size = refresh_cost(url, server, path, options.viewers, options.seconds)
            row(f"CPU a viewer and refresh, {path}", cpu, MAX_CPU_MS, "ms")
            row(f"bytes a refresh, {path}", size, MAX_KB, "kB")
        for path in FEEDS:
            row(f"p95 of the answer, {path}", answer_p95_ms(url, path), MAX_P95_MS, "ms")
        for path in WHOLE:
            row(f"p95 of the answer, {path}", answer_p95_ms(url, path, 10), math.inf, "ms")
        if not options.no_browser:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium-headless-shell", args=FLAGS.split()
                )
                for path in PAINTED:
                    row(
                        f"first useful paint of {path}", first_paint_seconds(browser, url, path), MAX_PAINT_SECONDS, "s"
                    )
                took = draw_ms(browser, url)
                row("redrawing the grid, median", statistics.median(took), MAX_DRAW_MS, "ms")
                row("redrawing the grid, most", max(took), 2 * MAX_DRAW_MS, "ms")
                browser.close()
    print(f"MISSED: {'; '.join(missed)}" if missed else "held: every bar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
