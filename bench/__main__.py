"""The performance table: every figure, its goal, its peer measured in the same run, and its growth with size.

  make bench               all, in about half an hour, written into docs/internals/performance.md
  make bench SIZE=quick    shorter and smaller, in about five minutes
  make bench CHECK=1       exit code 1 if a figure misses its goal

`ARGS="--only REGEX"` runs the benchmarks whose module matches, and writes their lines alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.support.figures import FILE_VARIABLE, Figure
from bench.support.machine import description
from bench.support.table import Row, markdown, with_rows

DOCUMENT = Path(__file__).parents[1] / "docs/internals/performance.md"
SECTION = re.compile(r"(?<=<!-- bench -->\n).*?(?=<!-- end of bench -->)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A module with its flags by size; `small` are those of the smaller run that shows growth, with their ratio.

    writes_docs: the module has `--write-docs` as well, for another document.
    """

    title: str
    module: str
    quick: str = ""
    full: str = ""
    small: str = ""
    size_ratio: float = 1.0
    writes_docs: bool = False


BENCHMARKS = (
    Benchmark(
        title="Exporter, 8 GPUs",
        module="bench.exporter.compare",
        quick="--windows 2 --seconds 8 --blocks 1",
        writes_docs=True,
    ),
    Benchmark(title="Start", module="bench.hub.start", quick="--starts 1"),
    Benchmark(title="Spans", module="bench.hub.spans", quick="--seconds 10", full="--seconds 40"),
    Benchmark(
        title="Hub with 64 GPUs and 5,000 spans/s",
        module="bench.hub.load",
        quick="--seconds 15 --gpus 16 --spans 1000",
    ),
    Benchmark(title="Memory limit of 512 MiB", module="bench.hub.memory", quick="--seconds 3"),
    Benchmark(
        title="A day of 64 GPUs in the store",
        module="bench.hub.day",
        quick="--hours 2 --gpus 16 --seconds 10",
    ),
    Benchmark(
        title="Traces",
        module="bench.hub.search",
        quick="--spans 200000",
        full="--spans 1000000",
        small="--spans 100000",
        size_ratio=10,
    ),
    Benchmark(
        title="Evaluation of 10,000 GPUs and 1,000 services",
        module="bench.hub.tick",
        quick="--ticks 5 --minutes 40",
        small="--gpus 1000 --services 100 --edges 800",
        size_ratio=10,
    ),
    Benchmark(
        title="Pages of 10,000 GPUs and 300 services, 20 viewers",
        module="bench.hub.page",
        quick="--seconds 3 --times 10",
        small="--gpus 1000 --services 30 --seconds 10 --no-browser",
        size_ratio=10,
    ),
    Benchmark(title="Recordings", module="bench.hub.replay", quick="--minutes 15"),
    Benchmark(title="`foreshock explain` with 50 services", module="bench.hub.explain", quick="--services 20"),
    Benchmark(title="Simulator, 32 GPUs", module="bench.simulator.simulate", quick="--minutes 10"),
)


def run(module: str, flags: str) -> list[Figure]:
    """Run a benchmark in a separate process and show its output; None if it failed.

    Raises:
        RuntimeError: it ended without figures.
    """
    command = [sys.executable, "-m", module, *flags.split()]
    print(f"\n$ python -m {module} {flags}".rstrip(), flush=True)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        code = subprocess.run(command, env=os.environ | {FILE_VARIABLE: file.name}, check=False).returncode
        figures = [Figure(**json.loads(line)) for line in Path(file.name).read_text().splitlines()]
    if not figures:
        raise RuntimeError(f"{module} ended with {code} and without figures. Run it alone: python -m {module} {flags}.")
    return figures


def rows(benchmark: Benchmark, size: str, write_docs: bool) -> list[Row]:
    """The figures of a benchmark; those of the full size with their growth from the small one."""
    flags = benchmark.quick if size == "quick" else benchmark.full
    if write_docs and benchmark.writes_docs:
        flags += " --write-docs"
    small = run(benchmark.module, benchmark.small) if benchmark.small and size == "full" else []
    before = {figure.name: figure.value for figure in small}
    figures = run(benchmark.module, flags)
    title = benchmark.title if size == "full" else f"{benchmark.title}, smaller: `{benchmark.quick}`"
    return [Row(title, each, before.get(each.name), benchmark.size_ratio) for each in figures]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all and print the table; exit code 1 if a benchmark fails, or with --check if a figure misses its goal."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("quick", "full"), default="full")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a figure misses its goal")
    parser.add_argument("--only", default="", metavar="REGEX", help="modules to run")
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/internals/performance.md; with --only, these lines"
    )
    options = parser.parse_args(arguments)
    table: list[Row] = []
    failed: list[str] = []
    started = time.monotonic()
    for benchmark in (each for each in BENCHMARKS if re.search(options.only, each.module)):
        try:
            table += rows(benchmark, options.size, options.write_docs)
        except RuntimeError as error:
            failed.append(str(error))
    minutes = (time.monotonic() - started) / 60
    lost = "".join(f" {message}" for message in failed)
    text = f"{description()}. Size {options.size}, {minutes:.0f} min.{lost}\n\n{markdown(table)}"
    print(f"\n{text}")
    if options.write_docs and table:  # the others took half an hour
        document = DOCUMENT.read_text()
        section = f"\n{text}\n"
        if options.only:
            section = with_rows(SECTION.findall(document)[0], table, f"{description()}, {minutes:.0f} min")
        DOCUMENT.write_text(SECTION.sub(lambda _: section, document))
    for message in failed:
        print(f"Error: {message}", file=sys.stderr)
    missed = [f"{row.title}: {row.figure.name}" for row in table if not row.figure.held]
    if missed:
        print(f"Missed: {'; '.join(missed)}")
    return 1 if failed or (options.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
