"""`foreshock dev`: lists the simulated scenarios, and records one as the monitoring of a fleet would."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from foreshock_dashboard.cli.options import DURATION, TIME, GroupedCommand, Parsed, output_option
from foreshock_dashboard.cli.output import show
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.settings.settings import SettingsError
from foreshock_simulator.scenarios import drawn
from foreshock_simulator.scenarios.load import default_size, load, names, source
from foreshock_simulator.scenarios.parsing.document import ScenarioError
from foreshock_simulator.scenarios.platforms.topology import SIZES

EPOCH = 1_767_600_000.0
"""2026-01-05T08:00:00Z, a Monday: default start of a simulation, Unix seconds."""


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ValueError("is not a valid ratio; use a number from 0 to 1")
    return ratio


@click.command(cls=GroupedCommand)
@click.argument("scenario")
@click.option(
    "--output-dir", type=click.Path(path_type=Path), required=True, metavar="DIR", help="recording folder to create"
)
@click.option(
    "--size",
    type=click.Choice(SIZES),
    default=None,
    metavar="SIZE",
    help=f"platform size: {', '.join(SIZES)} (default: small; for random, drawn by the seed)",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    metavar="NUMBER",
    help="random seed; the same seed produces the same recording (default: 1)",
)
@click.option("--duration", type=DURATION, metavar="DURATION", help="simulated duration (default: the scenario's)")
@click.option(
    "--start", type=TIME, default=EPOCH, metavar="TIME", help="simulated start time (default: 2026-01-05T08:00:00Z)"
)
@click.option(
    "--span-sampling",
    type=Parsed("ratio", _ratio),
    default="0.05",
    metavar="RATIO",
    help="fraction of traces to keep, 0 to 1 (default: 0.05)",
)
def simulate(
    scenario: str,
    output_dir: Path,
    size: str | None,
    seed: int,
    duration: float | None,
    start: float,
    span_sampling: float,
) -> None:
    """Simulate a scenario and record it. SCENARIO is a name from `foreshock dev scenarios`, or a YAML file.

    \b
    Examples:
      foreshock dev simulate noisy-neighbor --output-dir incident
      foreshock dev simulate random --seed 17 --output-dir drawn
      foreshock dev simulate calm --size medium --seed 7 --duration 2h --output-dir calm
    """
    from foreshock_dashboard.recording.meta import RecordingMeta  # with DuckDB, which the other command does not need
    from foreshock_dashboard.recording.writer import RecordingWriter
    from foreshock_dashboard.simulated.recorder import Recorder, ScrapeConfig
    from foreshock_simulator.simulation import Simulation

    try:
        spec = load(scenario, size or "", seed)
    except ScenarioError as error:
        raise SettingsError(str(error)) from None
    duration = duration or spec.duration
    config = ScrapeConfig()
    meta = RecordingMeta(
        scenario=spec.name,
        seed=seed,
        simulated=True,
        scrape_interval=config.interval_seconds,
        span_sampling=span_sampling,
    )
    began, bar = time.monotonic(), ProgressBar()
    with RecordingWriter(output_dir, meta) as writer:
        simulation = Simulation(spec, seed, start, sample=span_sampling, count=True)
        for reached in Recorder(simulation, writer, config).run(start + duration):
            bar(f"simulating {spec.name}", (reached - start) / duration)
        writer.add_ground_truth(asdict(simulation.truth()))
        bar("sorting", 1.0)
    took = time.monotonic() - began
    bar.end(f"{output_dir}: {duration / 60:.0f} min of {spec.name}, seed {seed}, in {took:.1f} s")


@click.command(cls=GroupedCommand)
@click.argument("scenario", required=False)
@click.option("--seed", type=int, default=1, metavar="NUMBER", help="seed for the scenario `random` (default: 1)")
@output_option("table", "json", "yaml", "csv")
def scenarios(scenario: str | None, seed: int, form: str) -> None:
    """List built-in scenarios, or print the YAML file of SCENARIO.

    \b
    Examples:
      foreshock dev scenarios
      foreshock dev scenarios flash-crowd > mine.yaml
      foreshock dev scenarios random --seed 17
    """
    if scenario is not None:
        if form not in ("table", "yaml"):
            raise click.UsageError(f"--output: {form} is for the list; a scenario is printed as YAML. Omit --output.")
        try:
            text, size = source(scenario, seed)[1], default_size(scenario, seed)
        except ScenarioError as error:
            raise SettingsError(str(error)) from None
        click.echo(f"# foreshock dev simulate FILE --size {size} --seed {seed} --output-dir DIR\n{text}", nl=False)
        return
    rows = [{"name": name, "description": load(name).description} for name in names()]
    rows.append({"name": drawn.NAME, "description": "The seed draws the fault, if any, and the traffic."})
    columns = [("SCENARIO", lambda row: row["name"]), ("DESCRIPTION", lambda row: row["description"])]
    show(form, {"scenarios": rows}, rows, columns, ("name", "description"), "")
