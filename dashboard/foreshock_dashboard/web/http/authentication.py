"""Authentication: a bearer token, a user of a password file, or a trusted proxy."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from foreshock_dashboard.access.tokens import Tokens
from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile
from foreshock_exporter.web.auth import PasswordChecker, PasswordResult, basic_credentials

MAX_USERS_FILE_BYTES = 262_144
MAX_BCRYPT_COST = 16
"""A bcrypt cost of 16 takes about 4 s for each attempt; each step doubles it."""
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths without authentication: liveness and readiness reveal nothing else."""
MAX_CONCURRENT_CHECKS = 4
"""Password checks at a time: each takes a thread for a while, and delays a wrong password."""
MAX_WAITING_CHECKS = 32
"""Requests that may wait for a check."""


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
            data = file.read(MAX_USERS_FILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: is not UTF-8 text") from error
    if len(data) > MAX_USERS_FILE_BYTES:
        raise FileError(f"{path}: is larger than {MAX_USERS_FILE_BYTES} bytes. It has one user per line")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    users: dict[str, bytes] = {}
    for number, line in lines:
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


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials that a request needs; none where nothing is set, one of several where several are.

    tokens: bearer tokens. basic: users with passwords. header: the header in which a trusted proxy at one of `proxies`
    names the user; it is ignored from other addresses.
    """

    tokens: Tokens | None = None
    basic: Users | None = None
    header: str = ""
    proxies: tuple[Network, ...] = ()

    @property
    def required(self) -> bool:
        """Whether credentials are required."""
        return bool(self.tokens or self.basic or self.header)

    def trusts_proxy(self, peer: str, headers: Headers) -> bool:
        """Whether a trusted proxy has authenticated the request. peer: address of the connection."""
        return (
            bool(self.header)
            and _in_networks(peer, self.proxies)
            and any(v.strip() for v in headers.getlist(self.header))
        )


def _in_networks(peer: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in networks)


class Authenticated:
    """Answers 401 without valid credentials, for every path but `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._room = CapacityLimiter(MAX_CONCURRENT_CHECKS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass the request on."""
        if scope["type"] == "http" and self._access.required and scope["path"] not in OPEN_PATHS:
            refusal = await self._refusal(scope)
            if refusal:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> JSONResponse | None:
        access, headers = self._access, Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        if access.trusts_proxy(peer, headers):
            return None
        authorization = headers.get("authorization", "")
        if authorization and access.tokens and access.tokens.allows(authorization):
            return None
        if not authorization or access.basic is None or not authorization[:6].lower().startswith("basic "):
            return self._who()
        if access.basic.known(authorization):
            return None
        if self._room.statistics().tasks_waiting >= MAX_WAITING_CHECKS:
            return _too_busy()
        result = await to_thread.run_sync(access.basic.check, authorization, peer, limiter=self._room)
        return {"right": None, "wrong": self._who(), "busy": _too_busy()}[result]

    def _who(self) -> JSONResponse:
        """401 with the accepted schemes; 403 where only a proxy can authenticate."""
        schemes = (('Basic realm="foreshock", charset="UTF-8"', self._access.basic), ("Bearer", self._access.tokens))
        offered = [scheme for scheme, method in schemes if method]
        if not offered:
            text = "authentication required: open the address of the authenticating proxy"
            return JSONResponse({"error": text}, 403)
        text = "authentication required: send a bearer token or a username and password"
        answer = JSONResponse({"error": text}, 401)
        for scheme in offered:
            answer.headers.append("WWW-Authenticate", scheme)  # one header each: not every browser reads several in one
        return answer


def _too_busy() -> JSONResponse:
    return JSONResponse({"error": "too many concurrent password checks. Retry in 5 s"}, 503, {"Retry-After": "5"})
