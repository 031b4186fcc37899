"""`foreshock explain`: likely root causes of a service's anomaly."""

from __future__ import annotations

from contextlib import closing
from textwrap import shorten

import click

from foreshock_dashboard.cli.options import EXIT_FINDINGS, GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, plain, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.incident_text import utc_timestamp
from foreshock_dashboard.replay.explain import explain_recording
from foreshock_dashboard.settings.settings import parse_flag
from foreshock_dashboard.settings.times import parse_time
from foreshock_dashboard.web.state.incident_json import explained

MAX_REASONS_LENGTH = 100
"""Characters of the reasons in a table; the other formats have all."""
COLUMNS: tuple[Column, ...] = (
    ("SCORE", lambda row: None if row["score"] is None else f"{row['score']:.2f}"),
    ("SERVICE", lambda row: row["service"]),
    ("REASONS", lambda row: shorten(row["why"], MAX_REASONS_LENGTH, placeholder=" …")),
)


@click.command(cls=GroupedCommand)
@click.argument("service")
@reads_source
@at_option
@output_option("table", "json", "yaml", "csv")
@click.option(
    "--fail-on",
    type=click.Choice(("anomaly",)),
    metavar="anomaly",
    help="exit with code 3 if the service is anomalous",
)
def explain(source: Source, service: str, at: str | None, form: str, fail_on: str | None) -> int:
    """Rank likely root causes for a service at a point in time.

    SERVICE is a name or namespace/name. Any metrics work, including ones foreshock does not recognize: each series is
    compared with its own history and assigned to the service in its labels.

    \b
    Examples:
      foreshock explain llm-chat
      foreshock explain checkout --at 2026-01-05T08:42:00Z --from incident
    """
    answer = _answer(source, service, at)
    rows = answer["candidates"]
    when = utc_timestamp(answer["at"])
    if form == "table" and rows:
        click.echo(f"Likely root causes for {answer['service']} at {when}:")
    show(form, answer, rows, COLUMNS, ("score", "service", "why"), f"{answer['service']} is healthy at {when}.")
    return EXIT_FINDINGS if fail_on and rows else 0


def _answer(source: Source, service: str, at: str | None) -> Json:
    if source.recording is None:
        return source.get("/api/explain", "candidates", service=service, at=at)
    with closing(Recording(source.recording)) as recording:
        time = parse_flag("--at", lambda text: parse_time(text, recording.meta.end or 0.0), at or "now")
        return plain(explained(explain_recording(recording, service, time)))
