"""`foreshock explain RECORDING`: who is to blame for what one service suffers at one time."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.action import reasons_text
from foreshock_dashboard.render.incident_text import day
from foreshock_dashboard.replay.explain import Explanation, explain
from foreshock_dashboard.settings.option_types import parse_time
from foreshock_dashboard.settings.settings import parse_flag
from foreshock_dashboard.web.state.incident_json import candidate
from foreshock_dashboard.web.state.numbers import number_of_time

EXPLAIN = """\
Ranks who is to blame for what one service suffers around one time. Any recording will do, also one of metrics that
foreshock does not know: each series is compared with its own past, and is its service's by its labels.

  foreshock explain incident --service checkout --at 2026-01-05T08:42:00Z"""


def add_explain_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("recording", metavar="RECORDING", help="folder of the recording")
    parser.add_argument("--service", metavar="S", required=True, help="name or namespace/name of the one that suffers")
    parser.add_argument("--at", metavar="T", required=True, help="when: Unix seconds, or 2026-01-05T08:42:00Z")
    parser.add_argument("--json", action="store_true", help="print the causes as JSON")


def run_explain(arguments: argparse.Namespace) -> int:
    """Explain. 0: told, also where nothing is wrong.

    Raises:
        SettingsError: the time is none.
        RecordingError: the recording cannot be read, or does not have the service or the time.
    """
    at = parse_flag("--at", parse_time, arguments.at)
    with closing(Recording(Path(arguments.recording))) as recording:
        found = explain(recording, arguments.service, at)
    print(json.dumps(explained_json(found), indent=1) if arguments.json else explained_text(found))
    return 0


def explained_json(found: Explanation) -> Json:
    """As docs/incidents.md has it."""
    return {
        "version": 1,
        "service": str(found.service),
        "at": number_of_time(found.at),
        "candidates": [candidate(one) for one in found.candidates],
    }


def explained_text(found: Explanation) -> str:
    """For people."""
    if not found.candidates:
        return f"Nothing is wrong with {found.service} at {day(found.at)}."
    lines = [f"{one.score:6.1%}  {one.service}  {reasons_text(one.reasons)}" for one in found.candidates]
    return "\n".join([f"What {found.service} suffers at {day(found.at)} may be the doing of", *lines])
