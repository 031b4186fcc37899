"""Cost of foreshock-exporter and nvitop-exporter on eight GPUs of one C library; part of `make bench`.

  python -m bench.exporter.compare                 prints the table and the figures, in about four minutes
  python -m bench.exporter.compare --write-docs    writes the table into docs/reference/exporter.md

All run at once with a scrape every second, so that other load affects them equally. Then each is scraped alone as fast
as it responds.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.nvml.double import Double, compile_library

from bench.exporter.document import write_section
from bench.exporter.gpus import Size, calls, playing, tenants
from bench.exporter.nvml import seconds_per_call
from bench.exporter.peers import Command, Page, Running, exporters, running, sink
from bench.support.figures import Figure, report
from bench.support.machine import description, factors

WARM_UP_SECONDS = 20.0
"""Covers imports, first reads of each process, and the first ten-second reads."""
SCRAPES = 200
"""Consecutive scrapes of a block."""
MAX_CPU_PERCENT, MAX_MIB, MAX_P99_MS = 1.0, 40.0, 5.0
"""Limits: percent of a core, MiB, milliseconds."""
PASS = ("nvmlDeviceGetSamples", "nvmlDeviceGetEncoderUtilization")
"""Function that each exporter calls once per pass over a GPU: ours, while there can be a new sample, and the peer's."""


def side_by_side(all_running: Sequence[Running], seconds: float, costs: Mapping[str, float]) -> None:
    """Run all exporters for one window, each scraped every second. `costs` are CPU seconds per call of the library."""
    before = [(exporter.cpu_seconds(), _calls(exporter)) for exporter in all_running]
    started = time.monotonic()
    scrapes = round(seconds) * len(all_running)
    for number in range(scrapes):
        exporter = all_running[number % len(all_running)]
        exporter.paced.append(exporter.scrape().took)
        time.sleep(max(0.0, started + (number + 1) / len(all_running) - time.monotonic()))
    duration = time.monotonic() - started
    for exporter, (cpu, calls_before) in zip(all_running, before, strict=True):
        exporter.cpu.append(100 * (exporter.cpu_seconds() - cpu) / duration)
        since = {name: count - calls_before[name] for name, count in _calls(exporter).items()}
        exporter.library.append(
            100 * sum(count * costs.get(name, costs[""]) for name, count in since.items()) / duration
        )
        exporter.passes.append(since.get(PASS[exporter.peer], 0) / exporter.gpus / duration)


def _calls(exporter: Running) -> Mapping[str, int]:
    """Calls of each function of the C library; empty over a real NVML, which does not count them."""
    return calls(exporter.double) if exporter.double else {}


def alone(all_running: Sequence[Running], blocks: int) -> None:
    """Scrape each exporter as fast as it responds while the others are stopped, several times in turn."""
    for exporter in all_running:
        os.kill(exporter.pid, signal.SIGSTOP)
    for _ in range(blocks):
        for exporter in all_running:
            os.kill(exporter.pid, signal.SIGCONT)
            time.sleep(1.5)
            exporter.blocks.append([exporter.scrape().took for _ in range(SCRAPES)])
            exporter.page = exporter.scrape()
            os.kill(exporter.pid, signal.SIGSTOP)


