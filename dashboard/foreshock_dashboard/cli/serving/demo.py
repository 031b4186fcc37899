"""`foreshock demo`: runs a simulated platform and a hub that monitors it."""

from __future__ import annotations

from typing import Any

import click

from foreshock_dashboard.cli.options import DURATION, GroupedCommand, Parsed, hub_settings
from foreshock_dashboard.common.process import stop_on_signals
from foreshock_dashboard.settings.settings import SettingsError, load_settings
from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.scenarios.parsing.document import ScenarioError, alternatives
from foreshock_simulator.scenarios.platforms.topology import SIZES

DAILY_PEAK = "daily-peak"
"""Scenario of the demo alone. It plays a day: too long for evaluations."""
MAX_SPEED = 60.0
HUB_OPTIONS = (
    "host", "port", "allow_unauthenticated", "auth_basic_file", "roles", "external_url", "alertmanager_url",
    "alertmanager_early_warnings", "notify_file", "prices",
)  # fmt: skip
"""Options of `foreshock serve` that the demo has as well, but not from the environment: a demo must not page."""


def _parse_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= MAX_SPEED:
        raise ValueError(f"is not a valid speed: use a number above 0 and at most {MAX_SPEED:.0f}")
    return speed


def _parse_scenario(text: str) -> str:
    if text.endswith((".yaml", ".yml")):
        try:
            load(text)
        except ScenarioError as error:
            raise ValueError(f"cannot be used; {error}") from None
    elif text not in (known := (*names(), DAILY_PEAK)):
        raise ValueError(f"is not a scenario; {alternatives(text, known)}")
    return text


@click.command(cls=GroupedCommand)
@click.option(
    "--scenario",
    type=Parsed("scenario", _parse_scenario),
    default="noisy-neighbor",
    metavar="SCENARIO",
    help="scenario to simulate: a name, or the path of a YAML file (default: noisy-neighbor)",
)
@click.option(
    "--size",
    type=click.Choice(SIZES),
    metavar="SIZE",
    help=f"platform size: {', '.join(SIZES)} (default: demo; daily-peak has its own)",
)
@click.option(
    "--speed",
    type=Parsed("speed", _parse_speed),
    metavar="NUMBER",
    help="simulation speed relative to wall-clock time, up to 60 (default: 1; daily-peak advances in steps instead)",
)
@click.option("--seed", type=int, default=1, metavar="NUMBER", help="random seed (default: 1)")
@click.option(
    "--duration", type=DURATION, metavar="DURATION", help="stop after this wall-clock time (default: run until Ctrl-C)"
)
@hub_settings(*HUB_OPTIONS, config=False)
@click.option("--browser/--no-browser", default=True, help="open the UI in a browser if a desktop is available")
def demo(
    scenario: str,
    size: str | None,
    speed: float | None,
    seed: int,
    duration: float | None,
    browser: bool,
    **flags: Any,  # noqa: ANN401 - texts of flags
) -> None:
    """Run a simulated platform with an incident and a hub that monitors it, both on loopback.

    \b
    Examples:
      foreshock demo
      foreshock demo --scenario daily-peak
      foreshock demo --scenario calm --port 0 --no-browser
    """
    if scenario == DAILY_PEAK and speed is not None:
        raise SettingsError(f"--speed: has no effect with {DAILY_PEAK}, which waits for the hub. Remove it.")
    if scenario == DAILY_PEAK and size is not None:
        raise SettingsError(f"--size: has no effect with {DAILY_PEAK}, which has its own platform. Remove it.")
    from foreshock_dashboard.simulated.daily_demo import play_day
    from foreshock_dashboard.simulated.demo import DemoOptions  # the whole hub, which `demo --help` does not need
    from foreshock_dashboard.simulated.demo import demo as run_demo

    settings = load_settings({**flags, "otlp_host": "127.0.0.1"}, environ={})
    hub = {name: getattr(settings, name) for name in (*HUB_OPTIONS, "otlp_host")}
    options = DemoOptions(scenario, size or "demo", seed, speed or 1.0, duration, browser, hub)
    with stop_on_signals() as stop:
        (play_day if scenario == DAILY_PEAK else run_demo)(options, stop)
