"""`foreshock demo`: runs a simulated platform and a hub that monitors it."""

from __future__ import annotations

from pathlib import Path

import click

from foreshock_dashboard.cli.options import DURATION, PORT, URL, GroupedCommand, Parsed
from foreshock_dashboard.common.process import stop_on_signals
from foreshock_simulator.scenarios.load import names
from foreshock_simulator.scenarios.parsing.document import alternatives
from foreshock_simulator.scenarios.platforms.topology import SIZES

MAX_SPEED = 60.0


def _parse_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= MAX_SPEED:
        raise ValueError(f"is not a valid speed; use a number above 0, up to {MAX_SPEED:.0f}")
    return speed


def _parse_scenario(text: str) -> str:
    if text not in names():
        raise ValueError(f"is not a scenario; {alternatives(text, names())}")
    return text


@click.command(cls=GroupedCommand)
@click.option(
    "--scenario",
    type=Parsed("scenario", _parse_scenario),
    default="noisy-neighbor",
    metavar="NAME",
    help="scenario to simulate (default: noisy-neighbor)",
)
@click.option(
    "--size",
    type=click.Choice(SIZES),
    default="demo",
    metavar="SIZE",
    help=f"platform size: {', '.join(SIZES)} (default: demo)",
)
@click.option(
    "--speed",
    type=Parsed("speed", _parse_speed),
    default="1",
    metavar="NUMBER",
    help="simulation speed relative to wall-clock time, up to 60 (default: 1)",
)
@click.option("--seed", type=int, default=1, metavar="NUMBER", help="random seed (default: 1)")
@click.option(
    "--duration", type=DURATION, metavar="DURATION", help="stop after this wall-clock time (default: run until Ctrl-C)"
)
@click.option(
    "--port",
    type=PORT,
    default="8050",
    metavar="PORT",
    help="port for pages, API, and metrics; 0 for any free port (default: 8050)",
)
@click.option(
    "--alertmanager-url",
    "alertmanagers",
    type=URL,
    multiple=True,
    metavar="URL",
    help="Alertmanager to post incidents to",
)
@click.option(
    "--notify-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="notification channels: one apprise URL per line, with an optional filter",
)
@click.option("--browser/--no-browser", default=True, help="open the UI in a browser if a desktop is available")
def demo(
    scenario: str,
    size: str,
    speed: float,
    seed: int,
    duration: float | None,
    port: int,
    alertmanagers: tuple[str, ...],
    notify_file: Path | None,
    browser: bool,
) -> None:
    """Run a simulated platform with an incident, and a hub that monitors it, on loopback.

    \b
    Examples:
      foreshock demo
      foreshock demo --scenario calm --port 0 --no-browser
    """
    from foreshock_dashboard.simulated.demo import DemoOptions  # the whole hub, which `demo --help` does not need
    from foreshock_dashboard.simulated.demo import demo as run_demo

    options = DemoOptions(scenario, size, seed, speed, duration, port, browser, alertmanagers, notify_file)
    with stop_on_signals() as stop:
        run_demo(options, stop)
