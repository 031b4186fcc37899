"""What one tick of a hub costs over a large platform: an answer comes in, the World grows, the incidents are judged.

  .venv/bin/python scripts/bench_tick.py [--gpus 10000] [--services 1000] [--edges 8000] [--ticks 20] [--minutes 60]
      [--world]

The answers are made up and not counted; they have a host missing each time. Seconds are of one core. As much history is
kept as a hub has room for.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import time
from pathlib import Path

import numpy as np

from bench_platform import STEP, Platform, Size, counted
from foreshock_dashboard.analysis.incidents.lifecycle import State, advance
from foreshock_dashboard.common.process import trim_malloc
from foreshock_dashboard.hub.analysis_loop import MAX_WORLD_BYTES, WORLD_HISTORY_SECONDS
from foreshock_dashboard.world.builder import WorldBuilder
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer

BLOCK = 6
"""Grid points of history that are made at once."""
BAR_SECONDS, BAR_MIB = 0.5, 300.0


def resident() -> float:
    """MiB that this process holds now, once what was freed is the system's again, as a hub does it after sealing."""
    gc.collect()
    trim_malloc()
    match = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=Size.gpus)
    parser.add_argument("--services", type=int, default=Size.services)
    parser.add_argument("--edges", type=int, default=Size.edges)
    parser.add_argument("--ticks", type=int, default=20, help="ticks that are measured")
    parser.add_argument("--minutes", type=float, default=60.0, help="history that there is")
    parser.add_argument("--world", action="store_true", help="let the World grow, and do not judge it")
    options = parser.parse_args()
    platform = Platform(Size(options.gpus, options.services, options.edges))
    past = int(options.minutes * 60 / STEP) // BLOCK * BLOCK
    growing, condense = WorldBuilder(STEP, WORLD_HISTORY_SECONDS, np.float32, MAX_WORLD_BYTES), QuantileReducer()
    before = resident()
    for tick in range(0, past, BLOCK):
        world = growing.add(platform.past(tick, BLOCK))
    state = State()
    if not options.world:
        state = advance(state, world, len(world.times) - 1)
    rows: dict[str, list[float]] = {"condense": [], "grow": [], "judge": []}
    for tick in range(past, past + options.ticks):
        answers = platform.answers(tick)
        series = counted(answers)
        spent = [time.thread_time()]
        readings = condense(answers)
        del answers
        spent.append(time.thread_time())
        world = growing.add(readings)
        spent.append(time.thread_time())
        del readings  # as a hub does
        if not options.world:
            state = advance(state, world, len(world.times) - 1)
        spent.append(time.thread_time())
        for row, seconds in zip(rows.values(), np.diff(spent), strict=True):
            row.append(float(seconds))
    held = resident() - before
    print(
        f"{len(world.gpus)} GPUs, {len(world.services)} services, {len(world.edges)} edges, {len(world.tenants)} "
        f"tenants, {len(world.stalls)} pairs: {series} series a tick, {len(world.times)} grid points kept"
    )
    print(f"{'seconds of one core':<28}{'p50':>8}{'p95':>8}{'most':>8}")
    tables = {
        **rows,
        "reading → World": np.add(rows["condense"], rows["grow"]),
        "tick": np.sum([*rows.values()], axis=0),
    }
    for what, seconds in tables.items():
        p50, p95, most = np.percentile(seconds, [50, 95, 100])
        print(f"{what:<28}{p50:>8.3f}{p95:>8.3f}{most:>8.3f}")
    print(f"{'resident growth, MiB':<28}{held:>8.0f}")
    good = np.median(tables["tick"]) <= BAR_SECONDS and held <= BAR_MIB
    print(f"{'held' if good else 'MISSED'}: a tick within {BAR_SECONDS} s, and {BAR_MIB:.0f} MiB")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
