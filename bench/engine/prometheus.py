"""The hub over a real Prometheus or VictoriaMetrics that holds a fleet: first page, evaluations, and their cost.

  .venv/bin/python -m bench.engine.prometheus [--server victoria-metrics] [--hosts 125] [--services 100] [--hours 1]
  .venv/bin/python -m bench.engine.prometheus --hosts 125 500 1250 --services 100 400 1000 --only-collected

The server is filled by remote write with the series of real exporter pages and of services. CPU is that of each
process; with other load on the machine, compare it rather than the seconds.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from bench.engine.fleet import GPUS_PER_HOST, Fleet, fleet
from bench.engine.remote_write import SERIES_PER_REQUEST, WriteTemplate, write
from bench.support.process import HubProcess, MeasuredProcess, free_ports, hub_process
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.builder import catalog

SLICE_SECONDS = 900.0
"""Time range of one request; Prometheus refuses samples an hour older than its newest."""
AHEAD_SECONDS = 540.0
"""How far ahead samples are written, so that none are while the hub is measured; Prometheus allows ten minutes."""
START_SECONDS, PAGE_SECONDS, EVALUATION_SECONDS = 30.0, 1800.0, 300.0
"""Longest wait for the server, the first page, and the next evaluation."""
POLL_SECONDS = 1.0
"""Each poll costs the hub CPU, too."""
HUB_RULES = Path(__file__).parents[2] / "alerts" / "fleet" / "hub_queries.rules.yml"
SETTLING_EVALUATIONS = 3
"""Evaluations in which the hub also reads earlier weeks, for the capacity forecast and the cost."""
COUNTERS = {
    "prometheus": {
        "queries": r"prometheus_http_requests_total{.*handler=\"/api/v1/(?:query|query_range)\"",
        "samples": r"prometheus_engine_query_samples_total",
        "bytes": r"prometheus_http_response_size_bytes_sum{handler=\"/api/v1/(?:query|query_range)\"",
    },
    "victoria-metrics": {
        "queries": r"vm_http_requests_total{path=\"/api/v1/(?:query|query_range)\"",
        "samples": r"vm_rows_read_per_query_sum",
        "bytes": r"vm_http_response_size_bytes_sum",
    },
}
"""Series of the server's own metrics, as regular expressions, by what they count."""


class Server(NamedTuple):
    """A running server, and the regular expressions of its counters."""

    url: str
    process: MeasuredProcess
    counters: dict[str, str]


class Cost(NamedTuple):
    """What was used so far: CPU seconds of hub and server, and counters of the server."""

    hub: float
    server: float
    queries: float
    samples: float
    bytes: float


