"""`foreshock report`: writes a post-mortem of an incident of a running hub or of a recording."""

from __future__ import annotations

import argparse
import base64
from pathlib import Path
from urllib.parse import quote

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.cli.hub_client import AnswerError, add_source_flags, authorization_header, get, hub_url
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.recording.atomic_files import new_file
from foreshock_dashboard.replay.replay import replay_folder
from foreshock_dashboard.web.documents.postmortem import Report, find_incident, report

DESCRIPTION = """\
Writes a post-mortem: timeline, first sign, whose doing, evidence with plots, what it cost, what acting on the warning
would have saved.

  foreshock report 20260105T084120Z-serving.llm-chat --out outage.md       the plots go beside it, as SVG
  foreshock report latest --recording incident                             to the terminal, the plots within

An incident is named by its id, by the beginning of one, or as `latest`."""
ANSWER_KEYS = frozenset({"id", "markdown", "plots"})


def add_report_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("incident", metavar="INCIDENT", help="its id, the beginning of one, or `latest`")
    add_source_flags(parser)
    parser.add_argument("--out", metavar="FILE", help="write it there (.md), with a plot as FILE-NAME.svg for each")


def run_report(arguments: argparse.Namespace) -> int:
    """Write a report; returns 0.

    Raises:
        SettingsError: the address is invalid.
        SourceError: there is no such incident, the hub does not answer, or a file cannot be read or written.
    """
    hub, credentials = hub_url(arguments), authorization_header(arguments)
    result = (
        report_of_recording(Path(arguments.recording), arguments.incident)
        if arguments.recording
        else report_of_hub(hub, arguments.incident, credentials)
    )
    if arguments.out:
        write(result, Path(arguments.out))
        incident = result.markdown.splitlines()[0].removeprefix("# ")
        print(f"{arguments.out}: {incident}, {len(result.plots)} plots beside it")
    else:
        print(inlined(result), end="")
    return 0


def report_of_hub(hub: str, wanted: str, authorization: str = "") -> Report:
    """The report on an incident of a hub.

    Raises:
        AnswerError: the hub does not answer, or has no such incident.
    """
    answer = get(hub, f"/api/report/{quote(wanted, safe='')}", ANSWER_KEYS, authorization)
    return Report(str(answer["markdown"]), {str(name): str(svg) for name, svg in answer["plots"].items()})


def report_of_recording(folder: Path, wanted: str) -> Report:
    """The report on an incident of a recording.

    Raises:
        AnswerError: the recording has no such incident.
        SourceError: the recording cannot be read.
    """
    bar = ProgressBar()
    played = replay_folder(folder, None, bar)
    bar.end()
    try:
        item = find_incident(wanted, played.final)
    except LookupError as error:
        raise AnswerError(f"recording {folder}: {error}") from None
    return report(played.world, item, played.paged.get(item.id))


def write(result: Report, out: Path) -> None:
    """Write the report, and each plot beside it.

    Raises:
        RecordingError: a file exists already or cannot be written.
    """
    markdown = result.markdown
    for name, svg in result.plots.items():
        beside = out.with_name(f"{out.stem}-{name}.svg")
        markdown = markdown.replace(f"]({name}.svg)", f"]({quote(beside.name)})")
        with new_file(beside) as file:
            file.write(svg.encode())
    with new_file(out) as file:
        file.write(markdown.encode())


def inlined(result: Report) -> str:
    """The report as one text, with each plot as a data URI (RFC 2397)."""
    markdown = result.markdown
    for name, svg in result.plots.items():
        data = base64.b64encode(svg.encode()).decode()
        markdown = markdown.replace(f"]({name}.svg)", f"](data:image/svg+xml;base64,{data})")
    return markdown


COMMAND = Command(run_report, add_report_flags, DESCRIPTION)
