"""Who may look: a bearer token, a name and a password, or the word of a proxy that asked already."""

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
"""Addresses that anyone may ask: whoever runs the hub has to see whether it lives, and they tell nothing else."""
MAX_CONCURRENT_CHECKS = 4
"""Passwords that are looked at together: each takes a thread for a while, and a wrong one rests in it."""
MAX_WAITING_CHECKS = 32
"""Requests that may wait for that."""


class PasswordAuth(Protocol):
    """Names and passwords."""

    def known(self, authorization: str) -> bool:
        """Whether an Authorization header has a password that was found right before. Quick."""
        ...

    def check(self, authorization: str, address: str) -> Literal["right", "wrong", "busy"]:
        """Whether it has a right one; slow."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """Who may look; anyone where nothing is set, and who satisfies one of them where several are.

    bearer: whether an Authorization header has a right token. basic: names and passwords. header: in which a proxy at
    one of `proxies` says who asks; what others write into it counts for nothing.
    """

    bearer: Callable[[str], bool] | None = None
    basic: PasswordAuth | None = None
    header: str = ""
    proxies: tuple[Network, ...] = ()

    @property
    def required(self) -> bool:
        """Whether anyone is asked."""
        return bool(self.bearer or self.basic or self.header)

    def trusts_proxy(self, peer: str, headers: Headers) -> bool:
        """Whether a proxy says who asks. peer: the address that the connection comes from."""
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
    """Answers 401 to whoever may not look, for every address but `OPEN`: pages, figures, scripts, API and metrics."""

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
        given = headers.get("authorization", "")
        if given and access.bearer and access.bearer(given):
            return None
        if not given or access.basic is None or not given[:6].lower().startswith("basic "):
            return self._who()
        if access.basic.known(given):
            return None
        if self._room.statistics().tasks_waiting >= MAX_WAITING_CHECKS:
            return _too_busy()
        found = await to_thread.run_sync(access.basic.check, given, peer, limiter=self._room)
        return {"right": None, "wrong": self._who(), "busy": _too_busy()}[found]

    def _who(self) -> JSONResponse:
        """401 with what can be sent; 403 where nothing can, since only a proxy may say who asks."""
        ways = (('Basic realm="foreshock", charset="UTF-8"', self._access.basic), ("Bearer", self._access.bearer))
        offered = [name for name, way in ways if way]
        if not offered:
            text = "this hub answers to its proxy alone, once that has asked who you are: open the proxy's address"
            return JSONResponse({"error": text}, 403)
        text = "this hub asks who you are: send a token or a name and a password that it knows"
        answer = JSONResponse({"error": text}, 401)
        for each in offered:  # one header each: not every browser reads several in one
            answer.headers.append("WWW-Authenticate", each)
        return answer


def _too_busy() -> JSONResponse:
    return JSONResponse({"error": "too many passwords are being checked: try again"}, 503, {"Retry-After": "5"})
