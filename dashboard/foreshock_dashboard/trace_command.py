"""`foreshock trace ID`: asks a running hub, or a recording, for one trace and prints it."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path

import httpx

from foreshock_dashboard import options as read
from foreshock_dashboard.clock import clock_of
from foreshock_dashboard.hub import Hub
from foreshock_dashboard.model.partial import note_of
from foreshock_dashboard.model.query import Json
from foreshock_dashboard.settings import Settings, SettingsError
from foreshock_dashboard.standing import standing
from foreshock_dashboard.trace_text import trace_text
from foreshock_dashboard.web import traces_json
from foreshock_dashboard.web.gpu_time import GpuTimes
from foreshock_dashboard.web.params import BadParameterError, trace_id_of

HUB = "http://127.0.0.1:8050"
TIMEOUT = 30.0
"""Seconds for the hub's answer."""
MAX_ANSWER = 64 * 2**20
"""Bytes of an answer that are read; 5,000 spans are about 15 MB, and the hub gives fewer where they are larger."""


class AnswerError(Exception):
    """There is no trace to print. The message names the thing and the remedy."""


def add_trace_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("id", metavar="ID", help="trace id, up to 32 hexadecimal digits")
    parser.add_argument("--hub", default=HUB, metavar="URL", help=f"address of the hub's page (default: {HUB})")
    parser.add_argument("--recording", metavar="DIR", help="look in this recording instead of asking a hub")
    parser.add_argument("--json", action="store_true", help="print the hub's answer as JSON")


def trace(arguments: argparse.Namespace) -> int:
    """Print a trace. 0: printed; 1: unknown, or the hub does not answer.

    Raises:
        SettingsError: the id or the address is none.
        SourceError: the recording cannot be read.
    """
    try:
        wanted = trace_id_of(arguments.id)
    except BadParameterError as error:
        raise SettingsError(str(error)) from None
    try:
        hub = read.url(arguments.hub)
    except ValueError as error:
        raise SettingsError(f"--hub: {arguments.hub!r} {error}") from None
    try:
        told = look_up(Path(arguments.recording), wanted) if arguments.recording else ask(hub, wanted)
    except AnswerError as error:
        print(f"foreshock: {error}", file=sys.stderr)
        return 1
    print(json.dumps(told, indent=1) if arguments.json else trace_text(told), end="\n" if arguments.json else "")
    return 0


def ask(hub: str, trace_id: str) -> Json:
    """The hub's answer.

    Raises:
        AnswerError: the hub does not answer, is none, or does not know the trace.
    """
    try:
        with httpx.stream("GET", f"{hub}/api/traces/{trace_id}", timeout=TIMEOUT) as answer:
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise AnswerError(f"{hub}: the answer is larger than {MAX_ANSWER >> 20} MiB: that is no hub's")
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise AnswerError(f"{hub} does not answer: {why}; start a hub, or name another with --hub") from None
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict) and answer.status_code == 200 and {"spans", "lanes", "sentence"} <= told.keys():
        return told
    if isinstance(told, dict) and isinstance(told.get("error"), str):
        raise AnswerError(f"{hub}: {told['error']}")
    raise AnswerError(
        f"{hub} answers with HTTP {answer.status_code}, but not as a hub does: name a hub's page with --hub"
    )


def look_up(folder: Path, trace_id: str) -> Json:
    """What a hub that stands at a recording's end would answer.

    Raises:
        AnswerError: the recording does not have the trace.
        SourceError: the recording cannot be read.
    """
    found = Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, recording=folder)
    with (
        standing(found) as (settings, recording),
        closing(Hub(settings, clock_of(settings.at), recording=recording)) as hub,
    ):
        spans = hub.traces.get(trace_id)
        if not spans:
            raise AnswerError(f"recording {folder}: no trace {trace_id}; not every trace is sampled")
        hub.tick()
        return traces_json.trace(trace_id, spans, GpuTimes(hub).of(spans)) | {"note": note_of(spans)}
