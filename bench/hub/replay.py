"""Cost of replaying and explaining a recording of an hour of 32 GPUs and 14 services; part of `make bench`.

.venv/bin/python -m bench.hub.replay [--scenario outage] [--size demo] [--minutes 60]
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

from bench.support.figures import Figure, report
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.explain import explain_recording
from foreshock_dashboard.replay.replay import ReplayResult, replay_folder

Result = TypeVar("Result")
MAX_REPLAY_SECONDS = 10.0


def timed(work: Callable[[], Result]) -> tuple[Result, float, float]:
    """Result of the work, its elapsed seconds, and its CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def explain_first(folder: Path, run: ReplayResult) -> None:
    """Explain the service of the first incident five minutes after its opening; any service at the end without one."""
    first = run.final[0] if run.final else None
    service = str(first.service if first else run.world.services[0])
    at = min(first.opened + 300.0 if first else float(run.times[-1]), float(run.times[-1]))
    with closing(Recording(folder)) as recording:
        explain_recording(recording, service, at)


def main() -> int:
    """Record, replay, explain, print; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="outage")
    parser.add_argument("--size", default="demo")
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        path = Path(folder) / "recording"
        arguments = ["dev", "simulate", options.scenario, "--size", options.size, "--duration", f"{options.minutes}m"]
        command = [sys.executable, "-m", "foreshock_dashboard", *arguments, "--output-dir", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        run, wall, cpu = timed(lambda: replay_folder(path))
        _, explain_wall, explain_cpu = timed(lambda: explain_first(path, run))
    world = run.world
    print(f"{options.minutes} min of {options.scenario}: {len(world.gpus)} GPUs, {len(world.services)} services")
    print(f"  replay   {wall:>6.1f} s, {cpu:.1f} s of CPU; {len(run.final)} incidents")
    print(f"  explain  {explain_wall:>6.1f} s, {explain_cpu:.1f} s of CPU")
    return report([Figure(name="A replay", value=cpu, unit="s", goal=MAX_REPLAY_SECONDS)])


if __name__ == "__main__":
    sys.exit(main())