def percentile(values: Sequence[float], percent: int) -> float:
    """Percentile of the values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def block_median(exporter: Running, percent: int) -> float:
    """Median of a percentile over the blocks."""
    return statistics.median(percentile(block, percent) for block in exporter.blocks)


HEAD = """| exporter | sampling period | passes/s | CPU, % of a core | of it the library | memory, MiB \
| scrape each second, p50 · p99, ms | one after another | page · compressed, KiB | series |
|---|---|---|---|---|---|---|---|---|---|"""


def row(exporter: Running) -> str:
    """Line of the table; a dash for what is unknown over a real NVML, which does not count its calls."""
    page = exporter.page.text
    passes, library = "–", "–"
    if exporter.double:
        passes, library = f"{statistics.median(exporter.passes):.1f}", f"{statistics.median(exporter.library):.2f}"
    cells = (
        exporter.name,
        f"{exporter.period:g} s",
        passes,
        f"{statistics.median(exporter.cpu):.2f}",
        library,
        f"{exporter.memory_mib():.1f}",
        f"{percentile(exporter.paced, 50):.1f} · {percentile(exporter.paced, 99):.1f}",
        f"{block_median(exporter, 50):.1f} · {block_median(exporter, 99):.1f}",
        f"{len(page) / 1024:.0f} · {exporter.page.sent / 1024:.0f}",
        f"{series(exporter.page):,}",
    )
    return f"| {' | '.join(cells)} |"


def series(page: Page) -> int:
    """Number of series."""
    return sum(not line.startswith(b"#") for line in page.text.splitlines())


def figures(all_running: Sequence[Running]) -> Iterator[Figure]:
    """Cost of ours beside the peer's at a tenth of the sampling rate; then the CPU of both at equal periods.

    CPU is without the library's.
    """
    ours, *others = all_running
    peers = [each for each in others if each.peer]
    slowest = max(peers, key=lambda each: each.period)
    pairs: list[tuple[str, str, float, Running, Running, Callable[[Running], float]]] = [
        ("CPU", "% of a core", MAX_CPU_PERCENT, ours, slowest, cpu_percent),
        ("Memory", "MiB", MAX_MIB, ours, slowest, Running.memory_mib),
        ("p99 of a scrape", "ms", MAX_P99_MS, ours, slowest, lambda each: block_median(each, 99)),
    ]
    for peer in peers:
        equal = next(each for each in others if not each.peer and each.period == peer.period)
        pairs.append(("CPU", "% of a core", math.nan, equal, peer, cpu_percent))
    for name, unit, goal, mine, peer, measured in pairs:
        yield Figure(
            name=f"{name}, sampling every {mine.period:g} s",
            value=measured(mine),
            unit=unit,
            goal=goal,
            peer=f"{peer.name}, every {peer.period:g} s",
            peer_value=measured(peer),
            min_ratio=1.0,
            is_latency=unit == "ms",
        )


def cpu_percent(exporter: Running) -> float:
    """Median percent of a core without the library."""
    return statistics.median(exporter.own())


@contextmanager
def measured(
    commands: Sequence[Command], size: Size, windows: int, seconds: float, blocks: int
) -> Iterator[list[Running]]:
    """The exporters, which have run side by side for the windows, and then have been scraped alone in the blocks."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        library = compile_library(folder)
        pids = stack.enter_context(tenants(size))
        doubles = [Double(library, folder / str(number)) for number in range(len(commands) + 1)]
        stack.enter_context(playing(doubles, pids))
        costs = seconds_per_call(doubles.pop())
        all_running = [
            stack.enter_context(running(command, double, size.gpus))
            for command, double in zip(commands, doubles, strict=True)
        ]
        time.sleep(WARM_UP_SECONDS)
        for _ in range(windows):
            side_by_side(all_running, seconds, costs)
        if blocks:
            alone(all_running, blocks)
        yield all_running


def main() -> int:
    """Print table and figures, and write the table if asked to; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=3, help="how often to measure; medians are printed")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each time")
    parser.add_argument("--blocks", type=int, default=5, help="repetitions of scrapes one by one; the median counts")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/reference/exporter.md")
    options = parser.parse_args()
    size, machine = Size(), description()
    with (
        sink() as url,
        measured(list(exporters(url)), size, options.windows, options.seconds, options.blocks) as all_running,
    ):
        table = "\n".join((HEAD, *map(row, all_running)))
        text = (
            f"{machine}; {factors().cpu:.1f} times as slow as the machine of the goals. {size.gpus} GPUs with "
            f"{size.processes} processes each, {options.windows} times {options.seconds:g} s.\n\n{table}\n"
        )
        print(text)
        if options.write_docs:
            write_section("exporters", text)
        return report(list(figures(all_running)))


if __name__ == "__main__":
    sys.exit(main())
