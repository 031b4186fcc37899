"""What judging an hour afterwards costs: a recording of 32 GPUs and 14 services, replayed and explained; `make bench`.

.venv/bin/python scripts/bench_replay.py [--scenario outage] [--size demo] [--minutes 60]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.explain import explain
from foreshock_dashboard.replay.replay import ReplayResult, replay_folder

Made = TypeVar("Made")
BAR = 10.0
"""Seconds of the clock for the replay."""


def timed(work: Callable[[], Made]) -> tuple[Made, float, float]:
    """What the work gives, its seconds by the clock, and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def explained(folder: Path, run: ReplayResult) -> None:
    """The first service in trouble, five minutes after its incident opened; of the end where none is."""
    first = run.final[0] if run.final else None
    service = str(first.service if first else run.world.services[0])
    at = min(first.opened + 300.0 if first else float(run.times[-1]), float(run.times[-1]))
    with closing(Recording(folder)) as recording:
        explain(recording, service, at)


def main() -> int:
    """Record, replay, explain, print; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="outage")
    parser.add_argument("--size", default="demo")
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        path = Path(folder) / "recording"
        words = ["simulate", options.scenario, "--size", options.size, "--duration", f"{options.minutes}m"]
        command = [sys.executable, "-m", "foreshock_dashboard", *words, "--out", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        run, wall, cpu = timed(lambda: replay_folder(path))
        _, late, work = timed(lambda: explained(path, run))
    world = run.world
    print(f"{options.minutes} min of {options.scenario}: {len(world.gpus)} GPUs, {len(world.services)} services")
    print(f"  replay   {wall:>6.1f} s, {cpu:.1f} s of CPU; {len(run.final)} incidents")
    print(f"  explain  {late:>6.1f} s, {work:.1f} s of CPU")
    held = wall <= BAR
    print(f"{'held' if held else 'MISSED'}: a replay within {BAR:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
