"""HTTP client of a running hub's API."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import httpx

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.settings.option_types import parse_url
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_dashboard.sources import http_client

HUB_URL = "http://127.0.0.1:8050"
TIMEOUT_SECONDS = 30.0
MAX_BODY_BYTES = 64 * 2**20
"""A trace of 5,000 spans is about 15 MB; the hub sends fewer spans if they are larger."""


class AnswerError(SourceError):
    """The hub or the recording has no answer. The message names the missing thing and the remedy."""


def add_hub_flag(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the flag of the hub's address. text: its help."""
    parser.add_argument("--hub", default=HUB_URL, metavar="URL", help=f"{text} (default: {HUB_URL})")


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a command that writes files with links to the hub."""
    parser.add_argument("--out", metavar="DIR", required=True, type=Path, help="folder for the files; made if missing")
    add_hub_flag(parser, "address at which people reach the hub's page")


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that select a hub or a recording."""
    add_hub_flag(parser, "address of the hub's page")
    parser.add_argument(
        "--hub-credentials", metavar="FILE", help="who asks the hub: a file of one line, a token or user:password"
    )
    parser.add_argument("--recording", metavar="DIR", help="look in this recording instead of asking a hub")


def hub_url(arguments: argparse.Namespace) -> str:
    """The hub's URL. Raises SettingsError if it is no URL."""
    return parse_flag("--hub", parse_url, arguments.hub)


def hub_or_recording(
    arguments: argparse.Namespace, path: str, keys: frozenset[str], of_recording: Callable[[Path], Json]
) -> Json:
    """The answer of the selected hub at `path`, or that of `of_recording` for the selected recording.

    Raises SettingsError if a flag cannot be used, and AnswerError as `get`.
    """
    hub, authorization = hub_url(arguments), authorization_header(arguments)
    return of_recording(Path(arguments.recording)) if arguments.recording else get(hub, path, keys, authorization)


def authorization_header(arguments: argparse.Namespace) -> str:
    """The Authorization header; "" without credentials. Raises SettingsError if the file cannot be used."""
    try:
        return http_client.authorization_header(Path(arguments.hub_credentials)) if arguments.hub_credentials else ""
    except ValueError as error:
        raise SettingsError(f"--hub-credentials: {error}") from None


def get(hub: str, path: str, keys: frozenset[str], authorization: str = "") -> Json:
    """The JSON object at `path` of the hub's API, with at least these keys.

    Raises AnswerError if the hub cannot be reached, is no hub, or answers with an error.
    """
    name = http_client.without_credentials(hub)
    try:
        headers = {"Authorization": authorization} if authorization else {}
        with httpx.stream("GET", f"{hub}{path}", timeout=TIMEOUT_SECONDS, headers=headers) as response:
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise AnswerError(f"{name}: the answer is larger than {MAX_BODY_BYTES >> 20} MiB: that is no hub's")
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise AnswerError(f"{name} does not answer: {reason}; start a hub, or name another with --hub") from None
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if isinstance(content, dict) and response.status_code == 200 and keys <= content.keys():
        return content
    if response.status_code in (401, 403):
        raise AnswerError(f"{name}: it asks who you are; give --hub-credentials FILE with a token or user:password")
    if isinstance(content, dict) and isinstance(content.get("error"), str):
        raise AnswerError(f"{name}: {content['error']}")
    raise AnswerError(
        f"{name} answers with HTTP {response.status_code}, but not as a hub does: name a hub's page with --hub"
    )
