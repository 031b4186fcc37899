"""`foreshock explain`: ranks the root causes of a service's anomaly in a recording."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.action import reasons_text
from foreshock_dashboard.render.incident_text import utc_timestamp
from foreshock_dashboard.replay.explain import Explanation, explain
from foreshock_dashboard.settings.option_types import parse_past
from foreshock_dashboard.settings.settings import parse_flag
from foreshock_dashboard.web.state.incident_json import candidate
from foreshock_dashboard.web.state.numbers import number_of_time

DESCRIPTION = """\
Ranks who is to blame for what one service suffers around one time. Any recording will do, also one of metrics that
foreshock does not know: each series is compared with its own past, and is its service's by its labels.

  foreshock explain incident --service checkout --at 2026-01-05T08:42:00Z"""


def add_explain_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("recording", metavar="RECORDING", help="folder of the recording")
    parser.add_argument("--service", metavar="S", required=True, help="name or namespace/name of the one that suffers")
    parser.add_argument("--at", metavar="T", required=True, help="when: Unix seconds, or 2026-01-05T08:42:00Z")
    parser.add_argument("--json", action="store_true", help="print the causes as JSON")


def run_explain(arguments: argparse.Namespace) -> int:
    """Print the ranking; returns 0, also for a healthy service.

    Raises:
        SettingsError: the time is invalid.
        RecordingError: the recording cannot be read, or lacks the service or the time.
    """
    at = parse_flag("--at", parse_past, arguments.at)
    with closing(Recording(Path(arguments.recording))) as recording:
        explanation = explain(recording, arguments.service, at)
    as_json = json.dumps(explained_json(explanation), indent=1, default=vars)
    print(as_json if arguments.json else explained_text(explanation))
    return 0


def explained_json(explanation: Explanation) -> Json:
    """The ranking as JSON, as documented in docs/reference/incidents.md."""
    return {
        "version": 1,
        "service": str(explanation.service),
        "at": number_of_time(explanation.at),
        "candidates": [candidate(item) for item in explanation.candidates],
    }


def explained_text(explanation: Explanation) -> str:
    """The ranking as text."""
    if not explanation.candidates:
        return f"Nothing is wrong with {explanation.service} at {utc_timestamp(explanation.at)}."
    lines = [f"{item.score:6.1%}  {item.service}  {reasons_text(item.reasons)}" for item in explanation.candidates]
    return "\n".join(
        [f"What {explanation.service} suffers at {utc_timestamp(explanation.at)} may be the doing of", *lines]
    )


COMMAND = Command(run_explain, add_explain_flags, DESCRIPTION)
