"""`foreshock incident`: incidents in a time range, one incident in detail, and its postmortem."""

from __future__ import annotations

import math
import sys
from contextlib import closing
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import numpy as np

from foreshock_dashboard.cli.options import GroupedCommand, fail_on_option, findings_code, output_option
from foreshock_dashboard.cli.output import Column, plain, show
from foreshock_dashboard.cli.source import AnswerError, Source, at_option, reads_source
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.incident_text import incident_text, suspect_text
from foreshock_dashboard.render.units import elapsed, utc_timestamp
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_dashboard.settings.times import parse_time
from foreshock_dashboard.web.documents.postmortem import Report, report
from foreshock_dashboard.web.documents.report_forms import embedded, html, linked, without_plots
from foreshock_dashboard.web.state.incident_json import VERSION, replayed
from foreshock_dashboard.web.state.parameters import incident_named

if TYPE_CHECKING:
    from foreshock_dashboard.replay.replay import ReplayResult

HOUR_SECONDS = 3600.0
MAX_HOURS = 48
"""Longest time range; each past hour is evaluated again."""
NOT_FOUND = 404

INCIDENT_COLUMNS: tuple[Column, ...] = (
    ("SEVERITY", lambda row: row["severity"]),
    ("STATE", lambda row: row["state"]),
    ("SERVICE", lambda row: in_words(row["service"])),
    ("CAUSE", lambda row: row["cause"]),
    ("SUSPECT", lambda row: suspect_text(row["suspect"]) or None),
    ("CONFIDENCE", lambda row: row["confidence_level"]),
    ("OPENED", lambda row: utc_timestamp(row["opened"])),
    ("DURATION", lambda row: None if row["resolved"] is None else elapsed(row["resolved"] - row["opened"])),
    ("ID", lambda row: row["id"]),
)
INCIDENT_FIELDS = (
    *("id", "severity", "state", "cascading", "cause", "service", "suspect.service", "suspect.gpus", "affected"),
    *("since", "opened", "paged", "resolved", "confidence", "quality", "summary", "actions.text"),
)


def incidents_at(source: Source, at: str | None) -> Json:
    """The incidents that a hub lists at a time: the open ones, the worst first, then those resolved in the hour before.

    Raises:
        AnswerError: the source has no answer, or one of another version.
    """
    answer = source.get("/api/incidents", "version", "incidents", at=at)
    if answer["version"] != VERSION:
        raise AnswerError(
            f"{source.name}: incident format {answer['version']}, but this command reads {VERSION}. Use the "
            "same foreshock version as the hub."
        )
    return answer


def play(folder: Path, flag: str, until: str | None) -> ReplayResult:
    """A replay of a recording up to a time, with a progress bar. flag: the option of the time.

    Raises:
        SettingsError: the time cannot be read. Relative ones count from the recording's end.
        RecordingError: the recording cannot be read or replayed.
    """
    from foreshock_dashboard.recording.reader import Recording  # with DuckDB, which a hub's URL does not need
    from foreshock_dashboard.replay.replay import replay

    bar = ProgressBar()
    with closing(Recording(folder)) as recording:
        end = None if until is None else _time(flag, until, recording.meta.end or 0.0)
        played = replay(recording, end, bar)
    bar.end()
    return played


def _incidents(source: Source, start: str | None, end: str) -> list[Json]:
    """The last state of each incident that was open between two times, the newest first.

    A hub lists resolved incidents for an hour, so it is queried for each hour of the range.

    Raises:
        SettingsError: a time cannot be read, or the range is empty or too long.
        SourceError: the source has no answer.
    """
    if source.recording:
        played = play(source.recording, "--end", end)
        first = -math.inf if start is None else _time("--start", start, float(played.times[-1]))
        found = {row["id"]: row for row in plain(replayed(played.final, played.paged))["incidents"]}
    else:
        now = float(source.get("/api/status", "time")["time"])
        first, last = _time("--start", start or "now-1h", now), min(now, _time("--end", end, now))
        if not 0 < last - first <= MAX_HOURS * HOUR_SECONDS:
            raise SettingsError(f"--start, --end: invalid time range. Use a range of up to {MAX_HOURS} h.")
        found = {}
        for at in np.arange(last, first, -HOUR_SECONDS).tolist():
            try:
                answer = incidents_at(source, f"{at:.3f}")
            except AnswerError as error:
                if error.status != NOT_FOUND or at == last:
                    raise
                break  # nothing is known of earlier times
            found = {row["id"]: row for row in answer["incidents"]} | found
    rows = [row for row in found.values() if row["resolved"] is None or row["resolved"] >= first]
    return sorted(rows, key=lambda row: (-row["opened"], row["id"]))


