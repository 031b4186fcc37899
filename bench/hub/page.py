"""Cost of the pages over a large platform: server CPU per viewer, bytes, the first paint, and drawing the GPU grid.

  .venv/bin/python -m bench.hub.page [--gpus 10000] [--services 300] [--viewers 20] [--seconds 30] [--no-browser]

The hub is a synthetic World that changes every ten seconds; the server, the pages and the browser are real.
"""

from __future__ import annotations

import argparse
import json
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

from bench.support.figures import Figure, report
from bench.support.platform import STEP, Platform, Size
from bench.support.process import MeasuredProcess
from foreshock_dashboard.common.process import tune_process
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

CPU, REFRESH, RESPONSE, LIST, PAINT, FIRST_LOAD, DRAW = (
    *("CPU per viewer and refresh", "Compressed size of a refresh", "p95 of a page and its values"),
    *("p95 of a whole list", "First useful paint", "First load of Now, with values", "Drawing of the GPU grid"),
)
MAX_FIRST_LOAD_KB = 400.0
TIMEOUT_MS = 180_000.0
"""Of the browser: a page takes long on a loaded machine."""
GOALS = {
    CPU: (2.0, "ms"),
    REFRESH: (25.0, "kB"),
    RESPONSE: (100.0, "ms"),
    LIST: (100.0, "ms"),
    PAINT: (1.5, "s"),
    FIRST_LOAD: (MAX_FIRST_LOAD_KB, "kB"),
    DRAW: (60.0, "ms"),
}
"""Limit and unit by figure; the worst path counts."""
LATENCIES = frozenset({RESPONSE, LIST, PAINT, DRAW})
PAGES = ("/", "/contention", "/cascade", "/fleet", "/services", "/traces", "/capacity", "/cost", "/status")
POINTS, BLOCK = 198, 6
POOLS = ("chat", "embed", "train", "batch")
FEEDS = (
    *("/api/now", "/api/pages/contention", "/api/pages/cascade", "/api/pages/fleet"),
    "/api/pages/fleet?metric=power&sort=-power&q=h-1",
)
WHOLE = ("/api/topology", "/api/services", "/api/gpus", "/api/contention", "/api/pools", "/api/csv/gpus")
"""Whole lists of the platform."""
PAINTED = {"/": "#headline", "/contention": "#waits table", "/cascade": "#map svg", "/fleet": "#grid-plot[data-drawn]"}
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
TRANSFERRED_KB = """performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"))
    .filter((each) => !each.name.includes("plotly")).reduce((sum, each) => sum + each.transferSize / 1000, 0)"""
"""Compressed, with headers, without Plotly."""
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
        self.remote_traces = ""
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
    tune_process()  # as a hub does
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


@contextmanager
def watched(url: str, viewers: int) -> Iterator[None]:
    """Let a number of viewers refresh all feeds, each once a second, in the meantime."""
    ended = threading.Event()

    def view(number: int) -> None:
        path, tag = FEEDS[number % len(FEEDS)], ""
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            while not ended.wait(1.0):
                tag = client.get(path, headers={"If-None-Match": tag}).headers.get("ETag", tag)

    threads = [threading.Thread(target=view, args=(number,)) for number in range(viewers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def answer_p95_ms(url: str, path: str, times: int) -> float:
    """p95 of the time to the whole answer."""
    took = []
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for _ in range(times):
            started = time.perf_counter()
            client.get(path).raise_for_status()
            took.append(1000 * (time.perf_counter() - started))
    return float(np.percentile(took, 95))


def first_load(browser: Browser, url: str, path: str, times: int = 3) -> tuple[float, float]:
    """Median seconds from the first request of a page to its first useful paint; kB that it transferred, at most."""
    took, transferred = [], []
    for _ in range(times):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.add_init_script(PAINT_SCRIPT.replace("SELECTOR", json.dumps(PAINTED[path])))
        page.goto(f"{url}{path}", wait_until="commit")
        page.wait_for_selector("[data-painted]", state="attached")
        took.append(float(page.locator("html").get_attribute("data-painted") or "nan") / 1000)
        page.wait_for_load_state("networkidle")
        transferred.append(float(page.evaluate(TRANSFERRED_KB)))
        page.context.close()
    return statistics.median(took), max(transferred)


def draw_ms(browser: Browser, url: str) -> Sequence[float]:
    """Milliseconds of drawing the grid with new values, until the next frame can begin."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(TIMEOUT_MS)
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
    """Print the tables; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the measurement per page")
    parser.add_argument("--times", type=int, default=40, help="requests of a path whose p95 counts")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.gpus, options.services)
        return 0
    found: dict[str, dict[str, float]] = {}

    def row(kind: str, path: str, value: float) -> None:
        print(f"{kind + ' ' + path:<70}{value:>9.2f}", flush=True)
        found.setdefault(kind, {})[path] = value

    with served(options.gpus, options.services) as (url, server):
        print(
            f"{options.gpus} GPUs, {options.services} services, {options.viewers} viewers, new values every {STEP:g} s"
        )
        for path in FEEDS:
            cpu, size = refresh_cost(url, server, path, options.viewers, options.seconds)
            row(CPU, path, cpu)
            row(REFRESH, path, size)
        with watched(url, options.viewers):
            for path in (*PAGES, *FEEDS, *WHOLE):
                row(RESPONSE if path not in WHOLE else LIST, path, answer_p95_ms(url, path, options.times))
        if not options.no_browser:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium-headless-shell", args=FLAGS.split()
                )
                for path in PAINTED:
                    seconds, size = first_load(browser, url, path)
                    row(PAINT, path, seconds)
                    if path == "/":  # the others have charts
                        row(FIRST_LOAD, path, size)
                row(DRAW, "median", statistics.median(draw_ms(browser, url)))
                browser.close()
    return report(
        [
            Figure(
                name=kind,
                value=max(values.values()),
                unit=GOALS[kind][1],
                goal=GOALS[kind][0],
                is_latency=kind in LATENCIES,
            )
            for kind, values in found.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
