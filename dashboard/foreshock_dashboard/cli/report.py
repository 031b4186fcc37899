"""`foreshock report INCIDENT`: a post-mortem of an incident that a hub knows, or that happened in a recording."""

from __future__ import annotations

import argparse
import base64
from pathlib import Path
from urllib.parse import quote

from foreshock_dashboard.cli.hub_client import AnswerError, add_source_flags, authorization_header, get, hub_url
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.recording.atomic_files import new_file
from foreshock_dashboard.replay.replay import replay_folder
from foreshock_dashboard.web.documents.postmortem import Report, find_incident, report

REPORT = """\
Writes a post-mortem: timeline, first sign, whose doing, evidence with plots, what it cost, what acting on the warning
would have saved.

  foreshock report 20260105T084120Z-serving.llm-chat --out outage.md       the plots go beside it, as SVG
  foreshock report latest --recording incident                             to the terminal, the plots within

An incident is named by its id, by the beginning of one, or as `latest`."""
TOLD = frozenset({"id", "markdown", "plots"})
"""What a hub's answer has."""


def add_report_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("incident", metavar="INCIDENT", help="its id, the beginning of one, or `latest`")
    add_source_flags(parser)
    parser.add_argument("--out", metavar="FILE", help="write it there (.md), with a plot as FILE-NAME.svg for each")


def run_report(arguments: argparse.Namespace) -> int:
    """Write a report. 0: written.

    Raises:
        SettingsError: the address is none.
        SourceError: there is no such incident, the hub does not answer, or a file cannot be read or written.
    """
    hub, who = hub_url(arguments), authorization_header(arguments)
    found = (
        look_up(Path(arguments.recording), arguments.incident)
        if arguments.recording
        else asked(hub, arguments.incident, who)
    )
    if arguments.out:
        write(found, Path(arguments.out))
        incident = found.markdown.splitlines()[0].removeprefix("# ")
        print(f"{arguments.out}: {incident}, {len(found.plots)} plots beside it")
    else:
        print(inlined(found), end="")
    return 0


def asked(hub: str, wanted: str, authorization: str = "") -> Report:
    """The hub's report.

    Raises:
        AnswerError: the hub does not answer, or does not know the incident.
    """
    told = get(hub, f"/api/report/{quote(wanted, safe='')}", TOLD, authorization)
    return Report(str(told["markdown"]), {str(name): str(svg) for name, svg in told["plots"].items()})


def look_up(folder: Path, wanted: str) -> Report:
    """The report on an incident of a recording.

    Raises:
        AnswerError: there is no such incident in it.
        SourceError: it cannot be read.
    """
    bar = ProgressBar()
    played = replay_folder(folder, None, bar)
    bar.end()
    try:
        item = find_incident(wanted, played.final)
    except LookupError as error:
        raise AnswerError(f"recording {folder}: {error}") from None
    return report(played.world, item, played.paged.get(item.id))


def write(found: Report, out: Path) -> None:
    """The report, and each plot beside it.

    Raises:
        RecordingError: a file exists already or cannot be written.
    """
    markdown = found.markdown
    for name, svg in found.plots.items():
        beside = out.with_name(f"{out.stem}-{name}.svg")
        markdown = markdown.replace(f"]({name}.svg)", f"]({quote(beside.name)})")
        with new_file(beside) as file:
            file.write(svg.encode())
    with new_file(out) as file:
        file.write(markdown.encode())


def inlined(found: Report) -> str:
    """The report in one piece: each plot as a data URI (RFC 2397)."""
    markdown = found.markdown
    for name, svg in found.plots.items():
        data = base64.b64encode(svg.encode()).decode()
        markdown = markdown.replace(f"]({name}.svg)", f"](data:image/svg+xml;base64,{data})")
    return markdown
