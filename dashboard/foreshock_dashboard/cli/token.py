"""`foreshock token`: creates bearer tokens, of which the hub keeps digests."""

from __future__ import annotations

import os
from pathlib import Path

import click

from foreshock_dashboard.access.tokens import new_token
from foreshock_dashboard.settings.settings import HubError, SettingsError


@click.command()
@click.argument("name")
@click.option(
    "--file", "path", type=click.Path(path_type=Path), metavar="FILE", required=True, help="token file to append to"
)
def create(name: str, path: Path) -> None:
    """Create a token for client NAME, print it, and append its digest to a token file.

    The token is shown only once. The file does not contain it. A running hub that uses this file accepts the token
    immediately.

    \b
    Examples:
      foreshock token create prometheus --file tokens > scrape-token
    """
    try:
        token, line = new_token(name)
    except ValueError as error:
        raise SettingsError(f"NAME: {name!r} {error}") from None
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(file, "a", encoding="ascii") as opened:
            opened.write(f"{line}\n")
    except OSError as error:
        raise HubError(f"--file: {path}: {error.strerror}") from None
    click.echo(token)
