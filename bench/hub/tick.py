"""Cost of one evaluation of a hub over a large platform: read the answers, extend the World, evaluate the incidents.

  .venv/bin/python -m bench.hub.tick [--gpus 10000] [--services 1000] [--edges 8000] [--ticks 20] [--minutes 60]
      [--world]

The answers are synthetic, lack one host each time, and are not measured. Seconds are of one core. The history is as
long as in a hub. Slow services open incidents once the history is longer than half an hour.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from bench.support.figures import Figure, report
from bench.support.platform import STEP, Platform, Size, series_count
from bench.support.process import MeasuredProcess
from foreshock_dashboard.analysis.incidents.lifecycle import State, advance
from foreshock_dashboard.common.process import trim_malloc, tune_process
from foreshock_dashboard.hub.analysis_loop import WORLD_HISTORY_SECONDS
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.world.builder import WorldBuilder
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer

BLOCK = 6
"""Grid points of history that are made at once."""
MAX_SECONDS, MAX_SLOWEST_SECONDS, MAX_GROWTH_MIB = 0.5, 1.0, 300.0
SLOWEST = "The slowest evaluation with open incidents"
MAX_WORLD_BYTES = Memory(1536 << 20).world_bytes
"""Share of the World at the memory limit of the Helm chart."""


def resident_mib() -> float:
    """Resident memory of this process after freed memory was returned, as in a hub after sealing."""
    gc.collect()
    trim_malloc()
    return MeasuredProcess(pid=os.getpid()).memory_mib()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=Size.gpus)
    parser.add_argument("--services", type=int, default=Size.services)
    parser.add_argument("--edges", type=int, default=Size.edges)
    parser.add_argument("--ticks", type=int, default=20, help="measured evaluations")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the history")
    parser.add_argument("--world", action="store_true", help="extend the World without evaluation")
    options = parser.parse_args(arguments)
    tune_process()  # as a hub does
    platform = Platform(Size(options.gpus, options.services, options.edges))
    history = int(options.minutes * 60 / STEP) // BLOCK * BLOCK
    builder, condense = WorldBuilder(STEP, WORLD_HISTORY_SECONDS, np.float32, MAX_WORLD_BYTES), QuantileReducer()
    before = resident_mib()
    for tick in range(0, history, BLOCK):
        world = builder.add(platform.past(tick, BLOCK))
    state = State()
    if not options.world:
        state = advance(state, world, len(world.times) - 1)
    rows: dict[str, list[float]] = {"condense": [], "grow": [], "judge": []}
    has_incidents: list[bool] = []
    for tick in range(history, history + options.ticks):
        answers = platform.answers(tick)
        series = series_count(answers)
        marks = [time.thread_time()]
        readings = condense(answers)
        del answers
        marks.append(time.thread_time())
        world = builder.add(readings)
        marks.append(time.thread_time())
        del readings  # as a hub does
        if not options.world:
            state = advance(state, world, len(world.times) - 1)
        marks.append(time.thread_time())
        has_incidents.append(any(group.incident is not None for group in state.tracked))
        for row, seconds in zip(rows.values(), np.diff(marks), strict=True):
            row.append(float(seconds))
    growth_mib = resident_mib() - before
    print(
        f"{len(world.gpus)} GPUs, {len(world.services)} services, {len(world.edges)} edges, {len(world.tenants)} "
        f"tenants, {len(world.gpu_wait_pairs)} pairs: {series} series a tick, {len(world.times)} grid points kept"
    )
    print(f"{'seconds of one core':<28}{'p50':>8}{'p95':>8}{'most':>8}")
    tables = {
        **rows,
        "reading → World": np.add(rows["condense"], rows["grow"]),
        "tick": np.sum([*rows.values()], axis=0),
    }
    for name, seconds in tables.items():
        p50, p95, most = np.percentile(seconds, [50, 95, 100])
        print(f"{name:<28}{p50:>8.3f}{p95:>8.3f}{most:>8.3f}")
    whole = "Readings into the World" if options.world else "An evaluation"
    figures = [Figure(name=whole, value=float(np.median(tables["tick"])), unit="s", goal=MAX_SECONDS)]
    if not options.world:
        slowest = max(tables["tick"][has_incidents].tolist(), default=math.nan)
        figures.append(Figure(name=SLOWEST, value=slowest, unit="s", goal=MAX_SLOWEST_SECONDS))
    return report([*figures, Figure(name="Memory of the World", value=growth_mib, unit="MiB", goal=MAX_GROWTH_MIB)])


if __name__ == "__main__":
    sys.exit(main())
