"""`foreshock simulate` and `foreshock scenarios`: records a scenario as the monitoring of a fleet would."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.settings.option_types import parse_past
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_dashboard.simulated.recorder import Recorder, ScrapeConfig
from foreshock_exporter.common.durations import parse_duration
from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.scenarios.parsing.document import ScenarioError
from foreshock_simulator.scenarios.platforms.topology import SIZES
from foreshock_simulator.simulation import Simulation

EPOCH = 1_767_600_000.0
"""2026-01-05T08:00:00Z, a Monday: default start of a simulation, Unix seconds."""


def add_simulate_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("scenario", metavar="SCENARIO", help="a name that `foreshock scenarios` lists, or a YAML file")
    parser.add_argument("--size", default="small", choices=SIZES, help="of the platform (default: small)")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the recording, which is made")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same recording (default: 1)")
    parser.add_argument("--duration", metavar="T", help="simulated time: 40m, 2h (default: what is worth seeing)")
    parser.add_argument(
        "--start", metavar="TIME", help="simulated time at which it starts (default: 2026-01-05T08:00:00Z)"
    )
    parser.add_argument(
        "--span-sampling",
        default="0.05",
        metavar="RATIO",
        help="share of the traces whose spans are kept (default: 0.05)",
    )


def simulate(arguments: argparse.Namespace) -> int:
    """Record a scenario; returns 0.

    Raises:
        SettingsError: an option cannot be used.
        RecordingError: the folder cannot be written.
    """
    try:
        spec = load(arguments.scenario, arguments.size, arguments.seed)
    except ScenarioError as error:
        raise SettingsError(str(error)) from None
    duration = parse_flag("--duration", parse_duration, arguments.duration) if arguments.duration else spec.duration
    start = parse_flag("--start", parse_past, arguments.start) if arguments.start else EPOCH
    sampling = parse_flag("--span-sampling", _ratio, arguments.span_sampling)
    config = ScrapeConfig()
    meta = RecordingMeta(
        scenario=spec.name,
        seed=arguments.seed,
        simulated=True,
        scrape_interval=config.interval_seconds,
        span_sampling=sampling,
    )
    began, bar = time.monotonic(), ProgressBar()
    with RecordingWriter(Path(arguments.out), meta) as writer:
        simulation = Simulation(spec, arguments.seed, start, sample=sampling, count=True)
        for reached in Recorder(simulation, writer, config).run(start + duration):
            bar(f"simulating {spec.name}", (reached - start) / duration)
        writer.add_ground_truth(asdict(simulation.truth()))
        bar("sorting", 1.0)
    took = time.monotonic() - began
    bar.end(f"{arguments.out}: {duration / 60:.0f} min of {spec.name}, seed {arguments.seed}, in {took:.1f} s")
    return 0


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ValueError("is not a share between 0 and 1")
    return ratio


def run_scenarios(_: argparse.Namespace) -> int:
    """Print the name and description of each scenario."""
    width = max(map(len, names()))
    for name in names():
        print(f"{name:<{width}}  {load(name).description}")
    return 0


SIMULATE = Command(simulate, add_simulate_flags)
SCENARIOS = Command(run_scenarios)
