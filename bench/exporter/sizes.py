"""Cost of foreshock-exporter and nvitop-exporter at their default periods, by number of GPUs and of processes on each.

  python -m bench.exporter.sizes                 prints the table, in about ten minutes
  python -m bench.exporter.sizes --write-docs    writes it into docs/reference/exporter.md

Both run side by side over the same GPUs of one C library, so a ratio holds on a busy machine, too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence

from bench.exporter.compare import cpu_percent, measured, series
from bench.exporter.document import write_section
from bench.exporter.gpus import Size
from bench.exporter.peers import Running, nvitop
from bench.exporter.peers import ours as ours_every
from bench.support.machine import description

SIZES = tuple(Size(gpus, processes) for gpus in (1, 8, 16) for processes in (1, 10, 100))[:-1]
"""Without 16 GPUs of 100 processes each, of which nvitop-exporter takes ten seconds to read all."""
HEAD = (
    "| GPUs | processes each | passes/s | CPU, % | ratio | memory, MiB | ratio | scrape, ms | ratio | series |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def compared(ours: float, peer: float, digits: int) -> tuple[str, str]:
    """Both values, and how much of the peer's ours is."""
    return f"{ours:.{digits}f} · {peer:.{digits}f}", f"{ours / peer:.2f}"


def row(size: Size, ours: Running, peer: Running) -> str:
    """Line of the table: ours, then the peer's."""
    pairs = (
        compared(cpu_percent(ours), cpu_percent(peer), 1),
        compared(ours.memory_mib(), peer.memory_mib(), 0),
        compared(statistics.median(ours.paced), statistics.median(peer.paced), 1),
    )
    passes = " · ".join(f"{statistics.median(exporter.passes):.1f}" for exporter in (ours, peer))
    cells = [str(size.gpus), str(size.processes), passes, *(text for pair in pairs for text in pair)]
    cells.append(" · ".join(f"{series(exporter.scrape()):,}" for exporter in (ours, peer)))
    return f"| {' | '.join(cells)} |"


def rows(sizes: Sequence[Size], windows: int, seconds: float) -> Iterator[str]:
    """Lines of the table, each printed when it is measured."""
    pair = [ours_every(0.1), nvitop(1.0)]
    for size in sizes:
        with measured(pair, size, windows, seconds, blocks=0) as (ours, peer):
            line = row(size, ours, peer)
            print(line, flush=True)
        yield line


def main() -> int:
    """Print the table, and write it into the documentation if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", help="comma-separated GPUsxPROCESSES, such as 8x5 (default: all of the table)")
    parser.add_argument("--windows", type=int, default=2, help="how often to measure; medians are printed")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each time")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/reference/exporter.md")
    options = parser.parse_args()
    sizes = [Size(*map(int, text.split("x"))) for text in options.sizes.split(",")] if options.sizes else SIZES
    table = "\n".join((*HEAD, *rows(sizes, options.windows, options.seconds)))
    if options.write_docs:
        write_section("sizes", f"{description()}.\n\n{table}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
