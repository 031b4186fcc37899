"""foreshock-exporter and nvitop-exporter side by side against one C library, eight GPUs; a part of `make bench`.

All run at once and are scraped every second, so that what else the machine does meets them alike; then each alone is
scraped as fast as it answers.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.nvml.double import Double, compile_library

from bench_gpus import GPUS, SERVICES, calls, playing, tenants
from bench_nvml import seconds_per_call
from bench_peers import Running, exporters, running, sink

WARM_UP = 20.0
"""Seconds: past the imports, the first reading of each process, and the first rounds of what is asked for every ten."""
SCRAPES, BLOCKS = 200, 5
"""One after the other, and how often: the median of the blocks is told."""
MAX_CPU, MAX_MIB, MAX_P99 = 2.0, 45.0, 9.0
"""Bars: percent of a core, MiB, milliseconds."""
PASS = ("nvmlDeviceGetSamples", "nvmlDeviceGetEncoderUtilization")
"""What ours calls once in a pass over a GPU, and what the peer does."""


def side_by_side(all_: Sequence[Running], seconds: float, costs: Mapping[str, float]) -> None:
    """One window: all of them run, each scraped every second."""
    before = [(one.seconds(), calls(one.double)) for one in all_]
    begun = time.monotonic()
    turns = round(seconds) * len(all_)
    for turn in range(turns):
        one = all_[turn % len(all_)]
        one.paced.append(one.scrape().took)
        time.sleep(max(0.0, begun + (turn + 1) / len(all_) - time.monotonic()))
    took = time.monotonic() - begun
    for one, (cpu, made) in zip(all_, before, strict=True):
        one.cpu.append(100 * (one.seconds() - cpu) / took)
        since = {name: count - made[name] for name, count in calls(one.double).items()}
        one.library.append(100 * sum(count * costs.get(name, costs[""]) for name, count in since.items()) / took)
        one.passes.append(since[PASS[one.peer]] / GPUS / took)


def alone(all_: Sequence[Running]) -> None:
    """Scrape each as fast as it answers while the others are stopped, several times in turn."""
    for one in all_:
        os.kill(one.pid, signal.SIGSTOP)
    for _ in range(BLOCKS):
        for one in all_:
            os.kill(one.pid, signal.SIGCONT)
            time.sleep(1.5)
            one.blocks.append([one.scrape().took for _ in range(SCRAPES)])
            one.page = one.scrape()
            os.kill(one.pid, signal.SIGSTOP)


def percentile(values: Sequence[float], percent: int) -> float:
    """Of the values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def of_blocks(one: Running, percent: int) -> float:
    """The median of the percentile over the blocks."""
    return statistics.median(percentile(block, percent) for block in one.blocks)


HEAD = (
    f"{'':<25}{'period':>7}{'passes':>8}{'CPU':>7}{'library':>9}{'RSS':>6}{'each second':>16}{'one by one':>15}"
    f"{'page':>6}{'gzip':>6}\n"
    f"{'exporter':<25}{'s':>7}{'/s':>8}{'% core':>7}{'% core':>9}{'MiB':>6}{'p50 ms':>9}{'p99':>7}"
    f"{'p50 ms':>8}{'p99':>7}{'KiB':>6}{'KiB':>6}{'series':>8}"
)


def row(one: Running) -> str:
    """A line of the table."""
    page = one.page.text
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    return (
        f"{one.name:<25}{one.period:>7}{statistics.median(one.passes):>8.1f}{statistics.median(one.cpu):>7.2f}"
        f"{statistics.median(one.library):>9.2f}{one.memory():>6.1f}"
        f"{percentile(one.paced, 50):>9.1f}{percentile(one.paced, 99):>7.1f}"
        f"{of_blocks(one, 50):>8.1f}{of_blocks(one, 99):>7.1f}"
        f"{len(page) / 1024:>6.0f}{one.page.sent / 1024:>6.0f}{series:>8}"
    )


def bars(all_: Sequence[Running]) -> Iterator[tuple[bool, str]]:
    """Whether each bar is held, and in words."""
    ours, *others = all_
    cpu, memory, p99 = statistics.median(ours.own()), ours.memory(), of_blocks(ours, 99)
    yield cpu < MAX_CPU, f"under {MAX_CPU:g} % of a core at {ours.period:g} s ({cpu:.2f})"
    yield memory < MAX_MIB, f"under {MAX_MIB:g} MiB resident without OTLP ({memory:.1f})"
    yield p99 < MAX_P99, f"scrape p99 under {MAX_P99:g} ms ({p99:.1f})"
    for peer in (one for one in others if one.peer):
        equal = next(one for one in others if not one.peer and one.period == peer.period)
        ratio = statistics.median(mine / its for mine, its in zip(equal.own(), peer.own(), strict=True))
        yield ratio < 1.0, f"less CPU than {peer.name} at {peer.period:g} s (ratio {ratio:.2f})"


def compare(windows: int = 3, seconds: float = 20.0) -> bool:
    """Run all so often and so long, print the table and the bars; whether every bar is held."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        library = compile_library(folder)
        pids = opened.enter_context(tenants())
        wanted = list(exporters(opened.enter_context(sink())))
        doubles = [Double(library, folder / str(number)) for number in range(len(wanted) + 1)]
        opened.enter_context(playing(doubles, pids))
        costs = seconds_per_call(doubles.pop())
        all_ = [opened.enter_context(running(*one, double)) for one, double in zip(wanted, doubles, strict=True)]
        print(f"{GPUS} GPUs, {len(SERVICES)} processes on each; {os.cpu_count()} cores; {windows} times {seconds:g} s")
        time.sleep(WARM_UP)
        for _ in range(windows):
            side_by_side(all_, seconds, costs)
        alone(all_)
        print(HEAD, *map(row, all_), sep="\n")
        told = list(bars(all_))
    print("CPU and library: medians; library: what the played NVML itself takes, which the bars below leave out")
    for held, words in told:
        print(f"{'held' if held else 'MISSED'}: {words}")
    return all(held for held, _ in told)


def main() -> int:
    """1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=3, help="how often to measure; medians are printed")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each time")
    options = parser.parse_args()
    return 0 if compare(options.windows, options.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
