"""`foreshock demo`: runs a simulated platform and a hub over it."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.options import DURATION, PORT, GroupedCommand, Parsed
from foreshock_dashboard.common.process import stop_on_signals
from foreshock_dashboard.simulated.demo import DemoOptions
from foreshock_dashboard.simulated.demo import demo as run_demo
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
        raise ValueError(f"is not a number above 0 and up to {MAX_SPEED:.0f}")
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
    help="scenario (default: noisy-neighbor)",
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
    help="times the speed of the wall clock, up to 60 (default: 1)",
)
@click.option("--seed", type=int, default=1, metavar="NUMBER", help="seed of the platform (default: 1)")
@click.option(
    "--duration", type=DURATION, metavar="DURATION", help="wall-clock time until the demo stops (default: until Ctrl-C)"
)
@click.option(
    "--port",
    type=PORT,
    default="8050",
    metavar="PORT",
    help="port of pages, API, and metrics; 0 picks a free one (default: 8050)",
)
@click.option("--browser/--no-browser", default=True, help="page opened in a browser, on a desktop")
def demo(scenario: str, size: str, speed: float, seed: int, duration: float | None, port: int, browser: bool) -> None:
    """Run the hub on a simulated platform, on loopback, with an incident under way.

    \b
    Examples:
      foreshock demo
      foreshock demo --scenario calm --port 0 --no-browser
    """
    options = DemoOptions(scenario, size, seed, speed, duration, port, browser)
    with stop_on_signals() as stop:
        run_demo(options, stop)
