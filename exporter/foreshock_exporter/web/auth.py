"""Basic authentication with bcrypt, made so that neither a scrape nor a guesser costs much."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

DELAY_RATIO = 4.0
"""How many times as long as it took to find a password wrong its address has to rest before it may try again."""
MAX_DELAY_SECONDS = 2.0
"""Seconds."""
MAX_WAIT_SECONDS = 5.0
"""Seconds that an attempt waits for its turn."""
_BCRYPT_READS = 72
"""Bytes of a password that bcrypt looks at."""

PasswordResult = Literal["right", "wrong", "busy"]


def basic_credentials(authorization: str) -> tuple[str, bytes] | None:
    """User and password of an Authorization header (RFC 7617), or None where it has none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


class PasswordChecker:
    """Checks passwords. One that was right is remembered as a keyed hash, at most one per user.

    bcrypt is meant to be slow (50 ms at a cost of 10). So one password is tried at a time, and an address that
    was wrong rests: however many guess, they cost at most one core, and one address a fifth of it.

    Args:
        rest: waits so many seconds.
        timer: a steady clock in seconds.
    """

    def __init__(
        self, rest: Callable[[float], object] = time.sleep, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._rest = rest
        self._timer = timer
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._turn = threading.Lock()
        self._lines_changed = threading.Lock()
        self._lines: dict[str, tuple[threading.Lock, int]] = {}

    def check(self, users: Mapping[str, bytes], user: str, password: bytes, address: str) -> PasswordResult:
        """Whether the user has that password.

        Args:
            users: bcrypt hashes by user; at least one.
            user: whoever is asking; a name that is not there takes as long as one that is.
            password: as sent.
            address: from where, so that a guesser makes only his own address wait.
        """
        known = users.get(user)
        stored = known or max(users.values(), key=lambda one: one[4:6])  # the dearest: its cost tells no names apart
        mark = self._mark(user, stored, password)
        if self._remembers(user, mark) and known:
            return "right"
        with self._line(address) as in_turn:
            if not in_turn:
                return "busy"
            return self._slowly(user, stored, password, mark, known=known is not None)

    def knows(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Whether the user had that password when it was last checked; never slow."""
        stored = users.get(user)
        return stored is not None and self._remembers(user, self._mark(user, stored, password))

    def _slowly(self, user: str, stored: bytes, password: bytes, mark: bytes, *, known: bool) -> PasswordResult:
        if not self._turn.acquire(timeout=MAX_WAIT_SECONDS):
            return "busy"
        try:
            if self._remembers(user, mark) and known:  # the same was found right while this one waited
                return "right"
            began = self._timer()
            right = _matches(password, stored) and known
            took = self._timer() - began
        finally:
            self._turn.release()
        if right:
            self._right[user] = mark
            return "right"
        self._rest(min(DELAY_RATIO * took, MAX_DELAY_SECONDS))
        return "wrong"

    def forget(self, users: Mapping[str, bytes]) -> None:
        """Forget the passwords of all but these users."""
        for user in list(self._right.keys() - users.keys()):
            self._right.pop(user, None)

    def _remembers(self, user: str, mark: bytes) -> bool:
        return hmac.compare_digest(self._right.get(user, b""), mark)

    def _mark(self, user: str, stored: bytes, password: bytes) -> bytes:
        """A hash of all three; changes with the stored one, so that a changed password is checked anew."""
        parts = (user.encode(), stored, password)
        return hashlib.blake2b(
            b"".join(len(part).to_bytes(4, "big") + part for part in parts), key=self._key, digest_size=32
        ).digest()

    @contextmanager
    def _line(self, address: str) -> Iterator[bool]:
        """Whether this is the address's turn, which it is within `WAIT` seconds or not at all."""
        with self._lines_changed:
            line, waiting = self._lines.get(address, (threading.Lock(), 0))
            self._lines[address] = (line, waiting + 1)
        in_turn = line.acquire(timeout=MAX_WAIT_SECONDS)
        try:
            yield in_turn
        finally:
            if in_turn:
                line.release()
            with self._lines_changed:
                line, waiting = self._lines.pop(address)
                if waiting > 1:
                    self._lines[address] = (line, waiting - 1)


def _matches(password: bytes, stored: bytes) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:_BCRYPT_READS], stored)
