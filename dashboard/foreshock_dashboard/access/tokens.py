"""Bearer tokens (RFC 6750), of which the hub keeps only SHA-256 digests.

A token has 256 random bits, so its digest needs neither salt nor a slow hash: there is no list of likely tokens to try.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded_text

PREFIX = "foreshock_"
"""Begins each created token, so that scanners for leaked secrets can recognize one."""
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_LINE = re.compile(rf"(?P<name>{NAME.pattern}):sha256:(?P<digest>[0-9a-f]{{64}})", re.ASCII)
REMEDY = "Create it with foreshock token create NAME"


def new_token(name: str) -> tuple[str, str]:
    """A random token, and its line in the token file. Raises ValueError for an unusable name."""
    if not NAME.fullmatch(name):
        raise ValueError("is not a valid name; use up to 64 letters, digits, and . _ - @")
    token = PREFIX + secrets.token_urlsafe(32)
    return token, token_line(name, token)


def token_line(name: str, token: str) -> str:
    """The line of a token file that accepts a token."""
    return f"{name}:sha256:{_digest(token)}"


class Tokens:
    """The tokens of a file, a line `NAME:sha256:DIGEST` each; blank lines and lines that start with # are skipped.

    The file is reloaded when it changes (see `ReloadingFile`). Raises FileError if the first version cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile([path], lambda: _read(path), "the previous tokens stay valid")

    def name_of(self, authorization: str) -> str | None:
        """The name of the token in an Authorization header; None if it has none of the file.

        The comparison is of digests, whose time reveals nothing about a token.
        """
        scheme, _, token = authorization.strip().partition(" ")
        return self._file.current().get(_digest(token.strip())) if scheme.lower() == "bearer" else None

    def allows(self, authorization: str) -> bool:
        """Whether an Authorization header has one of the tokens."""
        return self.name_of(authorization) is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _read(path: Path) -> Mapping[str, str]:
    """The names of tokens by digest."""
    tokens: dict[str, str] = {}
    for number, line in enumerate(read_bounded_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise FileError(f"{path}: line {number} is not NAME:sha256:DIGEST. {REMEDY}")
        tokens[match["digest"]] = match["name"]
    if not tokens:
        raise FileError(f"{path}: has no tokens. {REMEDY}")
    return tokens