@contextmanager
def running(kind: str, folder: Path, rules: Sequence[Path] = ()) -> Iterator[Server]:
    """An empty server of this kind. rules: files with recording rules, for a Prometheus."""
    binary = shutil.which(kind)
    if binary is None:
        sys.exit(f"{kind} is not installed: run `apt install {kind}`")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    (folder / "prometheus.yml").write_text(f"rule_files: {[str(path) for path in rules]}\n")
    flags = {
        "prometheus": [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--web.enable-remote-write-receiver",
        ],
        "victoria-metrics": [f"-storageDataPath={folder / 'data'}", f"-httpListenAddr={address}"],
    }[kind]
    with subprocess.Popen([binary, *flags], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            url, deadline = f"http://{address}", time.monotonic() + START_SECONDS
            while not answers(url):
                if time.monotonic() > deadline:
                    sys.exit(f"{kind} does not answer within {START_SECONDS:.0f} s")
                time.sleep(POLL_SECONDS)
            yield Server(url, MeasuredProcess(pid=process.pid), COUNTERS[kind])
        finally:
            process.terminate()
            process.wait()


def answers(url: str) -> bool:
    """Whether the server answers queries."""
    try:
        return httpx.get(f"{url}/api/v1/query", params={"query": "vector(1)"}, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


class Writer:
    """Writes the samples of a fleet at multiples of `interval`: from `history` seconds ago to some time from now."""

    def __init__(self, url: str, of: Fleet, interval: float, history: float) -> None:
        self._url, self._of, self._interval = url, of, interval
        self._start = self._next = float(np.floor((time.time() - history) / interval) * interval)
        self._client = httpx.Client(trust_env=False, timeout=60)
        self._rng = np.random.default_rng(1)
        self._ended, self._live = threading.Event(), threading.Thread(target=self._run, daemon=True)

    def fill(self) -> None:
        """Write the samples that are missing."""
        end = time.time() + AHEAD_SECONDS
        while (left := int((end - self._next) / self._interval)) > 0:
            times = self._next + self._interval * np.arange(min(int(SLICE_SECONDS / self._interval), left))
            self._write(times.astype(np.float64))

    def start(self) -> None:
        """Fill now and then as time goes by, until closed."""
        self._live.start()

    def _run(self) -> None:
        while not self._ended.wait(AHEAD_SECONDS / 2):
            self.fill()

    def close(self) -> None:
        """Write no more."""
        self._ended.set()
        if self._live.is_alive():
            self._live.join()
        self._client.close()

    def _write(self, times: Floats) -> None:
        """Write the samples of all series at these times."""
        of = self._of
        for first in range(0, len(of.base), SERIES_PER_REQUEST):
            part = slice(first, first + SERIES_PER_REQUEST)
            own = Fleet(of.metrics[part], of.labels[part], of.base[part], of.slope[part])
            template = WriteTemplate(own.metrics, own.labels, len(times))
            write(self._client, self._url, template.filled(times, own.values(times - self._start, self._rng)))
        self._next = float(times[-1]) + self._interval


def cost(hub: HubProcess, server: Server) -> Cost:
    """What was used so far."""
    page = httpx.get(f"{server.url}/metrics", trust_env=False).text

    def total(pattern: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if re.match(pattern, line))

    counted = {name: total(pattern) for name, pattern in server.counters.items()}
    return Cost(hub.cpu_seconds(), server.process.cpu_seconds(), **counted)


def evaluations(client: httpx.Client) -> int:
    """Evaluations of the hub so far."""
    found = re.search(r"^foreshock_evaluation_duration_seconds_count (\d+)", client.get("/metrics").text, re.MULTILINE)
    return int(found[1]) if found else 0


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until the condition holds; ends the benchmark if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what} took longer than {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


class Table:
    """Prints what hub and server used since the last line."""

    def __init__(self, hub: HubProcess, server: Server, server_before: float) -> None:
        self._hub, self._server = hub, server
        self._last = cost(hub, server)._replace(hub=0.0, server=server_before)
        self._at = time.monotonic()
        columns = ("seconds", "hub CPU", "server CPU", "requests", "M samples", "MiB")
        print(f"{'':<20}{''.join(f'{column:>11}' for column in columns)}")

    def line(self, name: str, count: int = 1) -> tuple[float, Cost]:
        """A line; of `count` evaluations, the mean: seconds, and what was used."""
        now, at = cost(self._hub, self._server), time.monotonic()
        used = Cost(*((new - old) / count for new, old in zip(now, self._last, strict=True)))
        seconds, (hub, server, requests, samples, size) = (at - self._at) / count, used
        figures = (
            f"{seconds:>11.1f}{hub:>11.2f}{server:>11.2f}{requests:>11.0f}{samples / 1e6:>11.2f}{size / 2**20:>11.2f}"
        )
        print(f"{name:<20}{figures}", flush=True)
        self._last, self._at = now, at
        return seconds, used


SUMMARY = (
    *(
        "GPUs",
        "services",
        "series",
        "first page: s",
        "hub CPU",
        "history: hub CPU",
        "evaluation: hub CPU",
        "server CPU",
    ),
    *("requests", "M samples", "MiB", "hub MiB", "at its peak"),
)
"""Columns of the table by size; CPU in seconds."""


def measured(options: argparse.Namespace, hosts: int, services: int) -> list[str]:
    """Fill a server, run the hub over it, and print the table; returns the cells of `SUMMARY`.

    Exits if the hub does not show all GPUs.
    """
    rows = catalog(options.interval).values()
    wanted = {query.series_name for row in rows for query in row.queries} if options.only_collected else None
    of = fleet(hosts, services, wanted, options.collectors)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        server = opened.enter_context(running(options.server, folder, [HUB_RULES] if options.rules else ()))
        writer = opened.enter_context(closing(Writer(server.url, of, options.interval, options.hours * 3600)))
        writer.fill()
        print(
            f"{options.server}: {hosts * GPUS_PER_HOST} GPUs, {services} services, "
            f"{len(of.base)} series, {options.hours:g} h every {options.interval:g} s, "
            f"{server.process.memory_mib():.0f} MiB",
            flush=True,
        )
        writer.start()
        flags = ["--prometheus-url", server.url, "--scrape-interval", f"{options.interval:g}s"]
        before = server.process.cpu_seconds()
        hub = opened.enter_context(hub_process(folder / "store", flags=flags))
        client = opened.enter_context(httpx.Client(base_url=hub.url, trust_env=False, timeout=60))

        def gpus() -> int:
            return len(client.get("/api/gpus").json()["gpus"])

        table = Table(hub, server, before)
        wait(gpus, PAGE_SECONDS, "the first page")
        page_seconds, page = table.line("first page")
        wait(lambda: client.get("/readyz").status_code == 200, PAGE_SECONDS, "the history")
        _, history = table.line("history")
        for name, count in (("first evaluations", SETTLING_EVALUATIONS), ("evaluation", options.evaluations)):
            begin = evaluations(client)
            wait(partial(lambda last: evaluations(client) >= last, begin + count), EVALUATION_SECONDS * count, name)
            _, used = table.line(name, evaluations(client) - begin)
        memory, peak, shown = hub.memory_mib(), hub.memory_mib("VmHWM"), gpus()
        print(
            f"memory: hub {memory:.0f} MiB, {peak:.0f} at its peak; server {server.process.memory_mib():.0f} MiB; "
            f"{shown} GPUs shown",
            flush=True,
        )
        if shown != hosts * GPUS_PER_HOST:
            sys.exit(f"the hub shows {shown} of {hosts * GPUS_PER_HOST} GPUs")
        return [
            *(f"{number:,}" for number in (hosts * GPUS_PER_HOST, services, len(of.base))),
            *(f"{page_seconds:.0f}", f"{page.hub:.1f}", f"{history.hub:.1f}", f"{used.hub:.2f}"),
            *(f"{used.server:.2f}", f"{used.queries:.0f}", f"{used.samples / 1e6:.2f}"),
            *(f"{used.bytes / 2**20:.1f}", f"{memory:.0f}", f"{peak:.0f}"),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size, and print a table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=COUNTERS, default="prometheus")
    parser.add_argument("--hosts", type=int, nargs="+", default=[125], help=f"of {GPUS_PER_HOST} GPUs each, by size")
    parser.add_argument("--services", type=int, nargs="+", default=[100], help="by size")
    parser.add_argument("--hours", type=float, default=1.0, help="length of the history")
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between two scrapes")
    parser.add_argument("--evaluations", type=int, default=6, help="measured evaluations")
    parser.add_argument("--collectors", type=int, default=1, help="that count the spans of each service")
    parser.add_argument("--rules", action="store_true", help=f"{HUB_RULES.name} in Prometheus")
    parser.add_argument("--only-collected", action="store_true", help="only the series that a hub reads")
    options = parser.parse_args(arguments)
    rows = [measured(options, *size) for size in zip(options.hosts, options.services, strict=True)]
    for cells in (SUMMARY, ["---"] * len(SUMMARY), *rows):
        print("|", " | ".join(cells), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
