"""`foreshock incident ack`, `assign`, `note`, `silence`, and `feedback`."""

from __future__ import annotations

import getpass
from typing import get_args
from urllib.parse import quote

import click

from foreshock_dashboard.cli.incident import one_incident
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import document
from foreshock_dashboard.cli.source import Source, check_time, reads
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.units import printable, utc_timestamp
from foreshock_dashboard.response.values import FeedbackVerdict

FORMATS = ("text", "json", "yaml")

writes_hub = reads("hub URL", no_recording="is read-only")
for_option = click.option("--for", "duration", metavar="DURATION", help="length of the silence, such as 2h")
until_option = click.option(
    "--until", metavar="TIME", callback=check_time, help="end of the silence, such as 2026-11-25T14:00:00Z"
)
comment_option = click.option("--comment", default="", metavar="TEXT", help="reason, up to 500 characters")


def user_name() -> str:
    """The name of the user, for a hub without authentication; "" if unknown."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _respond(source: Source, wanted: str, action: str, body: Json, form: str) -> None:
    """Send a response to an incident, and print the state after it.

    Raises AnswerError if no incident matches, or the hub refuses.
    """
    found = one_incident(source, wanted, None)["id"]
    path = f"/api/incidents/{quote(found, safe='')}/{action}"
    answer = source.send("POST", path, {"by": user_name(), **body}, "incident", "response")
    if form != "text":
        click.echo(document(form, answer))
        return
    for line in _lines(answer["incident"], answer["response"]):
        click.echo(printable(line))


def _lines(incident: str, response: Json) -> list[str]:
    lines = [incident]
    if acknowledged := response["acknowledged"]:
        lines.append(f"  Acknowledged{_by(acknowledged)} at {utc_timestamp(acknowledged['at'])}")
    if assignment := response["assignment"]:
        lines.append(f"  Assigned to {assignment['assignee']}")
    if silence := response["silence"]:
        lines.append(f"  Silenced until {utc_timestamp(silence['end'])}{_by(silence)}")
    if response["timeline"]:
        newest = response["timeline"][-1]
        lines.append(f"  Last: {''.join(clause['text'] for clause in newest['text'])}{_by(newest)}")
    return lines


def _by(row: Json) -> str:
    return f" by {row['by']}" if row["by"] else ""


@click.command(cls=GroupedCommand)
@click.argument("incident")
@writes_hub
@click.option("--withdraw", is_flag=True, help="withdraw the acknowledgment")
@output_option(*FORMATS)
def ack(source: Source, incident: str, withdraw: bool, form: str) -> None:
    """Acknowledge an incident, so that others see you are working on it.

    INCIDENT is an ID, a unique ID prefix, or `latest`.

    \b
    Examples:
      foreshock incident ack latest
      foreshock incident ack 20260105T084120Z --withdraw
    """
    _respond(source, incident, "acknowledge", {"acknowledged": not withdraw}, form)


@click.command(cls=GroupedCommand)
@click.argument("incident")
@click.argument("assignee", required=False)
@writes_hub
@output_option(*FORMATS)
def assign(source: Source, incident: str, assignee: str | None, form: str) -> None:
    """Assign an incident to ASSIGNEE (default: you). Pass "" to unassign it.

    \b
    Examples:
      foreshock incident assign latest
      foreshock incident assign latest dana
    """
    _respond(source, incident, "assign", {"assignee": assignee}, form)


@click.command(cls=GroupedCommand)
@click.argument("incident")
@click.argument("text")
@writes_hub
@output_option(*FORMATS)
def note(source: Source, incident: str, text: str, form: str) -> None:
    """Add a note to an incident. Notes appear in the timeline and the postmortem.

    \b
    Examples:
      foreshock incident note latest "paused ml/batch-embed"
    """
    _respond(source, incident, "notes", {"text": text}, form)


@click.command(cls=GroupedCommand)
@click.argument("incident")
@writes_hub
@for_option
@until_option
@comment_option
@output_option(*FORMATS)
def silence(source: Source, incident: str, duration: str | None, until: str | None, comment: str, form: str) -> None:
    """Silence an incident: stop its notifications for a limited time. Pass --for or --until.

    \b
    Examples:
      foreshock incident silence latest --for 2h --comment "known, fix deployed at 14:00"
    """
    _respond(source, incident, "silence", {**period(duration, until), "comment": comment}, form)


def period(duration: str | None, until: str | None, start: str | None = None) -> Json:
    """The time range of a silence, as the API takes it."""
    given = {"duration": duration, "end": until, "start": start}
    return {name: text for name, text in given.items() if text is not None}


@click.command(cls=GroupedCommand)
@click.argument("incident")
@click.argument("verdict", type=click.Choice([name.replace("_", "-") for name in get_args(FeedbackVerdict)]))
@writes_hub
@click.option("--service", metavar="SERVICE", help="actual root cause, if it is not the suspected cause")
@click.option("--cause", type=click.Choice(get_args(Cause)), metavar="CAUSE", help="actual cause class")
@click.option("--comment", default="", metavar="TEXT", help="comment, up to 500 characters")
@output_option(*FORMATS)
def feedback(
    source: Source, incident: str, verdict: str, service: str | None, cause: str | None, comment: str, form: str
) -> None:
    """Rate the suspected cause. VERDICT: correct, wrong-cause, or not-useful.

    `foreshock recording label` adds the feedback to a recording, so that evaluations can score the analysis against it.

    \b
    Examples:
      foreshock incident feedback latest correct
      foreshock incident feedback latest wrong-cause --service ml/batch-embed --cause gpu_contention
    """
    body = {"verdict": verdict.replace("-", "_"), "service": service, "cause": cause, "text": comment}
    _respond(source, incident, "feedback", {name: value for name, value in body.items() if value is not None}, form)
