"""`foreshock change`: reports changes to a hub."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.get.incidents import CHANGE_COLUMNS, CHANGE_FIELDS
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import show
from foreshock_dashboard.cli.respond.incident import user_name
from foreshock_dashboard.cli.source import Source, check_time, reads
from foreshock_dashboard.model.change import CHANGE_KINDS, STAGES


@click.command(cls=GroupedCommand)
@reads("hub URL", has_cluster=False, no_recording="is read-only")
@click.option("--service", metavar="SERVICE", help="changed service")
@click.option("--host", metavar="HOST", help="changed host")
@click.option("--version", "after", metavar="VERSION", help="new version or value")
@click.option("--before", metavar="VERSION", help="previous version or value")
@click.option(
    "--kind", type=click.Choice(CHANGE_KINDS), metavar="KIND", help=f"kind of change: {', '.join(CHANGE_KINDS)}"
)
@click.option(
    "--stage", type=click.Choice(STAGES[1:]), metavar="STAGE", help=f"rollout stage: {' or '.join(STAGES[1:])}"
)
@click.option("--setting", metavar="NAME", help="name of the setting that changed, such as max_replicas")
@click.option("--title", metavar="TEXT", help="description, up to 200 characters")
@click.option("--link", metavar="URL", help="URL of the pipeline or commit")
@click.option("--author", metavar="NAME", help="author of the change (default: the current user)")
@click.option("--revision", metavar="NUMBER", help="Deployment revision before the change, used to roll back")
@click.option(
    "--at", metavar="TIME", callback=check_time, help="time of the change, such as 2026-11-25T10:00:00Z (default: now)"
)
@output_option("table", "json", "yaml", "csv")
def add(source: Source, /, form: str, **fields: str | None) -> None:
    """Report a change. Pass --version or --title.

    \b
    Examples:
      foreshock change add --service serving/llm-chat --version 1.4.2 --link https://ci.example.com/42
      foreshock change add --host gpu-host-1 --kind driver --before 550.54 --version 560.28
      foreshock change add --title "feature flag new-ranker on"
    """
    given = {"author": user_name()} | {name: text for name, text in fields.items() if text is not None}
    answer = source.send("POST", "/api/changes", given, "change")
    show(form, answer, [answer["change"]], CHANGE_COLUMNS, CHANGE_FIELDS, "No changes.")
