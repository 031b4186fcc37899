"""`foreshock replay`: prints the incidents that a live hub would have reported of a recording."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.render.incident_text import change_line, incident_text, state_changes, utc_timestamp
from foreshock_dashboard.replay.replay import ReplayResult, replay_folder
from foreshock_dashboard.settings.option_types import parse_past
from foreshock_dashboard.settings.settings import parse_flag
from foreshock_dashboard.web.state.incident_json import replayed

DESCRIPTION = """\
Judges a recording from its start, as a hub would have while it happened, and tells every incident that opened.

  foreshock replay incident                       each change of state, then each incident with its evidence
  foreshock replay incident --json                the same as JSON (docs/reference/incidents.md)
  foreshock replay incident --until 2026-01-05T08:42:00Z"""


def add_replay_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("recording", metavar="RECORDING", help="folder of the recording")
    parser.add_argument("--json", action="store_true", help="print the incidents as JSON")
    parser.add_argument("--until", metavar="TIME", help="stop at this time: Unix seconds, or 2026-01-05T08:42:00Z")


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay a recording; returns 0 with or without incidents.

    Raises:
        SettingsError: the time is invalid.
        RecordingError: the recording cannot be read or replayed.
    """
    until = parse_flag("--until", parse_past, arguments.until) if arguments.until else None
    bar = ProgressBar()
    played = replay_folder(Path(arguments.recording), until, bar)
    bar.end()
    if arguments.json:
        print(json.dumps(replayed(played.final, played.paged), indent=1, default=vars))
    else:
        print(played_text(played))
    return 0


def played_text(played: ReplayResult) -> str:
    """The incidents as text."""
    if not played.final:
        learned = played.learning
        why = (
            ""
            if learned.done
            else f" It has {learned.have / 60:.0f} of the {learned.need / 60:.0f} min of history that a baseline needs."
        )
        return f"No incident from {utc_timestamp(played.times[0])} to {utc_timestamp(played.times[-1])}.{why}"
    lines = [change_line(time, item) for time, item in state_changes(played.history)]
    return "\n".join([*lines, *(f"\n{incident_text(item)}" for item in played.final)])


COMMAND = Command(run_replay, add_replay_flags, DESCRIPTION)
