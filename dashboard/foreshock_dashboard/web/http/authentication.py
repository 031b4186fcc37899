"""Authentication and authorization: who sends a request, and whether the role suffices."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock_dashboard.access.audit import Action, AuditLog
from foreshock_dashboard.access.rate_limit import REQUESTS_PER_MINUTE, RateLimit
from foreshock_dashboard.access.roles import SAFE_METHODS, Principal, Role, Roles, required_role
from foreshock_dashboard.access.tokens import Tokens
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.web.http.oidc import LOGIN, OPEN_OIDC_PATHS, Oidc
from foreshock_exporter.web.auth import PasswordResult, basic_credentials
from foreshock_exporter.web.connections import client_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths without authentication: liveness and readiness reveal nothing else."""
GITHUB_PATH = "/api/webhooks/github"
"""Where there is a secret for it, its requests need a signature in place of credentials."""
MAX_CONCURRENT_CHECKS = 4
"""Password checks at a time: each takes a thread for a while, and delays a wrong password."""
MAX_WAITING_CHECKS = 32
"""Requests that may wait for a check."""
MAX_CLIENT_CHECKS = 2
"""Checks of one client, running and waiting, so that one alone cannot keep others out."""
_DOWNLOADS = ("/api/csv/", "/api/report/")
"""Paths whose answers leave the hub as files; the audit log names who fetched them."""


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials that a request needs; none where nothing is set, one of several where several are.

    tokens: bearer tokens. basic: users with passwords. header: the header in which a trusted proxy at one of `proxies`
    names the user; it is ignored from other addresses. oidc: login at an OpenID provider. webhook_secret:
    returns that of GitHub's webhooks.
    """

    tokens: Tokens | None = None
    basic: Users | None = None
    header: str = ""
    proxies: tuple[Network, ...] = ()
    oidc: Oidc | None = None
    roles: Roles = Roles()
    requests_per_minute: int = REQUESTS_PER_MINUTE
    audit: AuditLog = field(default_factory=AuditLog, compare=False)
    webhook_secret: Callable[[], bytes] | None = field(default=None, compare=False)

    @property
    def required(self) -> bool:
        """Whether credentials are required."""
        return bool(self.tokens or self.basic or self.header or self.oidc)

    def proxy_user(self, peer: str, headers: Headers) -> str:
        """The user whom a trusted proxy has authenticated; "" without one. peer: address of the connection."""
        if not self.header or not _in_networks(peer, self.proxies):
            return ""
        return next((value.strip() for value in headers.getlist(self.header) if value.strip()), "")


def _in_networks(peer: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in networks)


class Authenticated:
    """Answers 401 without valid credentials, 403 without the role, and 429 above the rate limit.

    Every path but `OPEN_PATHS`, those of the login, and that of signed webhooks needs credentials. The scope of a
    request has its `principal` and `role` from then on. The audit log gets sign-ins, refusals, downloads, and changes.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._limited = frozenset({GITHUB_PATH} if access.webhook_secret else ()) | (
            OPEN_OIDC_PATHS if access.oidc else frozenset()
        )
        """Paths without credentials. Logins count by path and client; of webhooks, those with a wrong signature do."""
        self._limit = RateLimit(access.requests_per_minute)
        self._room = CapacityLimiter(MAX_CONCURRENT_CHECKS)
        self._checks: Counter[str] = Counter()
        """Running and waiting checks by client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass the request on."""
        if scope["type"] != "http" or not self._access.required or scope["path"] in OPEN_PATHS | self._limited:
            if scope["type"] == "http" and scope["path"] in self._limited:
                await self._open(scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        found = await self._identify(scope)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        role = self._access.roles.of(found)
        if (seconds := self._limit.wait((found.method, found.name))) > 0:
            self._access.audit.record_request("rate_limited", scope, found, role, status=429)
            await self._too_many(found.name, seconds)(scope, receive, send)
        elif role < (required := required_role(method, path)):
            self._access.audit.record_request("denied", scope, found, role, status=403)
            text = f"{found.name} has role {role.name.lower()}, and this needs {required.name.lower()}. See --roles"
            await JSONResponse({"error": text}, 403)(scope, receive, send)
        else:
            self._access.audit.record_request("sign_in", scope, found, role)
            scope.update(principal=found, role=role)
            await self._app(scope, receive, self._audited(scope, send, found, role))

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request without credentials on; a login only if its client sent fewer than its limit."""
        key = (scope["path"], _client(scope))
        if scope["path"] == GITHUB_PATH:
            await self._app(scope, receive, self._counting_failures(scope, receive, send, key))
        elif (seconds := self._limit.wait(key)) > 0:
            await self._too_many(_peer(scope), seconds)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _counting_failures(self, scope: Scope, receive: Receive, send: Send, key: Hashable) -> Send:
        """`send`, which replaces a refused signature by 429 if the client sent too many of them.

        Only the signature shows whether a sender behind a shared address is GitHub, so it is checked first.
        """
        replaced = False

        async def counting(message: Message) -> None:
            nonlocal replaced
            failed = message["type"] == "http.response.start" and message["status"] == 403
            if failed and (seconds := self._limit.wait(key)) > 0:
                replaced = True
                await self._too_many(_peer(scope), seconds)(scope, receive, send)
            if not replaced:
                await send(message)

        return counting

    def _too_many(self, name: str, seconds: float) -> Response:
        text = f"more than {self._access.requests_per_minute} requests per minute by {name}. Retry later"
        return JSONResponse({"error": text}, 429, {"Retry-After": str(math.ceil(seconds))})

    def _audited(self, scope: Scope, send: Send, principal: Principal, role: Role) -> Send:
        """`send`, which records the status of a download or change."""
        action: Action = "download" if scope["method"] in SAFE_METHODS else "change"
        recorded = scope["path"].startswith(_DOWNLOADS) or required_role(scope["method"], scope["path"]) > Role.VIEWER
        if not recorded:
            return send

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._access.audit.record_request(action, scope, principal, role, status=message["status"])
            await send(message)

        return recording

    async def _identify(self, scope: Scope) -> Principal | Response:
        """The principal of a request, or the refusal."""
        access, headers, peer = self._access, Headers(scope=scope), _peer(scope)
        if user := access.proxy_user(peer, headers):
            return Principal(user, "proxy")
        authorization = headers.get("authorization", "")
        if access.tokens and (name := access.tokens.name_of(authorization)):
            return Principal(name, "token")
        if access.oidc and not authorization:
            return access.oidc.principal(scope["session"]) or self._login(scope, headers)
        pair = basic_credentials(authorization)
        if access.basic is None or pair is None:
            return self._unauthenticated(scope, "" if pair is None else pair[0], attempted=bool(authorization))
        user = pair[0]
        if access.basic.known(authorization):
            return Principal(user, "password")
        result = await self._check(access.basic, authorization, _client(scope))
        if result == "right":
            return Principal(user, "password")
        return _too_busy() if result == "busy" else self._unauthenticated(scope, user, attempted=True)

    async def _check(self, users: Users, authorization: str, client: str) -> PasswordResult:
        """The result of checking a password; "busy" at once if too many wait, in total or of this client."""
        waiting = self._room.statistics().tasks_waiting
        if self._checks[client] >= MAX_CLIENT_CHECKS or waiting >= MAX_WAITING_CHECKS:
            return "busy"
        self._checks[client] += 1
        try:
            return await to_thread.run_sync(users.check, authorization, client, limiter=self._room)
        finally:
            self._checks[client] -= 1
            self._checks += Counter()  # without those at zero

    def _login(self, scope: Scope, headers: Headers) -> Response:
        """The way to the login for a browser that opens a page; 401 for other requests."""
        if scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
            return self._unauthenticated(scope, "", attempted=False)
        query = scope["query_string"].decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"{LOGIN}?next={quote(target, safe='')}", 303, {"Cache-Control": "no-store"})

    def _unauthenticated(self, scope: Scope, user: str, *, attempted: bool) -> Response:
        """401 with the accepted schemes; 403 where only a proxy can authenticate."""
        access = self._access
        schemes = (('Basic realm="foreshock", charset="UTF-8"', access.basic), ("Bearer", access.tokens))
        offered = [scheme for scheme, method in schemes if method]
        if access.oidc:
            text = f"authentication required: sign in at {LOGIN}, or send a bearer token"
        elif offered:
            text = "authentication required: send a bearer token or a username and password"
        else:
            text = "authentication required: open the address of the authenticating proxy"
        answer = JSONResponse({"error": text}, 401 if offered or access.oidc else 403)
        for scheme in offered:
            answer.headers.append("WWW-Authenticate", scheme)  # one header each: not every browser reads several in one
        if attempted:
            known = access.basic is not None and user in access.basic
            who = Principal(user, "")
            access.audit.record_request("sign_in_failed", scope, who, status=answer.status_code, known=known)
        return answer


def _peer(scope: Scope) -> str:
    address: str = scope["client"][0] if scope.get("client") else ""
    return address


def _client(scope: Scope) -> str:
    """What counts as one client (see `client_of`)."""
    peer = _peer(scope)
    return client_of(peer) if peer else ""


def _too_busy() -> JSONResponse:
    return JSONResponse({"error": "too many concurrent password checks. Retry in 5 s"}, 503, {"Retry-After": "5"})
