"""`foreshock get incidents` and `foreshock get changes`."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.get.table import FORMATS
from foreshock_dashboard.cli.incident import INCIDENT_COLUMNS, INCIDENT_FIELDS, incidents_at
from foreshock_dashboard.cli.options import GroupedCommand, fail_on_option, findings_code, output_option
from foreshock_dashboard.cli.output import Column, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.web.state.change_json import ChangeJson

CHANGE_COLUMNS: tuple[Column, ...] = (
    ("TIME", lambda row: utc_timestamp(row["at"])),
    ("KIND", lambda row: row["kind"]),
    ("CHANGE", lambda row: row["text"]),
    ("SOURCE", lambda row: row["source"]),
    ("AUTHOR", lambda row: row["author"] or None),
    ("LINK", lambda row: row["link"] or None),
)

CHANGE_FIELDS = ChangeJson.columns()


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
@fail_on_option
def incidents(source: Source, at: str | None, form: str, fail_on: str | None) -> int:
    """List open incidents, most severe first.

    \b
    Examples:
      foreshock get incidents
      foreshock get incidents --from https://hub.example.com --http-config http.yml -o json
      foreshock get incidents --fail-on critical              exit with code 3 while a critical incident is open
    """
    answer = incidents_at(source, at)
    rows = answer["incidents"] = [row for row in answer["incidents"] if row["state"] != "resolved"]
    show(
        form,
        answer,
        rows,
        INCIDENT_COLUMNS,
        INCIDENT_FIELDS,
        "No open incidents. 'foreshock incident list' includes resolved ones.",
    )
    return findings_code(rows, fail_on)


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
def changes(source: Source, at: str | None, form: str) -> None:
    """List recent changes, such as deployments, newest first.

    \b
    Examples:
      foreshock get changes
      foreshock get changes --from incident -o json
    """
    answer = source.get("/api/changes", "changes", at=at)
    show(form, answer, answer["changes"], CHANGE_COLUMNS, CHANGE_FIELDS, "No changes.")
