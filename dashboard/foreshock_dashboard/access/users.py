"""Users with passwords: an htpasswd file with bcrypt hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded_text
from foreshock_exporter.web.auth import PasswordChecker, PasswordResult, basic_credentials

MAX_BCRYPT_COST = 16
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

        self._file = ReloadingFile([path], read, "the previous users stay valid")

    def __contains__(self, user: str) -> bool:
        return user in self._file.current()

    def known(self, authorization: str) -> bool:
        """Whether an Authorization header has a password that was accepted before. Quick."""
        pair, users = basic_credentials(authorization), self._file.current()
        return pair is not None and self._passwords.is_verified(users, *pair)

    def check(self, authorization: str, address: str) -> PasswordResult:
        """The result of checking an Authorization header. Slow, and slower for a wrong one. address: the client's."""
        pair, users = basic_credentials(authorization), self._file.current()
        return "wrong" if pair is None else self._passwords.check(users, *pair, address)


def _users(path: Path) -> Mapping[str, bytes]:
    users: dict[str, bytes] = {}
    for number, line in enumerate(map(str.strip, read_bounded_text(path).splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        user, colon, stored = line.partition(":")
        match = _HASH.fullmatch(stored)
        if not colon or not user or match is None:
            raise FileError(f"{path}: line {number} is not user:bcrypt. Create it with htpasswd -nB USER")
        if int(match[1]) > MAX_BCRYPT_COST:
            cost = f"has bcrypt cost {match[1]} (maximum {MAX_BCRYPT_COST}, default 10)"
            raise FileError(f"{path}: line {number} {cost}")
        if user in users:
            raise FileError(f"{path}: line {number} repeats user {user!r}")
        users[user] = stored.encode()
    if not users:
        raise FileError(f"{path}: has no users. Add one per line with htpasswd -nB USER")
    return users
