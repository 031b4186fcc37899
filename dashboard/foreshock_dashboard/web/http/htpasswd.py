"""Users of the hub: lines of `user:bcrypt` in a file, reloaded when it changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile
from foreshock_exporter.web.auth import PasswordChecker, PasswordResult, basic_credentials

MAX_BYTES = 262_144
MAX_COST = 16
"""A bcrypt cost of 16 takes about 4 s for each attempt; each step doubles it."""
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


class Users:
    """The users of a file as `htpasswd -B` writes it; blank lines and lines that begin with # are ignored.

    The file is reloaded when it changes (see `ReloadingFile`). Thread-safe.

    Raises:
        FileError: the file is unusable at the start.
    """

    def __init__(self, path: Path, passwords: PasswordChecker | None = None) -> None:
        self._passwords = passwords or PasswordChecker()

        def read() -> Mapping[str, bytes]:
            users = _users(path)
            self._passwords.forget(users)
            return users

        self._file = ReloadingFile([path], read, "the users of before still hold")

    def known(self, authorization: str) -> bool:
        """Whether an Authorization header has a password that was accepted before. Quick."""
        pair, users = basic_credentials(authorization), self._file.current()
        return pair is not None and self._passwords.is_verified(users, *pair)

    def check(self, authorization: str, address: str) -> PasswordResult:
        """The result of checking an Authorization header. Slow, and slower for a wrong one. address: the client's."""
        pair, users = basic_credentials(authorization), self._file.current()
        return "wrong" if pair is None else self._passwords.check(users, *pair, address)


def _users(path: Path) -> Mapping[str, bytes]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: is not UTF-8 text") from error
    if len(data) > MAX_BYTES:
        raise FileError(f"{path}: is larger than {MAX_BYTES} bytes; it holds one user a line")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    users: dict[str, bytes] = {}
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        user, colon, stored = line.partition(":")
        match = _HASH.fullmatch(stored)
        if not colon or not user or match is None:
            raise FileError(f"{path}: line {number} is not user:bcrypt; write it with htpasswd -nB USER")
        if int(match[1]) > MAX_COST:
            raise FileError(f"{path}: line {number} has a cost of {match[1]}; {MAX_COST} is the most, 10 is usual")
        if user in users:
            raise FileError(f"{path}: line {number} names {user!r} again; leave one out")
        users[user] = stored.encode()
    if not users:
        raise FileError(f"{path}: holds no user; write one a line with htpasswd -nB USER")
    return users
