"""`foreshock get targets` and `foreshock status`: what a hub reads, and whether it is ready."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.get.table import FORMATS
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, document, show
from foreshock_dashboard.cli.source import Source, reads_source
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.web.state.lists import TargetRow

TARGET_COLUMNS: tuple[Column, ...] = (
    ("TARGET", lambda row: in_words(row["instance"])),
    ("JOB", lambda row: row["job"]),
    ("UP", lambda row: None if row["up"] is None else "yes" if row["up"] else "no"),
    ("LAST SAMPLE", lambda row: None if row["age_seconds"] is None else f"{row['age_seconds']:.0f} s ago"),
)


@click.command(cls=GroupedCommand)
@reads_source
@output_option(*FORMATS)
def targets(source: Source, form: str) -> None:
    """List scrape targets and the age of their last sample.

    \b
    Examples:
      foreshock get targets
      foreshock get targets -o json
    """
    rows = source.get("/api/status", "targets")["targets"]
    show(
        form,
        {"targets": rows},
        rows,
        TARGET_COLUMNS,
        TargetRow.columns(),
        "No scrape targets. Set --targets, --targets-file, or --prometheus-url on the hub.",
    )


@click.command(cls=GroupedCommand)
@reads_source
@output_option("table", "json", "yaml")
def status(source: Source, form: str) -> int:
    """Check whether a hub is ready. Exits with 0 if the hub is ready, and with 1 otherwise.

    \b
    Examples:
      foreshock status
      foreshock status --from https://hub.example.com -o json
    """
    answer = source.get("/api/status", "ready", "reason")
    if form == "table":
        down = [row["instance"] for row in answer["targets"] if row["up"] is False]
        click.echo(f"{source.name}: {'ready' if answer['ready'] else 'not ready: ' + answer['reason']}")
        click.echo(f"version {answer['version']}, {len(answer['targets'])} targets, {len(down)} down")
    else:
        click.echo(document(form, answer))
    return 0 if answer["ready"] else 1
