"""Cost of one exposition by foreshock-exporter's writer, and by prometheus_client from the same families.

  python -m bench.exporter.exposition

It decides which of both the exporter uses. Times are CPU time; memory is what an import adds to a new process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model.family import Families, Sample
from foreshock_exporter.script.mock import open_script

ROUNDS, REPEAT, WARM_UP = 7, 20, 30
"""Rounds, of which the fastest counts; expositions in each; seconds of the simulated host before."""
RESIDENT = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
IMPORTS = {
    "foreshock-exporter": "import foreshock_exporter.exposition.text_format, foreshock_exporter.web.server",
    "prometheus_client": "import prometheus_client, prometheus_client.exposition",
}


class FromFamilies(Collector):
    """Collector of prometheus_client that has the families. Histograms are left out."""

    def __init__(self, families: Callable[[], Families]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Families as prometheus_client has them."""
        for family, samples in self._families():
            metric = Metric(family.name, family.help, family.kind)
            for sample in samples:
                if isinstance(sample, Sample):
                    metric.add_sample(family.name, dict(zip(family.labels, sample.labels, strict=True)), sample.value)
            if metric.samples:
                yield metric


def simulated_families() -> Callable[[], Families]:
    """Families of a simulated host of four GPUs, without histograms."""
    clock = [1_000_000.0]
    script = open_script("contended", lambda: clock[0])
    exporter = Exporter(script.driver, script.resolver, host_id="1", host_name="host", now=lambda: clock[0], mock=True)
    for _ in range(WARM_UP):
        exporter.sample()
        clock[0] += 1.0
    snapshot = exporter.snapshot()
    return lambda: [part for part in snapshot_families(snapshot) if part[0].kind != "histogram"]


def milliseconds(work: Callable[[], object]) -> float:
    """CPU time of one call in the fastest round."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(REPEAT):
            work()
        rounds.append((time.process_time() - started) / REPEAT * 1000)
    return min(rounds)


def resident_mib(statement: str) -> float:
    """Resident memory that a statement adds to a new Python process: the median of several."""
    sizes = {
        code: statistics.median(
            int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
            for _ in range(3)
        )
        for code in (RESIDENT, f"{statement}; {RESIDENT}")
    }
    before, after = sizes.values()
    return (after - before) / 1024


def values(text: bytes) -> set[tuple[str, frozenset[tuple[str, str]], float]]:
    """All series of a page."""
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, frozenset(sample.labels.items()), sample.value) for part in families for sample in part.samples
    }


def main() -> int:
    """Print the table; returns 1 if both pages differ."""
    families = simulated_families()
    registry = CollectorRegistry()
    registry.register(FromFamilies(families))
    writers = {"foreshock-exporter": lambda: render(families()), "prometheus_client": lambda: generate_latest(registry)}
    pages = [values(render(families())), values(generate_latest(registry))]
    if pages[0] != pages[1]:
        print("both pages differ in", sorted(map(str, pages[0] ^ pages[1]))[:5], file=sys.stderr)
        return 1
    print(f"{'':<20}{'CPU, ms':>9}{'import, MiB':>13}   of {len(pages[0]):,} series")
    for name, write in writers.items():
        print(f"{name:<20}{milliseconds(write):>9.2f}{resident_mib(IMPORTS[name]):>13.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
