"""Authentication: a bearer token, a user with a password, or a trusted proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths without authentication: liveness and readiness reveal nothing else."""
MAX_CONCURRENT_CHECKS = 4
"""Password checks at a time: each takes a thread for a while, and delays a wrong password."""
MAX_WAITING_CHECKS = 32
"""Requests that may wait for a check."""


class PasswordAuth(Protocol):
    """Users with passwords."""

    def known(self, authorization: str) -> bool:
        """Whether an Authorization header has a password that was accepted before. Quick."""
        ...

    def check(self, authorization: str, address: str) -> Literal["right", "wrong", "busy"]:
        """The result of checking an Authorization header. Slow."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials that a request needs; none where nothing is set, one of several where several are.

    bearer: checks the token of an Authorization header. basic: users with passwords. header: the header in which a
    trusted proxy at one of `proxies` names the user; it is ignored from other addresses.
    """

    bearer: Callable[[str], bool] | None = None
    basic: PasswordAuth | None = None
    header: str = ""
    proxies: tuple[Network, ...] = ()

    @property
    def required(self) -> bool:
        """Whether credentials are required."""
        return bool(self.bearer or self.basic or self.header)

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
        if authorization and access.bearer and access.bearer(authorization):
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
        schemes = (('Basic realm="foreshock", charset="UTF-8"', self._access.basic), ("Bearer", self._access.bearer))
        offered = [name for name, method in schemes if method]
        if not offered:
            text = "this hub answers to its proxy alone, once that has asked who you are: open the proxy's address"
            return JSONResponse({"error": text}, 403)
        text = "this hub asks who you are: send a token or a name and a password that it knows"
        answer = JSONResponse({"error": text}, 401)
        for scheme in offered:  # one header each: not every browser reads several in one
            answer.headers.append("WWW-Authenticate", scheme)
        return answer


def _too_busy() -> JSONResponse:
    return JSONResponse({"error": "too many passwords are being checked: try again"}, 503, {"Retry-After": "5"})
