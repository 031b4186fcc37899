"""`foreshock demo`: runs a simulated platform and a hub over it."""

from __future__ import annotations

import argparse

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.common.process import stop_on_signals
from foreshock_dashboard.settings.option_types import parse_port
from foreshock_dashboard.settings.settings import parse_flag
from foreshock_dashboard.simulated.demo import DemoOptions, demo
from foreshock_exporter.common.durations import parse_duration
from foreshock_simulator.scenarios.load import names
from foreshock_simulator.scenarios.platforms.topology import SIZES

MAX_SPEED = 60.0


def add_demo_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the demo."""
    parser.add_argument(
        "--scenario",
        default="noisy-neighbor",
        choices=names(),
        help="scenario (default: noisy-neighbor)",
        metavar="NAME",
    )
    parser.add_argument("--size", default="demo", choices=SIZES, help="of the platform (default: demo)")
    parser.add_argument("--speed", default="1", metavar="N", help="run N times as fast as the wall clock (default: 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same platform (default: 1)")
    parser.add_argument("--duration", metavar="T", help="stop after this much wall time: 150, 5m (default: never)")
    parser.add_argument(
        "--port", default="8050", metavar="PORT", help="port of the page; 0: a free one (default: 8050)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")


def demo_options(arguments: argparse.Namespace) -> DemoOptions:
    """The options of the demo.

    Raises:
        SettingsError: a value cannot be used.
    """
    return DemoOptions(
        scenario=arguments.scenario,
        size=arguments.size,
        seed=arguments.seed,
        speed=parse_flag("--speed", _parse_speed, arguments.speed),
        duration=parse_flag("--duration", parse_duration, arguments.duration) if arguments.duration else None,
        port=parse_flag("--port", parse_port, arguments.port),
        open_browser=not arguments.no_browser,
    )


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the demo until its duration is over, or until SIGINT or SIGTERM."""
    options = demo_options(arguments)
    with stop_on_signals() as stop:
        demo(options, stop)
    return 0


def _parse_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= MAX_SPEED:
        raise ValueError(f"is not a number above 0 and up to {MAX_SPEED:.0f}")
    return speed


COMMAND = Command(run_demo, add_demo_flags)
