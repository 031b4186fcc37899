"""Basic authentication with bcrypt hashes, resistant to expensive guessing."""

from __future__ import annotations

import base64
import binascii
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal
from weakref import WeakValueDictionary

DELAY_RATIO = 4.0
"""Delay of an address after a wrong password, relative to the duration of the check."""
MAX_DELAY_SECONDS = 2.0
"""Longest such delay."""
MAX_WAIT_SECONDS = 5.0
MAX_CHECKS = 16
"""Attempts that wait or are delayed: half of the connections of the exporter, whose other half is left to scrapes."""
GUESSERS_RATIO = 1 / 2
"""Share of these attempts that addresses have whose last password was wrong. The others are left to new addresses."""
MAX_GUESSERS = 10_000
"""Such addresses that are remembered; beyond them, the one that guessed longest ago is forgotten."""
MAX_ADDRESS_CHECKS = 2
"""Such attempts of one address."""
_BCRYPT_MAX_BYTES = 72
"""Password bytes used by bcrypt."""

PasswordResult = Literal["right", "wrong", "busy"]


def basic_credentials(authorization: str) -> tuple[str, bytes] | None:
    """User and password of an Authorization header (RFC 7617); None without one."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def _matches(password: bytes, stored: bytes) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:_BCRYPT_MAX_BYTES], stored)


class PasswordChecker:
    """Checks passwords. The last correct one of each user is cached as a keyed hash, and is never refused.

    bcrypt is slow by design (50 ms at cost 10). So only one password is checked at a time, and an address waits after a
    wrong one: any number of guessers use at most one core, and one address a fifth of it. Addresses whose last password
    was wrong share half of the places. `max_checks` attempts of new addresses at once still fill all of them: another
    one is then refused until one of these is checked.

    `max_wait` is the longest wait of an attempt for its turn, in seconds. Above `max_checks` attempts, or
    `max_address_checks` of one address, further ones are refused at once.
    """

    def __init__(
        self,
        sleep: Callable[[float], object] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
        matches: Callable[[bytes, bytes], bool] = _matches,
        max_wait: float = MAX_WAIT_SECONDS,
        max_checks: int = MAX_CHECKS,
        max_address_checks: int = MAX_ADDRESS_CHECKS,
    ) -> None:
        self._sleep = sleep
        self._timer = timer
        self._matches = matches
        self._max_wait = max_wait
        self._max_checks = max_checks
        self._max_address_checks = max_address_checks
        self._key = os.urandom(32)
        self._verified: dict[str, bytes] = {}
        self._checking = threading.Lock()
        self._guard = threading.Lock()
        self._address_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()  # as long as one waits
        self._attempts: Counter[str] = Counter()
        """By address."""
        self._guessers: dict[str, None] = {}
        """Addresses whose last password was wrong, the latest one last."""

    def check(self, users: Mapping[str, bytes], user: str, password: bytes, address: str) -> PasswordResult:
        """Check a password.

        `users` are bcrypt hashes by user, not empty. An unknown user takes as long as a known one. A wrong password
        delays only its own client address.
        """
        user_hash = users.get(user)
        # For an unknown user, the most expensive hash: the duration does not reveal which users exist.
        stored = user_hash or max(users.values(), key=lambda hash_: hash_[4:6])
        fingerprint = self._fingerprint(user, stored, password)
        if self._has_verified(user, fingerprint) and user_hash:
            return "right"
        with self._attempt(address) as address_lock:
            if address_lock is None or not address_lock.acquire(timeout=self._max_wait):
                return "busy"
            try:
                return self._check_hash(user, stored, password, fingerprint, address, user_exists=user_hash is not None)
            finally:
                address_lock.release()

    def is_verified(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Whether the password was correct when last checked. Never slow."""
        stored = users.get(user)
        return stored is not None and self._has_verified(user, self._fingerprint(user, stored, password))

    @contextmanager
    def _attempt(self, address: str) -> Iterator[threading.Lock | None]:
        """Count an attempt; the lock of its address, or None if there are too many."""
        with self._guard:
            full = (
                self._guesses() >= GUESSERS_RATIO * self._max_checks
                if address in self._guessers
                else self._attempts.total() >= self._max_checks
            )
            if full or self._attempts[address] >= self._max_address_checks:
                lock = None
            else:
                lock = self._address_locks.setdefault(address, threading.Lock())
                self._attempts[address] += 1
        try:
            yield lock
        finally:
            if lock is not None:
                with self._guard:
                    self._attempts -= Counter([address])  # keeps positive counts only

    def _guesses(self) -> int:
        return sum(count for address, count in self._attempts.items() if address in self._guessers)

    def _check_hash(
        self, user: str, stored: bytes, password: bytes, fingerprint: bytes, address: str, *, user_exists: bool
    ) -> PasswordResult:
        if not self._checking.acquire(timeout=self._max_wait):
            return "busy"
        try:
            if self._has_verified(user, fingerprint) and user_exists:  # verified while this thread waited
                return "right"
            started = self._timer()
            is_right = self._matches(password, stored) and user_exists
            duration = self._timer() - started
        finally:
            self._checking.release()
        with self._guard:
            self._guessers.pop(address, None)
            if is_right:
                self._verified[user] = fingerprint
                return "right"
            self._guessers[address] = None
            if len(self._guessers) > MAX_GUESSERS:
                del self._guessers[next(iter(self._guessers))]
            has_place = self._guesses() <= GUESSERS_RATIO * self._max_checks
        if has_place:  # else it leaves its place, and is refused until there is one for guessers
            self._sleep(min(DELAY_RATIO * duration, MAX_DELAY_SECONDS))
        return "wrong"

    def forget(self, users: Mapping[str, bytes]) -> None:
        """Remove the cached passwords of all other users."""
        for user in list(self._verified.keys() - users.keys()):
            self._verified.pop(user, None)

    def _has_verified(self, user: str, fingerprint: bytes) -> bool:
        import hmac  # loads OpenSSL: only those with passwords pay for it

        return hmac.compare_digest(self._verified.get(user, b""), fingerprint)

    def _fingerprint(self, user: str, stored: bytes, password: bytes) -> bytes:
        """Keyed hash of the three values; a changed hash in the file invalidates it."""
        import hashlib

        parts = (user.encode(), stored, password)
        return hashlib.blake2b(
            b"".join(len(part).to_bytes(4, "big") + part for part in parts), key=self._key, digest_size=32
        ).digest()
