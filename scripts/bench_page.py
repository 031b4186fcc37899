"""What the pages cost over a large platform: the server for each viewer, bytes, the first paint, drawing the grid anew.

  .venv/bin/python scripts/bench_page.py [--gpus 10000] [--services 300] [--viewers 20] [--seconds 30] [--no-browser]

The hub is a World that is made up and changes every ten seconds; the server, the pages and the browser are real.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from bench_platform import STEP, Platform, Size
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import Matrix, MetricSource, Query
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World, slice_world
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.server import WebServer
from foreshock_dashboard.world.builder import WorldBuilder

CPU_MS, KB, PAINT_S, DRAW_MS, ANSWER_MS = 2.0, 25.0, 1.5, 60.0, 150.0
"""Bars: ms of CPU a viewer and refresh, kB of a refresh as sent, seconds to the first useful paint, milliseconds
of drawing the grid, and p95 of any answer."""
POINTS, BLOCK = 198, 6
POOLS = ("chat", "embed", "train", "batch")
FEEDS = (
    *("/api/now", "/api/pages/contention", "/api/pages/cascade", "/api/pages/fleet"),
    "/api/pages/fleet?metric=power&sort=-power&q=h-1",
)
WHOLE = ("/api/topology", "/api/services", "/api/gpus", "/api/contention", "/api/pools", "/api/csv/gpus")
"""Whole lists of the platform: told without a bar, which is one of a platform of 64 GPUs (bench.py)."""
PAINTED = {"/": "#headline", "/contention": "#who table", "/cascade": "#map svg", "/fleet": "#grid-plot[data-drawn]"}
"""What has to be there before a page is of use."""
WATCHED = """(() => {
    const look = () => {
        const there = document.querySelector(SELECTOR);
        const told = there && !there.textContent.startsWith("Loading");
        requestAnimationFrame(told ? () => { document.documentElement.dataset.painted = performance.now(); } : look);
    };
    look();
})()"""
"""Tells of the first frame that has it: whoever asks from outside may be told of it much later."""
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
MOMENTS = 3
"""Worlds that take turns; made before anybody looks, since making them is no part of what a page costs."""
ROLLED = ("utilization", "contended", "memory_used", "power", "temperature", "busy", "stalled", "stalled_by")


def platform(gpus: int, services: int) -> World:
    """As much history as a hub keeps of so many GPUs."""
    made, growing = Platform(Size(gpus, services, 4 * services)), WorldBuilder(STEP, POINTS * STEP, np.float32)
    for tick in range(0, POINTS, BLOCK):
        world = growing.add(made.past(tick, BLOCK))
    hosts = {gpu.host: i for i, gpu in enumerate(dict.fromkeys(world.gpus))}
    pool = tuple(POOLS[hosts[gpu.host] * len(POOLS) // (len(hosts) + 1) % len(POOLS)] for gpu in world.gpus)
    unit = {"memory_total": 2.0, "power": 1000.0}
    scaled = {name: (getattr(world, name) * factor).astype(np.float32) for name, factor in unit.items()}
    return replace(world, pool=pool, simulated=True, **scaled)


class Stage:
    """A hub whose World changes by `tick`, and that has no traces. Implements `HubView`."""

    def __init__(self, world: World) -> None:
        self._world, self._seq = world, 0
        self._moments = [
            {name: np.roll(getattr(world, name), shift, axis=1) for name in ROLLED} for shift in range(MOMENTS)
        ]
        self.traces = self.metrics = Nothing()
        self.tick()

    def tick(self) -> None:
        """The values of another moment."""
        self._seq += 1
        moment = self._moments[self._seq % MOMENTS]
        self.snapshot = Snapshot(self._seq, replace(self._world, **moment), (), Learning(1980.0, 1800.0))

    def at(self, time: float) -> Snapshot:
        """As it is now."""
        del time
        return self.snapshot

    def over(self, start: float, end: float) -> World | None:
        """What there is of a stretch of time."""
        return slice_world(self._world, start, end)

    def now(self) -> float:
        """The World's time."""
        return self._world.time + 3.0

    def status(self) -> Json:
        """Nothing."""
        return {}

    def ready(self) -> tuple[bool, str]:
        """Always."""
        return True, ""

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """None."""
        del openmetrics
        return ""