def _time(flag: str, text: str, now: float) -> float:
    return parse_flag(flag, lambda word: parse_time(word, now), text)


def one_incident(source: Source, wanted: str, at: str | None) -> Json:
    """The incident with an id or a unique prefix of one; for `latest`, the newest, preferably one that paged.

    Raises:
        AnswerError: no incident matches, or several do.
    """
    rows = _incidents(source, None, at or "now") if source.recording else incidents_at(source, at)["incidents"]
    try:
        return incident_named(wanted, rows, getitem)
    except LookupError as error:
        raise AnswerError(f"{source.name}: {error} For earlier incidents, pass --at TIME.") from None


@click.command(cls=GroupedCommand)
@reads_source
@click.option(
    "--start", metavar="TIME", help="start of the time range (default: now-1h, or the start of the recording)"
)
@click.option("--end", default="now", metavar="TIME", help="end of the time range (default: now)")
@output_option("table", "json", "yaml", "csv")
@fail_on_option
def list_(source: Source, start: str | None, end: str, form: str, fail_on: str | None) -> int:
    """List open and resolved incidents in a time range.

    \b
    Examples:
      foreshock incident list --start now-1d
      foreshock incident list --from incident -o csv          incidents in a recording
    """
    rows = _incidents(source, start, end)
    show(form, {"incidents": rows}, rows, INCIDENT_COLUMNS, INCIDENT_FIELDS, "No incidents in this time range.")
    return findings_code(rows, fail_on)


@click.command("show", cls=GroupedCommand)
@click.argument("incident")
@reads_source
@at_option
@output_option("table", "json", "yaml", "csv")
def show_(source: Source, incident: str, at: str | None, form: str) -> None:
    """Show an incident in detail.

    INCIDENT is an ID, a unique ID prefix, or `latest`.

    \b
    Examples:
      foreshock incident show latest
      foreshock incident show 20260105T084120Z --from incident -o yaml
    """
    row = one_incident(source, incident, at)
    if form == "table":
        click.echo(incident_text(row))
    else:
        show(form, row, [row], (), INCIDENT_FIELDS, "")


@click.command("report", cls=GroupedCommand)
@click.argument("incident")
@reads_source
@at_option
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(("md", "html")),
    default="md",
    metavar="FORMAT",
    help="output format: md, html (default: md)",
)
@click.option(
    "--output-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="report file to create, with its Markdown plots beside it as FILE-NAME.svg (default: standard output)",
)
def report_(source: Source, incident: str, at: str | None, form: str, output_file: Path | None) -> None:
    """Write a postmortem for an incident: timeline, root cause, evidence with plots, and impact.

    INCIDENT is an ID, a unique ID prefix, or `latest`. On a terminal, plots are omitted.

    \b
    Examples:
      foreshock incident report latest --output-file outage.md
      foreshock incident report latest --from incident -o html > outage.html
    """
    if output_file:
        from foreshock_dashboard.recording.atomic_files import require_absent

        require_absent(output_file)
    written = _report(source, incident, at)
    if form == "html":
        text = html(written)
        files: dict[Path, str] = {}
    elif output_file:
        text, files = linked(written, output_file)
    else:
        text, files = _for_output(written), {}
    if not output_file:
        click.echo(text, nl=False)
        return
    from foreshock_dashboard.recording.atomic_files import new_file

    for path, content in {**files, output_file: text}.items():
        with new_file(path) as file:
            file.write(content.encode())
    title = written.markdown.splitlines()[0].removeprefix("# ")
    click.echo(f"{output_file}: {title}, {len(written.plots)} plots {'embedded' if form == 'html' else 'next to it'}")


def _report(source: Source, wanted: str, at: str | None) -> Report:
    if source.recording:
        played = play(source.recording, "--at", at)
        try:
            item = incident_named(wanted, played.final)
        except LookupError as error:
            raise AnswerError(f"{source.name}: {error}") from None
        return report(played.world, item, played.paged.get(item.id))
    answer = source.get(f"/api/report/{quote(wanted, safe='')}", "id", "markdown", "plots", at=at)
    return Report(str(answer["markdown"]), {str(name): str(svg) for name, svg in answer["plots"].items()})


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def _for_output(written: Report) -> str:
    """The Markdown with its plots inside, or without them for a terminal."""
    if not is_terminal():
        return embedded(written)
    click.echo(f"{len(written.plots)} plots omitted. Pass --output-file FILE to save them.", err=True)
    return without_plots(written)
