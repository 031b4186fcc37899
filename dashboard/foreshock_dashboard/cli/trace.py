"""`foreshock trace ID`: asks a running hub, or a recording, for one trace and prints it."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from foreshock_dashboard.cli.hub_client import AnswerError, add_source_flags, authorization_header, get, hub_url
from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.model.partial import note_of
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.trace_text import trace_text
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings, SettingsError
from foreshock_dashboard.web.pages.traces import trace_json as traces_json
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTimes
from foreshock_dashboard.web.pages.traces.parameters import trace_id_of
from foreshock_dashboard.web.state.parameters import BadParameterError

TOLD = frozenset({"spans", "lanes", "sentence"})
"""What a hub's answer has."""


def add_trace_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("id", metavar="ID", help="trace id, up to 32 hexadecimal digits")
    add_source_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the hub's answer as JSON")


def trace(arguments: argparse.Namespace) -> int:
    """Print a trace. 0: printed.

    Raises:
        SettingsError: the id or the address is none.
        SourceError: the trace is not known, the hub does not answer, or the recording cannot be read.
    """
    try:
        wanted = trace_id_of(arguments.id)
    except BadParameterError as error:
        raise SettingsError(str(error)) from None
    hub, who, folder = hub_url(arguments), authorization_header(arguments), arguments.recording
    told = look_up(Path(folder), wanted) if folder else get(hub, f"/api/traces/{wanted}", TOLD, who)
    print(json.dumps(told, indent=1) if arguments.json else trace_text(told), end="\n" if arguments.json else "")
    return 0


def look_up(folder: Path, trace_id: str) -> Json:
    """What a hub that stands at a recording's end would answer.

    Raises:
        AnswerError: the recording does not have the trace.
        SourceError: the recording cannot be read.
    """
    from foreshock_dashboard.hub.hub import Hub  # whoever asks a hub for a trace is not to wait for all that makes one

    found = Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, recording=folder)
    with (
        open_recording(found) as (settings, recording),
        closing(Hub(settings, clock_at(settings.at), recording=recording)) as hub,
    ):
        spans = hub.traces.get(trace_id)
        if not spans:
            raise AnswerError(f"recording {folder}: no trace {trace_id}; not every trace is sampled")
        hub.evaluate()
        return {**traces_json.trace(trace_id, spans, GpuTimes(hub).of(spans)), "note": note_of(spans)}
