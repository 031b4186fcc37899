"""Hubs that divide the clusters of one real Prometheus: what one of them uses for an evaluation, by their number.

  .venv/bin/python -m bench.engine.shards [--clusters 4] [--hosts 124] [--services 100] [--shards 1 2 4]

Of each number, the first hub is measured: the clusters are equal. CPU in seconds for an evaluation of that hub.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.engine.fleet import GPUS_PER_HOST, clusters
from bench.engine.prometheus import (
    EVALUATION_SECONDS,
    PAGE_SECONDS,
    SETTLING_EVALUATIONS,
    Server,
    Writer,
    cost,
    evaluations,
    running,
    wait,
)
from bench.support.process import hub_process
from foreshock_dashboard.world.builder import catalog

HISTORY_SECONDS = 360.0


class Used(NamedTuple):
    """What a hub has, and used for an evaluation: GPUs, CPU seconds of hub and server, samples, MiB."""

    gpus: int
    hub: float
    server: float
    samples: float
    memory: float
    peak: float


def of_shard(server: Server, folder: Path, flags: Sequence[str], count: int) -> Used:
    """Run a hub until its evaluations are even, and measure the next `count`."""
    with ExitStack() as opened:
        hub = opened.enter_context(hub_process(folder, flags=["--prometheus-url", server.url, *flags]))
        client = opened.enter_context(httpx.Client(base_url=hub.url, trust_env=False, timeout=60))
        wait(lambda: client.get("/readyz").status_code == 200, PAGE_SECONDS, "the history")
        for number in (SETTLING_EVALUATIONS, count):
            begin, before = evaluations(client), cost(hub, server)
            end = begin + number
            wait(lambda end=end: evaluations(client) >= end, EVALUATION_SECONDS * number, "an evaluation")  # type: ignore[misc]
            done = evaluations(client) - begin
        used = [(new - old) / done for new, old in zip(cost(hub, server), before, strict=True)]
        gpus = len(client.get("/api/gpus").json()["gpus"])
        return Used(gpus, used[0], used[1], used[3], hub.memory_mib(), hub.memory_mib("VmHWM"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each number of shards, and print a table; exits with 1 if GPUs are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=4, help="equal clusters")
    parser.add_argument("--hosts", type=int, default=124, help=f"of {GPUS_PER_HOST} GPUs each, in all clusters")
    parser.add_argument("--services", type=int, default=100, help="in all clusters")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between two scrapes")
    parser.add_argument("--evaluations", type=int, default=6, help="measured evaluations")
    options = parser.parse_args(arguments)
    wanted = {query.series_name for row in catalog(options.interval).values() for query in row.queries}
    of = clusters(options.clusters, options.hosts, options.services, wanted)
    complete, rows = True, []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        server = opened.enter_context(running("prometheus", folder))
        writer = opened.enter_context(closing(Writer(server.url, of, options.interval, HISTORY_SECONDS)))
        writer.fill()
        writer.start()
        for count in options.shards:
            spread = ",".join(f"cluster-{number}={number % count + 1}" for number in range(options.clusters))
            flags = ["--scrape-interval", f"{options.interval:g}s", "--shard", f"1/{count}", "--shard-clusters", spread]
            one = of_shard(server, folder / f"1-of-{count}", flags, options.evaluations)
            print(f"1/{count}", one, flush=True)
            complete = complete and one.gpus * count == options.hosts * GPUS_PER_HOST
            rows.append(
                [
                    *(f"{count}", f"{one.gpus:,}", f"{one.hub:.2f}", f"{one.server:.2f}"),
                    *(f"{one.samples / 1e6:.2f}", f"{one.memory:.0f}", f"{one.peak:.0f}"),
                ]
            )
    heads = ["hubs", "GPUs of one", "hub CPU", "server CPU", "M samples", "MiB", "at its peak"]
    for cells in (heads, ["---"] * len(heads), *rows):
        print("|", " | ".join(cells), "|")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
