"""`foreshock trace`: prints one trace of a running hub or of a recording."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.cli.hub_client import AnswerError, add_source_flags, hub_or_recording
from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.trace_text import trace_text
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings, SettingsError
from foreshock_dashboard.web.pages.traces import trace_json as traces_json
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTimes
from foreshock_dashboard.web.pages.traces.parameters import trace_id_of
from foreshock_dashboard.web.state.parameters import BadParameterError

ANSWER_KEYS = frozenset({"spans", "lanes", "sentence"})


def add_trace_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("id", metavar="ID", help="trace id, up to 32 hexadecimal digits")
    add_source_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the hub's answer as JSON")


def trace(arguments: argparse.Namespace) -> int:
    """Print a trace; returns 0. Raises SettingsError for a flag, SourceError for the hub or the recording."""
    try:
        wanted = trace_id_of(arguments.id)
    except BadParameterError as error:
        raise SettingsError(str(error)) from None
    answer = hub_or_recording(
        arguments, f"/api/traces/{wanted}", ANSWER_KEYS, lambda folder: trace_of_recording(folder, wanted)
    )
    print(json.dumps(answer, indent=1) if arguments.json else trace_text(answer), end="\n" if arguments.json else "")
    return 0


def trace_of_recording(folder: Path, trace_id: str) -> Json:
    """The answer of a hub over a recording. Raises SourceError if it lacks the trace, or cannot be read."""
    from foreshock_dashboard.hub.hub import Hub  # slow to import, and not needed with --hub

    options = Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, recording=folder)
    with (
        open_recording(options) as (settings, recording),
        closing(Hub(settings, clock_at(settings.at), recording=recording)) as hub,
    ):
        spans = hub.traces.get(trace_id)
        if not spans:
            raise AnswerError(f"recording {folder}: no trace {trace_id}; not every trace is sampled")
        hub.evaluate()
        return {**traces_json.trace(trace_id, spans, GpuTimes(hub).of(spans)), "note": note_of(spans)}


COMMAND = Command(trace, add_trace_flags)
