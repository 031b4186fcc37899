"""`foreshock dev evaluate`: scores the analysis on labeled recordings."""

from __future__ import annotations

import subprocess
import sys

import click

from foreshock_dashboard.cli.options import GroupedCommand


@click.command(cls=GroupedCommand, add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def evaluate(options: tuple[str, ...]) -> int:
    """Score root causes and forecasts on simulated platforms, or on recordings of incidents with feedback.

    `foreshock dev evaluate --help` lists the options.

    \b
    Examples:
      foreshock dev evaluate --scenarios starve,calm --quick --runs
      foreshock dev evaluate --suite lab --recordings incidents --runs     after `foreshock recording label`
    """
    return subprocess.call([sys.executable, "-m", "foreshock_evaluation", *options])  # noqa: S603 - no shell
