"""Asks a running hub over HTTP, for commands that print what it knows."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import httpx

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.settings.option_types import parse_url
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_dashboard.sources.traces.http_client import Credentials

HUB_URL = "http://127.0.0.1:8050"
TIMEOUT = 30.0
"""Seconds for the hub's answer."""
MAX_ANSWER = 64 * 2**20
"""Bytes of an answer that are read; 5,000 spans are about 15 MB, and the hub gives fewer where they are larger."""


class AnswerError(SourceError):
    """There is nothing to print. The message names the thing and the remedy."""


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say whom to ask."""
    parser.add_argument("--hub", default=HUB_URL, metavar="URL", help=f"address of the hub's page (default: {HUB_URL})")
    parser.add_argument(
        "--hub-credentials", metavar="FILE", help="who asks the hub: a file of one line, a token or user:password"
    )
    parser.add_argument("--recording", metavar="DIR", help="look in this recording instead of asking a hub")


def hub_url(arguments: argparse.Namespace) -> str:
    """The hub's address.

    Raises:
        SettingsError: it is none.
    """
    return parse_flag("--hub", parse_url, arguments.hub)


def authorization_header(arguments: argparse.Namespace) -> str:
    """The Authorization header with which the hub is asked; "" where nobody gave any.

    Raises:
        SettingsError: the file cannot be used.
    """
    try:
        return Credentials(Path(arguments.hub_credentials)).header() if arguments.hub_credentials else ""
    except ValueError as error:
        raise SettingsError(f"--hub-credentials: {error}") from None


def get(hub: str, path: str, keys: frozenset[str], authorization: str = "") -> Json:
    """The hub's answer to `path`, which has these keys. authorization: the header of this name.

    Raises:
        AnswerError: the hub does not answer, is none, or does not know what is asked for.
    """
    try:
        headers = {"Authorization": authorization} if authorization else {}
        with httpx.stream("GET", f"{hub}{path}", timeout=TIMEOUT, headers=headers) as answer:
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
    if isinstance(told, dict) and answer.status_code == 200 and keys <= told.keys():
        return told
    if answer.status_code in (401, 403):
        raise AnswerError(f"{hub}: it asks who you are; give --hub-credentials FILE with a token or user:password")
    if isinstance(told, dict) and isinstance(told.get("error"), str):
        raise AnswerError(f"{hub}: {told['error']}")
    raise AnswerError(
        f"{hub} answers with HTTP {answer.status_code}, but not as a hub does: name a hub's page with --hub"
    )