class Nothing(MetricSource):
    """A source of metrics and traces that has none."""

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
    """Print the address once the World is made; then tick until the parent goes."""
    stage = Stage(platform(gpus, services))
    server = WebServer(create_app(stage, version="bench"), "127.0.0.1", 0)
    server.start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    ticking = threading.Thread(target=_tick_on, args=(stage,), daemon=True)
    ticking.start()
    sys.stdin.read()
    server.close()


def _tick_on(stage: Stage) -> None:
    while True:
        time.sleep(STEP)
        stage.tick()


@dataclass(frozen=True)
class Served:
    """A server of its own process."""

    url: str
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(gpus: int, services: int) -> Iterator[Served]:
    """A server over a platform of that size."""
    command = [sys.executable, __file__, "--serve", "--gpus", str(gpus), "--services", str(services)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdin
    try:
        yield Served(process.stdout.readline().strip(), process.pid)
    finally:
        process.stdin.close()
        process.wait(30)


def watched(server: Served, path: str, viewers: int, seconds: float) -> tuple[float, float, int]:
    """Ask as so many pages would: CPU milliseconds a refresh, kB of an answer as it is sent, and how many refreshes."""
    clients = [httpx.Client(base_url=server.url, trust_env=False, timeout=30) for _ in range(viewers)]
    tags, sizes, asked = [""] * viewers, [0], 0
    for client in clients:
        client.get("/healthz")
    begun, cpu = time.monotonic(), server.cpu()
    while time.monotonic() < begun + seconds:
        due = time.monotonic() + 1.0
        for i, client in enumerate(clients):
            with client.stream("GET", path, headers={"If-None-Match": tags[i], "Accept-Encoding": "gzip"}) as answer:
                body = sum(map(len, answer.iter_raw()))
            asked += 1
            if answer.status_code == 200:
                tags[i] = answer.headers["ETag"]
                sizes.append(body)
        time.sleep(max(0.0, due - time.monotonic()))
    used = server.cpu() - cpu
    for client in clients:
        client.close()
    return 1000 * used / asked, max(sizes) / 1000, asked


def answered(server: Served, path: str, times: int = 40) -> float:
    """p95 of milliseconds until the whole answer is there."""
    took = []
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        for _ in range(times):
            begun = time.perf_counter()
            client.get(path).raise_for_status()
            took.append(1000 * (time.perf_counter() - begun))
    return float(np.percentile(took, 95))


def painted(browser: Browser, server: Served, path: str, times: int = 3) -> float:
    """Median seconds from the request of a page that was never visited until it is of use."""
    took = []
    for _ in range(times):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.add_init_script(WATCHED.replace("SELECTOR", json.dumps(PAINTED[path])))
        page.goto(f"{server.url}{path}", wait_until="commit")
        page.wait_for_selector("[data-painted]", state="attached")
        took.append(float(page.locator("html").get_attribute("data-painted") or "nan") / 1000)
        page.context.close()
    return statistics.median(took)


def drawn(browser: Browser, server: Served) -> Sequence[float]:
    """Milliseconds of drawing the grid's new values, until the next frame can begin."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{server.url}/fleet")
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
    """Print the tables; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each page is watched")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.gpus, options.services)
        return 0
    missed: list[str] = []

    def row(what: str, value: float, bar: float, unit: str) -> None:
        told = f"(bar {bar:g})" if math.isfinite(bar) else ""
        print(f"{what:<66}{value:>9.2f} {unit:<4} {told}".rstrip(), flush=True)
        if value > bar:
            missed.append(what)

    with served(options.gpus, options.services) as server:
        print(f"{options.gpus} GPUs, {options.services} services, {options.viewers} viewers, a tick every {STEP:.0f} s")
        for path in FEEDS:
            cpu, size, _ = watched(server, path, options.viewers, options.seconds)
            row(f"CPU a viewer and refresh, {path}", cpu, CPU_MS, "ms")
            row(f"bytes a refresh, {path}", size, KB, "kB")
        for path in FEEDS:
            row(f"p95 of the answer, {path}", answered(server, path), ANSWER_MS, "ms")
        for path in WHOLE:
            row(f"p95 of the answer, {path}", answered(server, path, 10), math.inf, "ms")
        if not options.no_browser:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
                for path in PAINTED:
                    row(f"first useful paint of {path}", painted(browser, server, path), PAINT_S, "s")
                took = drawn(browser, server)
                row("drawing the grid anew, median", statistics.median(took), DRAW_MS, "ms")
                row("drawing the grid anew, most", max(took), 2 * DRAW_MS, "ms")
                browser.close()
    print(f"MISSED: {'; '.join(missed)}" if missed else "held: every bar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
