"""`foreshock silence`: silences and maintenance windows of a hub."""

from __future__ import annotations

from urllib.parse import quote

import click

from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.respond.incident import (
    comment_option,
    for_option,
    period,
    until_option,
    user_name,
)
from foreshock_dashboard.cli.source import Source, check_time, reads
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import joined, joined_text, place
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.settings.settings import SettingsError


def _subject(row: Row) -> str:
    if row["incident"]:
        return f"incident {row['incident']}"
    names = [place(name) for name in (row["service"], row["noisy_neighbor"]) if name]
    return joined_text(joined(names, " / ")) or "all services"


COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: str(row["id"])),
    ("KIND", lambda row: "maintenance" if row["maintenance"] else "silence"),
    ("SUBJECT", _subject),
    ("START", lambda row: utc_timestamp(row["start"])),
    ("END", lambda row: utc_timestamp(row["end"])),
    ("BY", lambda row: row["by"] or None),
    ("COMMENT", lambda row: row["comment"] or None),
)
FIELDS = ("id", "maintenance", "incident", "service", "noisy_neighbor", "start", "end", "by", "comment")
FORMATS = ("table", "json", "yaml", "csv")


def _show(form: str, answer: Json, rows: list[Json]) -> None:
    show(form, answer, rows, COLUMNS, FIELDS, "No silences or maintenance windows.")


@click.command(cls=GroupedCommand)
@reads("hub URL", no_recording="has no silences")
@output_option(*FORMATS)
def list_(source: Source, form: str) -> None:
    """List active and upcoming silences and maintenance windows.

    \b
    Examples:
      foreshock silence list
    """
    answer = source.get("/api/silences", "silences")
    _show(form, answer, answer["silences"])


@click.command(cls=GroupedCommand)
@reads("hub URL", has_cluster=False, no_recording="is read-only")
@click.option("--service", metavar="SERVICE", help="affected service whose incidents send no notifications")
@click.option(
    "--noisy-neighbor", metavar="SERVICE", help="silence only incidents with this noisy neighbor; requires --service"
)
@click.option(
    "--maintenance", is_flag=True, help="plan a maintenance window, for all services unless --service is given"
)
@click.option("--start", metavar="TIME", callback=check_time, help="start time; may be in the future (default: now)")
@for_option
@until_option
@comment_option
@output_option(*FORMATS)
def create(
    source: Source,
    service: str | None,
    noisy_neighbor: str | None,
    maintenance: bool,
    start: str | None,
    duration: str | None,
    until: str | None,
    comment: str,
    form: str,
) -> None:
    """Silence a service or a GPU pair, or plan a maintenance window. Pass --for or --until.

    \b
    Examples:
      foreshock silence create --service serving/llm-chat --for 2h
      foreshock silence create --service serving/llm-chat --noisy-neighbor ml/batch-embed --for 7d
      foreshock silence create --maintenance --start 2026-11-25T22:00:00Z --for 4h --comment "driver upgrade"
    """
    if maintenance and noisy_neighbor:
        raise SettingsError("--maintenance, --noisy-neighbor: mutually exclusive. Pass only one.")
    body = {"by": user_name(), "comment": comment, **period(duration, until, start)}
    named = {"service": service, "noisy_neighbor": noisy_neighbor}
    body |= {name: text for name, text in named.items() if text is not None}
    path = "/api/maintenance" if maintenance else "/api/silences"
    answer = source.send("POST", path, body, "silence")
    _show(form, answer, [answer["silence"]])


@click.command(cls=GroupedCommand)
@click.argument("silence_id", metavar="ID")
@reads("hub URL", has_cluster=False, no_recording="is read-only")
@output_option(*FORMATS)
def end(source: Source, silence_id: str, form: str) -> None:
    """End a silence or maintenance window now.

    \b
    Examples:
      foreshock silence end 12
    """
    answer = source.send("DELETE", f"/api/silences/{quote(silence_id, safe='')}", {}, "silence")
    _show(form, answer, [answer["silence"]])
