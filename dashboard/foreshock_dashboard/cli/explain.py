"""`foreshock explain`: likely root causes of an anomaly."""

from __future__ import annotations

import time
from contextlib import closing

import click

from foreshock_dashboard.cli.options import EXIT_FINDINGS, GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, document, plain, table
from foreshock_dashboard.cli.source import Source, at_option, match_option, reads
from foreshock_dashboard.common.csv_text import csv_text
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.explanation_text import below, heading
from foreshock_dashboard.render.units import printable
from foreshock_dashboard.render.words.incidents import NO_REASON
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_dashboard.settings.times import parse_time
from foreshock_dashboard.web.state.incident_json import explained

MAX_REASONS = 2
"""Reasons of a candidate in a table; the other formats have all."""
MIN_SCORE, MIN_ROWS = 0.05, 3
"""Score below which a table leaves out candidates after the first `MIN_ROWS`; the other formats have all."""
COLUMNS: tuple[Column, ...] = (
    ("SCORE", lambda row: None if row["score"] is None else f"{row['score']:.2f}"),
    ("SERVICE", lambda row: in_words(row["service"])),
    ("REASONS", lambda row: "; ".join(row["why"].split("; ")[:MAX_REASONS]) or NO_REASON),
)
FIELDS = ("rank", "passed", "confidence", "score", "service", "why")


@click.command(cls=GroupedCommand)
@click.argument("service", required=False)
@reads("hub URL, Prometheus URL, or recording folder")
@match_option
@at_option
@output_option("table", "json", "yaml", "csv")
@click.option(
    "--fail-on",
    type=click.Choice(("anomaly",)),
    metavar="anomaly",
    help="exit with code 3 if a likely root cause is found",
)
def explain(source: Source, service: str | None, match: str, at: str | None, form: str, fail_on: str | None) -> int:
    """Rank likely root causes for a service at a point in time.

    SERVICE is a name or namespace/name; omit it to rank all services. Any metrics work, even ones that foreshock does
    not recognize: each series is assigned to the service named in its labels. The period from 2 min before --at to
    10 min after it is compared with the preceding hours.

    \b
    Examples:
      foreshock explain llm-chat
      foreshock explain checkout --at 2026-01-05T08:42:00Z --from incident
      foreshock explain --at now-15m --from http://prometheus:9090 --match 'namespace="shop"'
    """
    if match and source.recording is not None:
        raise SettingsError("--match: not supported with a recording. Pass it to `recording create` instead.")
    answer = _answer(source, service, at, match)
    rows = [
        {"rank": rank, "passed": passed, "confidence": answer["confidence"], **row}
        for passed, listed in ((True, answer["candidates"]), (False, answer["weak_candidates"]))
        for rank, row in enumerate(listed, 1)
    ]
    match form:
        case "table":
            click.echo(printable(heading(answer)))
            if rows:
                shown = [row for row in rows if row["rank"] <= MIN_ROWS or (row["score"] or 0) >= MIN_SCORE]
                click.echo(table(shown, COLUMNS))
            for line in ("", *below(answer)) if any(below(answer)) else ():
                click.echo(printable(line))
        case "csv":
            click.echo(csv_text(FIELDS, rows), nl=False)
        case _:
            click.echo(document(form, answer))
    return EXIT_FINDINGS if fail_on and answer["candidates"] else 0


def _answer(source: Source, service: str | None, at: str | None, match: str) -> Json:
    if source.recording is not None:
        from foreshock_dashboard.recording.reader import Recording  # with DuckDB, which a hub's URL does not need
        from foreshock_dashboard.replay.explain import explain_recording

        with closing(Recording(source.recording)) as recording:
            when = parse_flag("--at", lambda text: parse_time(text, recording.meta.end or 0.0), at or "now")
            return plain(explained(explain_recording(recording, service, when, source.cluster)))
    if prometheus := source.prometheus(match):
        from foreshock_dashboard.replay.explain_live import explain_live

        now = time.time()
        when = parse_flag("--at", lambda text: parse_time(text, now), at or "now")
        bar = ProgressBar()
        try:
            return plain(explained(explain_live(prometheus, service, when, now, bar)))
        finally:
            bar.end()
    return source.get("/api/explain", "candidates", service=service, at=at)
